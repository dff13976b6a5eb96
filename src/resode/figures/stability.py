"""Figures of a network's units, for the stability and integrators notebooks: each takes data and returns a Figure."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from resode.analysis.stability import UnitStability
from resode.figures.style import BLUE, GREEN, INK, ORANGE, PURPLE, WIDTH, styled, subplots
from resode.ode import linear_stability


@styled
def unit_growth(units: Sequence[UnitStability]) -> Figure:
    """Growth of a small perturbation over each unit: predicted for the linearised unit, where it is, and measured."""
    figure, axes = subplots(size=(WIDTH, 4.4))
    numbers = np.arange(len(units))
    drawn = [
        ("predicted, the mode stretched most", [u.unit_amplification for u in units], "_", ORANGE, 26, ORANGE),
        ("measured from the first unit on, median", [u.measured_from_first for u in units], "s", GREEN, 9, GREEN),
        ("measured, largest over the images", [u.measured_largest for u in units], "^", BLUE, 11, "none"),
        ("measured, median", [u.measured for u in units], "o", BLUE, 5, BLUE),
    ]
    for label, values, marker, colour, size, face in drawn:
        # Without a verdict there is no prediction.
        if None not in values:
            look = {"markersize": size, "markerfacecolor": face, "markeredgewidth": 2.5 if marker == "_" else 1.3}
            axes.plot(numbers, values, marker, color=colour, label=label, **look)
    axes.axhline(1, color=INK, linewidth=1)
    axes.set_xticks(numbers, [str(unit.unit) for unit in units])
    axes.set(xlabel="unit", ylabel="growth", ylim=(0, None))
    axes.margins(x=0.1, y=0.12)
    axes.grid(False, axis="x")
    # The bar that marks a prediction is as wide as the unit's column; in the legend it need not be.
    for handle in figure.legend(loc="outside lower center").legend_handles:
        handle.set_markersize(min(handle.get_markersize(), 12))
    return figure


@styled
def amplification_over_h(units: Sequence[UnitStability], integrator: str, h: float, largest_h: float = 1.0) -> Figure:
    """Amplification of one step of `integrator` at each unit's ω, over h; a line a unit."""
    figure, axes = subplots(size=(WIDTH, 4.2))
    steps = np.linspace(0, max(largest_h, 1.2 * h), 200)
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.85, len(units)))
    for unit, colour in zip(units, colours, strict=True):
        values = [linear_stability.amplification(integrator, step * unit.omega) for step in steps]
        axes.plot(steps, values, color=colour, label=f"unit {unit.unit}")
    axes.axvline(h, color=INK, linestyle="--", linewidth=1, label=f"h = {h:g}")
    axes.set(xlabel="step size h", ylabel=f"amplification of a step, {integrator}")
    # A flat line at 1 is a result; without this its rounding would fill the axes.
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.95), max(high, 1.05))
    axes.margins(x=0)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@styled
def accuracy_over_steps(rows: Sequence[Mapping], unroll_length: int) -> Figure:
    """Test accuracy over the number of steps for the same time, a line an integrator, with 95 % intervals.

    What is more than `_DEPTH` below the best is below the frame, in which a point can so be seen.

    Args:
        rows: of `refinement.table`.
        unroll_length: of training, which is marked.
    """
    figure, axes = subplots(size=(WIDTH, 4.2))
    lengths = sorted({row["unroll_length"] for row in rows})
    shown = [row for row in rows if row["accuracy"] >= max(row["accuracy"] for row in rows) - _DEPTH]
    low, high = min(row["low"] for row in shown), max(row["high"] for row in shown)
    axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    integrators = list(dict.fromkeys(row["integrator"] for row in rows))
    for position, (name, look) in enumerate(zip(integrators, _LOOKS, strict=False)):
        own = [row for row in rows if row["integrator"] == name]
        # Side by side, so that no interval hides another.
        n = np.array([row["unroll_length"] for row in own]) * 1.04 ** (position - (len(integrators) - 1) / 2)
        accuracy = np.array([row["accuracy"] for row in own])
        reach = [accuracy - [row["low"] for row in own], [row["high"] for row in own] - accuracy]
        colour, marker = look
        label = name.replace("_", " ")
        axes.errorbar(n, accuracy, reach, color=colour, marker=marker, markersize=5, capsize=2.5, label=label)
    axes.axvline(unroll_length, color=INK, linestyle="--", linewidth=1, label=f"training, n = {unroll_length}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(lengths, [str(n) for n in lengths])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    axes.set(xlabel="steps n over the same time", ylabel="test accuracy")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


_DEPTH = 0.1
_LOOKS = ((ORANGE, "o"), (BLUE, "s"), (GREEN, "^"), (PURPLE, "D"), (INK, "v"))
