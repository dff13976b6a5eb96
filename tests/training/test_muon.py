"""Muon: its direction against NumPy's singular value decomposition, its update against the formulas, and what it trains."""

import keras
import numpy as np
import pytest

from helpers import SMALL, settings
from resode.training import compiling, muon

pytestmark = pytest.mark.jax

A, B, C = 3.4445, -4.7750, 2.0315


def array(tensor):
    return keras.ops.convert_to_numpy(tensor).astype("float64")


@pytest.mark.parametrize("shape", [(36, 8), (9, 30), (12, 12), (3, 18, 4)], ids=["tall", "wide", "square", "a stack"])
def test_direction_keeps_the_singular_vectors_and_makes_the_values_about_1(shape):
    random = np.random.default_rng(0)
    u, values, v = np.linalg.svd(random.normal(size=shape), full_matrices=False)
    # From 1 down to a fiftieth of it, whatever their size.
    values = 1e-4 * np.geomspace(1, 0.02, values.shape[-1]) * np.ones_like(values)
    given = (u * values[..., None, :] @ v).astype("float32")
    found = array(muon.orthogonalized(keras.ops.convert_to_tensor(given)))
    assert found.shape == shape
    inner = np.swapaxes(u, -2, -1) @ found @ np.swapaxes(v, -2, -1)
    diagonal = np.diagonal(inner, axis1=-2, axis2=-1)
    assert np.all((diagonal > 0.67) & (diagonal < 1.21))
    np.testing.assert_allclose(inner, diagonal[..., None] * np.eye(diagonal.shape[-1]), atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(found - u @ inner @ v), 0, atol=1e-3)
    assert not array(muon.orthogonalized(keras.ops.zeros(shape))).any()
    # The same, of the singular values alone.
    expected = values / np.linalg.norm(values, axis=-1, keepdims=True)
    for _ in range(5):
        expected = A * expected + B * expected**3 + C * expected**5
    np.testing.assert_allclose(diagonal, expected, rtol=1e-2)


def by_formula(matrix):
    """Five steps of the iteration on a matrix of float64."""
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / np.sqrt((x**2).sum())
    for _ in range(5):
        a = x @ x.T
        x = A * x + (B * a + C * a @ a) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_updates_are_those_of_the_formulas(momentum):
    random = np.random.default_rng(0)
    shapes = {"kernel": (3, 3, 2, 4), "wide": (1, 1, 3, 8), "free": (2, 3, 3, 2, 4), "bias": (4,), "stem": (3, 3, 2, 4)}
    expected = {name: random.normal(size=shape) for name, shape in shapes.items()}
    variables = [keras.Variable(value.astype("float32"), name=name) for name, value in expected.items()]
    rates = [0.1, 0.3, 0.2]
    optimizer = muon.Muon(
        keras.optimizers.schedules.PiecewiseConstantDecay([0, 1], rates),
        kernels=("kernel", "wide", "free"),
        kernel_rate=0.25,
        kernel_momentum=0.8,
        kernel_decay=0.5,
        momentum=momentum,
        nesterov=True,
        name="muon",
    )
    optimizer.build(variables)
    velocity = {name: np.zeros(shape) for name, shape in shapes.items()}
    for rate in rates:
        gradients = {name: random.normal(size=shape) for name, shape in shapes.items()}
        optimizer.apply([keras.ops.convert_to_tensor(one.astype("float32")) for one in gradients.values()])
        for name, gradient in gradients.items():
            if name in ("bias", "stem"):
                velocity[name] = momentum * velocity[name] - rate * gradient
                expected[name] = expected[name] + momentum * velocity[name] - rate * gradient
                continue
            velocity[name] = 0.8 * velocity[name] + gradient
            direction = (gradient + 0.8 * velocity[name]).reshape(-1, np.prod(shapes[name][-4:-1]), shapes[name][-1])
            step = np.stack([by_formula(matrix) for matrix in direction]).reshape(shapes[name])
            expected[name] = (1 - 0.25 * rate * 0.5) * expected[name] - 0.25 * rate * step
    for variable in variables:
        np.testing.assert_allclose(
            array(variable), expected[variable.name], rtol=1e-4, atol=1e-5, err_msg=variable.name
        )
    again = muon.Muon.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ({}, {"kernel"}),
        ({"block": "two_layer_hamiltonian"}, {"kernel1", "kernel2"}),
        ({"block": "linear_multistep", "weights_in_time": "free", "smoothness": 0.0}, {"kernel1", "kernel2"}),
    ],
)
def test_it_trains_the_kernels_of_units_which_have_no_penalty_then(model, names):
    chosen = settings(model=SMALL["model"] | model, training={"optimizer": "muon"})
    network = compiling.compiled(chosen.model, chosen.training, 0, 2)
    expected = {f"unit{unit}/{name}" for unit in (1, 2) for name in names}
    assert set(network.optimizer.kernels) == expected
    penalized = {one.path for one in network.weights if one.regularizer}
    assert penalized == {"stem_convolution/kernel", "head_softmax/kernel"}
    # Keras' names are those of checkpoints.
    assert {f"muon/{name.replace('/', '_')}_momentum" for name in expected} <= {
        one.path for one in network.optimizer.variables
    }
    sgd = settings(model=SMALL["model"] | model)
    theirs = compiling.compiled(sgd.model, sgd.training, 0, 2)
    assert {one.path for one in theirs.weights if one.regularizer} == penalized | expected
