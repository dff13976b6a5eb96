"""The figure of a comparison of blocks and integrators."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from resode.figures.style import BLUE, GREY, INK, ORANGE, styled, subplots
from resode.ode.equations import ODES


@styled
def accuracies(comparison: Mapping) -> Figure:
    """Test accuracy of every trial (dots), mean and standard deviation of every variant (bars), a group a block; how many trials diverged, on the right.

    Args:
        comparison: the content of a file of results/comparison.
    """
    variants = comparison["variants"]
    figure, axes = subplots(size=(7.6, 0.9 + 0.27 * len(variants)))
    for row, variant in enumerate(variants):
        _variant(axes, row, variant)
    axes.set_yticks(range(len(variants)), [_label(variant["params"]) for variant in variants], fontsize=9)
    axes.set_ylim(len(variants) - 0.4, -0.6)
    blocks = [variant["params"]["block"] for variant in variants]
    for row in range(1, len(variants)):
        if blocks[row] != blocks[row - 1]:
            axes.axhline(row - 0.5, color=GREY, linewidth=0.8)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.set_title("Test accuracy after the last epoch", loc="left")
    figure.legend(
        handles=[
            Line2D([], [], linestyle="", marker="o", markersize=5, color=BLUE, label="one seed"),
            Line2D([], [], color=INK, marker="|", markersize=9, label="mean ± standard deviation"),
        ],
        loc="outside lower center",
        ncols=2,
    )
    return figure


def _variant(axes, row: int, variant: Mapping) -> None:
    values = [trial["test_accuracy"] for trial in variant["trials"] if not trial["diverged"]]
    axes.plot(values, [row] * len(values), "o", color=BLUE, markersize=5, alpha=0.6, markeredgewidth=0)
    if values:
        mean, sd = variant["test_mean"], variant["test_sd"] or 0
        axes.plot([mean - sd, mean + sd], [row, row], color=INK, linewidth=1.1)
        axes.plot(mean, row, "|", color=INK, markersize=9, markeredgewidth=1.6)
    if variant["diverged"]:
        # Right of the axes: it has no accuracy.
        text = f"{variant['diverged']} of {len(variant['trials'])} diverged"
        axes.text(1.01, row, text, color=ORANGE, va="center", fontsize=8.5, transform=axes.get_yaxis_transform())


def _label(chosen: Mapping) -> str:
    if chosen["architecture"] != "units":
        return chosen["architecture"]
    integrator = "" if ODES[chosen["block"]].own_steps else f", {chosen['integrator']}"
    return f"{chosen['block']}{integrator}".replace("_", " ")
