r"""Stability of a network's units: of the ODEs that they stand for, and of the steps that solve them.

Linearised, the unit of block `hamiltonian` follows x' = D (A x) with x = (y, z), D = diag(σ′) ≥ 0 and

    A = [[0, K], [−Kᵀ, 0]],    Aᵀ = −A.

The Jacobian D A has purely imaginary eigenvalues: they are those of the antisymmetric matrix D^½ A D^½. Where σ′ = 1 they
are ±i s with s the singular values of K, and where σ′ < 1 none is farther out. So the linearised ODE lets no perturbation
grow exponentially, and ω, the largest frequency there is, decides with h what an integrator's step makes of it:

    hamiltonian, second_order    ω = σ_max(K)
    two_layer_hamiltonian        ω ≤ σ_max(K₁) σ_max(K₂)
    antisymmetric                ω = σ_max(K − Kᵀ), with γ < ω / 1000; with a larger γ there is no verdict, since
                                 eigenvalues then lie left of the axis, where other limits hold (and midpoint has none)

The unit of two_layer_hamiltonian is not normal even where σ′ = 1: an oscillation that no step amplifies may still be larger after
some steps, so that there is a verdict on a step and no prediction for the unit.

The blocks residual and linear_multistep have eigenvalues anywhere; of them σ_max(K₁) σ_max(K₂), a Lipschitz constant of F, is
given, and no verdict.

Haber and Ruthotto (2017), "Stable Architectures for Deep Neural Networks", arXiv:1705.03341.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from resode.base import files
from resode.config.schema import ModelParams
from resode.nn import model
from resode.nn.blocks import BLOCKS, ODEConv2D
from resode.ode import linear_stability
from resode.ode.equations import ODES
from resode.ode.integrators import INTEGRATORS, refusal

# A γ of block antisymmetric that is smaller than ω by this factor does not count.
NEGLIGIBLE = 1e-3


def spectral_norm(
    kernel: np.ndarray,
    spatial_size: int | tuple[int, int],
    tolerance: float = 1e-4,
    antisymmetric: bool = False,
) -> float:
    """Largest singular value of the convolution x ↦ K x, or of x ↦ (K − Kᵀ) x; stride 1, "same" padding.

    It is the root of the largest eigenvalue of KᵀK, with Kᵀ the transposed convolution with the same kernel.
    On a large image many singular values lie close to the largest one, and power iteration would take
    thousands of steps; Lanczos' method (ARPACK) takes some dozens of the same price, two convolutions each.

    Args:
        kernel: (k, k, in, out).
        spatial_size: side of the square feature map, or (height, width).
        tolerance: relative accuracy of the eigenvalue; the norm's is half of it.
        antisymmetric: of K − Kᵀ, which needs in = out.

    Returns:
        σ_max; 0 for a zero operator.

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
        operator = _normal_operator(kernel / scale, shape, antisymmetric)
        # Rounding can make a zero eigenvalue negative.
        return scale * max(_largest_eigenvalue(operator, tolerance), 0.0) ** 0.5


def _normal_operator(kernel: np.ndarray, shape: tuple[int, ...], antisymmetric: bool) -> LinearOperator:
    """x ↦ KᵀK x, or (K − Kᵀ)ᵀ(K − Kᵀ) x, on flattened feature maps of `shape`."""
    kernel = ops.convert_to_tensor(kernel)
    how = {"strides": 1, "padding": "same", "data_format": "channels_last"}

    def forward(x: Any) -> Any:
        y = ops.conv(x, kernel, **how)
        return y - ops.conv_transpose(x, kernel, **how) if antisymmetric else y

    def adjoint(y: Any) -> Any:
        return -forward(y) if antisymmetric else ops.conv_transpose(y, kernel, **how)

    def apply(x: np.ndarray) -> np.ndarray:
        y = adjoint(forward(x.reshape(shape).astype("float32")))
        return np.asarray(ops.convert_to_numpy(y), dtype=float).ravel()

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


# --- units


@dataclass(frozen=True)
class UnitStability:
    """Stability of one unit, linearised where σ′ = 1, and the measured growth of a small perturbation.

    Attributes:
        omega: largest frequency of the unit's ODE; for a block without an imaginary axis a Lipschitz constant of F.
        inside: {integrator: whether h ω is inside its region}, for those that solve this ODE; empty without a verdict.
        step_amplification: spectral radius of one step of the chosen integrator at h ω; None without a verdict.
        unit_amplification: what the unit's steps do to the oscillation that they stretch most; None without a verdict, and
            where the matrix is not normal.
        measured: median over the images of ‖change of the output‖ / ‖change of the input‖ of the unit.
        measured_largest: the largest of them.
        measured_from_first: median of ‖change of the output‖ / ‖change of the first unit's input‖.
    """

    unit: int
    name: str
    channels: int
    spatial_size: int
    omega: float
    h_omega: float
    inside: dict[str, bool]
    step_amplification: float | None
    unit_amplification: float | None
    measured: float
    measured_largest: float
    measured_from_first: float


