"""What training costs in memory and time as units get longer, for each way of going backwards.

`resode memory` measures each combination in a process of its own and writes results/memory/<hardware>.json. The network is that
of params.yaml with the changes in `SETTING` and what the command line adds; the images are random.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from . import files, params, paths
from .bench import file_name
from .errors import InputError

FOLDER = paths.RESULTS / "memory"
BACKWARD = ("store", "recompute", "reversible")
LENGTHS = (4, 16, 64, 256)
BATCH, SIDE, CLASSES = 32, 32, 10
# Three units on 16 to 64 channels, by the post's equations with a step that can be taken back.
SETTING = {
    "model.channels": [16, 32, 64],
    "model.pool_after": [1, 2],
    "model.integrator": "symplectic_euler",
    # Short steps: 256 of the post's would leave the range of float32.
    "model.h": 0.01,
}
# A network of six units of a thousand steps, which has to train in the memory of one with four.
DEEP = {
    "model.channels": [8, 8, 8, 8, 16, 16],
    "model.pool_after": [1, 2, 3, 4],
    "model.integrator": "symplectic_euler",
    "model.backward": "reversible",
    "model.activation": "tanh",
    "model.h": 0.01,
}
UPDATES = 5
MEBIBYTE = 2**20


def run(settings: list[str], folder: Path = FOLDER) -> Path:
    """Measure every backend that is installed and write what was found.

    Args:
        settings: "key=value" changes of params.yaml besides `SETTING`.

    Raises:
        InputError: wrong settings, no backend, or a measurement that failed.
    """
    changes = {**SETTING, **params.settings(settings)}
    backends = [name for name in ("tensorflow", "jax") if importlib.util.find_spec(name)]
    if not backends:
        raise InputError("neither tensorflow nor jax is installed; run: make setup")
    rows, common = [], {}
    for backend in backends:
        for backward in BACKWARD:
            for length in LENGTHS:
                content = params.changed({**changes, "model.backward": backward, "model.unroll_length": length})
                found = _apart(backend, content, "measure")
                common = found.pop("common")
                rows.append({"backend": backend, "backward": backward, "unroll_length": length, **found})
                print(f"  {backend}, {backward}, {length} steps: {found}", flush=True)
    path = folder / f"{file_name(common['hardware'])}.json"
    files.write_json(path, {**common, "batch_size": BATCH, "changed": changes, "rows": rows, "deep": deep()})
    return path


def deep() -> dict:
    """One epoch on the digits with 6 × 1,000 steps and with 6 × 4: memory, and the loss of each tenth of the epoch."""
    found = {}
    for length in (4, 1000):
        content = params.changed({**DEEP, "data.name": "digits", "model.unroll_length": length})
        found[str(length)] = _apart("tensorflow", content, "epoch")
        found[str(length)].pop("common")
        print(f"  digits, 6 × {length} steps: {found[str(length)]}", flush=True)
    return {"changed": DEEP, "by_unroll_length": found}


def _apart(backend: str, content: dict, what: str) -> dict:
    """The result of the function `what` of this module in a fresh process with `content` as params.yaml."""
    with tempfile.TemporaryDirectory() as scratch:
        given, result = Path(scratch) / "params.yaml", Path(scratch) / "result.json"
        given.write_text(yaml.safe_dump(content))
        environment = {
            **os.environ, "KERAS_BACKEND": backend, "RESODE_PARAMS": str(given), "PYTHONPATH": paths.python_path(),
            # glibc otherwise keeps what is freed, by thread, and reports a peak that no two runs share.
            "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536",
        }  # fmt: skip
        done = subprocess.run([sys.executable, "-m", "resode.memory", what, result], env=environment)
        if done.returncode:
            raise InputError(f"measuring {backend} failed; the message above says why")
        return json.loads(result.read_text())


def measure(chosen: params.Params) -> dict:
    """Memory and time of an update of the network of `chosen`, in this process.

    Returns:
        `activations_mib`: what an update needs besides weights, data and program. JAX: the temporary buffers of the compiled
        program, by its own analysis. TensorFlow: how far the resident memory rises in an update.
        `total_mib`: JAX: arguments, results and temporary buffers. TensorFlow: the peak of the process's resident memory.
        `ms_per_update`: median of `UPDATES` updates after the first.
    """
    import keras
    import numpy as np

    network = _compiled(chosen)
    random = np.random.default_rng(0)
    images = keras.ops.convert_to_tensor(random.normal(size=(BATCH, SIDE, SIDE, 3)).astype("float32"))
    labels = keras.ops.convert_to_tensor(random.integers(0, CLASSES, BATCH).astype("int32"))
    update, analysis = (_jax if keras.backend.backend() == "jax" else _tensorflow)(network, images, labels)
    start = _resident("VmRSS")
    _forget_peak()
    times = []
    for _ in range(UPDATES + 1):
        begin = time.perf_counter()
        update()
        times.append(1000 * (time.perf_counter() - begin))
    peak = _resident("VmHWM")
    analysis = analysis or {"activations_mib": peak - start, "total_mib": peak}
    return {
        **{name: round(value, 1) for name, value in analysis.items()},
        "ms_per_update": round(statistics.median(times[1:]), 2),
        "common": _common(),
    }


def epoch(chosen: params.Params) -> dict:
    """One epoch on data/digits: memory of the updates, and the mean loss of each tenth of them."""
    import keras
    import numpy as np

    from . import augmentation, digits, engine, records

    with tempfile.TemporaryDirectory() as folder:
        digits.write(Path(folder) / "digits")
        dataset = records.load(Path(folder) / "digits")
    network = _compiled(chosen)
    updates = engine.Engine(network, dataset, augmentation.mean_image(dataset.train_images), "bilinear")
    count = len(dataset.train_images) // BATCH
    losses, started = [], 0.0
    for number in range(count):
        numbers = augmentation.block(
            chosen.augmentation, chosen.seed, number, 1, BATCH, len(dataset.train_images), SIDE
        )
        if number == 1:
            # The first update traces and compiles.
            start, started = _resident("VmRSS"), time.perf_counter()
            _forget_peak()
        network.reset_metrics()
        updates.run(*numbers)
        losses.append(updates.metrics()["loss"])
    return {
        "updates": count,
        "mean_loss_of_tenths": [round(float(np.mean(part)), 4) for part in np.array_split(losses, 10)],
        "activations_mib": round(_resident("VmHWM") - start, 1),
        "total_mib": round(_resident("VmHWM"), 1),
        "seconds_per_update": round((time.perf_counter() - started) / (count - 1), 3),
        "parameters": network.count_params(),
        "backend": keras.backend.backend(),
        "common": _common(),
    }


def _compiled(chosen: params.Params):
    from . import training

    return training.compiled(chosen.model, chosen.training, chosen.seed, CLASSES)


def _common() -> dict:
    from . import provenance

    software = provenance.software()
    return {
        "hardware": provenance.hardware(),
        **provenance.commit(),
        "python": software["python"],
        "keras": software["keras"],
    }


def _tensorflow(network, images, labels) -> tuple[Callable[[], None], dict | None]:
    import tensorflow as tf

    step = tf.function(lambda: network.train_step((images, labels))["loss"])
    # The graph is memory, too, and no activation.
    step.get_concrete_function()
    return lambda: float(step()), None


def _jax(network, images, labels) -> tuple[Callable[[], None], dict | None]:
    import jax

    state = tuple(
        [variable.value for variable in group]
        for group in (
            network.trainable_variables,
            network.non_trainable_variables,
            network.optimizer.variables,
            network.metrics_variables,
        )
    )
    program = jax.jit(lambda state, data: network.train_step(state, data)[1]).lower(state, (images, labels)).compile()
    found = program.memory_analysis()
    total = found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes
    analysis = {"activations_mib": found.temp_size_in_bytes / MEBIBYTE, "total_mib": total / MEBIBYTE}
    return lambda: jax.block_until_ready(program(state, (images, labels))), analysis


def _resident(what: str) -> float:
    """VmRSS, the resident memory of this process, or VmHWM, its peak, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    raise InputError(f"/proc/self/status has no {what}; memory is measured on Linux only")


def _forget_peak() -> None:
    """Let VmHWM start again from the present."""
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    files.write_json(Path(sys.argv[2]), {"measure": measure, "epoch": epoch}[sys.argv[1]](params.load()))
