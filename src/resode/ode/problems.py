"""Small ordinary differential equations on which the integrators are compared: phase portraits, oscillators, a network.

Sources: E. Haber and L. Ruthotto (2017), "Stable Architectures for Deep Neural Networks", arXiv:1705.03341, for the portraits;
E. Hairer, C. Lubich, G. Wanner (2006), "Geometric Numerical Integration", chapter I, for energy and order.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from scipy.integrate import solve_ivp

from resode.ode import equations, integrators
from resode.ode.integrators import FIRST_ORDER, PARTITIONED, SECOND_ORDER, RightHandSide, State

# --- phase portraits


@dataclass(frozen=True)
class Portrait:
    """x' = tanh(K x) in the plane: what the eigenvalues of K are called, what they do, and K."""

    title: str
    meaning: str
    K: tuple[tuple[float, float], tuple[float, float]]

    @property
    def eigenvalues(self) -> np.ndarray:
        """Eigenvalues of K, complex (2,)."""
        return np.linalg.eigvals(np.array(self.K, dtype=complex))

    def rate(self, x: np.ndarray) -> np.ndarray:
        """The right-hand side tanh(K x); x and result (…, 2)."""
        return np.tanh(x @ np.array(self.K).T)


# The first, second and fourth matrix are those of Haber and Ruthotto (2017), section 3; they write x as a row
# and multiply from the left, here x is a column. The third has only the eigenvalue zero without being zero.
PORTRAITS = (
    Portrait("positive", "differences grow: unstable", ((2.0, -2.0), (0.0, 2.0))),
    Portrait("negative", "differences vanish: input forgotten", ((-2.0, 0.0), (2.0, -2.0))),
    Portrait("zero", "drift in one direction", ((0.0, 1.0), (0.0, 0.0))),
    Portrait("imaginary", "rotation: the ODE is stable", ((0.0, -1.0), (1.0, 0.0))),
)
STARTS = ((0.1, 0.1), (-0.1, -0.1), (0.0, 0.5), (0.0, -0.5), (0.7, 0.0), (-0.7, 0.0))


def flow(rate: Callable, x0: Sequence[float], time: float, samples: int = 200) -> np.ndarray:
    """The solution of x' = rate(x) from `x0` over [0, time], to ten digits; (samples, d)."""
    at = np.linspace(0, time, samples)
    return solve_ivp(lambda t, x: rate(x), (0, time), x0, t_eval=at, rtol=1e-10, atol=1e-12).y.T


# --- problems that every integrator solves

# Errors are looked at at this time, after so many steps, against so many steps of RK4.
TIME, STEPS, REFERENCE_STEPS = 2.0, (40, 80, 160, 320), 4000


@dataclass(frozen=True)
class Problem:
    """An initial value problem, written in the forms that integrators ask for.

    Attributes:
        name: what it is, for a title.
        forms: {form: (initial state, right-hand side)}, the preferred one first.
        energy: conserved along the solution, a function of position and velocity; None where nothing is.
    """

    name: str
    forms: Mapping[str, tuple[State, RightHandSide]]
    energy: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None

    def written_for(self, integrator: str) -> tuple[State, RightHandSide]:
        """Initial state and right-hand side in the first form that `integrator` solves."""
        solved = integrators.INTEGRATORS[integrator].forms
        return next(written for form, written in self.forms.items() if form in solved)


def _oscillator(name: str, force: Callable, potential: Callable) -> Problem:
    x0, v0 = 1.0, 0.0
    return Problem(
        name,
        {
            SECOND_ORDER: ((v0, x0), (force, lambda v: v)),
            FIRST_ORDER: ((np.array([x0, v0]),), (lambda x: np.array([x[1], force(x[0])]),)),
        },
        lambda x, v: v**2 / 2 + potential(x),
    )


# x'' = −x and x'' = −tanh(x), the blocks second_order with K = 1: Hamiltonian systems with H = v²/2 + potential.
OSCILLATOR = _oscillator("x″ = −x", lambda x: -x, lambda x: x**2 / 2)
TANH_OSCILLATOR = _oscillator("x″ = −tanh x", lambda x: -np.tanh(x), lambda x: np.log(np.cosh(x)))


def dense(activation: Callable[[np.ndarray], np.ndarray]) -> SimpleNamespace:
    """The `ops` of `equations` with matrices as kernels, on columns: K x, Kᵀ x and σ; γ = 0."""
    return SimpleNamespace(
        activation=activation, convolve=lambda x, K: K @ x, convolve_transposed=lambda x, K: K.T @ x, gamma=0.0
    )


def _network(dtype: str = "float64", size: int = 6) -> Problem:
    rng = np.random.default_rng(0)
    K = rng.standard_normal((size, size)) / np.sqrt(size)
    K, (b1, b2, y, z) = K.astype(dtype), rng.standard_normal((4, size)).astype(dtype)
    tanh = dense(np.tanh)
    return Problem(
        "tanh network",
        {
            PARTITIONED: ((y, z), equations.hamiltonian(tanh, K, b1, b2)),
            SECOND_ORDER: ((np.zeros_like(y), y), equations.second_order(tanh, K, b1)),
            FIRST_ORDER: ((y,), equations.antisymmetric(tanh, K, b1)),
        },
    )


# A dense unit of the post's with σ = tanh, 6 + 6 numbers; for integrators that do not solve it the unit of block second_order
# or antisymmetric with the same numbers.
NETWORK = _network()


