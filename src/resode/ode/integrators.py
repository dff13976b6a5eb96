r"""Time integrators: functions that take the state of an ordinary differential equation one step of size h further.

A state is a tuple of numbers, arrays or tensors, and a right-hand side a tuple of as many functions:

    partitioned     y' = f(z), z' = g(y)     state (y, z), right-hand side (f, g)
    first order     x' = f(x)                state (x,),   right-hand side (f,)
    second order    x'' = f(x)               as v' = f(x), x' = v: state (v, x), right-hand side (f, identity)

So each function of the right-hand side takes the other half of the state, and the only half where there is one.
A method is either a step, (state, right-hand side, h) to the next state, or the shears that a step consists of: then it can
also be run backwards. To add one, write its function and a line of INTEGRATORS; params.yaml takes it by that name.

Sources: E. Hairer, C. Lubich, G. Wanner (2006), "Geometric Numerical Integration", chapters I, II and XV, and for the forms in
which midpoint and leapfrog make layers B. Chang et al. (2017), "Reversible Architectures for Arbitrarily Deep Residual
Neural Networks", arXiv:1709.03698.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

State = tuple[Any, ...]
RightHandSide = tuple[Callable[[Any], Any], ...]
PARTITIONED, FIRST_ORDER, SECOND_ORDER = "partitioned", "first order", "second order"


class Shear(NamedTuple):
    """Changes one part of a state by a function of another: x_target ← sign · x_target + increment(x_source).

    x_target ← sign · (x_target − increment(x_source)) undoes it, whatever the increment is.
    """

    target: int
    source: int
    increment: Callable[[Any], Any]
    sign: int = 1


def sheared(x: State, shears: list[Shear]) -> State:
    """The state after `shears`, one after the other."""
    parts = list(x)
    for target, source, increment, sign in shears:
        kept = parts[target] if sign > 0 else -parts[target]
        parts[target] = kept + increment(parts[source])
    return tuple(parts)


def unsheared(x: State, shears: list[Shear]) -> State:
    """The state before `shears`."""
    parts = list(x)
    for target, source, increment, sign in reversed(shears):
        kept = parts[target] - increment(parts[source])
        parts[target] = kept if sign > 0 else -kept
    return tuple(parts)


def euler(x: State, f: RightHandSide, h: float) -> State:
    """Explicit Euler: everything advances from the old state. Order 1.

        x⁺ = x + h f(x);    partitioned: y⁺ = y + h f(z), z⁺ = z + h g(y)

    Example:
        >>> euler((1.0, 0.0), (lambda z: z, lambda y: -y), 0.5)
        (1.0, -0.5)
    """
    return _moved(x, h, _rates(x, f))


def symplectic_euler(f: RightHandSide, h: float) -> list[Shear]:
    """Symplectic Euler: z advances from the new y (Verlet in the sense of Chang et al. 2017). Order 1.

        y⁺ = y + h f(z)
        z⁺ = z + h g(y⁺)

    Returns:
        The shears of a step.
    """
    f, g = f
    return [Shear(0, 1, lambda z: h * f(z)), Shear(1, 0, lambda y: h * g(y))]


def symplectic_euler_z_first(f: RightHandSide, h: float) -> list[Shear]:
    """The other symplectic Euler method, the adjoint of the first: y advances from the new z (Meganet's HamiltonianNN). Order 1.

        z⁺ = z + h g(y)
        y⁺ = y + h f(z⁺)

    Returns:
        The shears of a step.
    """
    return symplectic_euler(f, h)[::-1]


def verlet(f: RightHandSide, h: float) -> list[Shear]:
    """Störmer-Verlet: half a step of y, a whole one of z, the other half of y. Order 2.

        y½ = y + h/2 f(z)
        z⁺ = z + h g(y½)
        y⁺ = y½ + h/2 f(z⁺)

    Returns:
        The shears of a step.
    """
    f, g = f
    half = Shear(0, 1, lambda z: h / 2 * f(z))
    return [half, Shear(1, 0, lambda y: h * g(y)), half]


def midpoint(f: RightHandSide, h: float) -> list[Shear]:
    """Two-step midpoint rule. Order 2.

        x_{j+1} = x_{j−1} + 2 h f(x_j)

    Returns:
        The shears of a step in the state (x_{j−1}, x_j), each of as many parts as f: they make x_{j+1} of x_{j−1}.
    """

    parts = len(f)
    return [Shear(i, 2 * parts - 1 - i, lambda x, g=g: 2 * h * g(x)) for i, g in enumerate(f)]


def midpoint_start(x: State, f: RightHandSide, h: float) -> State:
    """The first step of `midpoint`, explicit Euler's: (x_0, x_1) from x_0."""
    return *x, *euler(x, f, h)


def leapfrog(f: RightHandSide, h: float) -> list[Shear]:
    """Leapfrog, for x'' = f(x). Order 2.

        x_{j+1} = 2 x_j − x_{j−1} + h² f(x_j)

    Returns:
        The shear of a step in the state (x_{j−1}, x_j): it makes x_{j+1} of x_{j−1}.
    """
    f, _ = f
    return [Shear(0, 1, lambda x: 2 * x + h**2 * f(x), sign=-1)]


def leapfrog_start(x: State, f: RightHandSide, h: float) -> State:
    """The first step of `leapfrog`, (x_0, x_1) from (v_0, x_0): x_1 = x_0 + h v_0 + h²/2 f(x_0)."""
    (v, x), (f, _) = x, f
    return x, x + h * v + h**2 / 2 * f(x)


def rk4(x: State, f: RightHandSide, h: float) -> State:
    """The classical Runge-Kutta method. Order 4.

        k₁ = f(x), k₂ = f(x + h/2 k₁), k₃ = f(x + h/2 k₂), k₄ = f(x + h k₃)
        x⁺ = x + h/6 (k₁ + 2 k₂ + 2 k₃ + k₄)

    With a partitioned right-hand side f(x) is (f(z), g(y)).
    """
    k1 = _rates(x, f)
    k2 = _rates(_moved(x, h / 2, k1), f)
    k3 = _rates(_moved(x, h / 2, k2), f)
    k4 = _rates(_moved(x, h, k3), f)
    return _moved(x, h / 6, tuple(a + 2 * b + 2 * c + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True)))


