"""Training on several devices: the same losses as on one, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from helpers import ENVIRONMENT, settings, small_dataset
from resode.analysis import evaluation
from resode.base.errors import InputError
from resode.training import compiling, loop

# Two epochs of 25 updates; the second is tested on 21 images, which two devices could not share.
CHANGES = {
    "training": {"reference_iterations": 50.0, "reference_drops": [40.0], "learning_rate": 0.01},
    "data": {"validation_fraction": 0.1},
    # Each further step is compiled four times.
    "model": {"channels": [4], "pool_after": [], "unroll_length": 1},
}


def train(folder: Path, devices: int) -> list[dict[str, float]]:
    """History of a small training on `devices` devices."""
    chosen = settings(**{**CHANGES, "training": {**CHANGES["training"], "devices": devices}})
    loop.train(small_dataset(samples=229), chosen, folder / "results", folder / "runs")
    return evaluation.read_history(folder / "results" / loop.HISTORY)


def losses(devices: int) -> list[float]:
    """Loss of each of 50 updates on `devices` devices."""
    from resode.training import augmentation, engine

    chosen, dataset = settings(**CHANGES), small_dataset(samples=401)
    with engine.distributed(devices):
        network = compiling.compiled(chosen.model, chosen.training, 0, 2)
    mean = augmentation.mean_image(dataset.train_images)
    run = engine.Engine(network, dataset, mean, chosen.augmentation, devices)
    found = []
    for update in range(50):
        run.run(*augmentation.block(chosen.augmentation, 0, update, 1, 8, 401, 32))
        found.append(run.metrics()["loss"])
        network.reset_metrics()
    assert devices == len(network.trainable_variables[0].value.sharding.device_set)
    return found


@pytest.mark.slow
def test_two_devices_give_the_losses_of_one(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import json, test_devices as t\n"
        "folder = t.Path(sys.argv[2])\n"
        "found = {d: [t.losses(d), t.train(folder / str(d), d)] for d in (1, 2)}\n"
        "folder.joinpath('found.json').write_text(json.dumps(found))"
    )
    environment = ENVIRONMENT | {"KERAS_BACKEND": "jax"}
    environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    subprocess.run([sys.executable, "-c", script, Path(__file__).parent, tmp_path], env=environment, check=True)
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    (one, history), (two, same) = found["1"], found["2"]
    assert len(one) == 50 and one[-1] < one[0]
    np.testing.assert_allclose(two, one, rtol=1e-5)
    assert len(history) == 2
    for mine, other in zip(history, same, strict=True):
        assert mine == pytest.approx(other, rel=1e-4)


@pytest.mark.jax
def test_devices_that_are_not_there_are_refused_with_the_reason(tmp_path):
    reason = "on JAX alone" if keras.backend.backend() == "tensorflow" else "JAX has 1: cpu:0"
    with pytest.raises(InputError, match=f"training.devices = 2: .*{reason}"):
        train(tmp_path, 2)
