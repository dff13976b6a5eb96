r"""Inference that holds the weights of one unit at a time, with NumPy alone: no Keras, TensorFlow or JAX.

The post's suggestion for networks of any depth: read a unit's weights, do its steps, release the weights, go on. Images go
through one after the other, so that memory is that of the largest unit's weights and of one image's activations, however
many steps a unit has. The equations are those of `equations` and `integrators`; the Keras network is `model.build`'s.

Arrays are (height, width, channels), float32.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resode.base.errors import InputError
from resode.base.text import quoted
from resode.inference.weights_schema import Weights
from resode.ode.equations import ODES
from resode.ode.unit import MOST_STEPS, Unit

# Keras' default, and so the stem's.
BATCH_NORMALIZATION_EPSILON = 1e-3


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e⁻ˣ), written so that nothing overflows."""
    return (1 + np.tanh(x / 2)) / 2


def gelu(x: np.ndarray) -> np.ndarray:
    """x Φ(x), Φ the normal distribution: x (1 + erf(x / √2)) / 2."""
    # NumPy has no erf.
    erf = np.fromiter(map(math.erf, (x / math.sqrt(2)).flat), "float32", x.size)
    return x * (1 + erf.reshape(x.shape)) / 2


# The activations of `schema.ModelParams`, by the names that Keras gives them.
ACTIVATIONS: dict[str | None, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softplus": lambda x: np.logaddexp(x, 0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "gelu": gelu,
    "silu": lambda x: x * sigmoid(x),
    None: lambda x: x,
}


