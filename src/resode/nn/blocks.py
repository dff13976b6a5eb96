r"""Layers whose forward pass solves an ordinary differential equation, by any of `integrators`.

Sources:
    S. Rome (2018), "Using Ordinary Differential Equations To Design State of the Art Residual-Style Layers",
    srome.github.io.
    E. Haber and L. Ruthotto (2017), "Stable Architectures for Deep Neural Networks", arXiv:1705.03341.
    B. Chang et al. (2017), "Reversible Architectures for Arbitrarily Deep Residual Neural Networks",
    arXiv:1709.03698.
    Y. Lu et al. (2017), "Beyond Finite Layer Neural Networks: Bridging Deep Architectures and Numerical Differential
    Equations", arXiv:1710.10121.
    K. He et al. (2015), "Deep Residual Learning for Image Recognition", arXiv:1512.03385.
"""

import math
from numbers import Integral, Real
from typing import Any

import keras
from keras import ops, tree

from resode.nn import winograd
from resode.nn.reversible import Steps
from resode.ode import integrators
from resode.ode.equations import ODES
from resode.ode.integrators import PARTITIONED, RightHandSide, State
from resode.ode.unit import Unit

# Initializers of kernels, by their names in params.yaml, as Keras reads them: each layer makes its own, with a seed of its own.
# Keras up to 2.1.6, the original's, took the deviation √(2 / fan_in) for the normal distribution before it is truncated at two
# deviations, so that 0.8796 √(2 / fan_in) is left of it; Keras since 2.2.0 divides by that factor first.
INITIALIZERS = {
    "keras2_he_normal": {
        "class_name": "VarianceScaling",
        "config": {"scale": 2 * 0.87962566103423978**2, "mode": "fan_in", "distribution": "truncated_normal"},
    },
    "he_normal": "he_normal",
}


# Arguments that a layer's configuration has as they are.
_PLAIN = (
    "h", "unroll_length", "kernel_size", "integrator", "backward", "weights_in_time", "smoothness", "convolution"
)  # fmt: skip


