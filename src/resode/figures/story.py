"""Figures of the story notebook, narrow enough for a phone, and those that the reader moves."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from bokeh.embed import json_item
from bokeh.io import output_notebook
from bokeh.layouts import column
from bokeh.models import (
    CategoricalSlider,
    ColumnDataSource,
    CustomJS,
    Div,
    LayoutDOM,
    PointDrawTool,
    Row,
    Select,
    Slider,
)
from bokeh.plotting import figure as bokeh_figure
from bokeh.resources import INLINE
from IPython.display import HTML
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from resode.analysis import refinement
from resode.base import files
from resode.figures.integrators import draw_portrait
from resode.figures.style import BLUE, GREEN, GREY, INK, ORANGE, narrow, subplots
from resode.nn.blocks import ODEConv2D
from resode.ode import equations, integrators, linear_stability, problems
from resode.training import outputs

# A pool of water that turns, and a marble dropped into it.
POOL = problems.Portrait("", "", ((-0.2, -1.0), (1.0, -0.2)))
DROPPED = (1.2, 0.0)

# Step sizes and most steps of the moving figure; ω = 1 there, so that h ω = h. Near the limits 1, 2 and 2.83 they lie closer.
SIZES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.9, 1.0, 1.1, 1.4, 1.7, 1.9, 2.0, 2.1, 2.5, 2.8, 2.9)
MOST_STEPS = 60
# What is farther out is far outside the picture; float32 ends at 1e38.
_FARTHEST = 1e6


# The state of `problems.OSCILLATOR` is (velocity, position). The story's symplectic Euler moves the position first, as the post's units
# would their first half y, and that is here the method that begins with the second half.
_POSITION_FIRST = {"symplectic_euler": "symplectic_euler_z_first", "symplectic_euler_z_first": "symplectic_euler"}


def oscillation(integrator: str, h: float, steps: int) -> np.ndarray:
    """Position and velocity of x'' = −x from (1, 0) after 0, 1, …, `steps` steps, the position as first half of the state; (steps + 1, 2)."""
    return problems.path(_POSITION_FIRST.get(integrator, integrator), problems.OSCILLATOR, h, steps)


@narrow
def marble() -> Figure:
    """The velocity of water in a pool as arrows, and the path of a marble that follows it."""
    figure, axes = subplots(size=(4, 3.9))
    side = np.linspace(-1.4, 1.4, 10)
    points = np.stack(np.meshgrid(side, side), axis=-1)
    axes.quiver(*points.transpose(2, 0, 1), *POOL.rate(points).transpose(2, 0, 1), color=GREY, width=0.006, scale=14)
    path = problems.flow(POOL.rate, DROPPED, 8)
    axes.plot(*path.T, color=BLUE, linewidth=2)
    axes.plot(*DROPPED, "o", color=ORANGE, markersize=10)
    axes.annotate(
        "dropped here",
        DROPPED,
        (1.3, -1.55),
        color=ORANGE,
        ha="right",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        arrowprops={"arrowstyle": "-", "color": ORANGE},
    )
    axes.set(xlim=(-1.7, 1.7), ylim=(-1.7, 1.7), aspect="equal", xlabel="$x_1$", ylabel="$x_2$")
    axes.grid(False)
    return figure


@narrow
def euler_steps(h: float, time: float = 4.0) -> Figure:
    """The marble's path and explicit Euler's steps of size h along it."""
    figure, axes = subplots(size=(4, 3.6))
    axes.plot(*problems.flow(POOL.rate, DROPPED, time).T, color=GREY, linewidth=2.5)
    states = integrators.solve("euler", (np.array(DROPPED),), (POOL.rate,), h, round(time / h))
    axes.plot(*np.stack([x for (x,) in states]).T, "o-", color=ORANGE, markersize=4, linewidth=1.2)
    axes.set_title(f"h = {h:g}, {round(time / h)} steps")
    axes.set(xlim=(-1.9, 1.6), ylim=(-1.4, 1.6), aspect="equal")
    return figure


@narrow
def residual_layer() -> Figure:
    """A residual layer as a drawing: x goes on unchanged, and h F(x) is added to it."""
    figure, axes = _canvas(4, 2.3)
    _arrow(axes, (0.4, 0.6), (2.75, 0.6))
    _arrow(axes, (3.1, 0.6), (3.45, 0.6))
    axes.text(0.3, 0.6, "$x$", size=16, ha="right", va="center")
    axes.text(3.5, 0.6, "$x^+$", size=16, va="center")
    axes.text(1.7, 0.3, "unchanged", ha="center", va="center", color=INK)
    axes.plot([0.8, 0.8, 1.2], [0.6, 1.5, 1.5], color=INK)
    _box(axes, (1.45, 1.5), "$F$", BLUE)
    axes.plot([1.7, 2.0], [1.5, 1.5], color=INK)
    _box(axes, (2.25, 1.5), r"$\times h$", ORANGE)
    axes.plot([2.5, 2.92], [1.5, 1.5], color=INK)
    _arrow(axes, (2.92, 1.5), (2.92, 0.78))
    axes.text(2.92, 0.6, "$+$", size=14, ha="center", va="center", bbox={"boxstyle": "circle,pad=0.1", "fc": "white"})
    axes.text(1.85, 2.05, "one step of Euler's method", ha="center", weight="bold")
    return figure


@narrow
def phase_portrait(portrait: problems.Portrait, h: float = 0.3, steps: int = 21) -> Figure:
    """One of the phase portraits of the page integrators, over a whole turn of the frequency 1."""
    figure, axes = subplots(size=(4, 4.4))
    draw_portrait(axes, portrait, h, steps)
    return figure


@narrow
def eigenvalues(seed: int, size: int = 12) -> Figure:
    """Eigenvalues of a random matrix K and of K − Kᵀ in the complex plane, and the disk in which Euler's steps do not grow."""
    K = np.random.default_rng(seed).standard_normal((size, size)) / (2 * np.sqrt(size))
    figure, axes = subplots(size=(4, 4.25))
    axes.add_patch(Circle((-1, 0), 1, color=ORANGE, alpha=0.2, linewidth=0))
    axes.axvline(0, color=INK, linewidth=1)
    axes.text(-1, -0.75, "Euler does\nnot grow", ha="center", va="center", color=INK)
    for matrix, label, marker, colour in ((K, "of $K$", "x", GREY), (K - K.T, "of $K - K^\\top$", "o", BLUE)):
        found = np.linalg.eigvals(matrix)
        axes.plot(found.real, found.imag, marker, color=colour, markersize=7, label=label)
    axes.set(xlim=(-2.1, 1.1), ylim=(-1.6, 1.6), aspect="equal", xlabel="real part", ylabel="imaginary part")
    figure.legend(loc="outside lower center", ncols=2, handletextpad=0.2)
    return figure