def linear_multistep(x: State, f: RightHandSide, h: float, k: Any) -> State:
    """Lu et al.'s two-step scheme, in which k is learnt; k = 0 is explicit Euler. No entry of INTEGRATORS: it needs k.

        x_{n+1} = (1 − k) x_n + k x_{n−1} + h f(x_n)

    Source: Y. Lu et al. (2017), "Beyond Finite Layer Neural Networks: Bridging Deep Architectures and Numerical
    Differential Equations", arXiv:1710.10121.

    Args:
        x: (x_{n−1}, x_n); `midpoint_start` makes it.
    """
    (before, now), (f,) = x, f
    # Not (1 - k) * now + k * before: in bfloat16 the two parts of the gradient of k would cancel.
    return now, now + k * (before - now) + h * f(now)


@dataclass(frozen=True)
class Integrator:
    """One entry of INTEGRATORS.

    Attributes:
        method: a step, or the shears of one.
        equations: of a step, as figures show them.
        start: the first step of a method that needs two states. From there on the state is the old one and behind it the
            new one, and they change places after the shears have made the next one of the old one.
        reversible: whether `method` gives shears.
        forms: the ODEs that the method solves.
        reason: what to tell somebody who asks for it with another form.
    """

    method: Callable[..., Any]
    equations: tuple[str, ...]
    start: Callable[[State, RightHandSide, float], State] | None = None
    reversible: bool = True
    forms: tuple[str, ...] = (PARTITIONED, FIRST_ORDER, SECOND_ORDER)
    reason: str = ""

    def first(self, x: State, f: RightHandSide, h: float) -> State:
        """The first step from an initial state."""
        return (self.start or self.step)(x, f, h)

    def step(self, x: State, f: RightHandSide, h: float) -> State:
        """A step of size h."""
        if not self.reversible:
            return self.method(x, f, h)
        return self.exchanged(sheared(x, self.method(f, h)))

    def step_back(self, x: State, f: RightHandSide, h: float) -> State:
        """The state before a step of a reversible method, the first step of one with a `start` aside."""
        return unsheared(self.exchanged(x), self.method(f, h))

    def exchanged(self, x: State) -> State:
        """The state with old and new in each other's place, where a method needs two states."""
        half = len(x) // 2
        return (*x[half:], *x[:half]) if self.start else x


