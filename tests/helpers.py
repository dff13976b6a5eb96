"""What tests in several folders share: a small training, a finished run of the claim's setting, waiting for a process."""

import copy
import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np

from resode.analysis import reference
from resode.base import paths
from resode.config import parameters
from resode.data.records import Dataset
from resode.report import verdicts
from resode.training import loop

# For processes that import this module too.
PYTHON_PATH = os.pathsep.join([str(Path(__file__).parent), paths.python_path()])
ENVIRONMENT = {**os.environ, "PYTHONPATH": PYTHON_PATH, "TF_CPP_MIN_LOG_LEVEL": "3"}
SMALL = {
    "seed": 0,
    "data": {},
    "model": {"channels": [4, 8], "pool_after": [1], "unroll_length": 2},
    # Bilinear: the golden losses are of these.
    "augmentation": {"horizontal_flip": False, "interpolation": "bilinear"},
    # Batch 8 as the post counts it: 20 updates, 2 epochs of 10 (81 images), a drop in mid-epoch.
    "training": {
        "reference_batch_size": 8,
        "reference_iterations": 20.0,
        "reference_drops": [15.0],
        "batch_size": 8,
        "learning_rate": 0.05,
        # A checkpoint can come after any update.
        "block_length": 1,
    },
}


# Of trainings on the digits.
DIGITS = {"data.name": "digits", "model.pool_after": [], "training.reference_drops": [], "training.learning_rate": 0.01}
# What equal runs have in equal bytes.
KEPT = (loop.WEIGHTS, loop.HISTORY, loop.MEAN_IMAGE)


def small_dataset(samples=81):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, size=(samples, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(samples, dtype="int32") % 2
    images[labels == 1, :16] //= 4
    described = {"name": "noise", "title": "Noise", "published": True, "source": "made here", "sha256": {"a": "b"}}
    return Dataset("noise", images, labels, images[:20], labels[:20], ["plain", "dark"], described)


def settings(**changes):
    return parameters.load({name: {**value, **changes.get(name, {})} if isinstance(value, dict) else value
                        for name, value in SMALL.items()})  # fmt: skip


def train(folder: Path, **changes):
    loop.train(small_dataset(), settings(**changes), folder / "results", folder / "runs")


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "results" / name).read_bytes() for name in KEPT}


def wait_for(what, process: subprocess.Popen | None = None, seconds: int = 120):
    # Looks are counted: a machine that stands still for a while is no failure.
    for _ in range(50 * seconds):
        if found := what():
            return found
        assert process is None or process.poll() is None
        time.sleep(0.02)
    raise AssertionError(f"nothing came of it in {seconds} s")


PUBLISHED = reference.read_published()
CLAIM = {
    "seed": 3,
    "model": {
        "architecture": "units",
        "block": "hamiltonian",
        "integrator": "euler",
        "weights_in_time": "shared",
        "channels": [16, 64, 128, 256, 512, 1024],
        "pool_after": [1, 4, 5],
        "h": 0.15,
        "unroll_length": 4,
        "kernel_size": 3,
        "activation": "relu",
        "kernel_initializer": "keras2_he_normal",
        "l2": 1e-4,
    },
    "augmentation": {"horizontal_flip": True, "shift": 0.1, "crop": 0, "interpolation": "nearest"},
    "training": {
        "reference_batch_size": 256,
        "reference_iterations": 64000.0,
        "reference_drops": [32000.0, 48000.0],
        "batch_size": 32,
        "learning_rate": 0.1,
        "drop_factor": 0.1,
        "momentum": 0.9,
    },
}


def make_run(accuracy=0.904, data: str = "cifar10", published: bool = True, **changes) -> verdicts.Run:
    """A run of the claim's setting; `changes` are section={key: value}, and the seed."""
    params = copy.deepcopy(CLAIM)
    for section, values in changes.items():
        params[section] = {**params[section], **values} if section != "seed" else values
    row = {"updates": 1, "train_loss": 0.2, "train_accuracy": 0.997, "test_loss": 0.5}
    history = [
        row | {"epoch": 1, "learning_rate": 0.1, "test_accuracy": 0.5},
        row | {"epoch": 2, "learning_rate": 0.01, "test_accuracy": 0.91, "updates": 2},
        row | {"epoch": 3, "learning_rate": 0.01, "test_accuracy": accuracy, "updates": 4686},
    ]
    how = {"hardware": "CPU", "backend": "jax", "precision": "float32", "commit": None, "resumes": 0}
    return verdicts.Run(
        model={"parameters": {"total": 3157914, "trainable": 3157882}, "matches_published": True},
        history=history,
        provenance={
            "training": "a training",
            **how,
            "data": {"name": data, "title": "CIFAR-10", "published": published},
            "wall_seconds": 7200.0,
            "params": params,
        },
        metrics={
            "training": "a training",
            "test_accuracy": accuracy,
            "test_accuracy_low": accuracy - 0.006,
            "test_accuracy_high": accuracy + 0.006,
            "test_correct": round(10000 * accuracy),
            "test_total": 10000,
            "best_test_accuracy": 0.91,
            "best_epoch": 2,
            "last_ten_test_accuracy": accuracy,
            "train_accuracy": 0.997,
            "epochs": 3,
        },
        stability={
            "training": "a training",
            "integrator": "euler",
            "unroll_length": 4,
            "units": [
                {"unit": 1, "h_omega": 0.3, "inside": {"euler": False}, "unit_amplification": 1.188, "measured": 1.1},
                {"unit": 2, "h_omega": 0.3, "inside": {}, "unit_amplification": None, "measured": 1.25},
            ],
        },
    )


def write_run(run: verdicts.Run, results: Path) -> None:
    for name in ("model/model", "training/provenance", "evaluation/metrics", "stability/stability"):
        path = results / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(getattr(run, path.stem)), encoding="utf-8")
    by_class = {"training": run.metrics.get("training"), "class_accuracy": {"cat": 0.9}}
    (results / "evaluation" / "class_accuracy.json").write_text(json.dumps(by_class), encoding="utf-8")
    lines = [",".join(run.history[0])] + [",".join(map(str, row.values())) for row in run.history]
    (results / "training" / "history.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
