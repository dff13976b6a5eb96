"""Stability of units: spectral norms against dense SVDs, growth against closed forms, for every block."""

import json

import keras
import numpy as np
import pytest

from resode.analysis import stability
from resode.config import parameters
from resode.figures import stability as plots_stability
from resode.figures import style
from resode.nn import model
from resode.nn.blocks import BLOCKS
from resode.ode.equations import ODES
from resode.ode.integrators import INTEGRATORS, refusal

pytestmark = pytest.mark.jax("slow")


def dense(kernel: np.ndarray, height: int, width: int) -> np.ndarray:
    """Matrix of z ↦ K z with zero padding, written out pixel by pixel."""
    size, _, inputs, outputs = kernel.shape
    margin = (size - 1) // 2
    matrix = np.zeros((height, width, outputs, height, width, inputs))
    for row, column, down, across in np.ndindex(height, width, size, size):
        r, c = row + down - margin, column + across - margin
        if 0 <= r < height and 0 <= c < width:
            matrix[row, column, :, r, c, :] += kernel[down, across].T
    return matrix.reshape(height * width * outputs, height * width * inputs)


def norm(matrix: np.ndarray) -> float:
    return np.linalg.norm(matrix, 2)


@pytest.mark.parametrize(
    "size, channels, height, width", [(3, 2, 6, 6), (3, 4, 5, 7), (5, 1, 6, 4), (1, 3, 4, 4), (2, 2, 4, 5)]
)
def test_spectral_norm_is_the_largest_singular_value_also_of_the_antisymmetric_part(size, channels, height, width):
    kernel = np.random.default_rng(size).normal(size=(size, size, channels, channels))
    matrix = dense(kernel, height, width)
    for antisymmetric, expected in ((False, norm(matrix)), (True, norm(matrix - matrix.T))):
        found = stability.spectral_norm(kernel, (height, width), 1e-5, antisymmetric=antisymmetric)
        assert found == pytest.approx(expected, rel=1e-4)


def test_spectral_norm_of_simple_kernels():
    assert stability.spectral_norm(np.zeros((3, 3, 2, 2)), 4) == 0
    identity = np.zeros((3, 3, 2, 2))
    identity[1, 1] = np.eye(2)
    assert stability.spectral_norm(identity, 4, antisymmetric=True) == 0
    assert stability.spectral_norm(1e-25 * identity, 4) == pytest.approx(1e-25, rel=1e-5)
    assert stability.spectral_norm(np.full((1, 1, 1, 1), -3.0), 1) == pytest.approx(3)
    # An operator that sees only padding.
    corner = np.zeros((3, 3, 2, 2))
    corner[0, 0] = 1
    assert stability.spectral_norm(corner, 1) == 0


@pytest.mark.parametrize("kernel", [np.ones((3, 3, 2)), np.full((1, 1, 1, 1), np.nan)])
def test_spectral_norm_refuses_what_is_no_kernel(kernel):
    with pytest.raises(ValueError, match="kernel must be"):
        stability.spectral_norm(kernel, 4)


# --- units


def network(block="hamiltonian", **changes):
    """A fresh network of two units, 4 channels on 8 × 8 and 8 channels on 4 × 4 pixels, and images for it."""
    keras.utils.set_random_seed(0)
    changed = {"block": block, "channels": [4, 8], "pool_after": [1], "unroll_length": 3, **changes}
    built = model.build(parameters.load({"model": changed}).model, 3, (8, 8, 1))
    return built, np.random.default_rng(0).standard_normal((5, 8, 8, 1))


def operator(layer, name: str, step: int | None = None) -> np.ndarray:
    kernel = keras.ops.convert_to_numpy(getattr(layer, name))
    return dense(kernel if step is None else kernel[step], *layer.input.shape[1:3])


