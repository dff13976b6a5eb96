"""Predictions of a run for each test image: kept, read, and compared with another run's image by image."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from resode.base import files
from resode.base.errors import InputError

FILE = "predictions.npz"
# Those of 10,000 images and 10 classes have a twentieth.
_MOST_BYTES = 5_000_000


@dataclass(frozen=True)
class Predictions:
    """Predictions for all test images.

    Attributes:
        classes: uint8 (N,), the likeliest class of each image; ties that float16 makes are none there.
        probabilities: float16 (N, classes); below 3e-8 they are 0, so that a likelihood needs the network's own.
        labels: uint8 (N,), the actual classes.
        training: name of the training, see `outputs`; "" without one.
    """

    classes: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray
    training: str

    @property
    def right(self) -> np.ndarray:
        """bool (N,): whether each image is classified correctly."""
        return self.classes == self.labels


def write(folder: Path, probabilities: np.ndarray, labels: np.ndarray, training: str | None) -> None:
    """Write `predictions.npz` to `folder`, the arrays of `Predictions`; equal predictions give equal bytes."""
    content = io.BytesIO()
    np.savez_compressed(
        content,
        classes=probabilities.argmax(axis=1).astype(np.uint8),
        probabilities=probabilities.astype(np.float16),
        labels=np.asarray(labels, np.uint8),
        training=np.array(training or ""),
    )
    files.write_bytes(Path(folder) / FILE, content.getvalue())


def read(path: Path) -> Predictions:
    """Read what `write` wrote.

    Raises:
        InputError: the file is missing, damaged, or none of `write`.
    """
    content = files.read_bytes(path, _MOST_BYTES)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = Predictions(
                arrays["classes"], arrays["probabilities"], arrays["labels"], str(arrays["training"].item())
            )
        good = found.classes.shape == found.labels.shape == found.probabilities.shape[:1]
    except Exception as error:
        # NumPy and zipfile raise many kinds for a damaged file.
        raise InputError(f"{path} holds no predictions; run the evaluation stage again") from error
    if not good:
        raise InputError(f"{path} holds predictions of unequal numbers; run the evaluation stage again")
    return found


def mcnemar(first: np.ndarray, second: np.ndarray) -> tuple[int, int, float]:
    """McNemar's exact test of whether two classifiers are right equally often, from the same images.

    Of the b + c images on which exactly one is right, b are the first's. If both are right equally often, b is binomially distributed
    with b + c trials of probability ½; two-sided. The images on which both are right, or both wrong, say nothing.

    Source: Q. McNemar (1947), "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12, 153–157.

    Args:
        first, second: bool (N,), whether each image is classified correctly.

    Returns:
        b, c and the p-value; 1 where b + c = 0.

    Raises:
        ValueError: unequal numbers of images.
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if first.shape != second.shape:
        raise ValueError(f"unequal numbers of images: {first.shape} and {second.shape}")
    b, c = int((first & ~second).sum()), int((second & ~first).sum())
    return b, c, float(binomtest(b, b + c).pvalue) if b + c else 1.0
