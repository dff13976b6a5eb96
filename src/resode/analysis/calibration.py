r"""Calibration: whether a network is right as often as its probabilities say, and what one temperature does to it.

The confidence of a prediction is the largest probability, c. Predictions fall into equal-width bins of c; in a calibrated network the
accuracy of each bin is its mean confidence. The expected calibration error is the mean of their distance, weighted by the bins' sizes n_b:

    ECE = Σ_b n_b / N · |accuracy_b − confidence_b|

A temperature T makes p_k^{1/T} / Σ_j p_j^{1/T} of the probabilities p, which is softmax(logits / T); it changes no prediction, and
T > 1 makes them less sure. It is chosen for the least negative log-likelihood on images that it is not tested on.

Source: C. Guo, G. Pleiss, Y. Sun and K. Weinberger (2017), "On Calibration of Modern Neural Networks", ICML, arXiv:1706.04599.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from resode.base import files
from resode.base.text import percent

FILE = "calibration.json"
BINS = 15
# Far outside of what a trained network needs.
_RANGE = np.log((0.05, 20.0))


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> list[dict[str, float]]:
    """Mean confidence and accuracy in each bin (low, high] that has images, and the number of these.

    Args:
        probabilities: (N, classes).
        labels: (N,).
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == np.asarray(labels)
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return [
        {
            "low": one / bins,
            "high": (one + 1) / bins,
            "images": int((number == one).sum()),
            "confidence": float(confidence[number == one].mean()),
            "accuracy": float(right[number == one].mean()),
        }
        for one in np.unique(number).tolist()
    ]


def expected_error(bins: list[Mapping[str, float]]) -> float:
    """The expected calibration error of the rows of `reliability`."""
    images = sum(one["images"] for one in bins)
    return sum(one["images"] * abs(one["accuracy"] - one["confidence"]) for one in bins) / images


def scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """`probabilities` (N, classes) with a temperature."""
    return np.exp(_log_scaled(probabilities, temperature))


def _log_scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    # The smallest normal number of float32, in which a network may round to 0.
    logarithms = np.log(np.maximum(np.asarray(probabilities, dtype=float), np.finfo(np.float32).tiny))
    return log_softmax(logarithms / temperature, axis=1)


def negative_log_likelihood(probabilities: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """Mean of −log of the probability of the actual class."""
    logarithms = _log_scaled(probabilities, temperature)
    return float(-logarithms[np.arange(len(labels)), np.asarray(labels)].mean())


def fitted(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature between 0.05 and 20 with the least negative log-likelihood."""
    found = minimize_scalar(
        lambda logarithm: negative_log_likelihood(probabilities, labels, float(np.exp(logarithm))),
        bounds=_RANGE,
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


def study(
    probabilities: np.ndarray, labels: np.ndarray, held_out: tuple[np.ndarray, np.ndarray] | None = None
) -> dict[str, Any]:
    """Calibration of the test images before and after a temperature.

    Args:
        probabilities, labels: of the test images.
        held_out: probabilities and labels of validation images, on which the temperature is fitted. None: it is fitted on each half
            of the test images, the odd and the even ones, and applied to the other half, so that none is tested on itself.

    Returns:
        "fitted_on", "temperatures", and for "before" and "after": "expected_error", "negative_log_likelihood", "confidence" (mean) and
        "bins".
    """
    labels = np.asarray(labels)
    if held_out:
        temperatures = [fitted(*held_out)]
        after = scaled(probabilities, temperatures[0])
    else:
        halves = [np.arange(start, len(labels), 2) for start in (0, 1)]
        # A half's temperature is fitted on the other one.
        temperatures = [fitted(probabilities[other], labels[other]) for other in reversed(halves)]
        after = np.empty_like(probabilities, dtype=float)
        for half, temperature in zip(halves, temperatures, strict=True):
            after[half] = scaled(probabilities[half], temperature)
    return {
        "fitted_on": "validation images" if held_out else "the other half of the test images",
        "temperatures": temperatures,
        "before": _calibration(probabilities, labels),
        "after": _calibration(after, labels),
    }


def _calibration(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    bins = reliability(probabilities, labels)
    return {
        "expected_error": expected_error(bins),
        "negative_log_likelihood": negative_log_likelihood(probabilities, labels),
        "confidence": float(probabilities.max(axis=1).mean()),
        "bins": bins,
    }


def words(found: Mapping, accuracy: float) -> str:
    """The outcome of `study`, in Markdown."""
    before, after = found["before"], found["after"]
    temperature = " and ".join(f"{one:.2f}" for one in found["temperatures"])
    many = len(found["temperatures"]) > 1
    return (
        f"The mean largest probability is {percent(before['confidence'])} at an accuracy of {percent(accuracy)}; the expected calibration error is"
        f" {percent(before['expected_error'])}, the negative log-likelihood {before['negative_log_likelihood']:.3f}. With {'temperatures' if many else 'a temperature'} of"
        f" {temperature}, {'each ' if many else ''}fitted on {found['fitted_on']}, these are {percent(after['confidence'])},"
        f" {percent(after['expected_error'])} and {after['negative_log_likelihood']:.3f}. The accuracy stays."
    )


def write(folder: Path, found: Mapping, training: str | None) -> None:
    """Write `calibration.json` to `folder`: what `study` found, and the name of the `training`."""
    files.write_json(Path(folder) / FILE, {"training": training, **found})
