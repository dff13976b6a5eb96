"""Drawings of the network, made from the built model."""

import inspect
import io
import math
from pathlib import Path

import keras
import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch, Rectangle

from resode.base import files
from resode.nn import summary
from resode.nn.blocks import ChannelZeroPadding, HamiltonianConv2D, ODEConv2D
from resode.ode.equations import ODES
from resode.ode.integrators import INTEGRATORS, PARTITIONED

UNIT, WEIGHTS, POOL, ZEROS, OTHER = "#4c78a8", "#f2b05e", "#9ecf9a", "#e4e4e4", "#c4bfd6"
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
# Inches: a slab is this high for each factor 2 in channels, this wide for each pixel, with this gap to the next.
PER_DOUBLING, PER_PIXEL, GAP, MARGIN = 0.05, 0.062, 0.11, 0.35
LEAST_WIDTH, LEAST_HEIGHT = 0.09, 0.12
COLUMNS = {"name": 2.75, "type": 4.45, "shape": 6.9, "parameters": 7.95, "flops": 8.85}


def draw_network(model: keras.Model) -> Figure:
    """The network from image to classes, one slab a layer, drawn from `model` itself.

    A slab is as wide as the layer's output and as high as log₂ of its channels (except that appended zeros and the
    halves y and z take their share of the slab); beside it name, type, output shape
    (height × width × channels), parameters and forward FLOPs of one image.
    """
    rows = summary.layer_table(model)
    heights = [_slab(row)[1] for row in rows]
    width, height = COLUMNS["flops"] + 0.15, sum(heights) + GAP * len(rows) + 4 * MARGIN
    figure = Figure(figsize=(width, height))
    axes = _inches(figure, width, height)
    top = height - MARGIN
    _header(axes, top)
    top -= 0.2
    for layer, row, slab_height in zip(model.layers, rows, heights, strict=True):
        _draw_layer(axes, layer, row, top - slab_height)
        top -= slab_height + GAP
    counts = summary.parameter_counts(model)
    total = f"{counts['total']:,} parameters, {counts['trainable']:,} of them trainable"
    axes.text(COLUMNS["name"], 0.68, f"{total}; {sum(row['flops'] for row in rows) / 1e9:.4g} GFLOP", size=8.5)
    axes.text(
        COLUMNS["name"], 0.47, "slabs: width = pixels across, height = log₂ of the channels", size=7.5, color="0.35"
    )
    axes.legend(
        handles=[Patch(facecolor=colour, edgecolor="0.3", label=label) for label, colour in LEGEND],
        loc="lower center",
        ncols=len(LEGEND),
        fontsize=7.5,
        frameon=False,
        borderaxespad=0.1,
        columnspacing=1.2,
        handlelength=1.4,
    )
    return figure


def _header(axes: Axes, y: float) -> None:
    titles = {"name": "layer", "type": "type", "shape": "output", "parameters": "parameters", "flops": "MFLOP"}
    for column, title in titles.items():
        align = "left" if column in ("name", "type") else "right"
        axes.text(COLUMNS[column], y, title, size=8.5, weight="bold", ha=align, va="center")


def _draw_layer(axes: Axes, layer: keras.Layer, row: dict, bottom: float) -> None:
    width, height = _slab(row)
    left, middle = 1.35 - width / 2, bottom + height / 2
    unit = isinstance(layer, ODEConv2D)
    colour = UNIT if unit else KINDS.get(row["type"], OTHER)
    axes.add_patch(Rectangle((left, bottom), width, height, facecolor=colour, edgecolor="0.3", lw=0.7))
    if unit and layer.form == PARTITIONED:
        _draw_halves(axes, left, bottom, width, height)
    if isinstance(layer, ChannelZeroPadding):
        kept = height / layer.padding
        axes.add_patch(Rectangle((left, bottom + height - kept), width, kept, facecolor=OTHER, edgecolor="0.3", lw=0.7))
    axes.plot([left + width + 0.06, COLUMNS["name"] - 0.08], [middle, middle], color="0.8", lw=0.5, ls=":")
    shape = " × ".join(str(size) for size in row["output_shape"][1:])
    texts = {"name": row["name"], "type": row["type"], "shape": shape}
    texts["parameters"] = f"{row['parameters']:,}" if row["parameters"] else ""
    texts["flops"] = _mega(row["flops"])
    for column, text in texts.items():
        align = "left" if column in ("name", "type") else "right"
        weight = "bold" if column == "name" and unit else "normal"
        axes.text(COLUMNS[column], middle, text, size=8, weight=weight, ha=align, va="center")


def _draw_halves(axes: Axes, left: float, bottom: float, width: float, height: float) -> None:
    middle, size = bottom + height / 2, min(8, 72 * height / 2 * 0.8)
    axes.plot([left, left + width], [middle, middle], color="white", lw=0.9)
    for text, at in (("y", bottom + 0.77 * height), ("z", bottom + 0.27 * height)):
        axes.text(left + width / 2, at, text, size=size, color="white", ha="center", va="center")


def _slab(row: dict) -> tuple[float, float]:
    """Width and height of a layer's slab in inches."""
    shape = row["output_shape"][1:]
    pixels = shape[1] if len(shape) == 3 else 1
    return max(PER_PIXEL * pixels, LEAST_WIDTH), max(PER_DOUBLING * math.log2(shape[-1]), LEAST_HEIGHT)


