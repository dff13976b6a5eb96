r"""Layers whose forward pass solves an ordinary differential equation.

Sources:
    S. Rome (2018), "Using Ordinary Differential Equations To Design State of the Art Residual-Style Layers",
    srome.github.io.
    E. Haber and L. Ruthotto (2017), "Stable Architectures for Deep Neural Networks", arXiv:1705.03341.
    B. Chang et al. (2017), "Reversible Architectures for Arbitrarily Deep Residual Neural Networks",
    arXiv:1709.03698.
"""

import math
from numbers import Integral, Real
from typing import Any

import keras
from keras import ops

from .integrators import explicit_euler


@keras.saving.register_keras_serializable(package="resode")
class HamiltonianConv2D(keras.layers.Layer):
    r"""A unit of `unroll_length` explicit Euler steps of a Hamiltonian system.

    The channels of the input are split into a first half y and a second half z, which follow

        y' = σ(K z + b₁),    z' = σ(−Kᵀ y + b₂).

    One step of size h takes both right-hand sides from the old state:

        y⁺ = y + h σ(K z + b₁),    z⁺ = z + h σ(−Kᵀ y + b₂).

    K is a convolution (stride 1, "same" padding) and Kᵀ the transposed convolution with the same kernel, the exact
    adjoint: ⟨K z, y⟩ = ⟨z, Kᵀ y⟩. All steps share kernel and biases, so `unroll_length` costs time and no
    parameters: k² (c/2)² + c of them for c channels.

    Input and output: (batch, height, width, c), c even; channels come last whatever Keras is configured to.

    Weights: `kernel` (k, k, c/2, c/2), `b1` and `b2` (c/2,), which start at zero.

    Sources: the equations and the shared kernel are those of Rome (2018); the ODE goes back to Haber and Ruthotto
    (2017, arXiv:1705.03341) and Chang et al. (2017, arXiv:1709.03698).

    Args:
        h: step size, greater than zero.
        unroll_length: number of steps, at least one.
        kernel_size: side k of the square kernel.
        activation: σ, as Keras names it or as a function; None is the identity.
        kernel_initializer: initializer of the kernel.
        kernel_regularizer: penalty on the kernel, counted once and not once a step.
        strides: 1; the state keeps its shape.
        padding: "same"; the state keeps its shape.

    Raises:
        ValueError: an argument out of range, or, when built, an input whose number of channels is odd or unknown.
            The message names the argument.

    Example:
        >>> HamiltonianConv2D(h=0.15, unroll_length=4)(keras.ops.ones((1, 8, 8, 16))).shape
        (1, 8, 8, 16)
    """

    def __init__(
        self,
        h: float = 0.15,
        unroll_length: int = 4,
        kernel_size: int = 3,
        activation: Any = "relu",
        kernel_initializer: Any = "he_normal",
        kernel_regularizer: Any = None,
        strides: int | tuple[int, int] = 1,
        padding: str = "same",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.h = _positive("h", h)
        self.unroll_length = _count("unroll_length", unroll_length)
        self.kernel_size = _count("kernel_size", kernel_size)
        if strides not in (1, (1, 1), [1, 1]):
            raise ValueError(f"strides must be 1: a step keeps the shape of its state. Received: strides={strides!r}")
        if padding != "same":
            raise ValueError(f'padding must be "same": a step keeps the shape of its state. Received: {padding=!r}')
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create kernel and biases for inputs of shape (batch, height, width, c)."""
        channels = input_shape[-1]
        if channels is None or channels % 2:
            raise ValueError(
                "channels of the input must be known and even: they are split into two halves. "
                f"Received: channels={channels}, input_shape={tuple(input_shape)}"
            )
        half = channels // 2
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, half, half),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.b1 = self.add_weight(name="b1", shape=(half,), initializer="zeros")
        self.b2 = self.add_weight(name="b2", shape=(half,), initializer="zeros")
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: channels})

    def K(self, z: Any) -> Any:
        """The convolution K z; (batch, height, width, c/2) to the same shape."""
        return ops.conv(z, self.kernel, strides=1, padding="same", data_format="channels_last")

    def K_transposed(self, y: Any) -> Any:
        """Its adjoint Kᵀ y, the transposed convolution with the same kernel; same shapes as `K`."""
        return ops.conv_transpose(y, self.kernel, strides=1, padding="same", data_format="channels_last")

    def call(self, inputs: Any) -> Any:
        """The state (y, z) after `unroll_length` steps, shaped like `inputs`."""
        y, z = ops.split(inputs, 2, axis=-1)
        for _ in range(self.unroll_length):
            y, z = explicit_euler(y, z, self._f, self._g, self.h)
        return ops.concatenate([y, z], axis=-1)

    def _f(self, z: Any) -> Any:
        return self.activation(self.K(z) + self.b1)

    def _g(self, y: Any) -> Any:
        return self.activation(-self.K_transposed(y) + self.b2)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the input."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Arguments that build an equal layer."""
        return {
            **super().get_config(),
            "h": self.h,
            "unroll_length": self.unroll_length,
            "kernel_size": self.kernel_size,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


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


def _positive(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a finite number greater than 0. Received: {name}={value!r}")
    return float(value)


def _count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1. Received: {name}={value!r}")
    return int(value)
