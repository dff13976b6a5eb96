"""Stability: spectral norms against dense SVDs, Euler steps against their closed forms."""

import json

import keras
import numpy as np
import pytest

from resode import plots_results, plots_stability, stability
from resode.layers import HamiltonianConv2D


def dense(kernel: np.ndarray, height: int, width: int) -> np.ndarray:
    """Matrix of z ↦ K z with zero padding, written out pixel by pixel."""
    size, _, inputs, outputs = kernel.shape
    margin = (size - 1) // 2
    matrix = np.zeros((height, width, outputs, height, width, inputs))
    for row, column in np.ndindex(height, width):
        for down, across in np.ndindex(size, size):
            r, c = row + down - margin, column + across - margin
            if 0 <= r < height and 0 <= c < width:
                matrix[row, column, :, r, c, :] += kernel[down, across].T
    return matrix.reshape(height * width * outputs, height * width * inputs)


@pytest.mark.parametrize(
    "size, channels, height, width", [(3, 2, 6, 6), (3, 4, 5, 7), (5, 1, 6, 4), (1, 3, 4, 4), (2, 2, 4, 5)]
)
def test_spectral_norm_is_the_largest_singular_value(size, channels, height, width):
    kernel = np.random.default_rng(size).normal(size=(size, size, channels, channels))
    expected = np.linalg.svd(dense(kernel, height, width), compute_uv=False)[0]
    assert stability.spectral_norm(kernel, (height, width), 1e-5) == pytest.approx(expected, rel=1e-4)


def test_spectral_norm_of_simple_kernels():
    assert stability.spectral_norm(np.zeros((3, 3, 2, 2)), 4) == 0
    identity = np.zeros((3, 3, 2, 2))
    identity[1, 1] = np.eye(2)
    assert stability.spectral_norm(1e-25 * identity, 4) == pytest.approx(1e-25, rel=1e-5)
    assert stability.spectral_norm(np.full((1, 1, 1, 1), -3.0), 1) == pytest.approx(3)


def test_spectral_norm_of_an_operator_that_sees_only_padding_is_zero():
    kernel = np.zeros((3, 3, 2, 2))
    kernel[0, 0] = 1
    assert stability.spectral_norm(kernel, 1) == 0


def test_spectral_norm_is_the_same_number_each_time():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 4))
    assert stability.spectral_norm(kernel, 8) == stability.spectral_norm(kernel, 8)


@pytest.mark.parametrize("kernel", [np.ones((3, 3, 2)), np.full((1, 1, 1, 1), np.nan)])
def test_spectral_norm_refuses_what_is_no_kernel(kernel):
    with pytest.raises(ValueError, match="kernel must be"):
        stability.spectral_norm(kernel, 4)


def test_euler_trajectory_of_a_linear_system_is_a_matrix_power():
    K, h, x0 = np.array([[0.0, -1.0], [1.0, 0.0]]), 0.1, np.array([0.0, 0.5])
    points = stability.trajectory(K, np.zeros(2), lambda x: x, x0, h, 10)
    assert points.shape == (11, 2)
    np.testing.assert_allclose(points[10], np.linalg.matrix_power(np.eye(2) + h * K, 10) @ x0, atol=1e-14)
    # |1 + ih| = √1.01 a step.
    assert np.linalg.norm(points[10]) == pytest.approx(0.5 * 1.01**5)


def test_euler_trajectory_by_hand():
    points = stability.trajectory([[2.0, -2.0], [0.0, 2.0]], [0.0, 1.0], np.tanh, [0.1, 0.1], 0.1, 1)
    np.testing.assert_allclose(points[1], [0.1, 0.1 + 0.1 * np.tanh(1.2)], atol=1e-15)


def test_solution_turns_in_a_circle_where_euler_spirals_out():
    K, x0 = stability.PORTRAITS[-1].K, [0.0, 0.5]
    exact = stability.solution(K, np.zeros(2), lambda x: x, x0, 2 * np.pi)
    np.testing.assert_allclose(exact[-1], x0, atol=1e-8)


@pytest.mark.parametrize("h, steps, name", [(0, 1, "h"), (-1, 1, "h"), (float("nan"), 1, "h"), (0.1, 0, "steps")])
def test_trajectory_names_the_argument_out_of_range(h, steps, name):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        stability.trajectory(np.eye(2), np.zeros(2), np.tanh, [0, 1], h, steps)


def test_portraits_have_the_eigenvalues_they_are_named_after():
    values = {portrait.title: portrait.eigenvalues for portrait in stability.PORTRAITS}
    np.testing.assert_allclose(values["positive"], 2)
    np.testing.assert_allclose(values["negative"], -2)
    np.testing.assert_allclose(values["zero"], 0)
    np.testing.assert_allclose(sorted(values["imaginary"].imag), [-1, 1])
    np.testing.assert_allclose(values["imaginary"].real, 0, atol=1e-15)


def test_amplification():
    assert stability.amplification(0.15, 0) == 1
    assert stability.amplification(0.5, 2) == pytest.approx(np.sqrt(2))
    assert stability.amplification(0.5, 2, 4) == pytest.approx(4)


def small_network() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 4))
    x = HamiltonianConv2D(h=0.15, unroll_length=3, name="first")(inputs)
    x = keras.layers.AveragePooling2D(2)(x)
    return keras.Model(inputs, HamiltonianConv2D(h=0.15, unroll_length=3, name="second")(x))


def test_unit_table_has_a_row_for_each_unit():
    model = small_network()
    rows = stability.unit_table(model, 0.15, 1e-5)
    assert [(row.unit, row.name, row.channels, row.spatial_size) for row in rows] == [
        (1, "first", 4, 6),
        (2, "second", 4, 3),
    ]
    for row in rows:
        kernel = model.get_layer(row.name).kernel.numpy()
        expected = np.linalg.svd(dense(kernel, row.spatial_size, row.spatial_size), compute_uv=False)[0]
        assert row.sigma_max == pytest.approx(expected, rel=1e-4)
        assert row.h_sigma == pytest.approx(0.15 * row.sigma_max)
        assert row.unit_amplification == pytest.approx(row.step_amplification**3)


def test_a_linear_unit_amplifies_its_fastest_mode_by_what_the_table_says():
    # With σ the identity a unit is (I + hA)^3, a normal matrix, whose norm is the amplification.
    inputs = keras.Input((4, 4, 4))
    layer = HamiltonianConv2D(h=0.3, unroll_length=3, activation=None)
    model = keras.Model(inputs, layer(inputs))
    basis = np.eye(64, dtype="float32").reshape(64, 4, 4, 4)
    matrix = keras.ops.convert_to_numpy(layer(basis)).reshape(64, 64)
    row = stability.unit_table(model, 0.3, 1e-5)[0]
    assert row.unit_amplification == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-3)


def test_written_table(tmp_path):
    rows = stability.unit_table(small_network(), 0.15, 1e-2)
    stability.write(tmp_path, rows, 0.15, 3)
    content = json.loads((tmp_path / "stability.json").read_text())
    assert (content["h"], content["unroll_length"], len(content["units"])) == (0.15, 3, 2)
    assert content["units"][1]["sigma_max"] == rows[1].sigma_max


def test_figures_can_be_drawn():
    rows = stability.unit_table(small_network(), 0.15, 1e-2)
    for figure in (
        plots_stability.phase_portraits(0.1, 2),
        plots_stability.orbit_growth([0.5], time=2.0),
        plots_stability.unit_stability(rows, 0.15, 3),
        plots_stability.amplification_curve(rows, 0.15),
    ):
        assert plots_results.png(figure).startswith(b"\x89PNG")
