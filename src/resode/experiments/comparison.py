"""Blocks and integrators side by side: equal data, updates, h and, as nearly as whole channels allow, parameters.

A variant may have a schedule of its own, to compare training from few steps to many at equal updates, or at equal time.

comparison.yaml says what is compared. A trial is one variant trained with one seed; its checkpoint lies in .runs/comparison, see `trials`.
"""

import math
import statistics
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from resode.analysis.sweeps import DIVERGED
from resode.base import files, paths, text
from resode.base.errors import InputError
from resode.config import parameters, schema
from resode.data import records
from resode.experiments import trials
from resode.experiments.trials import Trial, Values
from resode.ode.equations import ODES
from resode.ode.integrators import INTEGRATORS
from resode.training import schedule

FOLDER = paths.RESULTS / "comparison"
FILE = paths.ROOT / "comparison.yaml"
# The column of what no integrator of INTEGRATORS solves.
_OWN = "own steps"
# What a variant may change besides section model.
_SCHEDULE = ("training.reference_iterations", "training.reference_drops", "training.unroll_schedule")
_Changed = Annotated[str, Field(pattern=rf"^(model\..*|{'|'.join(_SCHEDULE)})$")]
# Standard deviation of accuracies above which every seed's is listed.
_WIDE = 0.1
_MEASURED = ("updates", "test_accuracy", "train_accuracy", "seconds")


class Comparison(schema.Section):
    """The trials that are compared: `variants` of the model, all of them with `settings`, once with each of `seeds`."""

    settings: schema.Settings
    seeds: Values[schema.Seed]
    variants: Values[dict[_Changed, Any]]


def variants(content: Comparison) -> list[dict]:
    """The variants of `content`; one that names a block but no integrator becomes one for each integrator that params.yaml accepts.

    Raises:
        InputError: the block of a variant takes no integrator; it is named.
    """
    found = []
    for number, variant in enumerate(content.variants, start=1):
        pairs = [variant]
        if "model.block" in variant and "model.integrator" not in variant:
            pairs = []
            for name in INTEGRATORS:
                with suppress(InputError):
                    parameters.changed({"model.block": variant["model.block"], "model.integrator": name})
                    pairs.append({**variant, "model.integrator": name})
            if not pairs:
                raise InputError(
                    f"comparison.yaml, variant {number}: unknown block {text.quoted(variant['model.block'])}"
                )
        found += pairs
    return found


def planned(content: Comparison, more: Mapping) -> list[list[Trial]]:
    """The trials of each of the `variants` of `content`, one a seed, with `more` settings on top of the common ones.

    Raises:
        InputError: see `variants` and `trials.planned`; or images are held out.
    """
    labelled = {
        f"variant {number} ({text.quoted(', '.join(map(str, variant.values())))})": variant
        for number, variant in enumerate(variants(content), start=1)
    }
    plan = trials.planned("comparison.yaml", {**content.settings, **more}, labelled, content.seeds)
    found = list(plan.values())
    if found[0][0].params.data.validation_fraction:
        raise InputError("comparison.yaml: data.validation_fraction must be 0: test accuracies are compared")
    return found


def run(settings: list[str], file: Path = FILE, runs: Path = paths.RUNS / "comparison", folder: Path = FOLDER) -> Path:
    """Train every variant with every seed and write `folder`/<data set>.json and a figure; return the path of the former.

    A trial whose loss becomes infinite or undefined is recorded as diverged, and the comparison goes on.

    Args:
        settings: "key=value" texts on top of the file's settings.
        runs: folder of the checkpoints.

    Raises:
        InputError: a wrong file or setting, before anything is trained; what `loop.train` raises, but divergence.
    """
    content, more = parameters.read_as(file, Comparison), parameters.settings(settings)
    plan = planned(content, more)
    common = plan[0][0].params
    dataset = records.load(paths.dataset(common.data.name))

    from resode.base import provenance
    from resode.figures import comparison as plots_comparison
    from resode.figures import style

    made = provenance.made()
    chosen = trials.seed_by_seed(plan)
    watch = trials.Watch(chosen)
    for trial in chosen:
        trials.train_here(trial, dataset, runs, watch)
    rows = watch.rows
    path = folder / f"{common.data.name}.json"
    written = {
        **made,
        "precision": provenance.arithmetic(common.training.precision),
        "data": dataset.provenance,
        "train_images": len(dataset.train_images),
        "test_images": len(dataset.test_images),
        "settings": {**content.settings, **more},
        "params": {name: getattr(common, name).model_dump() for name in ("augmentation", "training")},
        "variants": [
            _outcome(changes, seeds, rows, len(dataset.class_names))
            for changes, seeds in zip(variants(content), plan, strict=True)
        ],
    }
    files.write_json(path, written)
    files.write_bytes(path.with_suffix(".png"), style.png(plots_comparison.accuracies(written)))
    return path


