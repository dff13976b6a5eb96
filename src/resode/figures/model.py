"""Drawings of the network, made from the built model."""

import io
import math
import textwrap
from pathlib import Path

import keras
import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch, Rectangle

from resode.analysis import summary
from resode.base import files
from resode.figures.style import BLUE, GREEN, ORANGE, WIDTH
from resode.nn.blocks import ChannelZeroPadding, HamiltonianConv2D, ODEConv2D
from resode.ode.equations import ODES
from resode.ode.integrators import INTEGRATORS, PARTITIONED

UNIT, WEIGHTS, POOL, ZEROS, OTHER = BLUE, ORANGE, GREEN, "white", "#DDDDDD"
KINDS = {
    "Conv2D": WEIGHTS,
    "Dense": WEIGHTS,
    "AveragePooling2D": POOL,
    "ChannelZeroPadding": ZEROS,
}
LEGEND = (
    ("unit of steps of an ODE", UNIT),
    ("convolution or dense", WEIGHTS),
    ("pooling", POOL),
    ("appended zero channels", ZEROS),
    ("other", OTHER),
)
# Orange and green are hard to tell apart for many; so are pale colours in print.
HATCHES = {POOL: "/////", ZEROS: "....."}
# Inches: a slab is this high for each factor 2 in channels, this wide for each pixel, with this gap to the next.
PER_DOUBLING, PER_PIXEL, GAP, MARGIN = 0.05, 0.034, 0.09, 0.2
LEAST_WIDTH, LEAST_HEIGHT = 0.09, 0.12
MIDDLE, COLUMNS = 0.68, {"name": 1.45, "shape": 3.95, "parameters": WIDTH - 0.05}
# Points; no smaller, or a phone makes it illegible.
SMALL = 9.5


def draw_network(model: keras.Model) -> Figure:
    """The network from image to classes, one slab a layer, drawn from `model` itself.

    A slab is as wide as the layer's output and as high as log₂ of its channels (except that appended zeros and the
    halves y and z take their share of the slab); beside it name, output shape (height × width × channels) and parameters.
    """
    rows = summary.layer_table(model)
    heights = [_slab(row)[1] for row in rows]
    below = 1.35
    height = sum(heights) + GAP * len(rows) + 2 * MARGIN + below
    figure = Figure(figsize=(WIDTH, height))
    axes = _inches(figure, WIDTH, height)
    top = height - MARGIN
    for column, title in {"name": "layer", "shape": "output", "parameters": "parameters"}.items():
        axes.text(COLUMNS[column], top, title, size=SMALL, weight="bold", ha=_align(column), va="center")
    top -= MARGIN
    for layer, row, slab_height in zip(model.layers, rows, heights, strict=True):
        _draw_layer(axes, layer, row, top - slab_height)
        top -= slab_height + GAP
    counts = summary.parameter_counts(model)
    total = f"{counts['total']:,} parameters, {counts['trainable']:,} of them trainable"
    axes.text(0.1, 1.25, total, size=SMALL)
    axes.text(0.1, 1.0, "slabs: width = pixels across, height = log₂ of the channels", size=SMALL)
    axes.legend(
        handles=[
            Patch(facecolor=colour, edgecolor="0.3", hatch=HATCHES.get(colour), label=label) for label, colour in LEGEND
        ],
        loc="lower left",
        ncols=2,
        fontsize=SMALL,
        frameon=False,
    )
    return figure


def _align(column: str) -> str:
    return "left" if column == "name" else "right"


def _draw_layer(axes: Axes, layer: keras.Layer, row: dict, bottom: float) -> None:
    width, height = _slab(row)
    left, middle = MIDDLE - width / 2, bottom + height / 2
    unit = isinstance(layer, ODEConv2D)
    colour = UNIT if unit else KINDS.get(row["type"], OTHER)
    edge = {"edgecolor": "0.3", "linewidth": 0.7}
    axes.add_patch(Rectangle((left, bottom), width, height, facecolor=colour, hatch=HATCHES.get(colour), **edge))
    if unit and layer.form == PARTITIONED:
        _draw_halves(axes, left, bottom, width, height)
    if isinstance(layer, ChannelZeroPadding):
        kept = height / layer.padding
        axes.add_patch(Rectangle((left, bottom + height - kept), width, kept, facecolor=OTHER, **edge))
    axes.plot([left + width + 0.06, COLUMNS["name"] - 0.08], [middle, middle], color="0.8", lw=0.5, ls=":")
    shape = " × ".join(str(size) for size in row["output_shape"][1:])
    texts = {"name": row["name"], "shape": shape, "parameters": f"{row['parameters']:,}" if row["parameters"] else ""}
    for column, text in texts.items():
        weight = "bold" if column == "name" and unit else "normal"
        axes.text(COLUMNS[column], middle, text, size=SMALL, weight=weight, ha=_align(column), va="center")


def _draw_halves(axes: Axes, left: float, bottom: float, width: float, height: float) -> None:
    middle = bottom + height / 2
    axes.plot([left, left + width], [middle, middle], color="white", lw=0.9)
    if 72 * height / 2 < SMALL:
        # Too low for letters.
        return
    for text, at in (("y", bottom + 0.77 * height), ("z", bottom + 0.27 * height)):
        axes.text(left + width / 2, at, text, size=SMALL, color="white", ha="center", va="center")


def _slab(row: dict) -> tuple[float, float]:
    """Width and height of a layer's slab in inches."""
    shape = row["output_shape"][1:]
    pixels = shape[1] if len(shape) == 3 else 1
    return max(PER_PIXEL * pixels, LEAST_WIDTH), max(PER_DOUBLING * math.log2(shape[-1]), LEAST_HEIGHT)


