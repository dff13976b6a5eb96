"""Blocks and integrators side by side: equal data, updates, h and, as nearly as whole channels allow, parameters.

A variant may have a schedule of its own, to compare training from few steps to many at equal updates, or at equal time.

comparison.yaml says what is compared. A trial is one variant trained with one seed; it is resumed, and a finished one is not
repeated (one that diverged is), as in any training: its checkpoint lies in .runs/comparison.
"""

import json
import math
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

from resode.analysis import evaluation, published
from resode.base import config, files, paths, strict_yaml, text
from resode.base.errors import Diverged, InputError
from resode.data import records
from resode.ode.equations import ODES
from resode.ode.integrators import INTEGRATORS
from resode.training import schedule

FOLDER = paths.RESULTS / "comparison"
FILE = paths.ROOT / "comparison.yaml"
# The column of what no integrator of INTEGRATORS solves.
_OWN = "own steps"
# What a variant may change besides section model.
_SCHEDULE = ("training.reference_iterations", "training.reference_drops", "training.unroll_schedule")
_PARTS = {"settings": dict, "seeds": list, "variants": list}


def read(path: Path = FILE) -> dict:
    """The content of comparison.yaml: {"settings": {...}, "seeds": [...], "variants": [{...}, ...]}.

    Raises:
        InputError: the file is missing, is not YAML, or has other parts.
    """
    content = strict_yaml.read(path)
    config.check_parts(content, _PARTS, path.name)
    return content


def variants(content: Mapping) -> list[dict]:
    """The variants of `content`; one that names a block and no integrator becomes one for each that params.yaml accepts with it.

    Raises:
        InputError: what a variant changes is not the model or the schedule alone, or its block takes no integrator; it is named.
    """
    found = []
    for number, variant in enumerate(content["variants"], start=1):
        if not isinstance(variant, dict) or not all(
            str(key).startswith("model.") or key in _SCHEDULE for key in variant
        ):
            raise InputError(
                f"comparison.yaml, variant {number}: {variant} must change parameters of section model alone, as"
                f" model.block: residual, or {', '.join(_SCHEDULE)}"
            )
        pairs = [variant]
        if "model.block" in variant and "model.integrator" not in variant:
            pairs = [{**variant, "model.integrator": name} for name in INTEGRATORS if _accepted(variant, name)]
            if not pairs:
                raise InputError(f"comparison.yaml, variant {number}: unknown block {variant['model.block']}")
        found += pairs
    return found


def _accepted(variant: Mapping, integrator: str) -> bool:
    try:
        config.changed({"model.block": variant["model.block"], "model.integrator": integrator})
    except InputError:
        return False
    return True


def planned(content: Mapping, more: Mapping) -> list[dict[int, config.Params]]:
    """For each of the `variants` of `content` the checked parameters by seed, `more` settings on top of the common ones.

    Raises:
        InputError: see `variants`; or one that params.yaml does not accept.
    """
    plan = []
    for variant in variants(content):
        given, where = {**content["settings"], **more, **variant}, f"comparison.yaml, {variant}"
        plan.append(
            {seed: config.validate(config.changed({**given, "seed": seed}, where)) for seed in content["seeds"]}
        )
    if next(iter(plan[0].values())).data.validation_fraction:
        raise InputError("comparison.yaml: data.validation_fraction must be 0: test accuracies are compared")
    return plan