def convolve(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The convolution K x with stride 1 and "same" padding, x zero outside of the image.

        (K x)[p] = Σ_d x[p + d − ⌊(k − 1)/2⌋] K[d],    d in {0, …, k − 1}²

    Args:
        x: (height, width, in).
        kernel: (k, k, in, out).

    Returns:
        (height, width, out).
    """
    return _sum_over_taps(x, kernel, (len(kernel) - 1) // 2)


def convolve_transposed(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Its adjoint Kᵀ x: ⟨K x, y⟩ = ⟨x, Kᵀ y⟩.

        (Kᵀ y)[p] = Σ_d y[p − d + ⌊(k − 1)/2⌋] K[d]ᵀ

    Args:
        x: (height, width, out).
        kernel: (k, k, in, out).

    Returns:
        (height, width, in).
    """
    # In d' = k − 1 − d it is a convolution, with the kernel turned round and as many zeros before as K has behind.
    return _sum_over_taps(x, kernel[::-1, ::-1].swapaxes(2, 3), len(kernel) // 2)


def _sum_over_taps(x: np.ndarray, kernel: np.ndarray, before: int) -> np.ndarray:
    # Tap by tap: all at once as one matrix product would need a copy of x for each tap.
    height, width, channels = x.shape
    size = len(kernel)
    padded = np.zeros((height + size - 1, width + size - 1, channels), x.dtype)
    padded[before : before + height, before : before + width] = x
    total = np.zeros((height * width, kernel.shape[3]), x.dtype)
    product = np.empty_like(total)
    for row, column in np.ndindex(size, size):
        shifted = padded[row : row + height, column : column + width].reshape(-1, channels)
        total += np.matmul(shifted, kernel[row, column], out=product)
    return total.reshape(height, width, -1)


@dataclass(frozen=True)
class NumPyUnit(Unit):
    """A unit of `blocks`, with NumPy: `unroll_length` steps of size h of `integrator` on the ODE of `block`."""

    block: str
    integrator: str
    weights_in_time: str
    h: float
    unroll_length: int
    kernel_size: int
    activation: Callable[[np.ndarray], np.ndarray]
    gamma: float
    arrays = np
    convolve = staticmethod(convolve)
    convolve_transposed = staticmethod(convolve_transposed)

    def __call__(self, x: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
        """The solution after all steps, shaped like `x`; `weights` by their names in `blocks`."""
        state = self.initial_state(x)
        for step in range(self.unroll_length):
            state = self.advance(state, step, self._of_step(weights, step))
        return self.solution(state)

    def _of_step(self, weights: dict[str, np.ndarray], step: int) -> dict[str, np.ndarray]:
        if self.weights_in_time == "shared":
            return weights
        # The k of block linear_multistep exists from the second step on.
        return {name: weight[max(step - 1, 0) if name == "k" else step] for name, weight in weights.items()}


def with_unroll_length(model: dict[str, Any], unroll_length: int | None) -> dict[str, Any]:
    """The section `model` of the parameters with another unroll length for the same time h · n; None leaves it as it is.

    Raises:
        InputError: this network cannot be unrolled that far; the message says why.
    """
    if unroll_length is None:
        return model
    if model["architecture"] != "units":
        raise InputError(f"--unroll-length is for units; this network is a {model['architecture']}")
    if model["weights_in_time"] == "free":
        raise InputError("--unroll-length: the steps of this network do not share their weights")
    least = 2 if ODES[model["block"]].own_steps else 1
    if not least <= unroll_length <= MOST_STEPS:
        raise InputError(
            f"--unroll-length {quoted(unroll_length)}: block {model['block']} takes {least} to {MOST_STEPS:,} steps"
        )
    # The same time h · n in other steps: with the same h it would be another network.
    return {**model, "unroll_length": unroll_length, "h": model["h"] * model["unroll_length"] / unroll_length}


class NumPyNetwork:
    """A network of units from a file that `resode export` wrote.

    Args:
        path: the file, see `Weights`.
        unroll_length: steps a unit, if other than trained with; only where they share their weights.

    Raises:
        InputError: no such file, or another unroll length is not possible.
    """

    def __init__(self, path: Path, unroll_length: int | None = None):
        self._weights = Weights(path)
        self.class_names, self.data = self._weights.class_names, self._weights.data
        model = with_unroll_length(self._weights.model, unroll_length)
        self._channels, self._pool_after = model["channels"], model["pool_after"]
        names = ("block", "integrator", "weights_in_time", "h", "unroll_length", "kernel_size", "gamma")
        self._unit = NumPyUnit(activation=ACTIVATIONS[model["activation"]], **{name: model[name] for name in names})

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities of `images`, uint8 (N, height, width, 3): float32 (N, classes).

        Raises:
            InputError: a probability is not finite, or the file lacks weights.
        """
        # What overflows ends as a probability that is not finite.
        with np.errstate(over="ignore", invalid="ignore"):
            probabilities = np.stack([self._forward(image) for image in images])
        if not np.isfinite(probabilities).all():
            raise InputError("the network's predictions are not finite; take more steps, or train it with a smaller h")
        return probabilities

    def _forward(self, image: np.ndarray) -> np.ndarray:
        x = self._stem((image - self._weights["mean_image"]["value"]) / 128)
        for number, channels in enumerate(self._channels, start=1):
            # Zero channels are appended where this unit has more.
            x = np.pad(x, [(0, 0), (0, 0), (0, channels - x.shape[2])])
            # The weights live in this call alone.
            x = self._unit(x, self._weights[f"unit{number}"])
            if number in self._pool_after:
                x = _average_pooling(x)
        return self._head(x)

    def _stem(self, x: np.ndarray) -> np.ndarray:
        weights = self._weights["stem_convolution"]
        x = convolve(x, weights["kernel"]) + weights["bias"]
        weights = self._weights["stem_normalization"]
        deviation = np.sqrt(weights["moving_variance"] + BATCH_NORMALIZATION_EPSILON)
        return np.maximum((x - weights["moving_mean"]) / deviation * weights["gamma"] + weights["beta"], 0)

    def _head(self, x: np.ndarray) -> np.ndarray:
        weights = self._weights["head_softmax"]
        logits = x.mean(axis=(0, 1)) @ weights["kernel"] + weights["bias"]
        powers = np.exp(logits - logits.max())
        return powers / powers.sum()


def _average_pooling(x: np.ndarray) -> np.ndarray:
    """Means of 2 × 2 pixels; a last odd row or column is left out."""
    height, width = x.shape[0] // 2, x.shape[1] // 2
    return x[: 2 * height, : 2 * width].reshape(height, 2, width, 2, -1).mean(axis=(1, 3))
