r"""Stability of the layers as an ODE and of the explicit Euler steps that solve it.

A unit integrates x' = σ(A x + b) with x = (y, z) and

    A = [[0, K], [−Kᵀ, 0]],    Aᵀ = −A.

Its Jacobian diag(σ′) A has purely imaginary eigenvalues: with D = diag(σ′) ≥ 0 they are those of the
antisymmetric matrix D^½ A D^½. Where σ′ = 1 they are ±i s with s the singular values of K. So the linearised
ODE lets no perturbation grow exponentially, but one step of explicit Euler multiplies the mode ±i s by
|1 ± i h s| = √(1 + h² s²) > 1.

Haber and Ruthotto (2017), Stable architectures for deep neural networks, Inverse Problems 34, 014004.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops
from scipy.integrate import solve_ivp
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from . import files
from .layers import HamiltonianConv2D

Vector = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Portrait:
    """One phase portrait: a 2×2 matrix, what its eigenvalues are called, and what they do."""

    title: str
    meaning: str
    K: tuple[tuple[float, float], tuple[float, float]]

    @property
    def eigenvalues(self) -> np.ndarray:
        """Eigenvalues of K, complex (2,)."""
        return np.linalg.eigvals(np.array(self.K, dtype=complex))


# The first, second and fourth matrix are those of Haber and Ruthotto (2017), section 3; they write x as a row
# and multiply from the left, here x is a column. The third has only the eigenvalue zero without being zero.
PORTRAITS = (
    Portrait("positive", "differences grow: unstable", ((2.0, -2.0), (0.0, 2.0))),
    Portrait("negative", "differences vanish: input forgotten", ((-2.0, 0.0), (2.0, -2.0))),
    Portrait("zero", "drift in one direction", ((0.0, 1.0), (0.0, 0.0))),
    Portrait("imaginary", "rotation: the ODE is stable", ((0.0, -1.0), (1.0, 0.0))),
)
STARTS = ((0.1, 0.1), (-0.1, -0.1), (0.0, 0.5), (0.0, -0.5), (0.7, 0.0), (-0.7, 0.0))


def trajectory(K: Vector, b: Vector, sigma: Callable, x0: Vector, h: float, steps: int) -> np.ndarray:
    """Explicit Euler for x' = σ(K x + b):  x_{n+1} = x_n + h σ(K x_n + b).

    Args:
        K: (d, d) matrix.
        b: (d,) bias.
        sigma: activation, applied element by element.
        x0: (d,) starting point.
        h: step size, greater than zero.
        steps: number of steps, at least one.

    Returns:
        (steps + 1, d): x_0 … x_steps.

    Raises:
        ValueError: h or steps out of range.
    """
    if not h > 0:
        raise ValueError(f"h must be greater than 0, not {h}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    K, b = np.asarray(K, dtype=float), np.asarray(b, dtype=float)
    points = [np.asarray(x0, dtype=float)]
    for _ in range(steps):
        points.append(points[-1] + h * sigma(K @ points[-1] + b))
    return np.stack(points)


def solution(K: Vector, b: Vector, sigma: Callable, x0: Vector, time: float, samples: int = 200) -> np.ndarray:
    """The ODE's own solution from `x0` over [0, time], to ten digits; (samples, d)."""
    K, b = np.asarray(K, dtype=float), np.asarray(b, dtype=float)
    at = np.linspace(0, time, samples)
    result = solve_ivp(lambda t, x: sigma(K @ x + b), (0, time), x0, t_eval=at, rtol=1e-10, atol=1e-12)
    return result.y.T


