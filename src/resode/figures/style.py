"""The look of every figure, and its way into files and notebooks."""

import io
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
from IPython.display import Markdown, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resode.base import files

# A matplotlibrc in the folder in which this runs comes before all that `settings` could say.
matplotlib.rcdefaults()
# Okabe and Ito's palette, which colour-blind readers can tell apart; grey is always the published run.
BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#9A9A9A", "#333333"
PURPLE = "#CC79A7"
STYLE = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.columnspacing": 1.0,
}
# For figures of at most 4 inches, which a phone shows nearly whole: their smallest words stay readable there.
NARROW = {"font.size": 12.5, "axes.titlesize": 12.5, "axes.labelsize": 12.5, "legend.fontsize": 12.5}
# Inches. At most this wide, a figure scaled to a phone's 360 pixels has text of 10 pixels.
WIDTH = 5.0
# Pixels per inch of the PNG, and of the page it is shown on.
RESOLUTION, SHOWN = 150, 100
# Of the 256 colours of a drawing, those that are shades of grey.
GREYS = 64


# Decorators: a figure in the style of the results', and in that of figures of at most 4 inches.
styled, narrow = plt.rc_context(STYLE), plt.rc_context(STYLE | NARROW)


def subplots(*shape: int, size: tuple[float, float], **options):
    """Figure and axes, as `pyplot.subplots`; `size` in inches."""
    figure, axes = plt.subplots(*shape, figsize=size, layout="constrained", **options)
    # pyplot would otherwise show the figure a second time at the end of the notebook's cell.
    plt.close(figure)
    return figure, axes


def lowest(grid: np.ndarray, count: int) -> list[Axes]:
    """Hide the panels of `grid`, which has two dimensions, after the first `count`; return the lowest of each column, which have the numbers of the x-axis."""
    for axes in grid.flat[count:]:
        axes.axis("off")
    columns = grid.shape[1]
    found = [grid[(count - 1 - column) // columns, column] for column in range(min(columns, count))]
    for axes in found:
        axes.tick_params(labelbottom=True)
    return found


def png(figure: Figure) -> bytes:
    """`figure` as PNG; equal figures give equal bytes."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=RESOLUTION, metadata={"Software": None})
    if any(axes.images for axes in figure.axes):
        return content.getvalue()
    # Drawings have few colours: 256 make a third of the bytes, and pages hold those again. Greys, text above all, have theirs for
    # themselves, since a palette's nearest colour may be tinted.
    pixels, content = np.asarray(PIL.Image.open(content).convert("RGB")), io.BytesIO()
    grey = np.ptp(pixels, axis=-1) == 0
    coloured = PIL.Image.fromarray(pixels[~grey][None] if (~grey).any() else np.zeros((1, 1, 3), "uint8"))
    reduced = coloured.quantize(256 - GREYS, PIL.Image.Quantize.MAXCOVERAGE, dither=PIL.Image.Dither.NONE)
    indices = np.empty(grey.shape, "uint8")
    indices[~grey] = np.asarray(reduced).ravel()[: (~grey).sum()] + GREYS
    indices[grey] = np.rint(pixels[grey][:, 0] / 255 * (GREYS - 1))
    drawing = PIL.Image.fromarray(indices, "P")
    greys = np.repeat(np.rint(np.linspace(0, 255, GREYS)), 3).astype(int)
    drawing.putpalette([*greys.tolist(), *reduced.getpalette()][: 3 * 256])
    drawing.save(content, "png", optimize=True)
    return content.getvalue()


def show(figure: Figure, path: Path, alt: str, caption: str = "") -> None:
    """Write `figure` to `path` as PNG and show it in the notebook, with its caption below.

    Args:
        alt: what the figure shows, for those who cannot see it.
        caption: what to see in it, for all, as Markdown; where a cell has something to compute in it, it is shown there instead.
    """
    content = png(figure)
    files.write_bytes(path, content)
    # As an image and not as HTML, from which GitHub takes images away.
    described = {"alt": alt, "width": round(SHOWN * figure.get_figwidth())}
    display({"image/png": content, "text/plain": alt}, metadata={"image/png": described}, raw=True)
    if caption:
        display(Markdown(f"*{caption}*"))
