"""Figures of the integrators notebook: each takes data and returns a Figure."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from resode.figures.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, WIDTH, lowest, styled, subplots
from resode.ode import integrators, linear_stability, problems
from resode.ode.integrators import INTEGRATORS
from resode.ode.problems import PORTRAITS, STARTS, Portrait, Problem

# Okabe and Ito's palette. Some methods are equal here and there: the wider line lies below, and the narrower one is broken.
COLOURS = (ORANGE, "#56B4E9", BLUE, GREEN, "#E69F00", INK, PURPLE)
WIDTHS = (2.0, 5.0, 3.2, 2.0, 1.3, 2.0, 2.0)
# A logarithmic axis has no place for the error 0: where `reconstruction` begins.
LEAST = 1e-10
DASHES = ("-", "-", "-", "-", (0, (4, 3)), (0, (1, 1)), "-.")


def _line(number: int) -> dict:
    which = number % len(COLOURS)
    width = WIDTHS[which]
    return {"color": COLOURS[which], "linewidth": width, "linestyle": DASHES[which], "zorder": 3 - width / 10}


@styled
def phase_portraits(h: float, steps: int) -> Figure:
    """Explicit Euler steps (dots) and the ODE's solutions (lines) of x' = tanh(K x) for four 2×2 matrices."""
    figure, grid = subplots(2, 2, size=(WIDTH, 6.2), sharex=True, sharey=True)
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
    title = f"{portrait.title} eigenvalues: {_eigenvalues(portrait.eigenvalues)}\n{portrait.meaning}"
    axes.set_title(title.replace(": ", ":\n").replace(":\n", ": ", 1), weight="normal")
    axes.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal")
    axes.grid(False)


def _field(axes, portrait: Portrait) -> None:
    side = np.linspace(-1.5, 1.5, 11)
    points = np.stack(np.meshgrid(side, side), axis=-1)
    arrows = portrait.rate(points)
    length = np.linalg.norm(arrows, axis=-1, keepdims=True)
    arrows = np.divide(arrows, length, out=np.zeros_like(arrows), where=length > 1e-12)
    axes.quiver(*points.transpose(2, 0, 1), *arrows.transpose(2, 0, 1), color="#CFCFCF", width=0.006, scale=20)


def _paths(axes, portrait: Portrait, start: tuple[float, float], h: float, steps: int, colour: str) -> None:
    states = integrators.solve("euler", (np.array(start),), (portrait.rate,), h, steps)
    euler = np.stack([x for (x,) in states])
    axes.plot(*problems.flow(portrait.rate, start, h * steps).T, color=colour, linewidth=1.2, alpha=0.7)
    axes.plot(*euler[1:].T, ".", color=colour, markersize=4.5)
    axes.plot(*euler[0], "o", color="white", markeredgecolor=colour, markersize=5, markeredgewidth=1.2)


def _eigenvalues(values: np.ndarray) -> str:
    if np.abs(values.imag).max() > 1e-9:
        return f"±{np.abs(values.imag).max():g}i".replace("±1i", "±i")
    first, second = sorted(values.real)
    text = f"{first + 0.0:g}" if np.isclose(first, second) else f"{first:g}, {second:g}"
    return text.replace("-", "−")


@styled
def orbits(shown: Sequence[Problem], h: float, steps: int) -> Figure:
    """The oscillators in the plane of position and velocity: in grey the exact flow, in colour each integrator's steps."""
    columns = 3
    rows = -(-len(INTEGRATORS) // columns)
    figure, grid = subplots(
        rows * len(shown), columns, size=(WIDTH, 1.85 * rows * len(shown)), sharex=True, sharey=True, squeeze=False
    )
    for panels, problem in zip(np.split(grid, len(shown)), shown, strict=True):
        (v, x), (force, identity) = problem.forms[integrators.SECOND_ORDER]
        exact = problems.flow(lambda s, f=force, g=identity: [g(s[1]), f(s[0])], (x, v), 10, samples=400)
        for number, (axes, name) in enumerate(zip(panels.flat, INTEGRATORS, strict=False)):
            path = problems.path(name, problem, h, steps)
            axes.plot(*path.T, ".", color=COLOURS[number % len(COLOURS)], markersize=5)
            # On top: where the method is good, its dots would hide the line.
            axes.plot(*exact.T, color=GREY, linewidth=1.0, zorder=3)
            axes.set_title(_two_lines(name), weight="normal")
            axes.set(xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), xticks=(-2, 0, 2), yticks=(-2, 0, 2), aspect="equal")
        for axes in panels[:, 0]:
            axes.set_ylabel(f"{problem.name}\nvelocity")
        for axes in lowest(panels, len(INTEGRATORS)):
            axes.set_xlabel("position")
    return figure


def _two_lines(name: str) -> str:
    """`name`, broken where its words fit best into a narrow panel's title."""
    words = name.split("_")
    breaks = [("_".join(words[:n]) + "_", "_".join(words[n:])) for n in range(1, len(words))]
    return "\n".join(min(breaks, key=lambda lines: max(map(len, lines)))) if len(name) > 16 else name


