"""Figure of the memory that training needs."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from resode.figures.style import BLUE, GREEN, ORANGE, styled, subplots

STYLES = {"store": (ORANGE, "o-"), "recompute": (GREEN, "s--"), "reversible": (BLUE, "^-")}


@styled
def growth(found: Mapping) -> Figure:
    """Activations of an update over the unroll length, a panel a backend, as `memory.run` found them."""
    backends = list(dict.fromkeys(row["backend"] for row in found["rows"]))
    figure, panels = subplots(1, len(backends), size=(4.4 * len(backends), 3.6), sharey=True, squeeze=False)
    for axes, backend in zip(panels[0], backends, strict=True):
        for backward, (colour, line) in STYLES.items():
            rows = [row for row in found["rows"] if (row["backend"], row["backward"]) == (backend, backward)]
            axes.loglog(
                [row["unroll_length"] for row in rows],
                [row["activations_mib"] for row in rows],
                line, color=colour, label=backward, markersize=5,
            )  # fmt: skip
        lengths = sorted({row["unroll_length"] for row in found["rows"]})
        axes.set_xticks(lengths, [str(length) for length in lengths])
        axes.minorticks_off()
        axes.set(title=backend, xlabel="steps a unit")
    panels[0][0].set_ylabel("activations (MiB)")
    panels[0][0].legend(loc="upper left")
    return figure
