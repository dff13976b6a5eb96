"""A unit of steps, whatever computes it: what Keras' layers and NumPy's inference have in common."""

from typing import Any

from resode.ode import integrators
from resode.ode.equations import ODES, Shapes
from resode.ode.integrators import INTEGRATORS, PARTITIONED, SECOND_ORDER, RightHandSide, State

# Upper bounds for a typing error: more steps take hours an image, and a larger h overflows float32.
MOST_STEPS, LARGEST_H = 10_000, 1e30


class Unit:
    """`unroll_length` steps of size h of an integrator on the ODE of a block.

    Attributes:
        block: a name in ODES.
        integrator: a name in INTEGRATORS.
        h: step size.
        arrays: the module with `split`, `concatenate` and `zeros_like` for the states: numpy or keras.ops.

    Subclasses have `convolve`, `convolve_transposed`, `activation` and, for block antisymmetric, `gamma`; see `equations`.
    """

    block: str
    integrator: str
    h: float
    kernel_size: int
    arrays: Any

    @property
    def form(self) -> str:
        """The form of the ODE, see `integrators`."""
        return ODES[self.block].form

    def weight_shapes(self, channels: int) -> Shapes:
        """The weights of one step on `channels` channels, by the names that `right_hand_side` knows: {name: shape}."""
        return ODES[self.block].weight_shapes(self.kernel_size, channels // (2 if self.form == PARTITIONED else 1))

    def right_hand_side(self, **weights: Any) -> RightHandSide:
        """The functions of the right-hand side with these `weights`, by name."""
        return ODES[self.block].right_hand_side(self, **weights)

    def initial_state(self, x: Any) -> State:
        """The integrator's state at time 0, from (…, c): (y, z), (x,), or at rest (v, x) = (0, x)."""
        if self.form == PARTITIONED:
            return tuple(self.arrays.split(x, 2, axis=-1))
        return (self.arrays.zeros_like(x), x) if self.form == SECOND_ORDER else (x,)

    def solution(self, state: State) -> Any:
        """The unit's output (…, c), from its final state: both halves, or x."""
        return self.arrays.concatenate(state[-2:], axis=-1) if self.form == PARTITIONED else state[-1]

    def advance(self, state: State, step: int, weights: dict[str, Any]) -> State:
        """The state after step number `step` (from 0), a function of the state before it and of the step's weights."""
        weights = dict(weights)
        k = weights.pop("k", None)
        f = self.right_hand_side(**weights)
        if k is None:
            method = INTEGRATORS[self.integrator]
            return (method.step if step else method.first)(state, f, self.h)
        # Block linear_multistep has steps of its own.
        if step:
            return integrators.linear_multistep(state, f, self.h, k)
        return integrators.midpoint_start(state, f, self.h)