def _outcome(changes: Mapping, seeds: list[Trial], rows: Mapping, classes: int) -> dict:
    """The file's entry of the variant that makes these `changes`, from the `rows` of its trials, one a seed."""
    params = seeds[0].params
    found = [
        {"seed": trial.params.seed, "diverged": rows[trial]["status"] == DIVERGED}
        | {key: rows[trial][key] for key in _MEASURED if key in rows[trial]}
        for trial in seeds
    ]
    return {
        "changes": changes,
        "params": params.model.model_dump(),
        "schedule": _scheduled(params),
        **_size(params.model, classes),
        **aggregated(found),
        "trials": found,
    }


def _scheduled(checked: schema.Params) -> dict | None:
    """The unroll lengths of a training from few steps to many, its updates and the steps of a unit in all; None for any other."""
    updates = schedule.updates(checked.training)
    levels = schedule.levels(checked.training, updates)
    if not levels:
        return None
    ends = [*(begin for begin, _ in levels[1:]), updates]
    steps = sum((end - begin) * length for (begin, length), end in zip(levels, ends, strict=True))
    return {"unroll_lengths": [length for _, length in levels], "updates": updates, "steps": steps}


def _size(chosen: schema.ModelParams, classes: int) -> dict:
    from resode.analysis import summary
    from resode.nn import model

    network = model.build(chosen, classes)
    return {
        "parameters": network.count_params(),
        "unit_parameters": sum(unit.count_params() for unit in model.units(network)),
        "flop_per_image": sum(summary.flops(network).values()),
    }


def aggregated(trials: list[dict]) -> dict:
    """Mean and standard deviation (n − 1) of the final accuracies over the trials that did not diverge; None where undefined."""
    found: dict = {"diverged": sum(trial["diverged"] for trial in trials)}
    for split in ("test", "train"):
        values = [trial[f"{split}_accuracy"] for trial in trials if not trial["diverged"]]
        found[f"{split}_mean"] = round(statistics.mean(values), 6) if values else None
        found[f"{split}_sd"] = round(statistics.stdev(values), 6) if len(values) > 1 else None
    return found


# --- wording


def table(folder: Path = FOLDER) -> str:
    """The files in results/comparison as Markdown: a table for each data set, and its limits."""
    found = [files.read_json(path) for path in sorted(folder.glob("*.json"))]
    return "\n\n".join(_section(one) for one in found) or "Not compared yet: `resode compare`."


