"""The figure of a comparison of blocks and integrators."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from resode.figures.style import BLUE, GREY, INK, ORANGE, WIDTH, styled, subplots
from resode.ode.equations import ODES


@styled
def accuracies(comparison: Mapping) -> Figure:
    """Test accuracy of every trial (dots), mean and standard deviation of every variant (bars), a group a block; how
    many trials diverged, on the right.

    Args:
        comparison: the content of a file of results/comparison.
    """
    figure, axes = subplots(size=(WIDTH, 1.0))
    labels, last = [], None
    for variant in comparison["variants"]:
        group, label = _names(variant)
        if group != last:
            # A row of its own: beside the axes of a narrow figure there is no place for both names.
            axes.axhline(len(labels) - 0.5, color=GREY, linewidth=0.8)
            labels.append(group)
        if label:
            labels.append(f"{label}  ")
        last = group
        _variant(axes, len(labels) - 1, variant)
    figure.set_figheight(0.9 + 0.22 * len(labels))
    axes.set_yticks(range(len(labels)), labels)
    axes.set(ylim=(len(labels) - 0.5, -0.5), xlim=(LOWEST, 1.01))
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.set_title("Test accuracy after the last epoch", loc="right")
    figure.legend(
        handles=[
            Line2D([], [], linestyle="", marker="o", markersize=5, color=BLUE, label="one seed"),
            Line2D([], [], color=INK, marker="|", markersize=9, label="mean ± standard deviation"),
            Line2D(
                [],
                [],
                linestyle="",
                color=ORANGE,
                marker="<",
                markersize=7,
                label=f"below {100 * LOWEST:.0f} %, and how much",
            ),
        ],
        loc="outside lower center",
        ncols=1,
    )
    return figure


# The axis begins here, so that the others can be told apart; trials below are marked at its edge.
LOWEST = 0.65


def _variant(axes, row: int, variant: Mapping) -> None:
    values = [trial["test_accuracy"] for trial in variant["trials"] if not trial["diverged"]]
    axes.plot(values, [row] * len(values), "o", color=BLUE, markersize=5, alpha=0.6, markeredgewidth=0)
    if below := sorted(value for value in values if value < LOWEST):
        axes.plot(LOWEST, row, "<", color=ORANGE, markersize=7)
        axes.text(
            LOWEST + 0.01,
            row,
            "; ".join(f"{100 * value:.0f}" for value in below),
            color=ORANGE,
            va="center",
            fontsize=9.5,
        )
    elif values:
        mean, sd = variant["test_mean"], variant["test_sd"] or 0
        # No accuracy is below 0 or above 1.
        axes.plot([max(mean - sd, LOWEST), min(mean + sd, 1)], [row, row], color=INK, linewidth=1.1)
        axes.plot(mean, row, "|", color=INK, markersize=9, markeredgewidth=1.6)
    if variant["diverged"]:
        # Right of the axes: it has no accuracy.
        text = f"{variant['diverged']} of {len(variant['trials'])} diverged"
        axes.text(1.01, row, text, color=ORANGE, va="center", fontsize=9.5, transform=axes.get_yaxis_transform())


def _names(variant: Mapping) -> tuple[str, str]:
    """The names of a variant's block and integrator; "" for the integrator of what has steps of its own. For what was trained
    from few steps to many, those and the number of updates.
    """
    chosen = variant["params"]
    if chosen["architecture"] != "units":
        return chosen["architecture"], ""
    integrator = "" if ODES[chosen["block"]].own_steps else chosen["integrator"]
    block, integrator = chosen["block"].replace("_", " "), integrator.replace("_", " ")
    if scheduled := variant.get("schedule"):
        first, *_, last = scheduled["unroll_lengths"]
        return f"{block}, {integrator}, {first} to {last} steps", f"{scheduled['updates']:,} updates"
    return block, integrator