OMEGA = {
    "hamiltonian": lambda unit: norm(operator(unit, "kernel")),
    "one_bias_hamiltonian": lambda unit: norm(operator(unit, "kernel")),
    "two_layer_hamiltonian": lambda unit: norm(operator(unit, "kernel1")) * norm(operator(unit, "kernel2")),
    "antisymmetric": lambda unit: norm(operator(unit, "kernel") - operator(unit, "kernel").T),
    "second_order": lambda unit: norm(operator(unit, "kernel")),
    "residual": lambda unit: norm(operator(unit, "kernel1")) * norm(operator(unit, "kernel2")),
    "linear_multistep": lambda unit: norm(operator(unit, "kernel1")) * norm(operator(unit, "kernel2")),
}
# The blocks with imaginary eigenvalues get a verdict, for each integrator that solves them.
JUDGED = ("hamiltonian", "one_bias_hamiltonian", "two_layer_hamiltonian", "antisymmetric", "second_order")
SOLVING = {
    block: [name for name in INTEGRATORS if block in JUDGED and not refusal(name, ODES[block].form)] for block in BLOCKS
}


@pytest.mark.parametrize(
    "block", [pytest.param(one, marks=[] if one in ("hamiltonian", "residual") else pytest.mark.slow) for one in BLOCKS]
)
def test_a_row_for_each_unit_of_every_block(block):
    built, images = network(block, h=0.2)
    rows = stability.unit_table(built, images, 1e-5)
    sizes = [(row.unit, row.name, row.channels, row.spatial_size) for row in rows]
    assert sizes == [(1, "unit1", 4, 8), (2, "unit2", 8, 4)]
    for row, unit in zip(rows, model.units(built), strict=True):
        assert row.omega == pytest.approx(OMEGA[block](unit), rel=1e-4)
        assert row.h_omega == pytest.approx(0.2 * row.omega)
        assert list(row.inside) == SOLVING[block]
        assert 0 < row.measured <= row.measured_largest
        if SOLVING[block]:
            assert not row.inside["euler"] and row.inside["rk4"] == (row.h_omega <= 8**0.5)
            assert row.step_amplification == pytest.approx((1 + row.h_omega**2) ** 0.5)
            # Not normal: a bound on the growth over several steps is not known.
            assert (row.unit_amplification is None) == (block == "two_layer_hamiltonian")
        else:
            assert row.step_amplification is None and row.unit_amplification is None
    assert rows[0].measured_from_first == rows[0].measured


def test_damping_that_counts_gets_no_verdict():
    built, images = network("antisymmetric", gamma=0.5)
    rows = stability.unit_table(built, images)
    assert all(row.inside == {} and row.step_amplification is row.unit_amplification is None for row in rows)
    assert "off the imaginary axis" in stability.summary(rows, "midpoint")


def test_free_weights_are_judged_by_their_fastest_step():
    built, images = network(weights_in_time="free")
    unit = model.units(built)[0]
    unit.kernel.assign(np.random.default_rng(0).standard_normal(unit.kernel.shape))
    expected = max(norm(operator(unit, "kernel", step)) for step in range(3))
    assert stability.frequency(unit, 1e-5) == pytest.approx(expected, rel=1e-4)
    assert len(stability.unit_table(built, images)) == 2