def _inches(figure: Figure, width: float, height: float) -> Axes:
    """Axes over the whole figure whose coordinates are inches."""
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    return axes


def draw_unit(layer: ODEConv2D) -> Figure:
    """One step of `layer`, with its step size, number of steps, kernels and activation.

    The post's unit, a Hamiltonian system and explicit Euler, is drawn; of any other the equations are written.
    """
    steps = f"{layer.unroll_length} step{'s' * (layer.unroll_length > 1)} of size h = {layer.h:g}"
    kernels = "one kernel K" if layer.weights_in_time == "shared" else "a kernel K for each step"
    posts = type(layer) is HamiltonianConv2D and layer.integrator == "euler"
    title = f"{layer.name}: {steps}, {kernels if posts else f'{layer.integrator}, weights {layer.weights_in_time}'}"
    *_, inner, outer = layer.weights[0].shape
    side, sigma = layer.kernel_size, layer.activation.__name__
    facts = f"""K: convolution {side} × {side}, {inner} → {outer} channels
Kᵀ: transposed convolution, same kernel
σ: {"identity" if sigma == "linear" else sigma};  {layer.count_params():,} parameters"""
    height = 4.1
    figure = Figure(figsize=(WIDTH, height))
    axes = _inches(figure, WIDTH, height)
    axes.text(0.1, height - 0.2, title, size=10, weight="bold", va="center")
    (_draw_posts_step if posts else _write_equations)(axes, layer)
    axes.text(0.1, 0.1, facts, size=SMALL, va="bottom", linespacing=1.4)
    return figure


def _write_equations(axes: Axes, layer: ODEConv2D) -> None:
    ode = ODES[layer.block]
    parts = {f"Block {layer.block}": ode.equations}
    if not ode.own_steps:
        parts[f"A step of {layer.integrator}"] = INTEGRATORS[layer.integrator].equations
    top = 3.6
    for headline, equations in parts.items():
        lines = [(0.1, SMALL, "0.35", headline)]
        lines += [(0.3, 10, "black", line) for equation in equations for line in textwrap.wrap(equation, 64)]
        for left, size, colour, line in lines:
            axes.text(left, top, line, size=size, color=colour, va="center")
            top -= 0.26
        top -= 0.12


def _draw_posts_step(axes: Axes, layer: ODEConv2D) -> None:
    upper, lower = 3.3, 1.65
    _rail(axes, upper, "y", r"$y + h\,\sigma(K z + b_1)$", 0.25)
    _rail(axes, lower, "z", r"$z + h\,\sigma(-K^\top y + b_2)$", -0.25)
    _branch(axes, start=(0.55, lower), via=2.8, end=upper, operator="$K$")
    _branch(axes, start=(0.55, upper), via=2.15, end=lower, operator=r"$-K^\top$")
    again = "once" if layer.unroll_length == 1 else f"{layer.unroll_length} times, each from the last result"
    text = f"Both sums use the old y and z; the step runs {again}."
    axes.text(0.1, 1.13, "\n".join(textwrap.wrap(text, 64)), size=SMALL, color="0.35", va="center")


# Where on a rail the other one's branch is added.
SUM = 4.1


def _rail(axes: Axes, y: float, name: str, result: str, above: float) -> None:
    axes.text(0.2, y, f"${name}$", size=14, ha="center", va="center")
    _arrow(axes, (0.35, y), (SUM - 0.18, y))
    axes.text(SUM, y, "$+$", size=12, ha="center", va="center", bbox={"boxstyle": "circle,pad=0.15", "fc": "white"})
    _arrow(axes, (SUM + 0.18, y), (WIDTH - 0.1, y))
    axes.text(WIDTH - 0.1, y + above, result, size=12, ha="right", va="center")


def _branch(axes: Axes, start: tuple[float, float], via: float, end: float, operator: str) -> None:
    """From a rail through operator, bias, activation and step size to the sum on the other rail."""
    x, y = start
    bias = "$b_1$" if operator == "$K$" else "$b_2$"
    axes.plot(x, y, "o", color="black", ms=4)
    bend = x + 0.45
    axes.plot([x, bend, SUM], [y, via, via], color="black", lw=1.2, zorder=1)
    steps = ((operator, UNIT), (f"$+\\,${bias}", WEIGHTS), (r"$\sigma$", OTHER), (r"$\times\,h$", ZEROS))
    for place, (text, colour) in enumerate(steps):
        _box(axes, 1.35 + 0.72 * place, via, text, colour)
    _arrow(axes, (SUM, via), (SUM, end + math.copysign(0.17, via - end)))


def _box(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x - 0.25, y - 0.17), 0.5, 0.34, boxstyle="round,pad=0.02", fc=colour, ec="0.3", lw=0.8, zorder=2
        )
    )
    axes.text(x, y, text, size=11, color="white" if colour == UNIT else "black", ha="center", va="center")


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate(
        "",
        xy=end,
        xytext=start,
        arrowprops={"arrowstyle": "-|>", "color": "black", "lw": 1.2, "shrinkA": 0, "shrinkB": 0},
    )


def save_svg(figure: Figure, path: Path, alt: str) -> None:
    """Write `figure` to `path` as SVG; equal figures give equal bytes.

    Args:
        alt: what the figure shows, for those who cannot see it.

    Raises:
        InputError: `path` cannot be written.
    """
    content = io.BytesIO()
    # Matplotlib salts identifiers with a random number and stamps the date unless told otherwise.
    with matplotlib.rc_context({"svg.hashsalt": "resode"}):
        figure.savefig(content, format="svg", metadata={"Date": None, "Title": alt})
    files.write_bytes(path, content.getvalue())