def unit_table(network: keras.Model, images: np.ndarray, tolerance: float = 1e-4) -> list[UnitStability]:
    """One row for each layer of `network` that solves an ODE, from the input to the output; empty if it has none.

    Args:
        images: (N, height, width, colours), as the network takes them; what is measured is measured on them.
        tolerance: see `spectral_norm`.
    """
    layers = model.units(network)
    if not layers:
        return []
    gains, from_first = perturbation_growth(network, images)
    return [
        _unit(number, layer, tolerance, gain, total)
        for number, (layer, gain, total) in enumerate(zip(layers, gains, from_first, strict=True), start=1)
    ]


def _unit(number: int, layer: ODEConv2D, tolerance: float, gains: np.ndarray, from_first: np.ndarray) -> UnitStability:
    _, height, _, channels = layer.input.shape
    omega = frequency(layer, tolerance)
    h_omega = layer.h * omega
    ode = ODES[layer.block]
    judged = ode.oscillates and getattr(layer, "gamma", 0.0) <= NEGLIGIBLE * omega
    solving = [name for name in INTEGRATORS if judged and not refusal(name, layer.form)]
    return UnitStability(
        unit=number,
        name=layer.name,
        channels=channels,
        spatial_size=height,
        omega=omega,
        h_omega=h_omega,
        inside={name: h_omega <= linear_stability.limit(name) for name in solving},
        step_amplification=linear_stability.amplification(layer.integrator, h_omega) if judged else None,
        unit_amplification=linear_stability.growth(layer.integrator, layer.form, h_omega, layer.unroll_length)
        if judged and ode.normal
        else None,
        measured=float(np.median(gains)),
        measured_largest=float(gains.max()),
        measured_from_first=float(np.median(from_first)),
    )


def frequency(layer: ODEConv2D, tolerance: float = 1e-4) -> float:
    """ω of a built unit, as this module's docstring has it for each block; with "free" weights the largest over the steps."""
    size = tuple(layer.input.shape[1:3])
    steps = layer.unroll_length if layer.weights_in_time == "free" else 1
    return max(
        math.prod(
            spectral_norm(ops.convert_to_numpy(weight), size, tolerance, ODES[layer.block].antisymmetric)
            for weight in layer.weights_of_step(step).values()
            if len(weight.shape) == 4
        )
        for step in range(steps)
    )


