"""Short trainings of the post's network: docs/fast.md, and README's column and sentences on run `fast`.

A short training has the claim's data and network, and a recipe of its own with a linear schedule. Like the report, all of it is derived
from files that runs wrote.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from resode.analysis import evaluation
from resode.analysis.reference import differences, read_published, read_published_curve, share
from resode.base import paths
from resode.base.text import percent, rows_table
from resode.experiments.ablation import EXACT, LENGTHS
from resode.report import runs_table, verdicts

# The run that README tells a reader to repeat.
NAME = "fast"


def short(results: Path = paths.RESULTS) -> dict[str, dict]:
    """The finished short trainings by name, see `runs_table.read_runs`."""
    return {
        name: run
        for name, run in _claimed(results).items()
        if run["provenance"]["params"]["training"].get("schedule") == "linear"
    }


def _claimed(results: Path) -> dict[str, dict]:
    """The finished runs with the claim's data and network, tested after each epoch as the post's was, however they were trained."""
    claimed, found = read_published(), {}
    for name, run in runs_table.read_runs(results).items():
        params, data = run["provenance"]["params"], run["provenance"]["data"]
        others = differences(params | {"data": data}, claimed).keys() & {"data", "model"}
        if data["published"] and not others and evaluation.tested_on(run["history"]) == "test":
            found[name] = run
    return found


def seeds(results: Path = paths.RESULTS) -> dict[str, dict]:
    """Run `fast` and the runs that differ from it in the seed alone, by name; empty before it is finished."""
    return next((group for group in runs_table.seeds(short(results)) if NAME in group), {})


def sentences(results: Path = paths.RESULTS) -> list[str]:
    """README: what the fast training reached, and what other steps make of its weights; a paragraph, or none."""
    found = seeds(results)
    if not found:
        return []
    run, last = found[NAME], read_published_curve()[-1]
    accuracies = [one["metrics"]["test_accuracy"] for one in found.values()]
    reached = f"**{percent(statistics.mean(accuracies))}**"
    if len(found) > 1:
        reached += f" ± {100 * statistics.stdev(accuracies):.2f} points over {len(found)} seeds"
    text = (
        f"**A fast training** of the same network, {run['metrics']['epochs']} epochs instead of {last['epoch']:.0f}, reaches {reached}:"
        f" `resode run {NAME}`. It decides nothing about the post's training."
    )
    steps = [_steps(results, name, one["provenance"]) for name, one in found.items()]
    finer, exact = ([one[key] for one in steps if key in one] for key in (max(LENGTHS), EXACT))
    if len(finer) == len(exact) == len(found):
        text += (
            f" Solved more finely, in {max(LENGTHS)} steps a unit, the same weights reach {percent(statistics.mean(finer))}, and by"
            f" {EXACT[0]} {percent(statistics.mean(exact))}."
        )
    return [f"{text} [Recipe, and whether its layers are an ODE's](docs/fast.md)."]


def _steps(results: Path, name: str, provenance: Mapping) -> dict[int | tuple[str, int], float]:
    """The accuracy of the run `name` with other steps, by the length of `LENGTHS` or `EXACT`; empty where it was not measured.

    Raises:
        InputError: what was measured is of another training.
    """
    path = results / "runs" / name / "stability" / "refinement.json"
    if not path.is_file():
        return {}
    measured = verdicts.of_training(provenance, path)
    found = {(row["integrator"], row["unroll_length"]): row["accuracy"] for row in measured["rows"]}
    keys = {length: (measured["integrator"], length) for length in LENGTHS} | {EXACT: EXACT}
    return {key: found[pair] for key, pair in keys.items() if pair in found}


def results_table(results: Path = paths.RESULTS) -> str:
    """docs/fast.md: accuracy, epochs and hours of the short trainings, with the machines they ran on, and their curves."""
    found = short(results)
    if not found:
        return f"Not trained yet: `resode run {NAME}`."
    rows, made = [], []
    for name, run in found.items():
        metrics, provenance = run["metrics"], run["provenance"]
        low, high = metrics["test_accuracy_low"], metrics["test_accuracy_high"]
        rows.append(
            {
                "Run": name,
                "Seed": str(provenance["params"]["seed"]),
                "Epochs": str(metrics["epochs"]),
                "Test, last epoch (95 % interval)": f"{percent(metrics['test_accuracy'])} ({100 * low:.2f} to {100 * high:.2f})",
                "Train": percent(metrics["train_accuracy"]),
                "Hours": f"{provenance['wall_seconds'] / 3600:.1f}",
            }
        )
        made.append(f"- {name}: {runs_table.effort(provenance)}.")
    groups = [list(group.values()) for group in runs_table.seeds(found)]
    return "\n\n".join(
        [
            rows_table(rows),
            "\n".join(made),
            *(runs_table.scatter(group) for group in groups if len(group) > 1),
            "![test accuracy over epochs and over hours](results/readme/fast.png)",
            "*Test accuracy after each epoch, over epochs and over hours, both axes logarithmic: each training on its own machine, the"
            " published one on a GPU.*",
        ]
    )


def steps_table(results: Path = paths.RESULTS) -> str:
    """docs/fast.md: h ω of the trained units and accuracy with other steps over the same time, under both optimisers, as a Markdown table;
    "" where nothing was measured.
    """
    rows = []
    for name, run in _claimed(results).items():
        if not (found := _steps(results, name, run["provenance"])):
            continue
        stability = verdicts.of_training(run["provenance"], results / "runs" / name / "stability" / "stability.json")
        h_omega = ", ".join(f"{unit['h_omega']:.1f}" for unit in stability["units"])
        optimizer = run["provenance"]["params"]["training"].get("optimizer", "sgd")
        names = {length: f"Euler, n = {length}" for length in LENGTHS} | {EXACT: f"{EXACT[0]}, n = {EXACT[1]}"}
        cells = {label: f"{100 * found[key]:.2f}" if key in found else "—" for key, label in names.items()}
        rows.append({"Run": name, "Optimiser": optimizer, "h ω by unit": h_omega, **cells})
    return rows_table(rows) if rows else ""


def trainings(results: Path = paths.RESULTS) -> dict[str, tuple[list[float], list[float], list[float]]]:
    """Epochs, hours and test accuracies of the published training, of the longest one here with its regime and of the short ones, by name;
    empty without a short one.
    """
    if not (quick := short(results)):
        return {}
    published, regime = read_published(), _claimed(results)
    shares = {name: part for name, run in regime.items() if (part := share(run["provenance"], published))}
    longest = max(shares, key=shares.get, default=None)
    chosen = ({longest: regime[longest]} if longest else {}) | quick
    curve = read_published_curve()
    spent = (np.cumsum([row["seconds"] for row in curve]) / 3600).tolist()
    found = {"published": ([row["epoch"] for row in curve], spent, [row["test_accuracy"] for row in curve])}
    for name, run in chosen.items():
        epochs, accuracies = ([row[key] for row in run["history"]] for key in ("epoch", "test_accuracy"))
        found[name] = epochs, hours(run["history"], run["provenance"]), accuracies
    return found


def hours(history: Sequence[Mapping], provenance: Mapping) -> list[float]:
    """The hours of training until the end of each epoch: within a piece, which tells its seconds, updates take equally long."""
    pieces = provenance.get("pieces") or [
        {"to": history[-1]["updates"], "seconds": provenance["wall_seconds"]},
    ]
    updates = [0, *(piece["to"] for piece in pieces)]
    seconds = np.cumsum([0, *(piece["seconds"] for piece in pieces)])
    return (np.interp([row["updates"] for row in history], updates, seconds) / 3600).tolist()
