"""Figures of the stability notebook: each takes data and returns a Figure."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from .plots_results import BLUE, GREEN, INK, ORANGE, styled, subplots
from .stability import PORTRAITS, STARTS, Unit, amplification, solution, trajectory


@styled
def phase_portraits(h: float, steps: int, sigma=np.tanh) -> Figure:
    """Explicit Euler steps (dots) and the ODE's solutions (lines) of x' = σ(K x) for four 2×2 matrices."""
    figure, grid = subplots(2, 2, size=(8.4, 9.0), sharex=True, sharey=True)
    for axes, portrait in zip(grid.flat, PORTRAITS, strict=True):
        _field(axes, np.array(portrait.K), sigma)
        for start, colour in zip(STARTS, (BLUE, BLUE, ORANGE, ORANGE, GREEN, GREEN), strict=True):
            _paths(axes, portrait.K, sigma, start, h, steps, colour)
        axes.set_title(f"eigenvalues {portrait.title}: {_eigenvalues(portrait.eigenvalues)}\n{portrait.meaning}")
        axes.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal")
        axes.grid(False)
    for axes in grid[-1]:
        axes.set_xlabel("$x_1$")
    for axes in grid[:, 0]:
        axes.set_ylabel("$x_2$", rotation=0)
    return figure


def _field(axes, K: np.ndarray, sigma) -> None:
    side = np.linspace(-1.5, 1.5, 13)
    points = np.stack(np.meshgrid(side, side), axis=-1)
    arrows = sigma(points @ K.T)
    length = np.linalg.norm(arrows, axis=-1, keepdims=True)
    arrows = np.divide(arrows, length, out=np.zeros_like(arrows), where=length > 1e-12)
    axes.quiver(*points.transpose(2, 0, 1), *arrows.transpose(2, 0, 1), color="#CFCFCF", width=0.0035, scale=24)


def _paths(axes, K, sigma, start, h: float, steps: int, colour: str) -> None:
    euler = trajectory(K, np.zeros(2), sigma, start, h, steps)
    exact = solution(K, np.zeros(2), sigma, start, h * steps)
    axes.plot(*exact.T, color=colour, linewidth=1.2, alpha=0.7)
    axes.plot(*euler[1:].T, ".", color=colour, markersize=5.5)
    axes.plot(*euler[0], "o", color="white", markeredgecolor=colour, markersize=6, markeredgewidth=1.5)


def _eigenvalues(values: np.ndarray) -> str:
    if np.abs(values.imag).max() > 1e-9:
        return f"±{np.abs(values.imag).max():g}i".replace("±1i", "±i")
    first, second = sorted(values.real)
    text = f"{first + 0.0:g}" if np.isclose(first, second) else f"{first:g}, {second:g}"
    return text.replace("-", "−")


@styled
def orbit_growth(h_values: Sequence[float], time: float = 60.0, sigma=np.tanh) -> Figure:
    """Distance from the origin along explicit Euler, for several h; the matrix with imaginary eigenvalues."""
    figure, axes = subplots(size=(7.2, 3.6))
    K, start = PORTRAITS[-1].K, (0.0, 0.5)
    exact = solution(K, np.zeros(2), sigma, start, time, samples=600)
    axes.plot(np.linspace(0, time, 600), np.linalg.norm(exact, axis=1), color=INK, linewidth=1.2, label="ODE")
    for h, colour, line in zip(h_values, (BLUE, GREEN, ORANGE), ("-", "--", "-."), strict=False):
        points = trajectory(K, np.zeros(2), sigma, start, h, round(time / h))
        at = h * np.arange(len(points))
        axes.plot(at, np.linalg.norm(points, axis=1), line, color=colour, linewidth=1.3, label=f"Euler, h = {h:g}")
    axes.set_xlabel("time")
    axes.set_ylabel("distance from the origin")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.01)
    axes.legend(loc="upper left")
    return figure


@styled
def unit_stability(units: Sequence[Unit], h: float, unroll_length: int) -> Figure:
    """Spectral norm of each trained unit's kernel operator, and the growth of its fastest mode."""
    figure, (left, right) = subplots(1, 2, size=(10, 3.8))
    numbers = [str(unit.unit) for unit in units]
    left.bar(numbers, [unit.sigma_max for unit in units], color=BLUE, width=0.55)
    left.set_title(r"Spectral norm $\sigma_{\max}(K)$")
    right.bar(numbers, [unit.unit_amplification - 1 for unit in units], bottom=1, color=ORANGE, width=0.55)
    right.axhline(1, color=INK, linewidth=1)
    right.set_title(f"Growth of the fastest mode over {unroll_length} steps, h = {h:g}")
    for axes, values in (
        (left, [u.sigma_max for u in units]),
        (right, [u.unit_amplification for u in units]),
    ):
        for position, value in enumerate(values):
            axes.annotate(
                f"{value:.3g}", (position, value), (0, 3), textcoords="offset points", ha="center", fontsize=9
            )
        axes.set_xlabel("unit")
        axes.grid(False, axis="x")
        axes.margins(y=0.12)
    return figure


@styled
def amplification_curve(units: Sequence[Unit], h: float, largest_h: float = 1.0) -> Figure:
    """Amplification √(1 + (h σ_max)²) of one explicit Euler step over h, one line for each trained unit."""
    figure, axes = subplots(size=(7.2, 3.8))
    steps = np.linspace(0, max(largest_h, 1.2 * h), 200)
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.85, len(units)))
    for unit, colour in zip(units, colours, strict=True):
        axes.plot(steps, [amplification(x, unit.sigma_max) for x in steps], color=colour, label=f"unit {unit.unit}")
    axes.axvline(h, color=INK, linestyle="--", linewidth=1, label=f"h = {h:g}")
    axes.set_xlabel("step size h")
    axes.set_ylabel("amplification of one step")
    axes.margins(x=0)
    figure.legend(loc="outside right center")
    return figure