@narrow
def energy_levels(h: float, steps: int) -> Figure:
    """Curves of equal energy of the oscillator, with the steps of explicit and of symplectic Euler."""
    figure, axes = subplots(size=(4, 4.6))
    side = np.linspace(-2.4, 2.4, 121)
    x, v = np.meshgrid(side, side)
    axes.contour(
        x, v, problems.OSCILLATOR.energy(x, v), levels=np.arange(0.5, 3.5, 0.5) ** 2 / 2, colors=GREY, linewidths=1
    )
    for name, marker, colour in (("euler", "o", ORANGE), ("symplectic_euler", "s", BLUE)):
        axes.plot(*oscillation(name, h, steps).T, marker, color=colour, markersize=4.5, label=name.replace("_", " "))
    axes.set(xlabel="position", ylabel="velocity", aspect="equal", xlim=(-2.4, 2.4), ylim=(-2.4, 2.4))
    axes.grid(False)
    figure.legend(loc="outside lower center", ncols=2, handletextpad=0.2)
    return figure


@narrow
def partition() -> Figure:
    """A unit's channels as two halves, each of which is moved by the other."""
    figure, axes = _canvas(4, 2.9)
    for height, name, colour in ((2.2, "y", BLUE), (0.7, "z", GREEN)):
        for left in (0.45, 2.75):
            after = "" if left < 1 else "^+"
            axes.add_patch(_rectangle((left, height - 0.35), 0.8, 0.7, colour))
            axes.text(left + 0.4, height, f"${name}{after}$", size=17, color="white", ha="center", va="center")
        _arrow(axes, (1.25, height), (2.72, height))
    _arrow(axes, (1.25, 0.75), (2.72, 2.05))
    _arrow(axes, (1.25, 2.15), (2.72, 0.85))
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axes.text(1.55, 1.02, "$K$", size=14, ha="center", va="center", bbox=box)
    axes.text(1.55, 1.9, r"$-K^\top$", size=14, ha="center", va="center", bbox=box)
    axes.text(2.0, 2.75, "channels: half y, half z", ha="center", weight="bold")
    axes.text(2.0, 0.08, "each half is moved by the other", ha="center")
    return figure