def run(settings: list[str], file: Path = FILE, runs: Path = paths.RUNS / "comparison", folder: Path = FOLDER) -> Path:
    """Train every variant with every seed and write `folder`/<data set>.json and a figure; return the path of the former.

    A trial whose loss becomes infinite or undefined is recorded as diverged, and the comparison goes on.

    Args:
        settings: "key=value" texts on top of the file's settings.
        runs: folder of the checkpoints.

    Raises:
        InputError: a wrong file or setting, before anything is trained; what `loop.train` raises, but divergence.
    """
    content, more = read(file), config.settings(settings)
    plan = planned(content, more)
    common = next(iter(plan[0].values()))
    dataset = records.load(paths.dataset(common.data.name))

    import keras

    from resode.base import provenance

    commit = provenance.commit()
    trials: list[list[dict]] = [[] for _ in plan]
    # Seed by seed: what is stopped early has whole seeds.
    for seed in content["seeds"]:
        for number, (variant, found) in enumerate(zip(plan, trials, strict=True), start=1):
            print(f"{_name(variant[seed].model)}, variant {number} of {len(plan)}, seed {seed}:", flush=True)
            found.append({"seed": seed, **_trial(dataset, variant[seed], runs)})
            # What one network compiled is of no use to the next.
            keras.utils.clear_session()
    path = folder / f"{common.data.name}.json"
    written = {
        "hardware": provenance.hardware(),
        **provenance.software(),
        "precision": provenance.arithmetic(common.training.precision),
        **commit,
        "data": dataset.provenance,
        "train_images": len(dataset.train_images),
        "test_images": len(dataset.test_images),
        "settings": {**content["settings"], **more},
        "params": {name: getattr(common, name).model_dump() for name in ("augmentation", "training")},
        "variants": [
            {
                "changes": changes,
                "params": next(iter(variant.values())).model.model_dump(),
                "schedule": _scheduled(next(iter(variant.values()))),
                **_size(next(iter(variant.values())).model, len(dataset.class_names)),
                **aggregated(found),
                "trials": found,
            }
            for changes, variant, found in zip(variants(content), plan, trials, strict=True)
        ],
    }
    files.write_json(path, written)
    draw(path)
    return path


def draw(path: Path) -> None:
    """Draw what the file `path` of results/comparison says into <data set>.png beside it."""
    from resode.figures import comparison as plots_comparison
    from resode.figures import style

    found = json.loads(path.read_text(encoding="utf-8"))
    files.write_bytes(path.with_suffix(".png"), style.png(plots_comparison.accuracies(found)))


def _trial(dataset: records.Dataset, checked: config.Params, runs: Path) -> dict:
    from resode.training import loop

    with tempfile.TemporaryDirectory() as scratch:
        try:
            loop.train(dataset, checked, Path(scratch), runs)
        except Diverged as error:
            print(f"diverged: {error}", flush=True)
            return {"diverged": True}
        last = evaluation.read_history(Path(scratch) / loop.HISTORY)[-1]
        made = json.loads((Path(scratch) / loop.PROVENANCE).read_text(encoding="utf-8"))
    return {
        "diverged": False,
        **{key: last[key] for key in ("updates", "test_accuracy", "train_accuracy")},
        "seconds": made["wall_seconds"],
    }


def _scheduled(checked: config.Params) -> dict | None:
    """The unroll lengths of a training from few steps to many, its updates and the steps of a unit in all; None without."""
    updates = schedule.updates(checked.training)
    levels = schedule.levels(checked.training, updates)
    if not levels:
        return None
    ends = [*(begin for begin, _ in levels[1:]), updates]
    steps = sum((end - begin) * length for (begin, length), end in zip(levels, ends, strict=True))
    return {"unroll_lengths": [length for _, length in levels], "updates": updates, "steps": steps}


