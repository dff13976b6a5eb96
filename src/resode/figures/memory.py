"""Figure of the memory that training needs."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from resode.figures.style import BLUE, GREEN, ORANGE, WIDTH, styled, subplots

# Where two need the same, the narrower, broken line lies on the wider one.
STYLES = {
    "store": {"color": ORANGE, "linewidth": 5, "marker": "o", "markersize": 10},
    "recompute": {"color": BLUE, "linewidth": 1.8, "linestyle": "--", "marker": "s", "markersize": 5},
    "reversible": {"color": GREEN, "linewidth": 1.8, "marker": "^", "markersize": 6},
}


@styled
def growth(found: Mapping) -> Figure:
    """Activations of an update over the unroll length, a panel a backend, as `memory.run` found them."""
    backends = list(dict.fromkeys(row["backend"] for row in found["rows"]))
    figure, panels = subplots(1, len(backends), size=(WIDTH, 3.6), sharey=True, squeeze=False)
    for axes, backend in zip(panels[0], backends, strict=True):
        for backward, look in STYLES.items():
            rows = [row for row in found["rows"] if (row["backend"], row["backward"]) == (backend, backward)]
            axes.loglog(
                [row["unroll_length"] for row in rows],
                [row["activations_mib"] for row in rows],
                label=backward, **look,
            )  # fmt: skip
        lengths = sorted({row["unroll_length"] for row in found["rows"]})
        axes.set_xticks(lengths, [str(length) for length in lengths])
        axes.minorticks_off()
        axes.set(title=backend, xlabel="steps a unit")
    panels[0][0].set_ylabel("activations (MiB)")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
