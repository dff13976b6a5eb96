r"""Time integrators for the partitioned ODE y' = f(z), z' = g(y).

Each is a function of the state (y, z) that returns the state one step of size h later.
"""

from collections.abc import Callable
from typing import TypeVar

State = TypeVar("State")


def explicit_euler(
    y: State, z: State, f: Callable[[State], State], g: Callable[[State], State], h: float
) -> tuple[State, State]:
    """One step of explicit Euler: both halves advance from the old state.

        y⁺ = y + h f(z)
        z⁺ = z + h g(y)

    Args:
        y: first half of the state, a number or a tensor.
        z: second half of the state.
        f: right-hand side of y' = f(z); its result has the shape of y.
        g: right-hand side of z' = g(y); its result has the shape of z.
        h: step size.

    Returns:
        (y⁺, z⁺), shaped like (y, z).

    Example:
        >>> explicit_euler(1.0, 0.0, lambda z: z, lambda y: -y, 0.5)
        (1.0, -0.5)
    """
    return y + h * f(z), z + h * g(y)
