"""Figures of the story notebook, narrow enough for a phone, and the one that the reader moves."""

import html
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bokeh.embed import json_item
from bokeh.io import output_notebook
from bokeh.layouts import column
from bokeh.models import CategoricalSlider, ColumnDataSource, CustomJS, Div, LayoutDOM, Select, Slider
from bokeh.plotting import figure as bokeh_figure
from bokeh.resources import INLINE
from IPython.display import HTML
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from resode.base import files
from resode.base.text import percent, quoted
from resode.figures.integrators import draw_portrait
from resode.figures.style import BLUE, GREEN, GREY, INK, ORANGE, narrow, subplots
from resode.nn.blocks import ODEConv2D
from resode.ode import integrators, linear_stability, problems
from resode.training import outputs

# A pool of water that turns, and a marble dropped into it.
POOL = problems.Portrait("", "", ((-0.2, -1.0), (1.0, -0.2)))
DROPPED = (1.2, 0.0)

# Step sizes and most steps of the moving figure; ω = 1 there, so that h ω = h. Near the limits 1, 2 and 2.83 they lie closer.
SIZES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.9, 1.0, 1.1, 1.4, 1.7, 1.9, 2.0, 2.1, 2.5, 2.8, 2.9)
MOST_STEPS = 60
# What is farther out is far outside the picture; float32 ends at 1e38.
_FARTHEST = 1e6


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
def euler_steps(sizes: Sequence[float] = (0.8, 0.4, 0.1), time: float = 4.0) -> Figure:
    """The marble's path and explicit Euler's steps along it, a panel a step size."""
    figure, panels = subplots(len(sizes), 1, size=(4, 3.3 * len(sizes)), sharex=True)
    for axes, h in zip(panels, sizes, strict=True):
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
def quadrature() -> Figure:
    """The way of a step as the area below the velocity: Euler's rectangle, and the midpoint rule's."""
    figure, panels = subplots(2, 1, size=(4, 5.6), sharex=True)
    time = np.linspace(0, 1, 200)
    velocity = lambda t: 0.4 + 1.3 * t**1.5
    for axes, at, name, colour in zip(
        panels,
        (0.0, 0.5),
        ("Euler: height at the start", "midpoint: height in the middle"),
        (ORANGE, BLUE),
        strict=True,
    ):
        axes.fill_between([0, 1], 0, velocity(at), color=colour, alpha=0.3, linewidth=0)
        axes.plot([0, 1], [velocity(at)] * 2, color=colour, linewidth=2)
        axes.plot(at, velocity(at), "o", color=colour, markersize=9)
        axes.plot(time, velocity(time), color=INK, linewidth=2)
        axes.set_title(name)
        axes.set(ylabel="velocity", ylim=(0, 1.9), xlim=(-0.04, 1.08))
    panels[-1].set_xticks([0, 0.5, 1], ["$t$", "$t + h/2$", "$t + h$"])
    return figure


@narrow
def phase_portraits(h: float = 0.1, steps: int = 10) -> Figure:
    """The phase portraits of the page integrators, one below the other."""
    figure, panels = subplots(len(problems.PORTRAITS), 1, size=(4, 4.3 * len(problems.PORTRAITS)))
    for axes, portrait in zip(panels, problems.PORTRAITS, strict=True):
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
        path = problems.path(name, problems.OSCILLATOR, h, steps)
        axes.plot(*path.T, marker, color=colour, markersize=4.5, label=name.replace("_", " "))
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
            x, v = problems.path(name, problems.OSCILLATOR, h, steps).T
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
    wide = {"sizing_mode": "stretch_width", "stylesheets": [":host { font-size: 16px }"], "margin": (5, 12, 5, 5)}
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

    orbit = _plot("orbit", "position", "velocity", height=375, max_width=350, x_range=(-2.6, 2.6), y_range=(-2.6, 2.6))
    circle = np.linspace(0, 2 * np.pi, 121)
    orbit.line(np.cos(circle), np.sin(circle), color=GREY, line_width=2)
    orbit.line("x", "v", source=states, color=ORANGE, line_alpha=0.5)
    orbit.scatter("x", "v", source=states, color=ORANGE, size=6)
    shown = _plot(
        "energy over that at the start",
        "step",
        None,
        height=220,
        x_range=(0, MOST_STEPS),
        y_range=(0.05, 200),
        y_axis_type="log",
    )
    shown.line([0, MOST_STEPS], [1, 1], color=GREY, line_width=2)
    shown.line("step", "energy", source=states, color=ORANGE, line_width=2.5)
    strip = _plot("h ω, and in blue up to the limit", "h ω", None, height=130, x_range=(0, 3.2), y_range=(-1, 1))
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
    return column(h, steps, integrator, verdict, orbit, shown, strip, sizing_mode="stretch_width", max_width=440)


def _plot(title: str, x: str, y: str | None, **options):
    plot = bokeh_figure(
        title=title, sizing_mode="stretch_width", toolbar_location=None, tools="", min_border_right=12, **options
    )
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


# Bokeh is on the page before this or comes with it, in a notebook a moment later.
_PAGE = """<div id="moving-figure" data-root-id="{root}"><p>{without}</p></div>
<script>
(function start(tries) {{
  if (!window.Bokeh) return tries && setTimeout(start, 100, tries - 1)
  document.getElementById("moving-figure").replaceChildren()
  window.Bokeh.embed.embed_item({item})
}})(100)
</script>"""


def moving() -> HTML:
    """The moving figure for a page that has Bokeh's scripts; a notebook run by hand gets them here."""
    if "RESODE_STAGE" not in os.environ:
        output_notebook(INLINE, hide_banner=True)
    # Its models are numbered as they are made, from a new kernel on the same way each time.
    item = json_item(moving_layout(), "moving-figure")
    without = "This figure moves on the site that `make site` builds, and in JupyterLab."
    content = json.dumps(item, separators=(",", ":")).replace("</", "<\\/")
    return HTML(_PAGE.format(root=item["root_id"], without=html.escape(without), item=content))


# --- of a trained network


def trained_feature_maps(results: Path) -> str:
    """The feature maps of a trained network in `results` as Markdown: the pipeline's, else those of the run with most updates.

    The link is relative to the page results/story/story.ipynb.
    """
    folders = [results, *sorted(results.glob("runs/*"))]
    found = [folder for folder in folders if (folder / "evaluation" / "feature_maps.png").is_file()]
    told = {folder: outputs.provenance(folder / "training") for folder in found}
    if not told:
        return "No trained network is here yet; when there is one, its feature maps are shown here."
    chosen = results if results in told else max(told, key=lambda folder: told[folder]["updates"])
    provenance = told[chosen]
    run = "the pipeline's own run" if chosen == results else f"run {chosen.name}"
    data, updates = quoted(provenance["data"]["title"]), provenance["updates"]
    metrics = files.read_json(chosen / "evaluation" / "metrics.json")
    outputs.check_of(provenance, metrics, chosen / "evaluation" / "metrics.json")
    accuracy = percent(metrics["test_accuracy"])
    link = os.path.relpath(chosen / "evaluation" / "feature_maps.png", results / "story")
    return (
        f"![a test image, and channels of the first unit before it and after its steps]({link})\n\n"
        f"*The first test image of {data}, and the channels of the first unit that its steps change most, before the unit and after"
        f" its steps; where these change little, the rows look alike. The network is of {run}; after {updates:,} updates it classifies"
        f" {accuracy} of the test images correctly. [All runs so far](../../docs/runs.md) are compared with the post's.*"
    )