def perturbation_growth(network: keras.Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Measure how a small random perturbation of `images` grows through the units, by finite differences.

    Returns:
        Two arrays (units, N): ‖change of the output‖ / ‖change of the input‖ of each unit, and of each unit's output over
        the first unit's input. 0 where the change of the input has vanished.
    """
    layers = model.units(network)
    probe = keras.Model(network.input, [tensor for layer in layers for tensor in (layer.input, layer.output)])
    direction = np.random.default_rng(0).standard_normal(images.shape)
    # Small beside the images, large beside the rounding of float32.
    perturbed = images + 1e-3 * np.std(images) * direction
    before, after = (probe(np.asarray(batch, dtype="float32"), training=False) for batch in (images, perturbed))
    changes = [ops.convert_to_numpy(b) - ops.convert_to_numpy(a) for a, b in zip(before, after, strict=True)]
    sizes = np.array([np.linalg.norm(change.reshape(len(change), -1).astype(float), axis=1) for change in changes])
    given, returned = sizes[0::2], sizes[1::2]
    return _ratio(returned, given), _ratio(returned, given[:1])


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    denominator = np.broadcast_to(denominator, numerator.shape)
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


# --- eigenvalues


def jacobian_eigenvalues(block: str, size: int = 4, channels: int = 4, activation: str = "tanh") -> np.ndarray:
    """Eigenvalues λ of the Jacobian of a fresh unit's right-hand side in first-order form, at a random state.

    Args:
        block: a name in `blocks.BLOCKS`. Of linear_multistep it is the Jacobian of F.
        size, channels: of the small feature map.

    Returns:
        complex (n,), n = size² · channels, and twice as many for second_order, whose state is (v, x).
    """
    # Keras hands the seed out to initializers that have none.
    keras.utils.set_random_seed(0)
    # Its functions are taken apart here, on images as the units' input is.
    layer = BLOCKS[block](activation=activation, convolution="direct")
    x = np.random.default_rng(0).standard_normal((1, size, size, channels)).astype("float32")
    layer.build(x.shape)
    f = layer.right_hand_side(**{name: getattr(layer, name) for name in layer.weight_shapes(channels)})
    state = [ops.convert_to_numpy(part) for part in layer.initial_state(ops.convert_to_tensor(x))]
    # Function number i takes part number n − 1 − i of the state (see `integrators`).
    blocks = [_jacobian(function, part) for function, part in zip(f, reversed(state), strict=True)]
    if len(blocks) == 1:
        return np.linalg.eigvals(blocks[0])
    zero = np.zeros_like(blocks[0])
    return np.linalg.eigvals(np.block([[zero, blocks[0]], [blocks[1], zero]]))


def _jacobian(function: Any, x: np.ndarray, epsilon: float = 1e-2) -> np.ndarray:
    """Central differences of `function` at `x`; (x.size, x.size)."""
    steps = epsilon * np.eye(x.size, dtype="float32").reshape(x.size, *x.shape[1:])
    forward, backward = (ops.convert_to_numpy(function(ops.convert_to_tensor(x + s * steps))) for s in (1, -1))
    return ((forward - backward).astype(float) / (2 * epsilon)).reshape(x.size, x.size).T


# --- words and files


def eigenvalue_rows(found: Mapping[str, np.ndarray]) -> list[dict[str, str]]:
    """Positions of the eigenvalues λ of each block, {block: λ}, a row a block, for a table."""
    return [
        {
            "block": block,
            # Adding 0 turns a rounded −0 into 0.
            "smallest Re λ": f"{values.real.min().round(4) + 0:.4f}",
            "largest Re λ": f"{values.real.max().round(4) + 0:.4f}",
            "largest |Im λ|": f"{np.abs(values.imag).max():.4f}",
        }
        for block, values in found.items()
    ]


def growth_rows(units: Sequence[UnitStability]) -> list[dict[str, Any]]:
    """Predicted beside measured, a row a unit, for a table."""
    return [
        {
            "unit": unit.unit,
            "channels": unit.channels,
            "pixels": f"{unit.spatial_size}\u00a0×\u00a0{unit.spatial_size}",
            r"$\omega$": f"{unit.omega:.3f}",
            r"$h \omega$": f"{unit.h_omega:.3f}",
            "predicted a step": _shown(unit.step_amplification),
            "predicted over the unit": _shown(unit.unit_amplification),
            "measured, median": _shown(unit.measured),
            "measured, largest": _shown(unit.measured_largest),
            "measured from the first unit on": _shown(unit.measured_from_first),
        }
        for unit in units
    ]


def region_rows(units: Sequence[UnitStability]) -> list[dict[str, Any]]:
    """Which integrators keep the oscillations of each unit bounded at its h ω, for a table; without a verdict no rows."""
    return [
        {
            "unit": unit.unit,
            r"$h \omega$": f"{unit.h_omega:.3f}",
            **{
                f"{name} (up to {linear_stability.limit(name):.4g})": "inside" if inside else "outside"
                for name, inside in unit.inside.items()
            },
        }
        for unit in units
        if unit.inside
    ]


def _shown(value: float | None) -> str:
    return "—" if value is None else f"{value:.3f}"


def summary(units: Sequence[UnitStability], integrator: str) -> str:
    """Summarise the table in a sentence or two; also where there is nothing in it."""
    if not units:
        return "This network has no unit that solves an ODE, so there is nothing to judge here."
    largest = max(unit.h_omega for unit in units)
    if not any(unit.inside for unit in units):
        return (
            rf"The largest $h \omega$, a Lipschitz constant of h times the right-hand side, is {largest:.3g}. Eigenvalues of these units lie off the "
            "imaginary axis, so its limits do not decide about them."
        )
    stable = sum(unit.inside.get(integrator, False) for unit in units)
    bound = linear_stability.limit(integrator)
    start = rf"The largest $h \omega$ is {largest:.3g}. "
    if bound == 0:
        return start + f"{integrator} lets every oscillation grow: none of {len(units)} units is inside."
    return (
        start
        + rf"{integrator} keeps oscillations bounded up to $h \omega = {bound:.3g}$: {stable} of {len(units)} units are inside."
    )


def write(folder: Path, units: Sequence[UnitStability], params: ModelParams, training: str | None) -> None:
    """Write `stability.json` to `folder`: the name of the `training`, what of `params` decides about the units, and the units."""
    names = ("architecture", "block", "integrator", "weights_in_time", "h", "unroll_length")
    setting = {name: getattr(params, name) for name in names}
    files.write_json(
        Path(folder) / "stability.json", {"training": training, **setting, "units": [asdict(unit) for unit in units]}
    )
