r"""The ordinary differential equations that the blocks solve, by the names that params.yaml knows them by.

Each is a function of its weights that returns the right-hand side, as `integrators` takes it. `ops` says how to do
a convolution K x (`convolve`), its adjoint Kᵀ x (`convolve_transposed`) and σ (`activation`), so that Keras layers and
plain NumPy share the formulas. Kernels are (k, k, in, out), biases (channels,).

Sources:
    S. Rome (2018), "Using Ordinary Differential Equations To Design State of the Art Residual-Style Layers",
    srome.github.io.
    E. Haber and L. Ruthotto (2017), "Stable Architectures for Deep Neural Networks", arXiv:1705.03341.
    B. Chang et al. (2017), "Reversible Architectures for Arbitrarily Deep Residual Neural Networks", arXiv:1709.03698.
    K. He et al. (2015), "Deep Residual Learning for Image Recognition", arXiv:1512.03385.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from resode.ode.integrators import FIRST_ORDER, PARTITIONED, SECOND_ORDER, RightHandSide


def hamiltonian(ops: Any, kernel: Any, b1: Any, b2: Any) -> RightHandSide:
    """The post's: y' = σ(K z + b₁), z' = σ(−Kᵀ y + b₂)."""
    return (
        lambda z: ops.activation(ops.convolve(z, kernel) + b1),
        lambda y: ops.activation(-ops.convolve_transposed(y, kernel) + b2),
    )


def one_bias_hamiltonian(ops: Any, kernel: Any, b: Any) -> RightHandSide:
    """Haber and Ruthotto's: y' = σ(K z + b), z' = −σ(Kᵀ y + b). Their steps advance z first, see `symplectic_euler_z_first`."""
    return (
        lambda z: ops.activation(ops.convolve(z, kernel) + b),
        lambda y: -ops.activation(ops.convolve_transposed(y, kernel) + b),
    )


def two_layer_hamiltonian(ops: Any, kernel1: Any, b1: Any, kernel2: Any, b2: Any) -> RightHandSide:
    """Chang et al.'s: y' = K₁ᵀ σ(K₁ z + b₁), z' = −K₂ᵀ σ(K₂ y + b₂)."""
    return (
        lambda z: ops.convolve_transposed(ops.activation(ops.convolve(z, kernel1) + b1), kernel1),
        lambda y: -ops.convolve_transposed(ops.activation(ops.convolve(y, kernel2) + b2), kernel2),
    )


def antisymmetric(ops: Any, kernel: Any, b: Any) -> RightHandSide:
    """Haber and Ruthotto's: x' = σ((K − Kᵀ − γ I) x + b), with γ = `ops.gamma`."""
    return (
        lambda x: ops.activation(ops.convolve(x, kernel) - ops.convolve_transposed(x, kernel) - ops.gamma * x + b),
    )  # fmt: skip


def second_order(ops: Any, kernel: Any, b: Any) -> RightHandSide:
    """Haber and Ruthotto's and Chang et al.'s: x'' = −Kᵀ σ(K x + b), as v' = −Kᵀ σ(K x + b), x' = v."""
    return (
        lambda x: -ops.convolve_transposed(ops.activation(ops.convolve(x, kernel) + b), kernel),
        lambda v: v,
    )


def residual(ops: Any, kernel1: Any, b1: Any, kernel2: Any, b2: Any) -> RightHandSide:
    """He et al.'s, F two convolutions: x' = F(x) = K₂ σ(K₁ x + b₁) + b₂."""
    return (
        lambda x: ops.convolve(ops.activation(ops.convolve(x, kernel1) + b1), kernel2) + b2,
    )  # fmt: skip


Shapes = dict[str, tuple[int, ...]]


def _one_kernel(size: int, channels: int) -> Shapes:
    return {"kernel": (size, size, channels, channels), "b": (channels,)}


def _two_kernels(size: int, channels: int) -> Shapes:
    kernel = (size, size, channels, channels)
    return {"kernel1": kernel, "b1": (channels,), "kernel2": kernel, "b2": (channels,)}


def _shared_kernel(size: int, channels: int) -> Shapes:
    return {"kernel": (size, size, channels, channels), "b1": (channels,), "b2": (channels,)}


@dataclass(frozen=True)
class ODE:
    """One entry of ODES.

    Attributes:
        right_hand_side: (ops, *weights) to the functions of the right-hand side.
        equations: as figures show them; of a step where the block has its own.
        form: one of the forms of `integrators`.
        weight_shapes: (kernel size, channels of a part of the state) to the shapes of one step's weights, by name.
        convolutions: how many convolutions, transposed ones included, each of the functions takes.
        oscillates: whether its eigenvalues, where σ′ = 1 and γ = 0, lie on the imaginary axis, so that linear stability has a verdict.
        normal: whether its matrix is normal there, so that the powers of its eigenvalues bound the growth over many steps.
        antisymmetric: whether kernels enter as K − Kᵀ − γ I, so that a block has a γ.
        own_steps: whether the block has steps of its own, written with explicit Euler's, which remember the step before.
    """

    right_hand_side: Callable[..., RightHandSide]
    equations: tuple[str, ...]
    form: str
    weight_shapes: Callable[[int, int], Shapes]
    convolutions: tuple[int, ...]
    oscillates: bool = False
    normal: bool = False
    antisymmetric: bool = False
    own_steps: bool = False


ODES = {
    "hamiltonian": ODE(
        hamiltonian,
        ("y' = σ(K z + b₁), z' = σ(−Kᵀ y + b₂)",),
        PARTITIONED,
        _shared_kernel,
        (1, 1),
        oscillates=True,
        normal=True,
    ),
    "one_bias_hamiltonian": ODE(
        one_bias_hamiltonian,
        ("y' = σ(K z + b), z' = −σ(Kᵀ y + b)",),
        PARTITIONED,
        _one_kernel,
        (1, 1),
        oscillates=True,
        normal=True,
    ),
    "two_layer_hamiltonian": ODE(
        two_layer_hamiltonian,
        ("y' = K₁ᵀ σ(K₁ z + b₁), z' = −K₂ᵀ σ(K₂ y + b₂)",),
        PARTITIONED,
        _two_kernels,
        (2, 2),
        oscillates=True,
    ),
    "antisymmetric": ODE(
        antisymmetric,
        ("x' = σ((K − Kᵀ − γ I) x + b)",),
        FIRST_ORDER,
        _one_kernel,
        (2,),
        oscillates=True,
        normal=True,
        antisymmetric=True,
    ),
    "second_order": ODE(
        second_order,
        ("x'' = −Kᵀ σ(K x + b)", "x'(0) = 0"),
        SECOND_ORDER,
        _one_kernel,
        (2, 0),
        oscillates=True,
        normal=True,
    ),
    "residual": ODE(residual, ("x' = F(x) = K₂ σ(K₁ x + b₁) + b₂",), FIRST_ORDER, _two_kernels, (2,)),
    # Its ODE is the residual block's; what differs is the step, integrators.linear_multistep.
    "linear_multistep": ODE(
        residual,
        (
            "x_{n+1} = (1 − k) x_n + k x_{n−1} + h F(x_n)",
            "F(x) = K₂ σ(K₁ x + b₁) + b₂",
        ),
        FIRST_ORDER,
        _two_kernels,
        (2,),
        own_steps=True,
    ),
}