def _section(found: Mapping) -> str:
    variants, training = found["variants"], found["params"]["training"]
    trials = [trial for variant in variants for trial in variant["trials"]]
    updates = next((trial["updates"] for trial in trials if not trial["diverged"]), 0)
    rows: dict[tuple, dict[str, str]] = {}
    for variant in variants:
        chosen = variant["params"]
        units = f"{variant['unit_parameters']:,}" if variant["unit_parameters"] else "—"
        name = chosen["block"] if chosen["architecture"] == "units" else chosen["architecture"]
        shown = ("model.block", "model.integrator", "model.channels", "model.architecture", *_SCHEDULE)
        name += "".join(f", {key}: {value}" for key, value in variant["changes"].items() if key not in shown)
        if scheduled := variant.get("schedule"):
            lengths = ", ".join(str(length) for length in scheduled["unroll_lengths"])
            name += f", unroll length {lengths}: {scheduled['updates']:,} updates, {scheduled['steps']:,} steps"
        solved = chosen["architecture"] == "units" and not ODES[chosen["block"]].own_steps
        column = chosen["integrator"] if solved else _OWN
        rows.setdefault((name, units, f"{variant['parameters']:,}"), {})[column] = _accuracy(variant)
    columns = [name for name in (*INTEGRATORS, _OWN) if any(name in cells for cells in rows.values())]
    header = ("Block", "Parameters, units", "all", *(name.replace("_", " ") for name in columns))
    body = [
        (name.replace("_", " "), *key, *(cells.get(column, "") for column in columns))
        for (name, *key), cells in rows.items()
    ]
    seeds = sorted({trial["seed"] for trial in trials})
    return (
        f"{found['data']['title']}, {found['train_images']:,} training and {found['test_images']:,} test images; {updates:,} updates of"
        f" {training['batch_size']} images at learning rate {training['learning_rate']:g}, dropped"
        f" {len(training['reference_drops'])} times. Test accuracy after the last epoch in per cent, mean ± standard deviation over {len(seeds)}"
        f" seeds (or, where it is above {100 * _WIDE:.0f}, every seed), by block and integrator; residual networks and linear multistep blocks have steps of their own.{_time(variants, updates)}"
        f" {found['hardware'].replace(' 1 cores', ' 1 core')}, {found['backend']}, {found['precision']}, commit {(found['commit'] or 'unknown')[:7]}"
        f"{' with changes' if found['modified'] else ''}.\n\n"
        f"{text.table(header, body, 'lrr' + 'r' * len(columns))}\n\n"
        f"![test accuracy of every trial](results/comparison/{found['data']['name']}.png)\n\n"
        "*A dot is a trial, a bar the mean and the standard deviation of an integrator's trials; no bar where a trial lies left of the axis, whose"
        " accuracy stands at the edge. The names of blocks stand above those of their integrators.*\n\n"
        f"{_caveat(found, len(seeds))}"
    )


def _time(variants: list[Mapping], updates: int) -> str:
    """A sentence on the time that training from few steps to many takes beside the others; "" without such variants."""
    if not any(variant.get("schedule") for variant in variants):
        return ""
    steps = updates * variants[0]["params"]["unroll_length"]
    return (
        " Rows with several unroll lengths were trained from few steps to many. Their time is counted in steps: each unit of the other"
        f" rows took {steps:,} in all updates together."
    )


def _caveat(found: Mapping, seeds: int) -> str:
    # The papers' own networks have their own sizes.
    equal = [variant for variant in found["variants"] if variant["params"]["architecture"] == "units"]
    units = [variant["unit_parameters"] for variant in equal]
    alls = [variant["parameters"] for variant in equal]
    flops = [variant["flop_per_image"] for variant in found["variants"]]
    steps = sorted({variant["params"]["h"] for variant in found["variants"]})
    # The relative standard error of a standard deviation from n normally distributed values, roughly.
    uncertain = (
        f"with {seeds} seeds a standard deviation is itself uncertain by about {100 / math.sqrt(2 * (seeds - 1)):.0f} %"
        if seeds > 1
        else "with one seed there is no standard deviation"
    )
    same = (
        "their step sizes differ"
        if len(steps) > 1
        else f"h = {steps[0]:g} is the same for all although each has its own best"
    )
    return (
        "**What this does not show.** Which block or integrator is best: the images are small and few"
        f" (one test image is {100 / found['test_images']:.2f} points), the schedule is short and was tuned for none of them,"
        f" {same}, and {uncertain}. But for the papers' own networks, which are larger, the units' parameters are equal within"
        f" {_spread(units):.1f} %, all parameters within {_spread(alls):.1f} % (a wider network has a wider stem and head); the work is"
        f" not equal at all, from {min(flops) / 1e6:.1f} to {max(flops) / 1e6:.1f} MFLOP an image. Differences no larger than the"
        " standard deviations mean nothing."
    )


def _spread(values: list[int]) -> float:
    return 100 * (max(values) / min(values) - 1) if values else 0.0


def _accuracy(variant: Mapping) -> str:
    mean, sd = variant["test_mean"], variant["test_sd"]
    # Where the table is too wide, lines break between accuracies alone.
    shown = "" if mean is None else f"{100 * mean:.1f}" + ("" if sd is None else f"\u00a0±\u00a0{100 * sd:.1f}")
    if sd and sd > _WIDE:
        # A mean of trainings that learnt and of some that did not says little.
        values = [trial["test_accuracy"] for trial in variant["trials"] if not trial["diverged"]]
        shown = "; ".join(f"{100 * value:.1f}" for value in sorted(values))
    diverged = f"{variant['diverged']} of {len(variant['trials'])} diverged" if variant["diverged"] else ""
    return ", ".join(filter(None, (shown, diverged)))
