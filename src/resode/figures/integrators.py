"""Figures of the integrators notebook: each takes data and returns a Figure."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from resode.figures.style import BLUE, GREEN, GREY, INK, ORANGE, styled, subplots
from resode.ode import integrators, linear_stability, problems
from resode.ode.integrators import INTEGRATORS
from resode.ode.problems import PORTRAITS, STARTS, Portrait, Problem

# Okabe and Ito's palette. Some methods are equal here and there: the line of a later one is narrower and broken, so that the
# earlier ones show through.
COLOURS = (ORANGE, "#56B4E9", BLUE, GREEN, "#E69F00", INK, "#CC79A7")
WIDTHS = (2.0, 5.0, 3.2, 2.0, 1.3, 2.0, 2.0)
DASHES = ("-", "-", "-", "-", (0, (4, 3)), (0, (1, 1)), "-.")


def _line(number: int) -> dict:
    which = number % len(COLOURS)
    return {"color": COLOURS[which], "linewidth": WIDTHS[which], "linestyle": DASHES[which]}


@styled
def phase_portraits(h: float, steps: int) -> Figure:
    """Explicit Euler steps (dots) and the ODE's solutions (lines) of x' = tanh(K x) for four 2×2 matrices."""
    figure, grid = subplots(2, 2, size=(8.4, 9.0), sharex=True, sharey=True)
    for axes, portrait in zip(grid.flat, PORTRAITS, strict=True):
        draw_portrait(axes, portrait, h, steps)
    for axes in grid[-1]:
        axes.set_xlabel("$x_1$")
    for axes in grid[:, 0]:
        axes.set_ylabel("$x_2$", rotation=0)
    return figure


def draw_portrait(axes, portrait: Portrait, h: float, steps: int) -> None:
    """Draw one panel of `phase_portraits`."""
    _field(axes, portrait)
    for start, colour in zip(STARTS, (BLUE, BLUE, ORANGE, ORANGE, GREEN, GREEN), strict=True):
        _paths(axes, portrait, start, h, steps, colour)
    axes.set_title(f"eigenvalues {portrait.title}: {_eigenvalues(portrait.eigenvalues)}\n{portrait.meaning}")
    axes.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal")
    axes.grid(False)


def _field(axes, portrait: Portrait) -> None:
    side = np.linspace(-1.5, 1.5, 13)
    points = np.stack(np.meshgrid(side, side), axis=-1)
    arrows = portrait.rate(points)
    length = np.linalg.norm(arrows, axis=-1, keepdims=True)
    arrows = np.divide(arrows, length, out=np.zeros_like(arrows), where=length > 1e-12)
    axes.quiver(*points.transpose(2, 0, 1), *arrows.transpose(2, 0, 1), color="#CFCFCF", width=0.0035, scale=24)


def _paths(axes, portrait: Portrait, start: tuple[float, float], h: float, steps: int, colour: str) -> None:
    states = integrators.solve("euler", (np.array(start),), (portrait.rate,), h, steps)
    euler = np.stack([x for (x,) in states])
    axes.plot(*problems.flow(portrait.rate, start, h * steps).T, color=colour, linewidth=1.2, alpha=0.7)
    axes.plot(*euler[1:].T, ".", color=colour, markersize=5.5)
    axes.plot(*euler[0], "o", color="white", markeredgecolor=colour, markersize=6, markeredgewidth=1.5)


def _eigenvalues(values: np.ndarray) -> str:
    if np.abs(values.imag).max() > 1e-9:
        return f"±{np.abs(values.imag).max():g}i".replace("±1i", "±i")
    first, second = sorted(values.real)
    text = f"{first + 0.0:g}" if np.isclose(first, second) else f"{first:g}, {second:g}"
    return text.replace("-", "−")


@styled
def orbits(shown: Sequence[Problem], h: float, steps: int) -> Figure:
    """The oscillators in the plane of position and velocity: in grey the exact flow, in colour each integrator's steps."""
    columns = len(INTEGRATORS)
    figure, grid = subplots(
        len(shown), columns, size=(2.1 * columns, 2.5 * len(shown)), sharex=True, sharey=True, squeeze=False
    )
    for row, problem in zip(grid, shown, strict=True):
        (v, x), (force, identity) = problem.forms[integrators.SECOND_ORDER]
        exact = problems.flow(lambda s, f=force, g=identity: [g(s[1]), f(s[0])], (x, v), 10, samples=400)
        for number, (axes, name) in enumerate(zip(row, INTEGRATORS, strict=True)):
            path = problems.path(name, problem, h, steps)
            axes.plot(*path.T, ".", color=COLOURS[number % len(COLOURS)], markersize=6)
            # On top: where the method is good, its dots would hide the line.
            axes.plot(*exact.T, color=GREY, linewidth=1.0, zorder=3)
            axes.set_title(name)
            axes.set(xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), aspect="equal")
        row[0].set_ylabel(f"{problem.name}\n\nvelocity")
    for axes in grid[-1]:
        axes.set_xlabel("position")
    return figure