_HALVES: dict[str, Any] = {
    "forms": (PARTITIONED, SECOND_ORDER),
    "reason": "it advances two halves of a state in turn, and this block's state has none",
}
INTEGRATORS = {
    "euler": Integrator(euler, ("x⁺ = x + h f(x)",), reversible=False),
    "symplectic_euler": Integrator(symplectic_euler, ("y⁺ = y + h f(z)", "z⁺ = z + h g(y⁺)"), **_HALVES),
    "symplectic_euler_z_first": Integrator(
        symplectic_euler_z_first, ("z⁺ = z + h g(y)", "y⁺ = y + h f(z⁺)"), **_HALVES
    ),
    "verlet": Integrator(verlet, ("y½ = y + h/2 f(z)", "z⁺ = z + h g(y½)", "y⁺ = y½ + h/2 f(z⁺)"), **_HALVES),
    "midpoint": Integrator(midpoint, ("x_{j+1} = x_{j−1} + 2 h f(x_j)",), midpoint_start),
    "leapfrog": Integrator(
        leapfrog,
        ("x_{j+1} = 2 x_j − x_{j−1} + h² f(x_j)",),
        leapfrog_start,
        forms=(SECOND_ORDER,),
        reason="it solves x'' = f(x), which is block second_order",
    ),
    "rk4": Integrator(
        rk4,
        ("k₁ = f(x), k₂ = f(x + h/2 k₁), k₃ = f(x + h/2 k₂), k₄ = f(x + h k₃)", "x⁺ = x + h/6 (k₁ + 2 k₂ + 2 k₃ + k₄)"),
        reversible=False,
    ),
}


def refusal(name: str, form: str) -> str | None:
    """Why the integrator `name` cannot solve an ODE of `form`; None if it can."""
    method = INTEGRATORS[name]
    return None if form in method.forms else f"integrator {name} does not solve this ODE: {method.reason}"


def irreversible(name: str, form: str) -> str | None:
    """Why no step of the integrator `name` on an ODE of `form` can be taken back; None if it can."""
    if INTEGRATORS[name].reversible:
        return None
    able = ", ".join(name for name, method in INTEGRATORS.items() if method.reversible and form in method.forms)
    return f"backward reversible: a step of {name} has no inverse in closed form; use recompute, or integrator {able}"


def solve(name: str, x: State, f: RightHandSide, h: float, steps: int) -> list[State]:
    """The steps + 1 states of integrator `name` at times 0, h, …, h · steps, as its step returns them."""
    method = INTEGRATORS[name]
    states = [x]
    for step in range(steps):
        x = (method.step if step else method.first)(x, f, h)
        states.append(x)
    return states


def evaluations(name: str, parts: int, steps: int) -> tuple[int, ...]:
    """Count how often integrator `name` evaluates each of the `parts` functions of the right-hand side over `steps` steps."""
    calls: list[int] = []
    f = tuple(lambda _, part=part: calls.append(part) or 0.0 for part in range(parts))
    solve(name, (0.0,) * parts, f, 1.0, steps)
    return tuple(calls.count(part) for part in range(parts))


def _rates(x: State, f: RightHandSide) -> State:
    return tuple(function(part) for function, part in zip(f, reversed(x), strict=True))


def _moved(x: State, h: float, rates: State) -> State:
    return tuple(part + h * rate for part, rate in zip(x, rates, strict=True))
