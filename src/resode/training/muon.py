"""Muon: units' kernels follow the direction of their momentum, each of its singular values made about 1.

A kernel (k, k, in, out) is seen as a matrix W of shape (k² · in, out); with free weights each step's is. For its gradient G, rate η,
momentum μ and decay λ

    M ← μ M + G,    D = G + μ M,    W ← (1 − η λ) W − η X

where X is D = U S Vᵀ with singular values near 1, roughly U Vᵀ, by five steps of a Newton–Schulz iteration from X = D / ‖D‖ (Frobenius):

    X ← a X + (b A + c A²) X,    A = X Xᵀ,    (a, b, c) = (3.4445, −4.7750, 2.0315)

on Xᵀ if X has more rows than columns. Of X before them, singular values from 0.01 on become 0.68 to 1.14, smaller ones at most
a⁵ = 485 times themselves. So all directions of a kernel move alike, by about η, whatever the size of its gradient.

Source: K. Jordan et al. (2024), "Muon: An optimizer for hidden layers in neural networks", kellerjordan.github.io/posts/muon.
"""

import math
from collections.abc import Collection
from typing import Any

import keras
from keras import ops

_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5
# Keeps the quotient by the norm of a gradient of zeros finite.
_EPSILON = 1e-7


def orthogonalized(matrices: Any) -> Any:
    """The matrices (…, rows, columns) with each singular value made about 1, and zeros where there are only zeros."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = ops.swapaxes(matrices, -2, -1) if tall else matrices
    x = x / (ops.sqrt(ops.sum(ops.square(x), axis=(-2, -1), keepdims=True)) + _EPSILON)
    for _ in range(_ITERATIONS):
        a = ops.matmul(x, ops.swapaxes(x, -2, -1))
        x = _A * x + ops.matmul(_B * a + _C * ops.matmul(a, a), x)
    return ops.swapaxes(x, -2, -1) if tall else x


# Keras' own Muon gives all that is not 2-D to AdamW and has one rate for both. Of it only the iteration would be left here.
class Muon(keras.optimizers.SGD):
    """Muon for some kernels and SGD with momentum for all other variables.

    Args:
        learning_rate: SGD's, a number or a schedule.
        kernels: paths of the variables (…, k, k, in, out) that Muon trains.
        kernel_rate: η as a multiple of SGD's rate.
        kernel_momentum: μ.
        kernel_decay: λ.
        **kwargs: SGD's other arguments, such as `momentum` and `nesterov`.
    """

    def __init__(
        self,
        learning_rate: Any,
        kernels: Collection[str],
        kernel_rate: float = 1.0,
        kernel_momentum: float = 0.9,
        kernel_decay: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.kernels = sorted(kernels)
        self.kernel_rate, self.kernel_momentum, self.kernel_decay = kernel_rate, kernel_momentum, kernel_decay

    def build(self, variables: list[keras.Variable]) -> None:
        """Create the momentum of each of `variables`."""
        if self.built:
            return
        super().build(variables)
        self._by_muon = [variable.path in self.kernels for variable in variables]
        if not self.momentums:
            # SGD without momentum makes none.
            self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Do one update of one variable."""
        index = self._get_variable_index(variable)
        if not self._by_muon[index]:
            super().update_step(gradient, variable, learning_rate)
            return
        momentum, shape = self.momentums[index], tuple(variable.shape)
        rate = self.kernel_rate * ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        self.assign(momentum, self.kernel_momentum * momentum + gradient)
        direction = gradient + self.kernel_momentum * momentum
        matrices = ops.reshape(direction, (*shape[:-4], math.prod(shape[-4:-1]), shape[-1]))
        step = ops.reshape(orthogonalized(matrices), shape)
        self.assign(variable, (1 - rate * self.kernel_decay) * variable - rate * step)

    def get_config(self) -> dict[str, Any]:
        """Arguments that build an equal optimiser."""
        own = ("kernels", "kernel_rate", "kernel_momentum", "kernel_decay")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
