"""Figures of the evaluation and report notebooks."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from resode.analysis.evaluation import drops, tested_on
from resode.figures.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, WIDTH, narrow, styled, subplots

History = Sequence[Mapping[str, float]]


# --- training


@styled
def training_curve(history: History, published: History | None = None) -> Figure:
    """Accuracy and loss over the epochs; the published run in grey behind, where it is comparable.

    Args:
        history: rows of results/training/history.csv.
        published: rows of reference/published_training_curve.csv, or None.
    """
    figure, (upper, lower) = subplots(2, 1, size=(WIDTH, 6.4), sharex=True)
    for axes, quantity in ((upper, "accuracy"), (lower, "loss")):
        if published:
            _curves(axes, published, quantity, (GREY, GREY), "published")
        _curves(axes, history, quantity, (ORANGE, BLUE), "this run")
        axes.margins(x=0.01)
        if published and len(history) < len(published) / 2:
            # The epochs of a shorter run would be lost at the left edge.
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
    upper.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    upper.set_title("Accuracy")
    lower.set_title("Loss (cross-entropy + L2 penalty)")
    lower.set_ylim(bottom=0)
    lower.set_xlabel("epoch")
    _mark_drops(upper, history, published)
    _mark_drops(lower, history, published)
    figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@styled
def runs(histories: Mapping[str, History], published: History | None = None) -> Figure:
    """Test accuracy of several runs over the share of their schedule that is done; the published one in grey.

    Args:
        histories: rows of each run's history.csv by name.
    """
    figure, axes = subplots(size=(WIDTH, 3.8 + 0.2 * len(histories)))
    if published:
        _share_done(axes, published, "published", GREY)
    # In the order of their length, from pale to dark; grey is the published one.
    colours = plt.get_cmap("plasma_r")(np.linspace(0.2, 0.95, max(len(histories), 1)))
    for (name, rows), colour in zip(sorted(histories.items(), key=lambda one: len(one[1])), colours, strict=True):
        _share_done(axes, rows, name, colour)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.set_xlabel("share of the run's schedule")
    axes.set_title("Test accuracy")
    axes.margins(x=0.01)
    figure.legend(loc="outside lower center")
    return figure


@styled
def shares(
    runs: Sequence[tuple[str, float, Mapping[str, float]]],
    published: Mapping[str, float],
    waiting: Sequence[tuple[str, float, Mapping[str, float]]] = (),
) -> Figure:
    """Test accuracy after the last epoch over the share of the published schedule.

    Args:
        runs: name, share, and `metrics` of the evaluation, of each.
        published: last row of reference/published_training_curve.csv.
        waiting: name, share that is done, and last row of the history, of each run in progress.
    """
    figure, axes = subplots(size=(WIDTH, 4.4))
    axes.axhline(published["test_accuracy"], color=GREY, linewidth=1.0, linestyle="--")
    axes.plot(1, published["test_accuracy"], "D", color=GREY, markersize=8, label="published")
    for name, share, metrics in runs:
        middle = metrics["test_accuracy"]
        reach = [[middle - metrics["test_accuracy_low"]], [metrics["test_accuracy_high"] - middle]]
        axes.errorbar(share, middle, reach, fmt="o", color=ORANGE, markersize=6, capsize=3)
        # On the right, where the axes still have room for it.
        side, align = (8, "left") if share <= 0.5 else (-8, "right")
        text = f"{name}, {100 * middle:.2f} %"
        axes.annotate(text, (share, middle), (side, -4), textcoords="offset points", ha=align, va="top")
    axes.plot([], [], "o", color=ORANGE, label="here, with Wilson's 95 % interval")
    for name, share, row in waiting:
        middle = row[f"{tested_on([row])}_accuracy"]
        axes.plot(share, middle, "o", color=ORANGE, markersize=8, markerfacecolor="none")
        axes.annotate(f"{name}, running", (share, middle), (8, -4), textcoords="offset points", va="top")
    axes.set_xscale("log", base=2)
    axes.set_xlim(right=1.6)
    axes.xaxis.set_major_formatter(lambda value, _: str(Fraction(value).limit_denominator(1024)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.1f} %")
    axes.set_xlabel("share of the post's schedule")
    axes.set_title("Test accuracy after the last epoch")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def differences(series: Mapping[str, Mapping[int, float]]) -> Figure:
    """Differences to the published run in percentage points over epochs, a line for each name: {name: {epoch: difference}}."""
    figure, axes = subplots(size=(WIDTH, 3.6))
    axes.axhline(0, color=GREY, linewidth=1.0, label="published")
    for (name, found), colour in zip(series.items(), (ORANGE, BLUE), strict=False):
        axes.plot(found.keys(), found.values(), color=colour, marker=".", label=name)
    axes.set_xlabel("epoch")
    axes.set_title("Train accuracy less the published run's, in points")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@styled
def budgets(trainings: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]]) -> Figure:
    """Test accuracy over epochs and, below it, over hours, both on logarithmic axes; the first training in grey.

    Args:
        trainings: {name: (epochs, hours, accuracies)}.
    """
    figure, panels = subplots(2, 1, size=(WIDTH, 6.4), sharey=True)
    colours = (GREY, BLUE, ORANGE, GREEN, PURPLE)
    for (name, (epochs, hours, accuracies)), colour in zip(trainings.items(), colours, strict=False):
        for axes, over in zip(panels, (epochs, hours), strict=True):
            axes.plot(over, accuracies, color=colour, linewidth=1.4, label=f"{name}, {100 * accuracies[-1]:.2f} %")
    for axes, name in zip(panels, ("epochs", "hours"), strict=True):
        axes.set(xscale="log", xlabel=name, title=f"Test accuracy over {name}")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@styled
def speed(machines: Sequence[Mapping]) -> Figure:
    """Images a second of each way to train, a panel for each machine.

    Args:
        machines: contents of the files in results/bench.
    """
    figure, panels = subplots(len(machines), 1, size=(WIDTH, 2.8 * len(machines) + 0.5), sharex=True, squeeze=False)
    looks = (("resode", ORANGE, "o"), ("train_on_batch", BLUE, "s"), ("fit", GREY, "D"))
    for axes, machine in zip(panels[:, 0], machines, strict=True):
        best: dict[tuple[str, str], float] = {}
        for backend in machine["backends"]:
            for row in backend["rows"]:
                # Not "resode, …": another setting.
                if (way := row["what"].split(" ")[0]) in [name for name, *_ in looks]:
                    key = f"{backend['backend']}\n{row['precision']}", way
                    best[key] = max(best.get(key, 0), row["images_per_second"])
        rows = list(dict.fromkeys(name for name, _ in best))
        for way, colour, marker in looks:
            places = [(best[name, way], place) for place, name in enumerate(rows) if (name, way) in best]
            axes.plot(*zip(*places, strict=True), marker, color=colour, markersize=7, label=way)
        axes.set_yticks(range(len(rows)), rows)
        setting = f"; run {machine['run']}" if machine.get("run") else ""
        axes.set(xlim=(0, None), ylim=(len(rows) - 0.5, -0.5), title=f"{machine['hardware']}{setting}")
    panels[-1, 0].set_xlabel("images a second")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _share_done(axes, rows: History, name: str, colour) -> None:
    done = [row["epoch"] / len(rows) for row in rows]
    split = tested_on(rows)
    label = f"{name} ({len(rows)} epochs)" + ("" if split == "test" else f", {split} accuracy")
    axes.plot(done, [row[f"{split}_accuracy"] for row in rows], linewidth=1.4, color=colour, label=label)


def _curves(axes, rows: History, quantity: str, colours: tuple[str, str], whose: str) -> None:
    epochs = [row["epoch"] for row in rows]
    few = {"marker": "o", "markersize": 3.5} if len(rows) < 30 else {}
    for split, colour, line in ((tested_on(rows), colours[0], "-"), ("train", colours[1], (0, (4, 1.5)))):
        values = [row[f"{split}_{quantity}"] for row in rows]
        axes.plot(epochs, values, color=colour, linestyle=line, linewidth=1.4, label=f"{split}, {whose}", **few)


def _mark_drops(axes, history: History, published: History | None) -> None:
    """A vertical line where the learning rate drops."""
    for rows, colour, style in ((published, GREY, ":"), (history, INK, "--")):
        for number, epoch in enumerate(drops(rows or [])):
            whose = "published" if rows is published else "this run"
            label = f"rate drops, {whose}" if number == 0 else None
            axes.axvline(epoch - 0.5, color=colour, linestyle=style, linewidth=1.0, label=label, zorder=1)


# --- evaluation


@styled
def confusion(matrix: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Confusion matrix; colour is the share of the actual class, the number the count of images."""
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure, axes = subplots(size=(WIDTH, 4.9))
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(range(len(class_names)), class_names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(class_names)), class_names)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("actual class")
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            colour = "white" if share[row, column] > 0.55 else INK
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=9.5)
    return figure


