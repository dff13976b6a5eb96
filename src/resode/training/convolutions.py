"""The units whose convolutions a training computes as matrix products: those in which they are faster on this machine.

Which way wins depends on the processor, its memory and the batch. So each unit that may gain is timed once, a few updates in each
way; the choice is kept beside the run folders, since other ways round differently and equal trainings are to give equal bytes.
"""

import hashlib
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from resode.base import files, paths, provenance
from resode.config.schema import ModelParams, TrainingParams
from resode.nn import model
from resode.nn.blocks import ODEConv2D

_REPEATS = 5


def chosen(params: ModelParams, training: TrainingParams, runs: Path = paths.RUNS) -> str | list[str]:
    """The argument `convolution` of `model.build` for the network `params` trained as `training` says.

    It is `training.convolution`; with auto the names of the units that are faster with products, where `winograd.is_faster` sees a
    chance of it. They are measured, or were on this machine before.

    Args:
        runs: folder of the run folders, whose `convolutions.json` holds what was measured.
    """
    candidates = model.winograd_units(model.build(params, convolution=training.convolution))
    if training.convolution != "auto" or params.architecture != "units" or not candidates:
        return training.convolution
    what = [params.model_dump(mode="json"), training.batch_size, provenance.hardware(), provenance.software()]
    key = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
    path = runs / "convolutions.json"
    known = files.read_json(path) if path.exists() else {}
    if key not in known:
        print("Timing the units' convolutions on this machine, once.", flush=True)
        known[key] = _faster(params, training.batch_size, candidates)
        files.write_json(path, known)
    return known[key]


def _faster(params: ModelParams, batch: int, names: list[str]) -> list[str]:
    """Those of the units `names` that are faster with products."""
    ways = {way: model.units(model.build(params, convolution=way)) for way in ("direct", "winograd")}
    found = []
    for direct, products in zip(*ways.values(), strict=True):
        if direct.name in names:
            updates = [_update(unit, batch) for unit in (direct, products)]
            times = [[_seconds(update) for update in updates] for _ in range(_REPEATS + 1)][1:]
            if np.subtract(*map(statistics.median, zip(*times, strict=True))) > 0:
                found.append(direct.name)
    return found


def _seconds(update: Callable[[], object]) -> float:
    start = time.perf_counter()
    update()
    return time.perf_counter() - start


def _update(unit: ODEConv2D, batch: int) -> Callable[[], object]:
    """A compiled forward and backward pass of `unit` for `batch` images."""
    random = np.random.default_rng(0)
    x, dy = (keras.ops.convert_to_tensor(random.normal(size=(batch, *unit.input.shape[1:])), "float32") for _ in "xy")
    if keras.backend.backend() == "jax":
        import jax

        @jax.jit
        def gradients(weights, x, dy):
            value, pull = jax.vjp(lambda weights, x: unit.stateless_call(weights, [], x)[0], weights, x)
            return value, pull(dy)

        weights = [weight.value for weight in unit.trainable_variables]
        return lambda: jax.block_until_ready(gradients(weights, x, dy))
    import tensorflow as tf

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = unit(x)
        return value, tape.gradient(value, [x, *unit.trainable_variables], output_gradients=dy)

    return gradients