class ODEConv2D(keras.layers.Layer, Unit):
    r"""A unit of `unroll_length` steps of size h of an ODE whose right-hand side is made of convolutions.

    Subclasses are blocks: they say which ODE, and with which weights. A convolution K has stride 1 and "same" padding, Kᵀ is
    the transposed convolution with the same kernel and padding, its exact adjoint: ⟨K x, y⟩ = ⟨x, Kᵀ y⟩.

    Input and output: (batch, height, width, c); channels come last whatever Keras is configured to.

    Args:
        h: step size, greater than zero.
        unroll_length: number of steps, at least one.
        kernel_size: side k of the square kernels.
        activation: σ, as Keras names it or as a function; None is the identity.
        integrator: a name in `integrators.INTEGRATORS` that solves this form of ODE.
        backward: what the backward pass keeps of the forward pass. "store": all of it. "recompute": the states after each √n of the n steps,
            the rest is computed again. "reversible": the last state, from which the others are found by running the integrator
            backwards; see `reversible`.
        weights_in_time: "shared", all steps have one set of weights, so that steps cost time and no parameters; or "free",
            each step has its own, and weights have a first axis of `unroll_length`. They start equal, K(t) constant.
        smoothness: α of the penalty α/2 h Σ_j ‖(θ_{j+1} − θ_j) / h‖² on "free" kernels and biases θ (Haber and Ruthotto 2017,
            and their code, Meganet).
        kernel_initializer: initializer of the kernels, the original's by default (see INITIALIZERS); biases start at zero.
        kernel_regularizer: penalty on the kernels, counted once and not once a step.
        convolution: way to compute K x and Kᵀ x. "direct": Keras' convolutions. "winograd": matrix products, see `winograd`; for 3 × 3
            kernels, images of known size and float32. "auto": products where they are faster.
        strides: 1; the state keeps its shape.
        padding: "same"; the state keeps its shape.

    Raises:
        ValueError: an argument out of range, an integrator that does not solve this ODE, or, when built, an input whose
            number of channels is unknown or does not split. The message names the argument.
    """

    arrays = ops

    def __init__(
        self,
        h: float = 0.15,
        unroll_length: int = 4,
        kernel_size: int = 3,
        activation: Any = "relu",
        integrator: str = "euler",
        backward: str = "store",
        weights_in_time: str = "shared",
        smoothness: float = 0.0,
        kernel_initializer: Any = INITIALIZERS["keras2_he_normal"],
        kernel_regularizer: Any = None,
        convolution: str = "auto",
        strides: int | tuple[int, int] = 1,
        padding: str = "same",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.h = _number("h", h, above=0)
        self.unroll_length = _count("unroll_length", unroll_length)
        self.kernel_size = _count("kernel_size", kernel_size)
        self.integrator = _one_of("integrator", integrator, integrators.INTEGRATORS)
        if refused := integrators.refusal(integrator, self.form):
            raise ValueError(refused)
        self.backward = _one_of("backward", backward, ("store", "recompute", "reversible"))
        if backward == "reversible" and (refused := integrators.irreversible(integrator, self.form)):
            raise ValueError(refused)
        self.weights_in_time = _one_of("weights_in_time", weights_in_time, ("shared", "free"))
        self.smoothness = _number("smoothness", smoothness, least=0)
        self.convolution = _one_of("convolution", convolution, ("auto", "direct", "winograd"))
        # Whether the built layer computes its convolutions as products, see `convolution`.
        self.uses_winograd = False
        if strides not in (1, (1, 1), [1, 1]):
            raise ValueError(f"strides must be 1: a step keeps the shape of its state. Received: strides={strides!r}")
        if padding != "same":
            raise ValueError(f'padding must be "same": a step keeps the shape of its state. Received: {padding=!r}')
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights for inputs of shape (batch, height, width, c)."""
        channels = input_shape[-1]
        if channels is None or (self.form == PARTITIONED and channels % 2):
            needed = "known and even: they are split into two halves" if self.form == PARTITIONED else "known"
            raise ValueError(
                f"channels of the input must be {needed}. Received: channels={channels}, input_shape={tuple(input_shape)}"
            )
        shapes = self.weight_shapes(channels)
        self.uses_winograd = self._choose_winograd(
            *input_shape[1:3], max(len(shape) == 4 and shape[2] for shape in shapes.values())
        )
        self._names = tuple(shapes)
        initializer = None
        for name, shape in shapes.items():
            kernel = len(shape) == 4
            if kernel:
                # Called twice, an initializer gives the same numbers twice.
                initializer = initializer.clone() if initializer else self.kernel_initializer
            weight = self.add_weight(
                name=name,
                shape=(self.unroll_length, *shape) if self.weights_in_time == "free" else shape,
                initializer=self._constant_in_time(initializer) if kernel else "zeros",
                regularizer=self._penalty(self.kernel_regularizer if kernel else None),
            )
            setattr(self, name, weight)
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: channels})

    def _constant_in_time(self, initializer: keras.initializers.Initializer) -> Any:
        return lambda shape, dtype=None: ops.broadcast_to(initializer(shape[-4:], dtype=dtype), shape)

    def _penalty(self, regularizer: Any) -> Any:
        if self.weights_in_time == "shared" or not self.smoothness:
            return regularizer

        def penalty(weight: Any) -> Any:
            roughness = self.smoothness / (2 * self.h) * ops.sum(ops.square(weight[1:] - weight[:-1]))
            return roughness + regularizer(weight) if regularizer else roughness

        return penalty

    def _choose_winograd(self, height: int | None, width: int | None, channels: int) -> bool:
        possible = self.kernel_size == 3 and height and width and self.compute_dtype == "float32"
        if self.convolution == "winograd" and not possible:
            raise ValueError(
                "convolution winograd needs kernel_size 3, images of known size and float32. Received:"
                f" kernel_size={self.kernel_size}, images of {height} x {width}, {self.compute_dtype}"
            )
        if self.convolution == "auto":
            return bool(possible) and winograd.is_faster(height, width, channels)
        return self.convolution == "winograd"

    def convolve(self, x: Any, kernel: Any) -> Any:
        """The convolution K x; (batch, height, width, in) to (batch, height, width, out).

        With products x is (height, width, batch, in), and the result likewise.
        """
        if self.uses_winograd:
            return winograd.of_size(*x.shape[:2]).convolve(x, kernel)
        return ops.conv(x, kernel, strides=1, padding="same", data_format="channels_last")

    def convolve_transposed(self, x: Any, kernel: Any) -> Any:
        """Its adjoint Kᵀ x, the transposed convolution with the same kernel; (batch, height, width, out) to (…, in)."""
        if self.uses_winograd:
            return winograd.of_size(*x.shape[:2]).convolve_transposed(x, kernel)
        return ops.conv_transpose(x, kernel, strides=1, padding="same", data_format="channels_last")

    def call(self, inputs: Any) -> Any:
        """The solution after `unroll_length` steps from `inputs`, shaped like them."""
        if not self.uses_winograd:
            return self._solved(inputs)
        if None in inputs.shape[1:3]:
            raise ValueError(
                f"convolution winograd needs images of known size. Received: images of shape {inputs.shape[1:]}"
            )
        return ops.transpose(self._solved(ops.transpose(inputs, (1, 2, 0, 3))), (2, 0, 1, 3))

    def _solved(self, x: Any) -> Any:
        solve = {"store": self._stored, "recompute": self._recomputed, "reversible": self._reversible}[self.backward]
        steps = self.unroll_length if self.weights_in_time == "free" else 1
        weights = [self.weights_of_step(step) for step in range(steps)]
        if self.uses_winograd and steps == 1 and self.backward == "store" and "kernel" in weights[0]:
            weights[0]["kernel"] = self._shared(x, weights[0]["kernel"])
        return self.solution(solve(self.initial_state(x), weights))

    def _shared(self, x: Any, kernel: Any) -> Any:
        height, width, batch, _ = (known or ops.shape(x)[i] for i, known in enumerate(x.shape))
        if not winograd.sharing_pays(height, width, kernel.shape[2]):
            return kernel
        return winograd.Shared(kernel, self.convolutions_of_a_pass(), winograd.of_size(height, width).tiles * batch)

    def _stored(self, state: State, weights: list[dict[str, Any]]) -> State:
        for step in range(self.unroll_length):
            state = self.advance(state, step, weights[step % len(weights)])
        return state

    def _recomputed(self, state: State, weights: list[dict[str, Any]]) -> State:
        # √n runs of √n steps: with the states between the runs, and inside of one run all it needs, memory is least.
        length = math.isqrt(self.unroll_length - 1) + 1
        for first in range(0, self.unroll_length, length):
            steps = range(first, min(first + length, self.unroll_length))
            state = self._recomputed_run(
                state, steps, [weights[step] for step in steps] if len(weights) > 1 else weights
            )
        return state

    def _recomputed_run(self, state: State, steps: range, own: list[dict[str, Any]]) -> State:
        def advance(*tensors: Any) -> State:
            state, weights = tree.pack_sequence_as((state_of_run, own), list(tensors))
            for step in steps:
                state = self.advance(state, step, weights[(step - steps[0]) % len(weights)])
            return tuple(state)

        state_of_run = tuple(state)
        return keras.remat(advance)(*tree.flatten((state_of_run, own)))

    def _reversible(self, state: State, weights: list[dict[str, Any]]) -> State:
        first = 0
        if integrators.INTEGRATORS[self.integrator].start:
            state, first = self.advance(state, 0, weights[0]), 1
        own = weights[first:] if len(weights) > 1 else weights
        return self.reversible_steps(self.unroll_length - first)(tuple(state), [list(w.values()) for w in own])

    def reversible_steps(self, steps: int) -> Steps:
        """`steps` steps of a reversible integrator, the first of one that needs two states aside."""

        def right_hand_side(*weights: Any) -> RightHandSide:
            return self.right_hand_side(**dict(zip(self._names, weights, strict=True)))

        return Steps(integrators.INTEGRATORS[self.integrator], right_hand_side, self.h, steps, self.name)

    def weights_of_step(self, step: int) -> dict[str, Any]:
        """The weights of step number `step` (from 0), by name."""
        # Copies, since TensorFlow's own gradients want tensors, and would count a variable a second time.
        weights = {name: ops.copy(getattr(self, name)) for name in self._names}
        if self.weights_in_time == "shared":
            return weights
        return {name: weight[step] for name, weight in weights.items()}

    def convolutions_of_a_pass(self) -> int:
        """Convolutions of one forward pass; a transposed one costs as much."""
        convolutions = ODES[self.block].convolutions
        evaluations = integrators.evaluations(self.integrator, len(convolutions), self.unroll_length)
        return sum(a * b for a, b in zip(evaluations, convolutions, strict=True))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the input."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Arguments that build an equal layer."""
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in _PLAIN},
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