@styled
def class_accuracy(accuracies: Mapping[str, float | None], overall: float) -> Figure:
    """Test accuracy of each class, the best on top, with a line at the overall accuracy."""
    known = {name: value for name, value in accuracies.items() if value is not None}
    names = sorted(known, key=known.get)
    values = [100 * known[name] for name in names]
    figure, axes = subplots(size=(WIDTH, 0.8 + 0.3 * len(names)))
    axes.hlines(names, 0, values, color="#C9DDEA", linewidth=5)
    axes.plot(values, names, "o", color=BLUE, markersize=7)
    for name, value in zip(names, values, strict=True):
        # Right of the axes, out of the dashed line's way.
        axes.text(1.02, name, f"{value:.1f} %", va="center", transform=axes.get_yaxis_transform())
    axes.axvline(100 * overall, color=ORANGE, linewidth=1.2, linestyle="--")
    axes.set_title(f"Test accuracy; dashed: all classes, {100 * overall:.2f} %")
    axes.set_xlim(0, 103)
    axes.set_xticks(range(0, 101, 20))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
    axes.grid(False, axis="y")
    return figure


@styled
def mistakes(
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    chosen: np.ndarray,
    class_names: Sequence[str],
) -> Figure:
    """The `chosen` images with actual class, predicted class and the probability given to the latter.

    Args:
        images: uint8 (N, H, W, 3), all test images.
        labels: (N,); probabilities: (N, classes); chosen: indices into them.
    """
    columns = 3
    rows = max(1, -(-len(chosen) // columns))
    figure, grid = subplots(rows, columns, size=(WIDTH, 1.7 * rows), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    if not len(chosen):
        grid[0, 0].text(0.5, 0.5, "no mistakes", ha="center", va="center")
    for axes, index in zip(grid.flat, chosen, strict=False):
        predicted = probabilities[index].argmax()
        axes.imshow(images[index], interpolation="nearest")
        title = f"{class_names[predicted]}, {100 * probabilities[index, predicted]:.1f} %"
        axes.set_title(title, color=ORANGE, fontsize=9.5, pad=16)
        axes.text(0.5, 1.05, f"is {class_names[labels[index]]}", transform=axes.transAxes, ha="center", fontsize=9.5)
    return figure


@narrow
def feature_maps(image: np.ndarray, states: Mapping[int, np.ndarray]) -> Figure:
    """An image, and below it channels of a unit's state before it and after steps of it, a row a step, all on one scale of grey.

    Args:
        image: uint8 (H, W, 3).
        states: {number of steps: (height, width, channels)}, the channels that are drawn.
    """
    columns = next(iter(states.values())).shape[-1]
    figure, grid = subplots(1 + len(states), columns, size=(4, 1.0 * (1 + len(states)) + 0.3), squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    grid[0, 0].imshow(image, interpolation="nearest")
    grid[0, 0].set_ylabel("image")
    low, high = min(maps.min() for maps in states.values()), max(maps.max() for maps in states.values())
    for row, (step, maps) in zip(grid[1:], states.items(), strict=True):
        for axes, channel in zip(row, np.moveaxis(maps, -1, 0), strict=True):
            axes.imshow(channel, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        row[0].set_ylabel("input" if step == 0 else f"step {step}")
    return figure


@styled
def reliability(before: Sequence[Mapping], after: Sequence[Mapping]) -> Figure:
    """Accuracy over confidence in bins, as predicted and with a temperature, and below it the share of the images in each bin.

    Args:
        before, after: rows of `calibration.reliability`.
    """
    figure, (upper, lower) = subplots(2, 1, size=(WIDTH, 5.2), sharex=True, height_ratios=(3, 1))
    upper.plot((0, 1), (0, 1), color=INK, linestyle="--", linewidth=1, label="calibrated")
    for rows, colour, marker, label in (
        (before, ORANGE, "o", "as predicted"),
        (after, BLUE, "s", "with a temperature"),
    ):
        confidence = [row["confidence"] for row in rows]
        images = sum(row["images"] for row in rows)
        upper.plot(
            confidence, [row["accuracy"] for row in rows], color=colour, marker=marker, markersize=5, label=label
        )
        lower.plot(confidence, [row["images"] / images for row in rows], color=colour, marker=marker, markersize=4)
    upper.set(ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
    lower.set(xlabel="largest probability", ylabel="share", ylim=(0, None))
    for axis in (upper.xaxis, upper.yaxis, lower.yaxis):
        axis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
