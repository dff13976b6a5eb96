"""Small units with random weights, their convolutions in float64, and gradients on either backend."""

import itertools

import keras
import numpy as np
import pytest
from scipy.signal import convolve2d, correlate2d

from resode.nn import blocks
from resode.ode import equations, integrators

H, STEPS = 0.3, 3


def makes_sense(block: str, integrator: str) -> bool:
    own = block == "linear_multistep"
    return integrators.refusal(integrator, equations.ODES[block].form) is None and (not own or integrator == "euler")


ALL = list(itertools.product(blocks.BLOCKS, integrators.INTEGRATORS))
PAIRS = [pair for pair in ALL if makes_sense(*pair)]


def covering(cases: list[tuple], size: int = 1 if keras.backend.backend() == "jax" else 2) -> list:
    """`cases` as parameters, few of them not slow: any `size` values of a case stand together in one of these.

    JAX compiles each for a second.
    """
    parts = {case: set(itertools.combinations(enumerate(case), size)) for case in cases}
    quick, left = [], set().union(*parts.values())
    while left:
        quick.append(max(cases, key=lambda case: len(parts[case] & left)))
        left -= parts[quick[-1]]
    return [pytest.param(*case, marks=[] if case in quick else pytest.mark.slow) for case in cases]


def built(block, channels=4, size=(6, 5), seed=0, **arguments):
    """A built layer whose weights are all random, so that no flip or exchange goes unnoticed."""
    layer = blocks.BLOCKS[block](**{"h": H, "unroll_length": STEPS, "activation": "tanh", **arguments})
    layer.build((None, *size, channels))
    generator = np.random.default_rng(seed)
    layer.set_weights([generator.normal(0, 0.3, weight.shape) for weight in layer.get_weights()])
    return layer


def images(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def correlate(z, kernel):
    """K z: what deep learning calls a convolution, odd kernel, zeros beyond the border."""
    result = np.zeros((*z.shape[:-1], kernel.shape[3]))
    for n, i, o in np.ndindex(len(z), *kernel.shape[2:]):
        result[n, :, :, o] += correlate2d(z[n, :, :, i], kernel[:, :, i, o], mode="same")
    return result


def adjoint(y, kernel):
    """Kᵀ y: a true convolution with input and output channels exchanged."""
    result = np.zeros((*y.shape[:-1], kernel.shape[2]))
    for n, i, o in np.ndindex(len(y), *kernel.shape[2:]):
        result[n, :, :, i] += convolve2d(y[n, :, :, o], kernel[:, :, i, o], mode="same")
    return result


def relu(x):
    return np.maximum(x, 0)


def loss(layer, x):
    """A smooth function of everything the unit returns; its sign tells the outputs apart."""
    result = layer(x)
    pattern = np.random.default_rng(7).normal(size=result.shape).astype("float32")
    return keras.ops.sum(keras.ops.sin(result) * pattern)


def gradients(layer, x):
    """d loss / d weights by the backend's automatic differentiation."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss(layer, x)
        found = tape.gradient(value, [v.value for v in layer.trainable_variables], unconnected_gradients="zero")
        return [np.asarray(tf.convert_to_tensor(one)) for one in found]
    import jax

    def of(values):
        with keras.StatelessScope(state_mapping=list(zip(layer.trainable_variables, values, strict=True))):
            return loss(layer, x)

    # Not compiled as a whole, which would take a second a unit: operations of equal shapes are compiled once for all.
    return [np.asarray(one) for one in jax.grad(of)([variable.value for variable in layer.trainable_variables])]
