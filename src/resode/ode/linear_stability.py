r"""Linear stability on the imaginary axis: what an integrator does to the oscillation y' = ω z, z' = −ω y, whose size is constant.

With a step h everything depends on h ω alone. A step is a matrix M(h ω) on the method's state (for a two-step method both
steps); its spectral radius ρ(M) is the amplification per step in the long run, and the method is stable where it is at
most 1. Everything is computed from the functions in `integrators`, so a new one needs nothing here.

Source: E. Hairer and G. Wanner (1996), "Solving Ordinary Differential Equations II", chapters IV.2 and V.1.
"""

import functools
from collections.abc import Sequence

import numpy as np

from resode.ode.integrators import FIRST_ORDER, INTEGRATORS, PARTITIONED, SECOND_ORDER, RightHandSide, solve

# h ω is looked at from _GRID to _FARTHEST in steps of _GRID; rounding moves a spectral radius of 1 by less than _ROUNDING.
_GRID, _FARTHEST, _ROUNDING = 0.01, 10.0, 1e-10


def oscillator(form: str, omega: float) -> RightHandSide:
    """The oscillation with frequency ω in `form`: y' = ω z, z' = −ω y; or x' = iω x; or x'' = −ω² x."""
    return {
        PARTITIONED: (lambda z: omega * z, lambda y: -omega * y),
        FIRST_ORDER: (lambda x: 1j * omega * x,),
        SECOND_ORDER: (lambda x: -(omega**2) * x, lambda v: v),
    }[form]


def step_matrix(name: str, h_omega: float) -> np.ndarray:
    """The matrix of one step of integrator `name`, by its action on unit vectors; complex (n, n), n numbers in its state."""
    method = INTEGRATORS[name]
    f = oscillator(method.forms[0], h_omega)
    size = len(method.first((0.0,) * len(f), f, 1.0))
    return np.array([method.step(tuple(unit), f, 1.0) for unit in np.eye(size)], dtype=complex).T


def amplification(name: str, h_omega: float) -> float:
    """Spectral radius of one step: the factor by which the oscillation grows per step in the long run."""
    return float(np.abs(np.linalg.eigvals(step_matrix(name, h_omega))).max())


@functools.cache
def limit(name: str) -> float:
    """The largest h ω up to which every oscillation stays bounded; 0 if none does, inf if it is beyond 10.

    At the limit itself two eigenvalues of the step coincide for most methods, and the oscillation grows linearly.
    """

    def stable(h_omega: float) -> bool:
        return amplification(name, h_omega) <= 1 + _ROUNDING

    points = _GRID * np.arange(1, round(_FARTHEST / _GRID) + 1)
    unstable = next((point for point in points if not stable(point)), np.inf)
    # A growth too small to be told from rounding at tiny h ω is a growth all the same.
    if unstable in (points[0], np.inf):
        return 0.0 if unstable == points[0] else np.inf
    low, high = unstable - _GRID, unstable
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if stable(middle) else (low, middle)
    return round(float(low), 4)


def limit_rows(shown: Sequence[float] = (0.15, 0.5, 1.0, 2.0)) -> list[dict[str, str]]:
    """Limit, and amplification at the `shown` h ω, a row an integrator, for a table."""
    return [
        {"integrator": name, r"largest stable $h \omega$": f"{limit(name):.4g}"}
        | {rf"amplification at $h \omega = {point:g}$": f"{amplification(name, point):.4f}" for point in shown}
        for name in INTEGRATORS
    ]


def growth(name: str, form: str, h_omega: float, steps: int) -> float:
    """Largest factor by which `steps` steps, the first one included, stretch an oscillation with frequency up to ω.

    It is the norm of the map from what a unit is given to what it gives: both halves or, of x'' = −ω² x, position from rest.
    No mode of a linear unit of block hamiltonian or second_order grows by more.
    """
    return max(_stretch(name, form, part, steps) for part in np.linspace(0, h_omega, 101))


def _stretch(name: str, form: str, h_omega: float, steps: int) -> float:
    f = oscillator(form, h_omega)
    given = 1 if form == SECOND_ORDER else len(f)
    # The position comes last, and so does the newer half of a two-step method's state.
    ends = [solve(name, tuple(unit), f, 1.0, steps)[-1][-given:] for unit in np.eye(len(f))[-given:]]
    return float(np.linalg.norm(np.array(ends), 2))


def region(name: str, points: np.ndarray) -> np.ndarray:
    """|R(h λ)|, the factor of one step of a one-step method on x' = λ x, at complex `points` h λ; of their shape."""
    (after,) = INTEGRATORS[name].step((np.ones_like(points),), (lambda x: points * x,), 1.0)
    return np.abs(after)


def one_step_regions() -> list[str]:
    """The integrators that have a region of stability in the complex plane: those that take x' = λ x, one step at a time."""
    return [name for name, method in INTEGRATORS.items() if FIRST_ORDER in method.forms and not method.start]