def _size(chosen: config.ModelParams, classes: int) -> dict:
    from resode.nn import model, summary

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
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
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
        shown = ("model.block", "model.integrator", "model.channels", "model.architecture")
        name += "".join(
            f", {key}: {value}" for key, value in variant["changes"].items() if key not in (*shown, *_SCHEDULE)
        )
        if scheduled := variant.get("schedule"):
            lengths = ", ".join(str(length) for length in scheduled["unroll_lengths"])
            name += f", unroll length {lengths}: {scheduled['updates']:,} updates, {scheduled['steps']:,} steps"
        solved = chosen["architecture"] == "units" and not ODES[chosen["block"]].own_steps
        column = chosen["integrator"] if solved else _OWN
        rows.setdefault((name, units, f"{variant['parameters']:,}"), {})[column] = _accuracy(variant)
    columns = [name for name in (*INTEGRATORS, _OWN) if any(name in cells for cells in rows.values())]
    header = ("Block", "Parameters, units", "all", *columns)
    body = [(*key, *(cells.get(name, "") for name in columns)) for key, cells in rows.items()]
    seeds = sorted({trial["seed"] for trial in trials})
    return (
        f"{found['data']['title']}, {found['train_images']:,} training and {found['test_images']:,} test images; {updates:,} updates of"
        f" {training['batch_size']} images at learning rate {training['learning_rate']:g}, dropped"
        f" {len(training['reference_drops'])} times. Test accuracy after the last epoch in per cent, mean ± standard deviation over {len(seeds)}"
        f" seeds, by block and integrator; residual networks and linear multistep blocks have steps of their own.{_time(variants, updates)}"
        f" {found['hardware']}, {found['backend']}, {found['precision']}, commit {(found['commit'] or 'unknown')[:7]}"
        f"{' with changes' if found['modified'] else ''}{published.older(variants[0]['params'])}.\n\n"
        f"{text.table(header, body, 'lrr' + 'r' * len(columns))}\n\n"
        f"![test accuracy of every trial](results/comparison/{found['data']['name']}.png)\n\n"
        "*A dot is a trial, a bar the mean and the standard deviation of an integrator's trials. The names of blocks stand above those of their"
        " integrators.*\n\n"
        f"{_caveat(found, len(seeds))}"
    )


def _time(variants: list[Mapping], updates: int) -> str:
    """A sentence on the time that training from few steps to many takes beside the others; "" without such variants."""
    if not any(variant.get("schedule") for variant in variants):
        return ""
    steps = updates * variants[0]["params"]["unroll_length"]
    return f" Rows with several unroll lengths were trained from few steps to many; the steps of a unit in all updates, of which the others took {steps:,}, are the time."


def _caveat(found: Mapping, seeds: int) -> str:
    # The papers' own networks have their own sizes.
    equal = [variant for variant in found["variants"] if variant["params"]["architecture"] == "units"]
    units = [variant["unit_parameters"] for variant in equal]
    alls = [variant["parameters"] for variant in equal]
    flops = [variant["flop_per_image"] for variant in found["variants"]]
    steps = sorted({variant["params"]["h"] for variant in found["variants"]})
    # The relative standard error of a standard deviation from n normally distributed values, roughly.
    uncertain = f"about ± {100 / math.sqrt(2 * (seeds - 1)):.0f} %" if seeds > 1 else "no digit"
    same = (
        "their step sizes differ"
        if len(steps) > 1
        else f"h = {steps[0]:g} is the same for all although each has its own best"
    )
    return (
        "**What this does not show.** Which block or integrator is best: the images are small and few"
        f" (one test image is {100 / found['test_images']:.2f} points), the schedule is short and was tuned for none of them,"
        f" {same}, and {seeds} seeds know the"
        f" standard deviation itself to {uncertain}. The units' parameters are equal within"
        f" {_spread(units):.1f} %, all parameters within {_spread(alls):.1f} % (a wider network has a wider stem and head); the work is"
        f" not equal at all, from {min(flops) / 1e6:.1f} to {max(flops) / 1e6:.1f} MFLOP an image. Differences of the size of the"
        " standard deviations are no differences."
    )


def _spread(values: list[int]) -> float:
    return 100 * (max(values) / min(values) - 1) if values else 0.0


def _name(chosen: config.ModelParams) -> str:
    return f"{chosen.block}, {chosen.integrator}" if chosen.architecture == "units" else chosen.architecture


def _accuracy(variant: Mapping) -> str:
    mean, sd = variant["test_mean"], variant["test_sd"]
    shown = "" if mean is None else f"{100 * mean:.1f}" + ("" if sd is None else f" ± {100 * sd:.1f}")
    diverged = f"{variant['diverged']} of {len(variant['trials'])} diverged" if variant["diverged"] else ""
    return ", ".join(filter(None, (shown, diverged)))
