"""Updates: the same on both backends, in blocks of any length, and from one commit to the next."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from helpers import ENVIRONMENT, SMALL, small_dataset
from resode.config import parameters
from resode.training import augmentation, compiling, engine

pytestmark = pytest.mark.jax

BACKEND = keras.backend.backend()
GOLDEN = Path(__file__).parents[1] / "golden_losses.json"
# Noise that the network cannot learn by heart, at a rate at which rounding errors do not grow exponentially.
CHOSEN = parameters.load({**SMALL, "training": {**SMALL["training"], "learning_rate": 0.01}})


def losses(updates: int, block_length: int, weights: Path | None = None, **training: str) -> list[float]:
    """Mean loss of each block of `updates` updates, from `weights` (.npz) or the seed's own initial weights."""
    return trained(updates, block_length, weights, **training)[0]


@functools.cache
def trained(updates: int, block_length: int, weights: Path | None = None, **training: str) -> tuple:
    """`losses`, and the weights at the end; `training` are parameters of that section."""
    dataset = small_dataset(samples=401)
    chosen = CHOSEN.training.model_copy(update=training)
    network = compiling.compiled(CHOSEN.model, chosen, CHOSEN.seed, 2)
    if weights:
        with np.load(weights) as archive:
            network.set_weights([archive[name] for name in archive.files])
    run = engine.Engine(network, dataset, augmentation.mean_image(dataset.train_images), CHOSEN.augmentation)
    found = []
    while len(found) < updates // block_length:
        numbers = augmentation.block(CHOSEN.augmentation, 0, len(found) * block_length, block_length, 8, 401, 32)
        run.run(*numbers)
        found.append(run.metrics()["loss"])
        network.reset_metrics()
    return found, network.get_weights()


@pytest.mark.jax("slow")
def test_blocks_of_1_and_of_10_updates_give_the_same_losses():
    (one, weights), (block, same) = trained(50, 1), trained(50, 10)
    assert one[0] > 1.05 * one[-1]
    np.testing.assert_allclose(np.reshape(one, (5, 10)).mean(axis=1), block, rtol=1e-5)
    for mine, other in zip(weights, same, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-4)


@pytest.mark.slow
def test_both_backends_give_the_same_losses(tmp_path):
    other = "jax" if BACKEND == "tensorflow" else "tensorflow"
    network = compiling.compiled(CHOSEN.model, CHOSEN.training, 0, 2)
    np.savez(tmp_path / "weights.npz", *network.get_weights())
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import json, test_engine as t\n"
        "order = t.augmentation.block(t.CHOSEN.augmentation, 0, 30, 5, 8, 401, 32)\n"
        "found = [t.losses(50, 1, t.Path(sys.argv[2])), [part.tolist() for part in order]]\n"
        "t.Path(sys.argv[3]).write_text(json.dumps(found))"
    )
    environment = ENVIRONMENT | {"KERAS_BACKEND": other}
    arguments = [Path(__file__).parent, tmp_path / "weights.npz", tmp_path / "losses.json"]
    subprocess.run([sys.executable, "-c", script, *arguments], env=environment, check=True)
    theirs, numbers = json.loads((tmp_path / "losses.json").read_text(encoding="utf-8"))
    np.testing.assert_allclose(losses(50, 1, tmp_path / "weights.npz"), theirs, rtol=1e-3)
    for mine, other_numbers in zip(augmentation.block(CHOSEN.augmentation, 0, 30, 5, 8, 401, 32), numbers, strict=True):
        np.testing.assert_array_equal(mine, other_numbers)


def test_blocks_end_with_the_epoch():
    lengths = [len(augmentation.block(CHOSEN.augmentation, 0, start, 30, 8, 401, 32)[0]) for start in (0, 30, 49, 50)]
    assert lengths == [30, 20, 1, 30]


@pytest.mark.slow
def test_mixed_precision_trains_and_rounds():
    full, mixed = losses(50, 1), losses(50, 1, precision="mixed_bfloat16")
    assert full != mixed
    # bfloat16 has 8 bits: per cents at first, and then each goes its own way.
    np.testing.assert_allclose(mixed[:5], full[:5], rtol=0.05)
    assert np.mean(mixed[-10:]) < 0.8 * mixed[0]


def test_training_is_what_it_was():
    """A change of these losses means that results/ is not what this code would train; see CONTRIBUTING.md."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))[BACKEND]
    np.testing.assert_allclose(losses(50, 1), golden, rtol=1e-4)


@pytest.mark.slow
def test_products_train_the_same_network():
    """What differs is rounding, and where a ReLU begins."""
    products = losses(50, 1, convolution="winograd")
    assert products != losses(50, 1)
    np.testing.assert_allclose(products, losses(50, 1), rtol=1e-4)


def write_golden() -> None:
    """Keep this backend's losses: `KERAS_BACKEND=jax PYTHONPATH=tests python tests/training/test_engine.py`."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    GOLDEN.write_text(json.dumps({**golden, BACKEND: losses(50, 1)}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_golden()