@keras.saving.register_keras_serializable(package="resode")
class HamiltonianConv2D(ODEConv2D):
    r"""The post's unit, steps of a Hamiltonian system.

    The channels of the input are split into a first half y and a second half z, which follow

        y' = σ(K z + b₁),    z' = σ(−Kᵀ y + b₂).

    One step of explicit Euler, the post's, takes both right-hand sides from the old state:

        y⁺ = y + h σ(K z + b₁),    z⁺ = z + h σ(−Kᵀ y + b₂).

    Input and output: (batch, height, width, c), c even.
    Weights: `kernel` (k, k, c/2, c/2), `b1` and `b2` (c/2,): k² (c/2)² + c parameters.
    Sources: equations and shared kernel Rome (2018); the ODE goes back to Haber and Ruthotto (2017) and Chang et al. (2017).
    Arguments and errors: see `ODEConv2D`.

    Example:
        >>> HamiltonianConv2D(h=0.15, unroll_length=4)(keras.ops.ones((1, 8, 8, 16))).shape
        (1, 8, 8, 16)
    """

    block = "hamiltonian"


@keras.saving.register_keras_serializable(package="resode")
class OneBiasHamiltonianConv2D(ODEConv2D):
    r"""Haber and Ruthotto's Hamiltonian unit: one bias, and the minus outside of σ.

        y' = σ(K z + b),    z' = −σ(Kᵀ y + b)

    With `integrator="symplectic_euler_z_first"` it is theirs: z⁺ = z − h σ(Kᵀ y + b), y⁺ = y + h σ(K z⁺ + b). With σ = ReLU, z only
    falls, where the z of `HamiltonianConv2D` only grows.

    Input and output: (batch, height, width, c), c even.
    Weights: `kernel` (k, k, c/2, c/2), `b` (c/2,): k² (c/2)² + c/2 parameters.
    Sources: Haber and Ruthotto (2017), and their code, Meganet (HamiltonianNN). Arguments and errors: see `ODEConv2D`.
    """

    block = "one_bias_hamiltonian"


