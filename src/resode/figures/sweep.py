"""The figure of a sweep."""

import statistics

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from resode.analysis.sweeps import Outcome, Pair
from resode.figures.style import INK, ORANGE, WIDTH, styled, subplots


@styled
def heat_map(found: Outcome) -> Figure:
    """Validation accuracy over h and unroll length; the best pair framed, the limit of stability dashed where there is one.

    A cell has the mean over the seeds and the standard deviation, in per cent, and the growth over a unit; an axis on top has h ω.
    """
    sizes = sorted({pair.h for pair in found.pairs})
    lengths = sorted({pair.unroll_length for pair in found.pairs})
    means = np.full((len(lengths), len(sizes)), np.nan)
    for pair in found.pairs:
        if pair.mean is not None:
            means[lengths.index(pair.unroll_length), sizes.index(pair.h)] = 100 * pair.mean
    figure, axes = subplots(size=(WIDTH, 1.6 + 0.75 * len(lengths)))
    colours = plt.get_cmap("viridis").with_extremes(bad="#E6E6E6")
    picture = axes.imshow(means, cmap=colours, aspect="auto", origin="lower")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(range(len(sizes)), [f"{h:g}" for h in sizes])
    axes.set_yticks(range(len(lengths)), [str(length) for length in lengths])
    stable = f"\n({found.setting['params']['model']['integrator']} is stable at no h)" if found.limit == 0 else ""
    axes.set(xlabel=f"step size h{stable}", ylabel="unroll length")
    for pair in found.pairs:
        column, row = sizes.index(pair.h), lengths.index(pair.unroll_length)
        red, green, blue, _ = picture.to_rgba(means[row, column])
        ink = "white" if 0.3 * red + 0.6 * green + 0.1 * blue < 0.5 and not np.isnan(means[row, column]) else INK
        axes.text(column, row, _words(pair), ha="center", va="center", color=ink, fontsize=9.5, linespacing=1.2)
    if found.best is not None:
        corner = sizes.index(found.best.h) - 0.5, lengths.index(found.best.unroll_length) - 0.5
        frame = plt.Rectangle(corner, 1, 1, fill=False, edgecolor=ORANGE, linewidth=3, clip_on=False, zorder=4)
        axes.add_patch(frame)
    if found.pairs[0].h_omega is not None:
        top = axes.secondary_xaxis("top")
        products = {pair.h: pair.h_omega for pair in found.pairs}
        top.set_xticks(range(len(sizes)), [f"{products[h]:.3g}" for h in sizes])
        top.tick_params(length=0)
        top.spines[:].set_visible(False)
        top.set_xlabel("h ω, fresh network")
    if found.limit is not None and sizes[0] <= found.limit < sizes[-1]:
        # Between two columns, in proportion to the logarithm of h.
        place = np.interp(np.log(found.limit), np.log(sizes), range(len(sizes)))
        axes.axvline(place, color=INK, linestyle="--", linewidth=2, label=f"stable up to h = {found.limit:.3g}")
        figure.legend(loc="outside lower center")
    return figure


def _words(pair: Pair) -> str:
    growth = "" if pair.growth is None else f"\n× {pair.growth:.3g}"
    if pair.diverged:
        return f"{pair.diverged} of {pair.trials}\ndiverged{growth}"
    if not pair.accuracies:
        return "failed"
    spread = "" if pair.spread is None else f" ± {100 * pair.spread:.1f}"
    return f"{100 * statistics.mean(pair.accuracies):.1f}{spread}{growth}"
