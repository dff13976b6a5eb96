"""Training images as the network sees them, for the augmentation notebook."""

import numpy as np
from matplotlib.figure import Figure

from resode.figures.style import BLUE, INK, ORANGE, WIDTH, styled, subplots


@styled
def mean_image(mean: np.ndarray) -> Figure:
    """The mean image (H, W, 3) in [0, 255] that is subtracted from every image."""
    figure, axes = subplots(size=(2.4, 2.4))
    axes.imshow(mean / 255)
    axes.axis("off")
    return figure


@styled
def augmented(originals: np.ndarray, variants: np.ndarray) -> Figure:
    """Originals in the first row, below each its augmented versions.

    Args:
        originals: (N, H, W, 3) in [0, 255].
        variants: (updates, N, H, W, 3) in [0, 255].
    """
    rows = [originals, *variants]
    figure, grid = subplots(len(rows), len(originals), size=(WIDTH, WIDTH * len(rows) / len(originals)))
    for number, (images, line) in enumerate(zip(rows, grid, strict=True)):
        for axes, image in zip(line, images, strict=True):
            axes.imshow(np.clip(image / 255, 0, 1), interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel("original" if number == 0 else f"update {number}")
    return figure


@styled
def shift_distribution(shifts: np.ndarray, limit: float) -> Figure:
    """Histograms of the shifts down and to the right beside the uniform density they are drawn from.

    Args:
        shifts: (N, 2), pixels down and right.
        limit: largest shift in pixels.
    """
    figure, panels = subplots(1, 2, size=(WIDTH, 2.8), sharey=True)
    for axes, values, name, colour in zip(panels, shifts.T, ("down", "right"), (BLUE, ORANGE), strict=True):
        if limit > 0:
            axes.hist(values, bins=24, range=(-limit, limit), density=True, color=colour, alpha=0.8)
            axes.hlines(1 / (2 * limit), -limit, limit, color=INK, linewidth=1.5, label="uniform")
        axes.set(xlabel=f"shift {name} (pixels)")
    panels[0].set_ylabel("density")
    if limit > 0:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center")
    return figure