def _mega(count: int) -> str:
    return f"{count / 1e6:.3g}" if count else ""


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
    figure = Figure(figsize=(9, 3.6))
    axes = _inches(figure, 9, 3.6)
    steps = f"{layer.unroll_length} step{'s' * (layer.unroll_length > 1)} of size h = {layer.h:g}"
    kernels = "one kernel K" if layer.weights_in_time == "shared" else "a kernel K for each step"
    posts = type(layer) is HamiltonianConv2D and layer.integrator == "euler"
    title = f"{layer.name}: {steps}, {kernels if posts else f'{layer.integrator}, weights {layer.weights_in_time}'}"
    axes.text(0.3, 3.35, title, size=11, weight="bold", va="center")
    (_draw_posts_step if posts else _write_equations)(axes, layer)
    *_, inner, outer = layer.weights[0].shape
    side, sigma = layer.kernel_size, layer.activation.__name__
    axes.text(
        0.3,
        0.12,
        f"K: convolution {side} × {side}, {inner} → {outer} channels;  Kᵀ: transposed convolution, same kernel;"
        f"  σ: {'identity' if sigma == 'linear' else sigma};  {layer.count_params():,} parameters",
        size=8.5,
        va="center",
    )
    return figure


def _write_equations(axes: Axes, layer: ODEConv2D) -> None:
    own = ODES[layer.block].own_steps
    parts = [type(layer)] if own else [type(layer), INTEGRATORS[layer.integrator].method]
    top = 2.9
    for part in parts:
        headline, _, _ = inspect.getdoc(part).partition("\n")
        axes.text(0.3, top, headline, size=9.5, color="0.35", va="center")
        for line in _equations(part):
            top -= 0.28
            axes.text(0.6, top, line, size=11, va="center", family="DejaVu Sans")
        top -= 0.45


def _equations(part: object) -> list[str]:
    """The lines of the first paragraph with an equation below the headline of the docstring of `part`."""
    _, *paragraphs = inspect.getdoc(part).split("\n\n")
    first = next((paragraph for paragraph in paragraphs if " = " in paragraph), "")
    return [line.strip() for line in first.split("\n")]


def _draw_posts_step(axes: Axes, layer: ODEConv2D) -> None:
    _rail(axes, 2.65, "y", r"$y + h\,\sigma(K z + b_1)$")
    _rail(axes, 1.05, "z", r"$z + h\,\sigma(-K^\top y + b_2)$")
    _branch(axes, start=(1.6, 1.05), via=2.15, end=2.65, operator="$K$")
    _branch(axes, start=(1.6, 2.65), via=1.55, end=1.05, operator=r"$-K^\top$")
    _again(axes, layer.unroll_length)


def _rail(axes: Axes, y: float, name: str, result: str) -> None:
    axes.text(0.45, y, f"${name}$", size=15, ha="center", va="center")
    _arrow(axes, (0.65, y), (5.62, y))
    axes.text(5.8, y, "$+$", size=12, ha="center", va="center", bbox={"boxstyle": "circle,pad=0.15", "fc": "white"})
    _arrow(axes, (5.98, y), (6.6, y))
    axes.text(6.7, y, result, size=13, ha="left", va="center")


def _branch(axes: Axes, start: tuple[float, float], via: float, end: float, operator: str) -> None:
    """From a rail through operator, bias, activation and step size to the sum on the other rail."""
    x, y = start
    bias = "$b_1$" if operator == "$K$" else "$b_2$"
    axes.plot(x, y, "o", color="black", ms=4)
    bend = x + 0.65
    axes.plot([x, bend, 5.8], [y, via, via], color="black", lw=1.2, zorder=1)
    steps = ((operator, UNIT), (f"$+\\,${bias}", WEIGHTS), (r"$\sigma$", OTHER), (r"$\times\,h$", ZEROS))
    for place, (text, colour) in enumerate(steps):
        _box(axes, 2.8 + 0.8 * place, via, text, colour)
    _arrow(axes, (5.8, via), (5.8, end + math.copysign(0.17, via - end)))


def _box(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x - 0.25, y - 0.17), 0.5, 0.34, boxstyle="round,pad=0.02", fc=colour, ec="0.3", lw=0.8, zorder=2
        )
    )
    axes.text(x, y, text, size=11, color="white" if colour == UNIT else "black", ha="center", va="center")


def _again(axes: Axes, steps: int) -> None:
    again = "once" if steps == 1 else f"{steps} times, each from the last result"
    axes.text(3.9, 0.5, f"both sums use the old y and z; the step runs {again}", size=8.5, ha="center", color="0.35")


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate(
        "",
        xy=end,
        xytext=start,
        arrowprops={"arrowstyle": "-|>", "color": "black", "lw": 1.2, "shrinkA": 0, "shrinkB": 0},
    )


def save_svg(figure: Figure, path: Path) -> None:
    """Write `figure` to `path` as SVG; equal figures give equal bytes.

    Raises:
        InputError: `path` cannot be written.
    """
    content = io.BytesIO()
    # Matplotlib salts identifiers with a random number and stamps the date unless told otherwise.
    with matplotlib.rc_context({"svg.hashsalt": "resode"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    files.write_bytes(path, content.getvalue())