def relu_unit(seed: int = 0, size: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A dense unit of the post's with ReLU from two starts that lie close together: times, y of the first, and the difference in y."""
    rng = np.random.default_rng(seed)
    K = 1.5 * rng.standard_normal((size, size)) / np.sqrt(size)
    b1, b2, y, z, towards_y, towards_z = rng.standard_normal((6, size))
    f, h, steps = equations.hamiltonian(problems.dense(lambda x: np.maximum(x, 0)), K, b1, b2), 0.02, 250
    first, second = (
        np.stack([y for y, _ in integrators.solve("rk4", start, f, h, steps)])
        for start in ((y, z), (y + 0.1 * towards_y, z + 0.1 * towards_z))
    )
    return h * np.arange(steps + 1), first, second - first


@narrow
def over_time(time: np.ndarray, values: np.ndarray, title: str, colour: str) -> Figure:
    """Each column of `values` (times, n) over time."""
    figure, axes = subplots(size=(4, 3.2))
    axes.plot(time, values, color=colour, linewidth=2)
    axes.set_title(title)
    axes.set_xlabel("time")
    axes.margins(x=0)
    return figure


@narrow
def trained_growth(units: Sequence[Mapping]) -> Figure:
    """Growth of a perturbation over each trained unit, predicted by Euler's linearised steps and measured, on a logarithmic axis.

    Args:
        units: of results/**/stability/stability.json.
    """
    figure, axes = subplots(size=(4, 3.9))
    numbers = [unit["unit"] for unit in units]
    for key, label, marker, colour in (
        ("unit_amplification", "predicted, at most", "_", ORANGE),
        ("measured", "measured, median", "o", BLUE),
    ):
        width = 3 if marker == "_" else 1
        axes.plot(
            numbers,
            [unit[key] for unit in units],
            marker,
            color=colour,
            label=label,
            markersize=9,
            markeredgewidth=width,
        )
    axes.axhline(1, color=INK, linewidth=1)
    axes.set_yscale("log")
    ticks = (1, 2, 5, 10, 20)
    axes.set_yticks(ticks, [f"{tick}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xticks(numbers, [f"{unit['unit']}\n{unit['h_omega']:.2f}" for unit in units])
    axes.set(xlabel="unit, and its h ω", ylabel="growth over the unit")
    axes.margins(x=0.1)
    figure.legend(loc="outside lower center", handletextpad=0.2)
    return figure


@narrow
def stored_states(most: int = 1000) -> Figure:
    """States that the backward pass keeps, over the number of steps, in each of three ways."""
    steps = np.arange(1, most + 1)
    length = np.ceil(np.sqrt(steps))
    figure, axes = subplots(size=(4, 4.1))
    ways = (
        ("store: all", steps, ORANGE, "-"),
        ("recompute: some", np.minimum(steps, length + np.ceil(steps / length)), BLUE, "--"),
        ("reversible: the last", np.ones_like(steps), GREEN, ":"),
    )
    for label, states, colour, dashes in ways:
        axes.loglog(steps, states, color=colour, linestyle=dashes, linewidth=2.5, label=label)
    axes.set(xlabel="steps of a unit", ylabel="states in memory", xlim=(1, most))
    axes.legend(loc="upper left")
    return figure


@narrow
def network(units: Sequence[ODEConv2D]) -> Figure:
    """The units of a network from the top down: side of the image, channels, and parameters."""
    figure, axes = subplots(size=(4, 0.8 + 0.75 * len(units)))
    for row, unit in enumerate(units):
        _, side, _, channels = unit.output.shape
        axes.barh(row, np.log2(channels), height=0.34, color=BLUE)
        axes.text(0, row - 0.3, f"{side} × {side} × {channels:,}; {unit.count_params():,} parameters", va="center")
    axes.set_yticks(range(len(units)), [str(number) for number in range(1, len(units) + 1)])
    axes.set(ylabel="unit", xlabel="channels", ylim=(len(units) - 0.7, -0.6))
    powers = range(0, int(np.log2(units[-1].output.shape[-1])) + 1, 2)
    axes.set_xticks(powers, [f"{2**power:,}" for power in powers])
    axes.grid(False)
    return figure


def _canvas(width: float, height: float):
    """Figure and axes whose coordinates are inches."""
    figure, axes = subplots(size=(width, height))
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.axis("off")
    return figure, axes


def _rectangle(corner: tuple[float, float], width: float, height: float, colour: str):
    return Rectangle(corner, width, height, facecolor=colour, edgecolor=INK)


def _box(axes, centre: tuple[float, float], text: str, colour: str) -> None:
    axes.add_patch(_rectangle((centre[0] - 0.25, centre[1] - 0.2), 0.5, 0.4, colour))
    axes.text(*centre, text, size=13, color="white", ha="center", va="center")


def _arrow(axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": INK, "shrinkA": 0, "shrinkB": 0})


# --- what the reader moves


def paths(sizes: Sequence[float] = SIZES, steps: int = MOST_STEPS) -> dict[str, np.ndarray]:
    """Position, velocity and energy over that at the start of x'' = −x: {integrator: float32 (len(sizes), 3, steps + 1)}."""
    found = {}
    for name in integrators.INTEGRATORS:
        rows = []
        for h in sizes:
            x, v = oscillation(name, h, steps).T
            energy = problems.OSCILLATOR.energy(x, v)
            rows.append([x, v, energy / energy[0]])
        found[name] = np.clip(rows, -_FARTHEST, _FARTHEST).astype("float32")
    return found


# `cb_obj` is the control that moved; the arrays are flat in the browser, rows of 3 · (most + 1) numbers.
_MOVED = """
const [row, n, name] = [sizes.indexOf(h.value), steps.value, integrator.value]
const line = (kind) => Array.from(paths[name].slice((3 * row + kind) * (most + 1), (3 * row + kind) * (most + 1) + n + 1))
states.data = {step: Array.from({length: n + 1}, (_, j) => j), x: line(0), v: line(1), energy: line(2)}
const h_omega = Number(h.value)
marker.data = {h_omega: [h_omega], row: [0]}
bar.data = {right: [Math.min(limits[name], 3.2)], row: [0]}
verdict.text = verdicts[name][row]
"""


def moving_layout() -> LayoutDOM:
    """Controls for h, steps and integrator, and below them orbit, energy and h ω, which follow."""
    names, labels = list(integrators.INTEGRATORS), [f"{h:g}" for h in SIZES]
    found = paths()
    limits = {name: linear_stability.limit(name) for name in names}
    # A slider's handle and the last number of an axis reach half their width beyond the end.
    wide = {"sizing_mode": "stretch_width", "stylesheets": [WIDGET], "margin": (5, 16, 5, 16)}
    h = CategoricalSlider(title="step size h", categories=labels, value="0.15", **wide)
    steps = Slider(title="steps", start=1, end=MOST_STEPS, value=MOST_STEPS, step=1, **wide)
    choices = [(name, name.replace("_", " ")) for name in names]
    integrator = Select(title="integrator", value="euler", options=choices, **wide)
    x, v, energy = found["euler"][labels.index("0.15")].astype(float)
    states = ColumnDataSource({"step": np.arange(MOST_STEPS + 1), "x": x, "v": v, "energy": energy}, name="states")
    marker = ColumnDataSource({"h_omega": [0.15], "row": [0]})
    bar = ColumnDataSource({"right": [limits["euler"]], "row": [0]})
    verdicts = {name: [_verdict(name, one, limits[name]) for one in SIZES] for name in names}
    verdict = Div(text=verdicts["euler"][labels.index("0.15")], **wide)

    # At h ω = 1.9 symplectic Euler's orbit reaches 3.2.
    orbit = _square("orbit", "position", "velocity", 3.4)
    circle = np.linspace(0, 2 * np.pi, 121)
    orbit.line(np.cos(circle), np.sin(circle), color=GREY, line_width=2)
    orbit.line("x", "v", source=states, color=ORANGE, line_alpha=0.5)
    orbit.scatter("x", "v", source=states, color=ORANGE, size=6)
    shown = _plot(
        "energy over that at the start", "step", None, x_range=(0, MOST_STEPS), y_range=(0.05, 200), y_axis_type="log",
        frame=130,
    )  # fmt: skip
    shown.line([0, MOST_STEPS], [1, 1], color=GREY, line_width=2)
    shown.line("step", "energy", source=states, color=ORANGE, line_width=2.5)
    strip = _plot(
        "h ω; blue: up to the limit",
        "h ω",
        None,
        x_range=(0, 3.2),
        y_range=(-1, 1),
        frame=40,
    )
    strip.yaxis.visible = strip.ygrid.visible = False
    strip.hbar("row", height=1, left=0, right="right", source=bar, color=BLUE, alpha=0.4)
    strip.scatter("h_omega", "row", source=marker, color=ORANGE, size=14)

    moved = CustomJS(
        args={
            "h": h, "steps": steps, "integrator": integrator, "states": states, "marker": marker, "bar": bar,
            "verdict": verdict, "verdicts": verdicts, "limits": limits, "sizes": labels, "most": MOST_STEPS, "paths": found,
        },
        code=_MOVED,
    )  # fmt: skip
    for control in (h, steps, integrator):
        control.js_on_change("value", moved)
    return _laid_out([h, steps, integrator, verdict], [orbit, column(shown, strip)])


_FLOWED = """
const [name, n] = [integrator.value, Number(steps.value)]
const k = paths[name][n].length / (2 * label.length) - 1
const j = Math.round(time.value / time.end * k)
const at = Array.from(paths[name][n].slice(2 * j * label.length, 2 * (j + 1) * label.length))
const [x, y] = [at.filter((_, i) => i % 2 == 0), at.filter((_, i) => i % 2 == 1)]
points.data = {...points.data, x, y}
pair.data = {x: neighbours.map((i) => x[i]), y: neighbours.map((i) => y[i])}
verdict.text = `After ${Math.round(j / k * n)} of ${n} steps of ${name.replace("_", " ")}: ${(100 * accuracy[name][n][j]).toFixed(1)} % of the points on their side;` +
  ` two neighbours of different classes are ${apart[name][n][j].toFixed(1)} times as far apart as at the start.`
"""


def flow_layout(flow) -> LayoutDOM:
    """Spirals on their way through a trained unit (see `toys.flow`): controls for time, number of steps and method; points and pair follow.
    Beside them the spirals as they are given."""
    wide = {"sizing_mode": "stretch_width", "stylesheets": [WIDGET], "margin": (5, 16, 5, 16)}
    time = Slider(title="time, of 16", start=0, end=16, value=16, step=1, **wide)
    counts = [str(count) for count in flow.paths["euler"]]
    steps = CategoricalSlider(title="steps over this time", categories=counts, value="16", **wide)
    choices = [("symplectic_euler", "symplectic Euler"), ("euler", "Euler")]
    integrator = Select(title="method", value="symplectic_euler", options=choices, **wide)
    shown = flow.paths["symplectic_euler"][16][-1]
    colours = [ORANGE if label else BLUE for label in flow.label]
    points = ColumnDataSource({"x": shown[:, 0], "y": shown[:, 1], "colour": colours}, name="points")
    pair = ColumnDataSource({"x": shown[list(flow.neighbours), 0], "y": shown[list(flow.neighbours), 1]})
    verdict = Div(text="", **wide)
    across, along = 1.1 * np.max([np.abs(found[16]).max(axis=(0, 1)) for found in flow.paths.values()], axis=0)
    ranges = {"x_range": (-across, across), "y_range": (-along, along)}
    given = _square("what the unit is given", "first channel", "second channel", 1.4)
    given.scatter(*flow.points.T, color=colours, size=5)
    pair_given = flow.points[list(flow.neighbours)].T
    given.scatter(*pair_given, fill_color=None, line_color=INK, size=11)
    plot = _plot("in two of many directions", "towards a class", "another direction", FRAME, **ranges)
    plot.line([0, 0], [-along, along], color=INK)
    plot.scatter("x", "y", source=points, color="colour", size=5)
    plot.line("x", "y", source=pair, color=INK, line_width=1.5)
    plot.scatter("x", "y", source=pair, fill_color=None, line_color=INK, size=11)
    moved = CustomJS(
        args={
            "time": time, "steps": steps, "integrator": integrator, "points": points, "pair": pair, "verdict": verdict,
            "label": flow.label.tolist(), "neighbours": list(flow.neighbours),
            "paths": {name: {str(n): one.astype("float32").ravel() for n, one in found.items()} for name, found in flow.paths.items()},
            "accuracy": {name: {str(n): one.tolist() for n, one in found.items()} for name, found in flow.accuracy.items()},
            "apart": {name: {str(n): one.tolist() for n, one in found.items()} for name, found in flow.apart.items()},
        },
        code=_FLOWED,
    )  # fmt: skip
    for control in (time, steps, integrator):
        control.js_on_change("value", moved)
    end = flow.accuracy["symplectic_euler"][16][-1], flow.apart["symplectic_euler"][16][-1]
    verdict.text = (
        f"After 16 of 16 steps of symplectic euler: {100 * end[0]:.1f} % of the points on their side; two neighbours of different"
        f" classes are {end[1]:.1f} times as far apart as at the start."
    )
    return _laid_out([time, steps, integrator, verdict], [given, plot])


@narrow
def flow_still(flow, name: str, steps: int, title: str) -> Figure:
    """The points of `flow` at the end of their way, for where nothing moves."""
    figure, axes = subplots(size=(4, 4.2))
    x, y = flow.paths[name][steps][-1].T
    axes.axvline(0, color=INK, linewidth=1)
    axes.scatter(x, y, c=[ORANGE if label else BLUE for label in flow.label], s=14)
    axes.set(title=title, xlabel="towards a class", ylabel="another direction")
    return figure


# Of the point (a, b) the powers of 1 + a + ib, Euler's dots, and those of its exponential: the one place where the browser has to compute.
_DRAGGED = """
const [a, b] = [real.value, imaginary.value]
const powers = (re, im, count) => {
  const found = [[1, 0]]
  for (let j = 0; j < count; j++) { const [x, y] = found[j]; found.push([x * re - y * im, x * im + y * re]) }
  return {x: found.map((one) => one[0]), y: found.map((one) => one[1])}
}
dots.data = powers(1 + a, b, count)
curve.data = powers(Math.exp(a / 20) * Math.cos(b / 20), Math.exp(a / 20) * Math.sin(b / 20), 20 * count)
if (point.data.x[0] != a || point.data.y[0] != b) point.data = {x: [a], y: [b]}
const growth = Math.hypot(1 + a, b)
verdict.text = `h λ = ${a.toFixed(2).replace("-", "−")} ${b < 0 ? "−" : "+"} ${Math.abs(b).toFixed(2)} i: a step of Euler multiplies by ${growth.toFixed(3)},` +
  ` the ODE by ${Math.exp(a).toFixed(3)}.`
"""
_POINT = """
const clipped = (value, slider) => Math.min(slider.end, Math.max(slider.start, value))
real.value = clipped(point.data.x[0], real)
imaginary.value = clipped(point.data.y[0], imaginary)
"""
DOTS = 12


def eigenvalue_layout(h_omega: Sequence[float] = ()) -> LayoutDOM:
    """The plane of h λ with Euler's disk, a point that is dragged there, and beside it the path and Euler's dots of x' = λ x.

    Args:
        h_omega: of trained units, which are marked on the imaginary axis.
    """
    wide = {"sizing_mode": "stretch_width", "stylesheets": [WIDGET], "margin": (5, 16, 5, 16)}
    real = Slider(title="real part of h λ", start=-2.2, end=0.8, value=0, step=0.01, **wide)
    imaginary = Slider(title="imaginary part of h λ", start=-2, end=2, value=0.5, step=0.01, **wide)
    powers = (1 + 0.5j) ** np.arange(DOTS + 1)
    exact = np.exp(0.5j * np.arange(20 * DOTS + 1) / 20)
    point = ColumnDataSource({"x": [0.0], "y": [0.5]}, name="eigenvalue")
    dots = ColumnDataSource({"x": powers.real, "y": powers.imag}, name="dots")
    curve = ColumnDataSource({"x": exact.real, "y": exact.imag})
    verdict = Div(text="h λ = 0.00 + 0.50 i: a step of Euler multiplies by 1.118, the ODE by 1.000.", **wide)
    plane = _square("drag the orange point", "real part", "imaginary part", 2.2, middle=-0.7)
    plane.ellipse(-1, 0, width=2, height=2, color=ORANGE, alpha=0.2)
    plane.line([0, 0], [-2.2, 2.2], color=INK)
    if len(h_omega):
        plane.scatter([0] * len(h_omega), list(h_omega), marker="square", color=BLUE, size=8)
    drawn = plane.scatter("x", "y", source=point, color=ORANGE, size=18)
    tool = PointDrawTool(renderers=[drawn], add=False)
    plane.add_tools(tool)
    plane.toolbar.active_tap = tool
    portrait = _square("the ODE's path, and Euler's steps", "real part of x", "imaginary part of x", 3.2)
    portrait.line("x", "y", source=curve, color=GREY, line_width=3)
    portrait.line("x", "y", source=dots, color=ORANGE, line_alpha=0.5)
    portrait.scatter("x", "y", source=dots, color=ORANGE, size=7)
    arguments = {"real": real, "imaginary": imaginary, "point": point}
    moved = CustomJS(args=arguments | {"dots": dots, "curve": curve, "verdict": verdict, "count": DOTS}, code=_DRAGGED)
    for control in (real, imaginary):
        control.js_on_change("value", moved)
    point.js_on_change("data", CustomJS(args=arguments, code=_POINT))
    return _laid_out([real, imaginary, verdict], [plane, portrait])


@narrow
def eigenvalue_still(h_omega: Sequence[float] = ()) -> Figure:
    """The plane of `eigenvalue_layout`, with the path and Euler's dots of h λ = 0.5 i, for where nothing moves."""
    figure, panels = subplots(2, 1, size=(4, 7.4))
    plane, portrait = panels
    plane.add_patch(Circle((-1, 0), 1, color=ORANGE, alpha=0.2, linewidth=0))
    plane.axvline(0, color=INK, linewidth=1)
    plane.plot(np.zeros(len(h_omega)), h_omega, "s", color=BLUE, markersize=5)
    plane.plot(0, 0.5, "o", color=ORANGE, markersize=9)
    plane.set(title="h λ = 0.5 i", xlim=(-2.4, 1), ylim=(-2.2, 2.2), xlabel="real part", ylabel="imaginary part")
    exact, powers = np.exp(0.5j * np.linspace(0, DOTS, 240)), (1 + 0.5j) ** np.arange(DOTS + 1)
    portrait.plot(exact.real, exact.imag, color=GREY, linewidth=2.5)
    portrait.plot(powers.real, powers.imag, "o-", color=ORANGE, markersize=4, linewidth=1)
    portrait.set(title="the ODE's path, and Euler's steps", xlim=(-3.2, 3.2), ylim=(-3.2, 3.2))
    portrait.set(xlabel="real part of x", ylabel="imaginary part of x")
    for axes in panels:
        axes.set_aspect("equal")
    return figure


# Pixels: a frame with the numbers of its axis beside it fits a phone.
FRAME = 270
# A handle that a finger can hold, and letters that can be read.
WIDGET = """
:host { font-size: 16px; color: #333 }
.noUi-horizontal .noUi-handle { width: 24px; height: 24px; top: -8px; right: -12px; border-radius: 12px; border-color: #888; background: #eee }
select, option { color: #333; background-color: white; font-size: 16px }
"""


def _laid_out(controls: Sequence[LayoutDOM], plots: Sequence[LayoutDOM]) -> LayoutDOM:
    """Controls, and below them plots: side by side where there is room."""
    side = Row(children=[*plots], stylesheets=[":host { flex-wrap: wrap }"], sizing_mode="stretch_width")
    return column(*controls, side, sizing_mode="stretch_width", max_width=740)


def _square(title: str, x: str, y: str, reach: float, middle: float = 0.0):
    """A plot with a square frame and equal ranges, from −reach to reach, on the x-axis around `middle`."""
    ranges = {"x_range": (middle - reach, middle + reach), "y_range": (-reach, reach)}
    return _plot(title, x, y, **ranges, frame=FRAME)


def _plot(title: str, x: str, y: str | None, frame: int, **options):
    """A plot with a frame FRAME wide and `frame` high, whatever the numbers of its axes need."""
    left, right, top, bottom = 62, 18, 30, 52
    borders = {"min_border_left": left, "min_border_right": right, "min_border_top": top, "min_border_bottom": bottom}
    size = {"width": FRAME + left + right, "height": frame + top + bottom}
    plot = bokeh_figure(title=title, toolbar_location=None, tools="", **borders, **size, **options)
    plot.xaxis.axis_label, plot.yaxis.axis_label = x, y
    for text in (plot.xaxis, plot.yaxis):
        text.axis_label_text_font_style, text.axis_label_text_font_size, text.major_label_text_font_size = (
            "normal",
            "15px",
            "15px",
        )
    plot.title.text_font_size = "15px"
    return plot


def _verdict(name: str, h_omega: float, limit: float) -> str:
    grows = linear_stability.amplification(name, h_omega)
    rule = "lets every oscillation grow" if limit == 0 else f"bounds oscillations up to h ω = {limit:.3g}"
    return f"{name.replace('_', ' ')} {rule}; with h ω = {h_omega:g} its spectral radius is {grows:.4f}."


# Bokeh is on the page before this or comes with it, in a notebook a moment later. Handles get the names of their sliders, for those who
# do not see them.
_PAGE = """<div id="{id}" class="moving" data-root-id="{root}"><p>{without}</p></div>
<script>
(function start(tries) {{
  if (!window.Bokeh) return tries && setTimeout(start, 100, tries - 1)
  document.getElementById("{id}").replaceChildren()
  document.getElementById("{id}").classList.add("started")
  window.Bokeh.embed.embed_item({item}).then(() => {{
    const named = (root) => root.querySelectorAll("*").forEach((one) => {{
      if (one.matches(".noUi-handle")) one.ariaLabel = root.querySelector(".bk-slider-title")?.textContent.split(":")[0]
      if (one.shadowRoot) named(one.shadowRoot)
    }})
    setTimeout(() => named(document.getElementById("{id}")), 500)
  }})
}})(100)
</script>"""


def moving(layout: LayoutDOM, name: str) -> HTML:
    """A figure that moves, for a page that has Bokeh's scripts; a notebook run by hand gets them here.

    Args:
        name: its element's id on the page.
    """
    if "RESODE_STAGE" not in os.environ:
        output_notebook(INLINE, hide_banner=True)
    # Its models are numbered as they are made, from a new kernel on the same way each time.
    item = json_item(layout, name)
    without = (
        "This figure moves where scripts may run: on the site that <code>make site</code> builds, and in JupyterLab."
    )
    content = json.dumps(item, separators=(",", ":")).replace("</", "<\\/")
    return HTML(_PAGE.format(id=name, root=item["root_id"], without=without, item=content))


@narrow
def still(h: float = 0.15, steps: int = MOST_STEPS) -> Figure:
    """The moving figure as it begins, for where nothing moves."""
    figure, axes = subplots(size=(4, 4.2))
    axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor=GREY, linewidth=2))
    axes.plot(*oscillation("euler", h, steps).T, "o-", color=ORANGE, markersize=4, linewidth=1)
    axes.set(xlim=(-3.4, 3.4), ylim=(-3.4, 3.4), aspect="equal", xlabel="position", ylabel="velocity")
    axes.set_title(f"euler, h = {h:g}")
    return figure


# --- of a trained network


def trained_units(results: Path) -> tuple[str, list[dict], dict] | None:
    """The run in `results` whose units are shown, and what the stage stability found: of its units, and with other steps, see `refinement.write`.

    It is the pipeline's run, else of those of Hamiltonian units with Euler's steps the one with most updates; None without one."""
    found = {}
    for folder in [results, *sorted(results.glob("runs/*"))]:
        if (path := folder / "stability" / "stability.json").is_file():
            stability, provenance = files.read_json(path), outputs.provenance(folder / "training")
            outputs.check_of(provenance, stability, path)
            if (
                stability["integrator"] == "euler"
                and stability["units"]
                and None not in [u["unit_amplification"] for u in stability["units"]]
            ):
                path = folder / "stability" / refinement.FILE
                refined = files.read_json(path) if path.is_file() else {"rows": []}
                if refined["rows"]:
                    outputs.check_of(provenance, refined, path)
                found[folder] = provenance["updates"], stability["units"], refined
    if not found:
        return None
    chosen = results if results in found else max(found, key=lambda folder: found[folder][0])
    return "the pipeline's own run" if chosen == results else f"run {chosen.name}", *found[chosen][1:]


def trained_text(name: str, units: Sequence[Mapping]) -> str:
    """The caption of `trained_growth`, as Markdown."""
    h_omega, predicted, measured = (
        [unit[key] for unit in units] for key in ("h_omega", "unit_amplification", "measured")
    )
    return (
        f"*The units of {name}: below their number h ω, which is {min(h_omega):.1f} to {max(h_omega):.1f}. Orange: by how much Euler's steps stretch the"
        f" oscillation that they stretch most, {min(predicted):.0f}- to {max(predicted):.0f}-fold, if all slopes σ′ are 1. Blue: by how much a small"
        f" random change of the images grows over the unit, {min(measured):.2f}- to {max(measured):.2f}-fold in the median. The axis is logarithmic. [All runs](../../docs/runs.md) have their accuracies.*"
    )


def refined_text(name: str, refined: Mapping) -> str:
    """Accuracy in other steps, as `refinement.write` wrote it: the figure's caption and the verdict, as Markdown."""
    verdict = refinement.verdict(*(refined[key] for key in ("rows", "integrator", "unroll_length", "classes")))
    return (
        f"*The weights of {name}, over the same time in other steps, on {refined['rows'][0]['total']:,} test images; bars are 95 % intervals. What is over"
        f" ten points below the best is below the frame.*\n\n{verdict}"
        " Many steps of rk4 are all but the solution."
    )