def spectral_norm(
    kernel: np.ndarray,
    spatial_size: int | tuple[int, int],
    tolerance: float = 1e-4,
) -> float:
    """Largest singular value of the convolution z ↦ K z, stride 1, "same" padding.

    It is the root of the largest eigenvalue of KᵀK, with Kᵀ the transposed convolution with the same kernel.
    On a large image many singular values lie close to the largest one, and power iteration would take
    thousands of steps; Lanczos' method (ARPACK) takes some dozens of the same price, two convolutions each.

    Args:
        kernel: (k, k, in, out).
        spatial_size: side of the square feature map, or (height, width).
        tolerance: relative accuracy of the eigenvalue; the norm's is half of it.

    Returns:
        σ_max(K); 0 for a zero kernel.

    Raises:
        ValueError: a kernel that is not finite or not 4-dimensional, or no convergence.
    """
    kernel = np.asarray(kernel, dtype="float32")
    if kernel.ndim != 4 or not np.isfinite(kernel).all():
        raise ValueError("kernel must be a finite array of shape (k, k, in, out)")
    scale = float(np.abs(kernel).max())
    if scale == 0:
        return 0.0
    height, width = (spatial_size, spatial_size) if isinstance(spatial_size, int) else spatial_size
    shape = (1, height, width, kernel.shape[2])
    # On a GPU convolutions may be rounded to ten bits of mantissa, too few for the tolerance.
    with keras.device("cpu:0"):
        return scale * _largest_eigenvalue(_normal_operator(kernel / scale, shape), tolerance) ** 0.5


def _normal_operator(kernel: np.ndarray, shape: tuple[int, ...]) -> LinearOperator:
    """z ↦ KᵀK z on flattened feature maps of `shape`."""
    kernel = ops.convert_to_tensor(kernel)
    how = {"strides": 1, "padding": "same", "data_format": "channels_last"}

    def apply(z: np.ndarray) -> np.ndarray:
        forward = ops.conv(z.reshape(shape).astype("float32"), kernel, **how)
        return np.asarray(ops.convert_to_numpy(ops.conv_transpose(forward, kernel, **how)), dtype=float).ravel()

    return LinearOperator(2 * (int(np.prod(shape)),), matvec=apply, dtype=float)


def _largest_eigenvalue(operator: LinearOperator, tolerance: float) -> float:
    # A fixed start makes equal kernels give equal bytes.
    start = np.random.default_rng(0).standard_normal(operator.shape[0])
    image = operator @ start
    # ARPACK takes neither a 1×1 nor a zero operator.
    if operator.shape[0] == 1 or not image.any():
        return float(np.linalg.norm(image) / np.linalg.norm(start))
    try:
        return float(eigsh(operator, k=1, v0=start, tol=tolerance, return_eigenvectors=False)[0])
    except ArpackNoConvergence as error:
        raise ValueError(f"tolerance {tolerance} cannot be reached; choose a larger one") from error


def amplification(h: float, sigma_max: float, steps: int = 1) -> float:
    """Growth √(1 + (h σ)²)^steps of the mode with singular value σ over explicit Euler steps of size h."""
    return float((1 + (h * sigma_max) ** 2) ** (steps / 2))


@dataclass(frozen=True)
class Unit:
    """What h means for one trained unit."""

    unit: int
    name: str
    channels: int
    spatial_size: int
    sigma_max: float
    h_sigma: float
    step_amplification: float
    unit_amplification: float


def unit_table(model, h: float, tolerance: float = 1e-4) -> list[Unit]:
    """One row for each Hamiltonian unit of `model`, from the input to the output.

    `step_amplification` is √(1 + (h σ_max)²), the growth of the fastest mode in one explicit Euler step where
    σ′ = 1; `unit_amplification` the same over the unit's unrolled steps. It is what the linearisation says of
    one mode, neither a bound on nor a measurement of what the nonlinear unit does to an image.
    """
    return [_unit(number, layer, h, tolerance) for number, layer in enumerate(_units(model), start=1)]


def _units(model) -> list:
    return [layer for layer in model.layers if isinstance(layer, HamiltonianConv2D)]


def _unit(number: int, layer, h: float, tolerance: float) -> Unit:
    _, height, width, channels = layer.input.shape
    sigma = spectral_norm(layer.kernel.numpy(), (height, width), tolerance)
    return Unit(
        unit=number,
        name=layer.name,
        channels=channels,
        spatial_size=height,
        sigma_max=sigma,
        h_sigma=h * sigma,
        step_amplification=amplification(h, sigma),
        unit_amplification=amplification(h, sigma, layer.unroll_length),
    )


def write(folder: Path, units: Sequence[Unit], h: float, unroll_length: int) -> None:
    """Write `stability.json` to `folder`."""
    content = {"h": h, "unroll_length": unroll_length, "units": [asdict(unit) for unit in units]}
    files.write_json(Path(folder) / "stability.json", content)