@styled
def energy_errors(shown: Sequence[Problem], h: float, steps: int) -> Figure:
    """Largest relative error of the energy so far over the steps, a line an integrator; a panel a problem."""
    figure, panels = subplots(len(shown), 1, size=(WIDTH, 3.0 * len(shown) + 0.8), sharex=True, sharey=True)
    for axes, problem in zip(panels, shown, strict=True):
        for number, name in enumerate(INTEGRATORS):
            values = problems.energy_error(name, problem, h, steps)
            axes.loglog(np.arange(1, steps + 1), values[1:], label=name, **_line(number))
        axes.set_title(f"{problem.name}, h = {h:g}")
        axes.set_ylabel("largest $|E − E_0|\\,/\\,E_0$ so far")
        axes.margins(x=0)
    panels[-1].set_xlabel("steps")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@styled
def amplification(farthest: float = 3.2) -> Figure:
    """Amplification per step of the oscillation with frequency ω over h ω, a line an integrator."""
    figure, axes = subplots(size=(WIDTH, 4.9))
    points = np.linspace(0, farthest, 641)
    for number, name in enumerate(INTEGRATORS):
        values = [linear_stability.amplification(name, point) for point in points]
        label = f"{name}: {linear_stability.limit(name):.4g}"
        axes.plot(points, values, label=label, **_line(number))
    axes.axhline(1, color=INK, linewidth=0.8, zorder=1)
    axes.set(xlabel="h ω", ylabel="amplification per step", xlim=(0, farthest), ylim=(0.7, 2.0))
    figure.legend(loc="outside lower center", ncols=2, title="largest stable h ω")
    return figure


@styled
def convergence(h: Sequence[float], errors: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Error over the step size, log-log; in the legend the slopes of the fitted lines, a number a panel from top to bottom.

    Args:
        errors: {problem: {integrator: errors at h}}.
    """
    figure, panels = subplots(len(errors), 1, size=(WIDTH, 3.0 * len(errors) + 0.9), sharex=True, sharey=True)
    for axes, (problem, methods) in zip(panels, errors.items(), strict=True):
        for number, (name, values) in enumerate(methods.items()):
            slopes = ", ".join(f"{problems.order(h, other[name]):.2f}" for other in errors.values())
            axes.loglog(h, values, marker="o", markersize=4, label=f"{name}: {slopes}", **_line(number))
        axes.set_title(problem)
        axes.set_ylabel(f"error at time {problems.TIME:g}")
        axes.set_xticks(h, [f"{one:g}" for one in h])
        axes.minorticks_off()
    panels[-1].set_xlabel("step size h")
    where = "above, below" if len(errors) == 2 else "from top to bottom"
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, title=f"slope {where}")
    return figure


@styled
def eigenvalues(found: Mapping[str, np.ndarray], h: float) -> Figure:
    """Eigenvalues times h in the complex plane, a panel a block, with the regions of stability of the one-step integrators.

    Args:
        found: {block: eigenvalues λ}.
    """
    columns = 3
    rows = -(-len(found) // columns)
    figure, grid = subplots(rows, columns, size=(WIDTH, 2.75 * rows + 0.6), sharex=True, sharey=True, squeeze=False)
    real, imaginary = np.meshgrid(np.linspace(-3, 1.2, 211), np.linspace(-3, 3, 301))
    for axes, (block, values) in zip(grid.flat, found.items(), strict=False):
        for name, colour in zip(linear_stability.one_step_regions(), (ORANGE, GREY, GREEN), strict=False):
            inside = linear_stability.region(name, real + 1j * imaginary)
            axes.contour(real, imaginary, inside, levels=[1], colors=[colour], linewidths=1.3)
            axes.plot([], [], color=colour, linewidth=1.3, label=f"region of {name}")
        axes.plot(h * values.real, h * values.imag, ".", color=BLUE, markersize=5, label="h λ")
        axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
        axes.set_title(_two_lines(block), weight="normal")
        axes.set(aspect="equal", xlim=(-3, 1.2), ylim=(-3, 3))
    for axes in lowest(grid, len(found)):
        axes.set_xlabel("Re h λ")
    for axes in grid[:, 0]:
        axes.set_ylabel("Im h λ")
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@styled
def reconstruction(h: float, dtypes: Sequence[str] = ("float32", "float16")) -> Figure:
    """Error of taking steps back, over their number: a panel a precision, a line a reversible integrator."""
    figure, panels = subplots(len(dtypes), 1, size=(WIDTH, 2.7 * len(dtypes) + 0.6), sharex=True, sharey=True)
    for axes, dtype in zip(panels, dtypes, strict=True):
        for number, name in enumerate(INTEGRATORS):
            if INTEGRATORS[name].reversible:
                errors = np.maximum(problems.reconstruction_errors(name, h, dtype), LEAST)
                axes.loglog(problems.DEPTHS, errors, marker="o", markersize=4, label=name, **_line(number))
        axes.axhline(problems.LOST, color=GREY, linewidth=1)
        axes.set_title(dtype)
        axes.set_ylabel("relative error of the start")
        ticks = 10.0 ** np.arange(np.log10(LEAST), 1, 2)
        axes.set_yticks(ticks, [f"≤ {LEAST:.0e}", *(f"{tick:.0e}" for tick in ticks[1:])])
        axes.minorticks_off()
    panels[-1].set_xlabel("steps forwards, and then back")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
