"""Convolutions as products: those of direct convolutions, in every block, with every integrator and way back."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from resode.base.errors import InputError
from resode.config import parameters
from resode.nn import blocks, model, winograd
from resode.ode import integrators
from units import PAIRS, array, built, covering, gradients, images

pytestmark = pytest.mark.jax

WAYS = [
    (block, integrator, backward)
    for (block, integrator), backward in itertools.product(PAIRS, ("store", "recompute", "reversible"))
    if backward != "reversible" or integrators.irreversible(integrator, blocks.BLOCKS[block].form) is None
    if (block, backward) != ("linear_multistep", "reversible")
]
# Each block with one kernel, each integrator once.
ONE_KERNEL = [
    ("hamiltonian", "euler"),
    ("hamiltonian", "rk4"),
    ("one_bias_hamiltonian", "symplectic_euler_z_first"),
    ("one_bias_hamiltonian", "verlet"),
    ("hamiltonian", "symplectic_euler"),
    ("antisymmetric", "midpoint"),
    ("second_order", "leapfrog"),
]


def distance(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def kernel(inputs, outputs, seed=1):
    return np.random.default_rng(seed).normal(size=(3, 3, inputs, outputs)).astype("float32")


@pytest.mark.parametrize("size", [(4, 4), (8, 8), (16, 16), (5, 5), (1, 7)])
def test_products_are_the_convolution_and_its_adjoint(size):
    x, y, k = images(2, *size, 6), images(2, *size, 3), kernel(6, 3)
    products = winograd.Winograd(*size)
    direct = built("hamiltonian", size=size, convolution="direct")
    first, back = (lambda a: ops.transpose(a, (1, 2, 0, 3))), (lambda a: array(ops.transpose(a, (2, 0, 1, 3))))
    there, here = back(products.convolve(first(x), k)), back(products.convolve_transposed(first(y), k))
    assert distance(there, array(direct.convolve(x, k))) < 1e-5
    assert distance(here, array(direct.convolve_transposed(y, k))) < 1e-5
    difference = np.vdot(there.astype(float), y) - np.vdot(x.astype(float), here)
    assert abs(difference) < 1e-5 * np.linalg.norm(there) * np.linalg.norm(y)


@pytest.mark.parametrize("size", [4, 8, 16, 5])
def test_transforms_are_exact_in_whole_numbers(size):
    # Bᵀ, 24 G and Aᵀ are whole numbers: with small ones nothing is rounded but the division by 24².
    axis = winograd._Axis(size)
    assert axis.b.shape == (6 * axis.tiles, size) and axis.a.shape == (size, 6 * axis.tiles)
    assert axis.tiles == -(-size // 4)
    for shift in range(3):
        tap = np.zeros(3)
        tap[shift] = 1
        along = np.kron(winograd._G @ tap, np.ones(axis.tiles))
        np.testing.assert_allclose(axis.a @ (along[:, None] * axis.b), np.eye(size, k=shift - 1), atol=1e-6)


# Sizes, activations and weights in turn, so that each way meets one of them and each of them many ways.
@pytest.mark.parametrize(("block", "integrator", "backward"), covering(WAYS, 1))
@pytest.mark.jax("slow")
def test_units_of_products_are_units_of_convolutions(block, integrator, backward):
    number = WAYS.index((block, integrator, backward))
    size, activation = (4, 8, 16, 5)[number % 4], ("relu", "tanh", "tanh")[number % 3]
    how = {"size": (size, size), "integrator": integrator, "backward": backward, "activation": activation, "h": 0.1}
    how["weights_in_time"] = ("shared", "free", "shared", "free", "free")[number % 5]
    direct, products = (built(block, convolution=way, **how) for way in ("direct", "winograd"))
    assert products.uses_winograd and not direct.uses_winograd
    x, limit = images(2, size, size, 4), 1e-4 if activation == "relu" else 1e-5
    assert distance(array(products(x)), array(direct(x))) < limit
    mine, theirs = gradients(products, x), gradients(direct, x)
    assert distance(*(np.concatenate([one.ravel() for one in all_of]) for all_of in (mine, theirs))) < limit
    # Of a single weight's gradient, which may be small, rounding is a larger part.
    assert max(distance(*pair) for pair in zip(mine, theirs, strict=True)) < 1e-4


@pytest.mark.jax("slow")
@pytest.mark.parametrize("way", ONE_KERNEL, ids=["-".join(way) for way in ONE_KERNEL])
def test_the_gradient_of_a_kernel_is_one_product_for_all_its_convolutions(way, monkeypatch):
    block, integrator = way
    how = {"size": (5, 4), "integrator": integrator, "activation": "tanh", "h": 0.1, "convolution": "winograd"}
    alone, shared = (built(block, **how) for _ in range(2))
    x, left = images(2, 5, 4, 4), []
    expected = gradients(alone, x)
    monkeypatch.setattr(winograd, "sharing_pays", lambda *_: True)
    make = winograd.Shared.__init__
    monkeypatch.setattr(winograd.Shared, "__init__", lambda self, *given: [make(self, *given), left.append(self)][0])
    assert distance(array(shared(x)), array(alone(x))) < 1e-6
    for mine, theirs in zip(gradients(shared, x), expected, strict=True):
        assert distance(mine, theirs) < 1e-5
    assert left and not any(one._zeros for one in left)


def test_sharing_pays_where_kernels_are_large_and_images_small():
    cases = [(4, 4, 512), (4, 4, 63), (8, 8, 256), (8, 8, 255), (16, 16, 512)]
    assert [winograd.sharing_pays(*case) for case in cases] == [True, False, True, False, False]


@pytest.mark.jax
def test_a_unit_convolves_with_its_own_kernel():
    direct, products = (built("hamiltonian", size=(4, 4), convolution=way) for way in ("direct", "winograd"))
    x = images(2, 4, 4, 2)
    found = products.convolve(ops.transpose(x, (1, 2, 0, 3)), products.kernel)
    assert distance(array(ops.transpose(found, (2, 0, 1, 3))), array(direct.convolve(x, direct.kernel))) < 1e-5


@pytest.mark.jax("slow")
def test_auto_takes_products_where_they_are_faster(monkeypatch):
    def chosen(**changes):
        network = model.build(parameters.load(changes).model)
        return [unit.uses_winograd for unit in model.units(network)]

    assert chosen() == [False, False, True, True, True, True]
    # Too few channels; 4 × 4 tiles on images of 2 × 2 or 5 × 5 are mostly nothing.
    assert not any(winograd.is_faster(*case) for case in [(16, 16, 63), (2, 2, 512), (5, 5, 512)])
    assert winograd.is_faster(6, 6, 64)
    assert not built("hamiltonian", 256, (4, 4), dtype="mixed_bfloat16", convolution="auto").uses_winograd
    assert chosen(model={"kernel_size": 5}) == [False] * 6
    monkeypatch.setattr(winograd, "on_cpu", lambda: False)
    assert chosen() == [False] * 6


@pytest.mark.parametrize(
    ("size", "arguments"),
    [((4, 4), {"kernel_size": 5}), ((None, None), {}), ((0, 4), {}), ((4, 4), {"dtype": "mixed_bfloat16"})],
)
def test_what_products_cannot_do_is_refused(size, arguments):
    layer = blocks.HamiltonianConv2D(convolution="winograd", **arguments)
    with pytest.raises(ValueError, match="convolution winograd needs kernel_size 3, images of known size and float32"):
        layer.build((None, *size, 4))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("model", "kernel_size", 5), ("training", "precision", "mixed_bfloat16"), ("model", "architecture", "resnet20")],
)
def test_the_schema_refuses_what_products_cannot_do(section, key, value):
    given = {"model": {}, "training": {"convolution": "winograd"}}
    given[section] = {**given[section], key: value}
    with pytest.raises(InputError, match=f"convolution winograd needs units .*{section}.{key} is {value}"):
        parameters.load(given)
    given["training"] = {**given["training"], "convolution": "auto"}
    parameters.load(given)


@pytest.mark.jax("slow")
def test_chang_et_als_network_computes_with_products():
    chosen = parameters.load({"model": {"architecture": "hamiltonian38"}, "training": {"convolution": "winograd"}})
    network = model.build(chosen.model, convolution=chosen.training.convolution)
    assert model.winograd_units(network) == [unit.name for unit in model.units(network)]


def test_a_unit_with_products_takes_images_of_another_size_as_any_layer():
    direct, products = (built("hamiltonian", 4, (8, 8), convolution=way) for way in ("direct", "winograd"))
    x = images(2, 5, 16, 4)
    assert distance(array(products(x)), array(direct(x))) < 1e-5
    with pytest.raises(ValueError, match="convolution winograd needs images of known size"):
        products.call(keras.KerasTensor((1, None, None, 4)))


@pytest.mark.parametrize("block", ["hamiltonian", pytest.param("second_order", marks=pytest.mark.slow)])
def test_eigenvalues_of_a_wide_unit(block):
    from resode.analysis import stability

    # Wide enough for products; the Jacobian is taken of functions of ordinary images.
    assert len(stability.jacobian_eigenvalues(block, size=2, channels=128)) == 4 * 128 * (1 + (block == "second_order"))