def linear_unit(block: str, integrator: str, **options):
    """The matrix of a whole unit with σ the identity, and its row of the table."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4, 4, 4))
    layer = BLOCKS[block](h=0.3, unroll_length=3, activation=None, integrator=integrator, **options)
    built = keras.Model(inputs, layer(inputs))
    basis = np.eye(64, dtype="float32").reshape(64, 4, 4, 4)
    matrix = keras.ops.convert_to_numpy(layer(basis)).reshape(64, 64).T
    return matrix, stability.unit_table(built, np.random.default_rng(0).standard_normal((3, 4, 4, 4)), 1e-5)[0]


@pytest.mark.parametrize("block", ["hamiltonian", "antisymmetric"])
def test_euler_stretches_the_fastest_mode_by_what_the_table_says(block):
    # (I + h A)³ with A antisymmetric is a normal matrix.
    matrix, row = linear_unit(block, "euler", **({"gamma": 0.0} if block == "antisymmetric" else {}))
    assert row.unit_amplification == pytest.approx(norm(matrix), rel=1e-3)
    assert row.unit_amplification == pytest.approx(row.step_amplification**3)


@pytest.mark.parametrize(
    ("block", "integrator"),
    [(block, name) for block in ("hamiltonian", "second_order") for name in SOLVING[block]]
    + [("antisymmetric", "rk4")],
)
def test_no_mode_of_a_linear_unit_grows_by_more_than_the_table_says(block, integrator):
    matrix, row = linear_unit(block, integrator)
    assert norm(matrix) <= row.unit_amplification * (1 + 1e-3)
    assert row.measured_largest <= row.unit_amplification * (1 + 1e-3)


def test_measured_growth_of_a_linear_unit_is_that_of_its_matrix():
    matrix, row = linear_unit("residual", "euler")
    # The perturbation that the table takes: random numbers of the images' shape.
    directions = np.random.default_rng(0).standard_normal((3, 4, 4, 4)).reshape(3, 64).T
    expected = np.linalg.norm(matrix @ directions, axis=0) / np.linalg.norm(directions, axis=0)
    assert row.measured == pytest.approx(np.median(expected), rel=2e-3)
    assert row.measured_largest == pytest.approx(expected.max(), rel=2e-3)


def test_a_vanished_perturbation_grows_by_nothing():
    built, images = network()
    stem = built.get_layer("stem_convolution")
    stem.set_weights([np.zeros_like(weight) for weight in stem.get_weights()])
    gains, from_first = stability.perturbation_growth(built, images)
    assert not gains.any() and not from_first.any()


# --- eigenvalues


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_where_the_eigenvalues_of_each_block_are(block, activation):
    values = stability.jacobian_eigenvalues(block, activation=activation)
    assert len(values) == (128 if block == "second_order" else 64)
    largest = np.abs(values).max()
    if SOLVING[block]:
        assert np.abs(values.real).max() < 0.02 * largest and np.abs(values.imag).max() > 0.5
    else:
        assert np.abs(values.real).max() > 0.1 * largest


def test_jacobian_of_a_linear_unit_is_its_antisymmetric_matrix():
    found = stability.jacobian_eigenvalues("hamiltonian", activation=None)
    keras.utils.set_random_seed(0)
    layer = BLOCKS["hamiltonian"]()
    layer.build((1, 4, 4, 4))
    singular = np.linalg.svd(dense(keras.ops.convert_to_numpy(layer.kernel), 4, 4), compute_uv=False)
    np.testing.assert_allclose(np.sort(np.abs(found))[::2], np.sort(singular), atol=1e-3)


# --- words, files, figures


def test_words_and_figures_with_and_without_a_verdict():
    built, images = network()
    units = stability.unit_table(built, images)
    assert "none of 2 units is inside" in stability.summary(units, "euler")
    assert "2 of 2 units are inside" in stability.summary(units, "symplectic_euler")
    assert stability.region_rows(units)[0]["euler (up to 0)"] == "outside"
    assert stability.region_rows(units)[1]["symplectic_euler (up to 2)"] == "inside"
    assert stability.growth_rows(units)[1]["pixels"] == "4\u00a0×\u00a04"
    residual = stability.unit_table(*network("residual"))
    for figure in (
        plots_stability.unit_growth(residual),
        plots_stability.amplification_over_h(residual, "euler", 0.15),
    ):
        assert style.png(figure)
    assert "Lipschitz" in stability.summary(residual, "euler") and stability.region_rows(residual) == []
    assert stability.growth_rows(residual)[0]["predicted a step"] == "—"


def test_a_network_without_units_says_so():
    built = model.build(parameters.load({"model": {"architecture": "resnet20"}}).model)
    units = stability.unit_table(built, np.zeros((1, 32, 32, 3)))
    assert units == [] == stability.growth_rows(units) == stability.region_rows(units)
    assert "no unit that solves an ODE" in stability.summary(units, "euler")


def test_written_table(tmp_path):
    units = stability.unit_table(*network("residual"))
    stability.write(tmp_path, units, parameters.load({"model": {"block": "residual", "unroll_length": 3}}).model, "a")
    content = json.loads((tmp_path / "stability.json").read_text(encoding="utf-8"))
    assert (content["block"], content["h"], content["unroll_length"], len(content["units"])) == ("residual", 0.15, 3, 2)
    assert content["units"][1]["omega"] == units[1].omega and content["units"][1]["unit_amplification"] is None