@keras.saving.register_keras_serializable(package="resode")
class TwoLayerHamiltonianConv2D(ODEConv2D):
    r"""Chang et al.'s Hamiltonian unit, each right-hand side with a convolution inside and its transpose outside of σ.

        y' = K₁ᵀ σ(K₁ z + b₁),    z' = −K₂ᵀ σ(K₂ y + b₂).

    With `integrator="symplectic_euler"` it is the paper's: Y⁺ = Y + h K₁ᵀσ(K₁Z + b₁), Z⁺ = Z − h K₂ᵀσ(K₂Y⁺ + b₂).

    Input and output: (batch, height, width, c), c even.
    Weights: `kernel1` and `kernel2` (k, k, c/2, c/2), `b1` and `b2` (c/2,): 2 k² (c/2)² + c parameters.
    Source: Chang et al. (2017), equation 12 and figure 1. Arguments and errors: see `ODEConv2D`.
    """

    block = "two_layer_hamiltonian"


@keras.saving.register_keras_serializable(package="resode")
class AntisymmetricConv2D(ODEConv2D):
    r"""Haber and Ruthotto's unit with an antisymmetric operator.

        x' = σ((K − Kᵀ − γ I) x + b)

    K − Kᵀ has imaginary eigenvalues; γ > 0 moves them to the left, towards the region where explicit Euler is stable.

    Input and output: (batch, height, width, c).
    Weights: `kernel` (k, k, c, c), `b` (c,): k² c² + c parameters.
    Source: Haber and Ruthotto (2017), section 4. Arguments and errors: see `ODEConv2D`, and

    Args:
        gamma: γ, at least zero.
    """

    block = "antisymmetric"

    def __init__(self, *args: Any, gamma: float = 1e-4, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.gamma = _number("gamma", gamma, least=0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gamma": self.gamma}


@keras.saving.register_keras_serializable(package="resode")
class SecondOrderConv2D(ODEConv2D):
    r"""The second-order unit of Haber and Ruthotto and of Chang et al., a wave equation for σ = identity.

        x'' = −Kᵀ σ(K x + b),    x'(0) = 0

    With `integrator="leapfrog"` it is the papers': x_{j+1} = 2 x_j − x_{j−1} − h² Kᵀσ(K x_j + b). The start here
    is at rest, x_1 = x_0 − h²/2 Kᵀσ(K x_0 + b), as the ODE says. The papers start with x_{−1} = 0, which is a velocity x(0)/h that grows as h
    falls; the authors' own code (Meganet, LeapFrogNN) with x_{−1} = x_0, which is at rest half a step before. For x'' = −x from x(0) = 1
    four steps of h = 0.5 give −0.436, 1.191 and −0.668 in this order; cos 2 = −0.416 is the solution. Other integrators
    solve v' = −Kᵀ σ(K x + b), x' = v, of which Verlet's positions are leapfrog's. The velocity ends with the unit.

    Input and output: (batch, height, width, c).
    Weights: `kernel` (k, k, c, c), `b` (c,): k² c² + c parameters.
    Sources: Haber and Ruthotto (2017), section 4; Chang et al. (2017). Arguments and errors: see `ODEConv2D`.
    """

    block = "second_order"


@keras.saving.register_keras_serializable(package="resode")
class ResidualConv2D(ODEConv2D):
    r"""A residual unit, F two convolutions; a step of explicit Euler is x⁺ = x + h F(x), He et al.'s with h = 1.

        x' = F(x) = K₂ σ(K₁ x + b₁) + b₂

    Nothing is normalised inside; `resnet` has He et al.'s networks for CIFAR-10.

    Input and output: (batch, height, width, c).
    Weights: `kernel1` and `kernel2` (k, k, c, c), `b1` and `b2` (c,): 2 k² c² + 2 c parameters.
    Source: He et al. (2015). Arguments and errors: see `ODEConv2D`.
    """

    block = "residual"


@keras.saving.register_keras_serializable(package="resode")
class LinearMultistepConv2D(ODEConv2D):
    r"""Lu et al.'s unit: residual steps that remember the step before, by a factor k that is learnt.

        x_1 = x_0 + h F(x_0),    x_{n+1} = (1 − k) x_n + k x_{n−1} + h F(x_n),    F as in `ResidualConv2D`

    Input and output: (batch, height, width, c).
    Weights: those of `ResidualConv2D` and `k`, a number that starts uniformly distributed on [−0.1, 0]; one for the unit, or
    with "free" weights one for each step from the second on, (unroll_length − 1,).
    Source: Lu et al. (2017), section 3. Arguments and errors: see `ODEConv2D`; it needs `integrator="euler"` (the steps are
    its own) and an `unroll_length` of at least 2.
    """

    block = "linear_multistep"

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.integrator != "euler":
            raise ValueError(f"integrator must be euler: the unit has steps of its own. Received: {self.integrator}")
        if self.unroll_length < 2:
            raise ValueError("unroll_length must be at least 2: the first step has no step before it")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        self.k = self.add_weight(
            name="k",
            shape=(self.unroll_length - 1,) if self.weights_in_time == "free" else (),
            initializer=keras.initializers.RandomUniform(-0.1, 0.0),
        )

    def weights_of_step(self, step: int) -> dict[str, Any]:
        k = ops.copy(self.k)
        return {**super().weights_of_step(step), "k": k[max(step - 1, 0)] if self.weights_in_time == "free" else k}


BLOCKS = {layer.block: layer for layer in ODEConv2D.__subclasses__()}


@keras.saving.register_keras_serializable(package="resode")
class ChannelZeroPadding(keras.layers.Layer):
    """Appends zero channels until there are `padding` times as many.

    x ↦ (x, 0, …, 0), from (…, c) to (…, padding · c). Where a unit follows, its z starts at zero if padding ≥ 2.

    Source: Rome (2018), srome.github.io.

    Args:
        padding: factor by which the number of channels grows, at least one.

    Raises:
        ValueError: padding is not a whole number of at least one.

    Example:
        >>> ChannelZeroPadding(padding=4)(keras.ops.ones((1, 8, 8, 16))).shape
        (1, 8, 8, 64)
    """

    def __init__(self, padding: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        self.padding = _count("padding", padding)

    def call(self, inputs: Any) -> Any:
        """`inputs` with zero channels appended."""
        appended = (self.padding - 1) * inputs.shape[-1]
        return ops.pad(inputs, [[0, 0]] * (len(inputs.shape) - 1) + [[0, appended]])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the input with `padding` times as many channels."""
        return (*input_shape[:-1], self.padding * input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Arguments that build an equal layer."""
        return {**super().get_config(), "padding": self.padding}


def _number(name: str, value: float, above: float | None = None, least: float | None = None) -> float:
    wanted = f"greater than {above}" if least is None else f"of at least {least}"
    good = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not good or (value <= above if least is None else value < least):
        raise ValueError(f"{name} must be a finite number {wanted}. Received: {name}={value!r}")
    return float(value)


def _count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1. Received: {name}={value!r}")
    return int(value)


def _one_of(name: str, value: str, known: Any) -> str:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}. Received: {name}={value!r}")
    return value