@styled
def energy_errors(shown: Sequence[Problem], h: float, steps: int) -> Figure:
    """Largest relative error of the energy so far over the steps, a line an integrator; a panel a problem."""
    figure, panels = subplots(1, len(shown), size=(10.5, 4.2), sharey=True)
    for axes, problem in zip(panels, shown, strict=True):
        for number, name in enumerate(INTEGRATORS):
            values = problems.energy_error(name, problem, h, steps)
            axes.loglog(np.arange(1, steps + 1), values[1:], label=name, **_line(number))
        axes.set_title(f"{problem.name}, h = {h:g}")
        axes.set_xlabel("steps")
        axes.margins(x=0)
    panels[0].set_ylabel("largest $|E − E_0|\\,/\\,E_0$ so far")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    return figure


@styled
def amplification(farthest: float = 3.2) -> Figure:
    """Amplification per step of the oscillation with frequency ω over h ω, a line an integrator."""
    figure, axes = subplots(size=(8.6, 4.4))
    points = np.linspace(0, farthest, 641)
    for number, name in enumerate(INTEGRATORS):
        values = [linear_stability.amplification(name, point) for point in points]
        label = f"{name}: {linear_stability.limit(name):.4g}"
        axes.plot(points, values, label=label, **_line(number))
    axes.axhline(1, color=INK, linewidth=0.8, zorder=1)
    axes.set(xlabel="h ω", ylabel="amplification per step", xlim=(0, farthest), ylim=(0.7, 2.0))
    figure.legend(loc="outside right center", title="largest stable h ω")
    return figure


@styled
def convergence(h: Sequence[float], errors: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Error over the step size, log-log; in the legend the slopes of the fitted lines, a number a panel.

    Args:
        errors: {problem: {integrator: errors at h}}.
    """
    figure, panels = subplots(1, len(errors), size=(10.5, 4.2), sharey=True)
    for axes, (problem, methods) in zip(panels, errors.items(), strict=True):
        for number, (name, values) in enumerate(methods.items()):
            slopes = ", ".join(f"{problems.order(h, other[name]):.2f}" for other in errors.values())
            axes.loglog(h, values, marker="o", markersize=4, label=f"{name}: {slopes}", **_line(number))
        axes.set_title(problem)
        axes.set_xlabel("step size h")
        axes.set_xticks(h, [f"{one:g}" for one in h])
        axes.minorticks_off()
    panels[0].set_ylabel(f"error at time {problems.TIME:g}")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", title="slope left, right")
    return figure


@styled
def eigenvalues(found: Mapping[str, np.ndarray], h: float) -> Figure:
    """Eigenvalues times h in the complex plane, a panel a block, with the regions of stability of the one-step integrators.

    Args:
        found: {block: eigenvalues λ}.
    """
    figure, grid = subplots(2, -(-len(found) // 2), size=(8.4, 7.6), sharex=True, sharey=True, squeeze=False)
    real, imaginary = np.meshgrid(np.linspace(-3, 1.2, 211), np.linspace(-3, 3, 301))
    for axes, (block, values) in zip(grid.flat, found.items(), strict=False):
        for name, colour in zip(linear_stability.one_step_regions(), (ORANGE, GREY, GREEN), strict=False):
            inside = linear_stability.region(name, real + 1j * imaginary)
            axes.contour(real, imaginary, inside, levels=[1], colors=[colour], linewidths=1.3)
            axes.plot([], [], color=colour, linewidth=1.3, label=f"region of {name}")
        axes.plot(h * values.real, h * values.imag, ".", color=BLUE, markersize=5, label="h λ")
        axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
        axes.set(title=block, aspect="equal", xlim=(-3, 1.2), ylim=(-3, 3))
    for axes in grid[-1]:
        axes.set_xlabel("Re h λ")
    for axes in grid[:, 0]:
        axes.set_ylabel("Im h λ")
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@styled
def reconstruction(h: float, dtypes: Sequence[str] = ("float32", "float16")) -> Figure:
    """Error of taking steps back, over their number: a panel a precision, a line a reversible integrator."""
    figure, panels = subplots(1, len(dtypes), size=(10.0, 3.8), sharey=True)
    for axes, dtype in zip(panels, dtypes, strict=True):
        for number, name in enumerate(INTEGRATORS):
            if INTEGRATORS[name].reversible:
                errors = np.maximum(problems.reconstruction_errors(name, h, dtype), 1e-10)
                axes.loglog(problems.DEPTHS, errors, marker="o", markersize=4, label=name, **_line(number))
        axes.axhline(problems.LOST, color=GREY, linewidth=1)
        axes.set_title(dtype)
        axes.set_xlabel("steps forwards, and then back")
    panels[0].set_ylabel("relative error of the start")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    return figure
