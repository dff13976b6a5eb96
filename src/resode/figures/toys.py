"""Figures of the toys notebook."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from resode.analysis.toys import EDGE, Classifier, Points
from resode.figures.style import BLUE, INK, ORANGE, WIDTH, lowest, styled, subplots

COLUMNS = 3
# So many of the test points are drawn, more hide each other; all points in the wrong region are.
DRAWN = 300
# A class each; their regions in paler ones.
COLOURS = np.array([BLUE, ORANGE])
PALE = np.array(["#D6E8F4", "#FBE3D3"])
# More classes than two are ordered, by height: from dark to light, and so are their regions.
ORDERED = np.array(["#440154", "#3B528B", "#21918C", "#5EC962", "#D9B300"])
ORDERED_PALE = np.array(["#CDBFD3", "#CFD5E4", "#C6E4E2", "#D6F1D8", "#FBF1BF"])


@styled
def boundaries(points: Points, outcomes: Sequence[Classifier]) -> Figure:
    """Each classifier's regions with the first DRAWN test points; circled: the test points in the wrong one."""
    rows = -(-len(outcomes) // COLUMNS)
    classes = points.label.max() + 1
    height = 2.2 * rows + 0.25 * -(-(classes + 2) // 2)
    figure, grid = subplots(rows, COLUMNS, size=(WIDTH, height), sharex=True, sharey=True, squeeze=False)
    figure.get_layout_engine().set(w_pad=0.05, h_pad=0.06)
    for axes, outcome in zip(grid.flat, outcomes, strict=False):
        _regions(axes, outcome)
        _points(axes, points, outcome)
        names = f"{outcome.block}\n{outcome.integrator}".replace("_", " ")
        axes.set_title(f"{names}\n{100 * outcome.test_accuracy:.1f} %", fontsize=9.5, weight="normal")
        axes.set(xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
        axes.grid(False)
    lowest(grid, len(outcomes))
    dots = {"linestyle": "", "marker": "o", "markersize": 5}
    figure.legend(
        handles=[
            *(
                Line2D([], [], color=_colours(points)[label], label=f"test point, class {label}", **dots)
                for label in range(classes)
            ),
            Line2D([], [], **dots | {"markersize": 8}, markerfacecolor="none", color=INK, label="in the wrong region"),
            Line2D([], [], color=INK, linewidth=1, label="decision boundary"),
        ],
        loc="outside lower center",
        ncols=2,
    )
    return figure


def _colours(points: Points) -> np.ndarray:
    return COLOURS if points.label.max() < 2 else ORDERED


def _regions(axes, outcome: Classifier) -> None:
    side = np.linspace(-EDGE, EDGE, len(outcome.probabilities))
    classes = outcome.probabilities.shape[-1]
    for label, pale in zip(range(classes), PALE if classes == 2 else ORDERED_PALE, strict=False):
        others = np.delete(outcome.probabilities, label, axis=-1).max(axis=-1)
        ahead = outcome.probabilities[..., label] - others
        # Matplotlib warns of what is not there.
        if ahead.max() > 0:
            axes.contourf(side, side, ahead, levels=(0, 2), colors=pale)
        if ahead.min() < 0 < ahead.max():
            axes.contour(side, side, ahead, levels=(0,), colors=INK, linewidths=0.8, antialiased=False)


def _points(axes, points: Points, outcome: Classifier) -> None:
    # Hard edges: soft ones would treble the size of the picture.
    axes.scatter(*points.x[:DRAWN].T, s=4, c=_colours(points)[points.label[:DRAWN]], linewidths=0, antialiased=False)
    axes.plot(
        *points.x[outcome.wrong].T, "o", markersize=6, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=0.8
    )