def path(integrator: str, problem: Problem, h: float, steps: int) -> np.ndarray:
    """Position and velocity of an oscillator after 0, 1, …, `steps` steps of size h; (steps + 1, 2).

    A method that knows positions alone (leapfrog) gets its velocities as central differences, (x_{j+1} − x_{j−1}) / 2h.
    """
    x, f = problem.written_for(integrator)
    states = integrators.solve(integrator, x, f, h, steps + 1)
    if len(f) == 1:
        return np.stack([state[-1] for state in states[:-1]])
    if integrators.INTEGRATORS[integrator].start and len(states[1]) == len(f):
        positions = np.array([state[-1] for state in states])
        velocities = [x[0], *(positions[2:] - positions[:-2]) / (2 * h)]
        return np.column_stack([positions[:-1], velocities])
    # The state ends with velocity and position, in this order.
    return np.array([state[:-3:-1] for state in states[:-1]])


def energy_error(integrator: str, problem: Problem, h: float, steps: int) -> np.ndarray:
    """Largest relative error of the energy so far, max_{i ≤ j} |E_i − E_0| / E_0, after j = 0 … steps steps; (steps + 1,)."""
    energy = problem.energy(*path(integrator, problem, h, steps).T)
    return np.maximum.accumulate(np.abs(energy / energy[0] - 1))


def errors(integrator: str, problem: Problem, steps: Sequence[int]) -> np.ndarray:
    """Error of z (or of the position) at `TIME`, for each number of steps, against a fine RK4; (len(steps),)."""
    x, f = problem.written_for(integrator)
    exact = integrators.solve("rk4", x, f, TIME / REFERENCE_STEPS, REFERENCE_STEPS)[-1][-1]
    ends = [integrators.solve(integrator, x, f, TIME / number, number)[-1][-1] for number in steps]
    return np.array([np.linalg.norm(end - exact) for end in ends])


def order(h: Sequence[float], errors: Sequence[float]) -> float:
    """Slope p of the line through the logarithms, errors ≈ C h^p."""
    return float(np.polyfit(np.log(h), np.log(errors), 1)[0])


def convergence() -> tuple[np.ndarray, dict[str, dict[str, np.ndarray]]]:
    """Step sizes, and the errors of every integrator at them on the oscillator and on the network: h, {problem: {integrator: errors}}."""
    found = {
        problem.name: {name: errors(name, problem, STEPS) for name in integrators.INTEGRATORS}
        for problem in (OSCILLATOR, NETWORK)
    }
    return TIME / np.array(STEPS), found


def convergence_rows(h: Sequence[float], errors: Mapping[str, Mapping[str, Sequence[float]]]) -> list[dict[str, str]]:
    """Results of `convergence`, a row an integrator, for a table: the error at the smallest h, and the slope."""
    rows = []
    for name in integrators.INTEGRATORS:
        row = {"integrator": name}
        for problem, methods in errors.items():
            row[f"{problem}: error at h = {h[-1]:g}"] = f"{methods[name][-1]:.1e}"
            row[f"{problem}: slope"] = f"{order(h, methods[name]):.2f}"
        rows.append(row)
    return rows


# --- backwards

# Steps forwards and then as many back, and the error from which on a reconstruction is called lost.
DEPTHS = (1, 3, 10, 30, 100, 300, 1000, 3000)
LOST = 1e-3


def reconstruction_errors(integrator: str, h: float, dtype: str = "float32") -> np.ndarray:
    """‖x̂ − x‖ / ‖x‖ of the tanh network's state x after n steps of a reversible `integrator` and n steps back, x̂.

    In exact arithmetic it is zero for every h; what is shown is the rounding in `dtype`, and how the steps back amplify it.

    Returns:
        One error for each n of DEPTHS; infinite where numbers left the range of `dtype`.
    """
    method = integrators.INTEGRATORS[integrator]
    x, f = _network(dtype).written_for(integrator)
    start = method.first(x, f, h) if method.start else x
    errors = []
    with np.errstate(over="ignore", invalid="ignore"):
        for steps in DEPTHS:
            state = start
            for _ in range(steps):
                state = method.step(state, f, h)
            for _ in range(steps):
                state = method.step_back(state, f, h)
            true, found = (np.concatenate(parts).astype(float) for parts in (start, state))
            errors.append(np.linalg.norm(found - true) / np.linalg.norm(true))
    return np.nan_to_num(np.array(errors), nan=np.inf)


def safe_depth(errors: Sequence[float]) -> int:
    """The largest n of DEPTHS up to which a reconstruction is not `LOST`; 0 if one step loses it."""
    return max((n for n, worst in zip(DEPTHS, np.maximum.accumulate(errors), strict=True) if worst < LOST), default=0)


def depth_rows(h_values: Sequence[float], dtype: str = "float32") -> list[dict[str, object]]:
    """Number of steps that can be taken back, a row for each reversible integrator and a column for each h, for a table."""
    most = f"{DEPTHS[-1]:,} or more"
    depths = {
        name: {h: safe_depth(reconstruction_errors(name, h, dtype)) for h in h_values}
        for name, method in integrators.INTEGRATORS.items()
        if method.reversible
    }
    return [
        {
            "integrator": name,
            **{f"h = {h:g}": most if depth == DEPTHS[-1] else f"{depth:,}" for h, depth in row.items()},
        }
        for name, row in depths.items()
    ]
