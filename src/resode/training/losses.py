"""The loss, the same function of the same probabilities on both backends."""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

# Keras' own `sparse_categorical_crossentropy` clips on JAX, as the original's did, but on TensorFlow takes the loss from the
# logits behind a softmax: 40.0 instead of 16.1 for a class 40 behind the likeliest, and a gradient instead of none.
EPSILON = 1e-7
# The smallest number of float32 with all its digits: its logarithm, and the gradient there, are finite.
_TINY = float(np.finfo("float32").tiny)


def cross_entropy(labels: Any, probabilities: Any) -> Any:
    """−ln p of each image's class, with p / Σp clipped to [1e-7, 1 − 1e-7]; where it is clipped, the gradient is zero.

    Source: `categorical_crossentropy` of Keras 2.1.6's TensorFlow backend, which the original used.

    Args:
        labels: (batch,), indices of classes.
        probabilities: (batch, classes) float32.

    Returns:
        (batch,) float32, from 1e-7 to 16.118.
    """
    shares = ops.clip(probabilities / ops.sum(probabilities, axis=-1, keepdims=True), EPSILON, 1 - EPSILON)
    chosen = ops.one_hot(ops.cast(labels, "int32"), probabilities.shape[-1])
    return -ops.sum(chosen * ops.log(shares), axis=-1)


def smoothed_cross_entropy(smoothing: float) -> Callable[[Any, Any], Any]:
    """The cross-entropy −Σ q ln p with smoothed labels q = (1 − ε) · one-hot + ε / classes; arguments and result as `cross_entropy`.

    p is clipped to what float32 can take the logarithm of, 1.2e-38, and not to 1e-7: every class has a share of q, and its
    gradient has to reach the network where p is small. The result is at most 87.4.

    Source: C. Szegedy et al. (2016), "Rethinking the Inception Architecture for Computer Vision", arXiv:1512.00567, section 7.

    Args:
        smoothing: ε, from 0 to less than 1.
    """

    def loss(labels: Any, probabilities: Any) -> Any:
        classes = probabilities.shape[-1]
        one_hot = ops.one_hot(ops.cast(labels, "int32"), classes)
        shares = (1 - smoothing) * one_hot + smoothing / classes
        return -ops.sum(shares * ops.log(ops.maximum(probabilities, _TINY)), axis=-1)

    return loss
