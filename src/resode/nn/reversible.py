r"""Steps whose backward pass needs no stored states: it runs the integrator backwards and finds them again.

A reversible step is a chain of shears x_a ← ±x_a + F(x_b). Backwards, with the gradient c of the loss by the state after it,

    x_a ← ±(x_a − F(x_b)),    c_b ← c_b + (∂F/∂x_b)ᵀ c_a,    c_w ← c_w + (∂F/∂w)ᵀ c_a,    c_a ← ±c_a.

F(x_b) and its derivatives are taken at the same point, so that a step costs a forward pass (F) more than with stored states,
which is a third. What is kept is the last state alone, whatever the number of steps.

Source: A. Gomez et al. (2017), "The Reversible Residual Network: Backpropagation Without Storing Activations",
arXiv:1707.04585; B. Chang et al. (2017), arXiv:1709.03698.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops, tree

from resode.nn.loops import repeat
from resode.ode.integrators import Integrator, RightHandSide, State, sheared

# Environment variable: if set, each backward pass prints how far the start that it found is from the one it came from.
DRIFT = "RESODE_DRIFT"


class Steps:
    """`steps` steps of a reversible integrator, differentiable with respect to state and weights.

    Args:
        integrator: a reversible one; its first step from a single state is not of these.
        right_hand_side: (*weights of a step) to the functions of the right-hand side.
        h: step size.
        steps: how many.
        name: for `DRIFT`.
    """

    def __init__(
        self, integrator: Integrator, right_hand_side: Callable[..., RightHandSide], h: float, steps: int, name: str
    ):
        self.integrator, self.right_hand_side, self.h, self.steps, self.name = (
            integrator,
            right_hand_side,
            h,
            steps,
            name,
        )

    def __call__(self, state: State, weights: Sequence[Sequence[Any]]) -> State:
        """The state after the steps.

        Args:
            state: tensors, each (batch, height, width, ·).
            weights: the weights of each step, or of all steps where there is one entry.
        """
        if not self.steps:
            return state
        return {"tensorflow": _tensorflow, "jax": _jax}[keras.backend.backend()](self, state, weights)

    def forward(self, state: State, weights: Sequence[Sequence[Any]]) -> State:
        """The state after the steps, to be differentiated by `backward` only."""

        def step(number: Any, state: State) -> State:
            own = weights[number] if len(weights) > 1 else weights[0]
            return self.integrator.exchanged(sheared(state, self._shears(own)))

        return repeat(self.steps, step, state, written_out=len(weights) > 1)

    def backward(self, end: State, weights: Sequence[Sequence[Any]], gradient: State, vjp: Callable) -> tuple:
        """Gradients by the state before the steps and by the weights, and that state, found again from `end`.

        Args:
            gradient: of the loss by `end`.
            vjp: (function, x, weights, c) to (function(x, weights), its gradients by x and by weights times c).
        """

        def step(number: Any, carry: tuple) -> tuple:
            state, gradient, found = carry
            number = self.steps - 1 - number if len(weights) > 1 else 0
            x, c = list(self.integrator.exchanged(state)), list(self.integrator.exchanged(gradient))
            w, found_here = weights[number], found[number]
            for i, (target, source, _, sign) in reversed(list(enumerate(self._shears(w)))):
                increment = lambda part, w, i=i: self._shears(w)[i].increment(part)
                value, to_source, to_weights = vjp(increment, x[source], w, c[target])
                x[target] = x[target] - value if sign > 0 else value - x[target]
                c[source] = c[source] + to_source
                c[target] = c[target] if sign > 0 else -c[target]
                found_here = [a + b for a, b in zip(found_here, to_weights, strict=True)]
            found = [found_here if i == number else other for i, other in enumerate(found)]
            return tuple(x), tuple(c), found

        nothing = [[ops.zeros_like(weight) for weight in one] for one in weights]
        start, to_state, to_weights = repeat(self.steps, step, (end, gradient, nothing), written_out=len(weights) > 1)
        return to_state, to_weights, start

    def _shears(self, weights: Sequence[Any]) -> list:
        return self.integrator.method(self.right_hand_side(*weights), self.h)


def drift(found: State, true: State) -> Any:
    """Relative distance ‖found − true‖ / ‖true‖ of two states."""
    far, long = (
        sum(ops.sum(ops.square(ops.cast(part, "float32"))) for part in parts)
        for parts in ([ops.cast(a, "float32") - ops.cast(b, "float32") for a, b in zip(found, true, strict=True)], true)
    )
    return ops.sqrt(far / long)


def _tensorflow(steps: Steps, state: State, weights: Sequence[Sequence[Any]]) -> State:
    import tensorflow as tf

    def vjp(function: Callable, x: Any, weights: Sequence[Any], c: Any) -> tuple:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([x, *weights])
            value = function(x, weights)
        to_x, *to_weights = tape.gradient(
            value, [x, *weights], output_gradients=c, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return value, to_x, to_weights

    @tf.custom_gradient
    def solve(*tensors: Any) -> tuple:
        state, weights = tree.pack_sequence_as(given, list(tensors))
        end = steps.forward(state, weights)

        def gradient(*upstream: Any) -> list:
            to_state, to_weights, start = steps.backward(end, weights, upstream, vjp)
            if os.environ.get(DRIFT):
                tf.print(steps.name, "reconstruction error", drift(start, state))
            return tree.flatten((to_state, to_weights))

        return end, gradient

    given = (state, weights)
    return solve(*tree.flatten(given))


def _jax(steps: Steps, state: State, weights: Sequence[Sequence[Any]]) -> State:
    import jax

    def vjp(function: Callable, x: Any, weights: Sequence[Any], c: Any) -> tuple:
        value, pull = jax.vjp(function, x, weights)
        return value, *pull(c)

    def forward(state: State, weights: Sequence[Sequence[Any]]) -> tuple:
        end = steps.forward(state, weights)
        return end, (end, weights, state if os.environ.get(DRIFT) else None)

    def backward(kept: tuple, gradient: State) -> tuple:
        end, weights, true = kept
        to_state, to_weights, start = steps.backward(end, weights, gradient, vjp)
        if true is not None:
            jax.debug.print(steps.name + " reconstruction error {}", drift(start, true))
        return to_state, to_weights

    solve = jax.custom_vjp(steps.forward)
    solve.defvjp(forward, backward)
    return solve(state, weights)
