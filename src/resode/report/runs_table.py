"""The runs of results/runs side by side: their settings, effort and accuracy, and two of them in pairs."""

import json
import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from resode.analysis import evaluation, predictions
from resode.analysis.reference import (
    read_published,
    shown,
)
from resode.base import paths
from resode.base.text import percent, rows_table, table
from resode.config import parameters
from resode.experiments import runs
from resode.report.verdicts import of_training, read_training, signed
from resode.training import outputs


def read_runs(results: Path = paths.RESULTS) -> dict[str, dict]:
    """The runs in results/runs by name, in the order of runs.yaml: {"history", "provenance", "metrics"}; see `read_trained`."""
    return {name: run for name in runs.read() if (run := read_trained(results / "runs" / name))}


def read_trained(folder: Path) -> dict | None:
    """Read the files that training and evaluation wrote in `folder`: {"history", "provenance", "metrics"}; None before both are done.

    Raises:
        InputError: they are not of one training.
    """
    if not (folder / "training" / "history.csv").is_file() or not (folder / "evaluation" / "metrics.json").is_file():
        return None
    found = read_training(folder)
    found["metrics"] |= of_training(found["provenance"], folder / "evaluation" / evaluation.CLASS_ACCURACY)
    return found


def runs_table(results: Path = paths.RESULTS) -> str:
    """Results of the runs in results/runs, as a Markdown table; below it on which data and hardware each was made, and the scatter over seeds.

    Changes are what a run was trained with, whatever runs.yaml says now, where it is not what the pipeline trains with.
    """
    rows, made = [], []
    usual = published_setting()
    for name, run in read_runs(results).items():
        metrics, provenance = run["metrics"], run["provenance"]
        low, high = metrics["test_accuracy_low"], metrics["test_accuracy_high"]
        over = {
            key: percent(metrics[key]) if key in metrics else "—"
            for key in ("best_test_accuracy", "last_ten_test_accuracy")
        }
        rows.append(
            {
                "Run": name,
                "Test, last epoch": percent(metrics["test_accuracy"]),
                "95 % interval": f"{100 * low:.2f} to {100 * high:.2f}",
                "Test, best epoch": over["best_test_accuracy"],
                "Test, last ten epochs": over["last_ten_test_accuracy"],
                "Train": percent(metrics["train_accuracy"]),
                "Changes": "; ".join(f"{key}: {shown(value)}" for key, value in changes(provenance, usual).items()),
            }
        )
        made.append(f"- {name}: {provenance['data']['title']}; {effort(provenance)}.")
    if not rows:
        return "No other run yet: `resode run NAME`."
    return "\n".join((rows_table(rows), "", *made)) + _scatter(results)


def paired_table(results: Path = paths.RESULTS) -> str:
    """docs/runs.md: the runs with predictions compared in pairs, image by image, as a section; "" where no two were tested on the same images.

    Raises:
        InputError: predictions are damaged, or of another training than the run's.
    """
    found = {}
    folders = {name: results / "runs" / name for name in runs.read()}
    for name, folder in {"the pipeline's": results, **folders}.items():
        path = folder / "evaluation" / predictions.FILE
        if path.is_file() and (run := read_trained(folder)):
            found[name] = predictions.read(path)
            outputs.check_of(run["provenance"], {"training": found[name].training}, path)
    rows = []
    for (one, first), (other, second) in combinations(found.items(), 2):
        if not np.array_equal(first.labels, second.labels):
            continue
        b, c, p = predictions.mcnemar(first.right, second.right)
        difference = signed(100 * (first.right.mean() - second.right.mean()))
        rows.append((one, other, difference, f"{b:,}", f"{c:,}", f"{p:.2g}"))
    if not rows:
        return ""
    header = ("Run", "Other run", "Difference in points", "Right alone", "Other right alone", "p")
    return (
        "## Runs in pairs\n\nTwo intervals that overlap say little of two runs that were tested on the same images. McNemar's exact test looks at those that"
        " exactly one of the two gets right: *p* is the probability that they are shared out as unevenly as here or more if both runs are right"
        " equally often. It is of these two trainings; another seed is another training.\n\n"
        f"{table(header, rows, 'llrrrr')}"
    )


def effort(provenance: Mapping) -> str:
    """Hardware, software and commits of a training, each once, the time of all, and how often it was resumed.

    What was done where, with which commit, stands piece by piece in provenance.json.
    """
    found = pieces(provenance)
    machines = dict.fromkeys(f"{one['hardware']}, {one['backend']}, {one['precision']}" for one in found)
    commits = dict.fromkeys(
        (one["commit"] or "unknown")[:7] + (" (modified)" if one.get("modified") else "") for one in found
    )
    times = {0: "", 1: ", resumed once"}.get(provenance["resumes"], f", resumed {provenance['resumes']} times")
    return (
        f"{', and '.join(machines)}, commit{'s' if len(commits) > 1 else ''} {', '.join(commits)};"
        f" {provenance['wall_seconds'] / 3600:.2f} h{times}"
    )


def pieces(provenance: Mapping) -> list[Mapping]:
    """The pieces of a training, one for each machine, software and commit; an older training without them counts as one."""
    return provenance.get("pieces", [provenance])


def published_setting() -> dict[str, Any]:
    """The setting that the pipeline trains with, {"section.key": value}: params.yaml's, with the claim's values where a claim is made."""
    content = parameters.read()
    claimed = read_published()
    for section, keys in claimed["claim"].items():
        content[section] |= keys
    content["training"]["reference_drops"] = next(iter(claimed["schedules"].values()))
    return parameters.flat(content)


def changes(provenance: Mapping, usual: Mapping[str, Any]) -> dict[str, Any]:
    """The setting of a training where it is not `usual`, {"section.key": value}; what its provenance does not tell is left out."""
    data = {key: provenance["data"].get(key, 0.0) for key in ("name", "validation_fraction")}
    found = parameters.flat(provenance["params"] | {"data": data})
    return {
        key: found[key]
        for key in [*(key for key in usual if key in found), *sorted(found.keys() - usual.keys())]
        if found[key] != usual.get(key)
    }


def seeds(found: Mapping[str | None, dict]) -> list[dict[str | None, dict]]:
    """The runs `found` in groups in which all but the seed is equal: parameters, data, backend and precision; of runs with one seed the first.

    Commits may differ: what makes a training another one is a parameter.
    """
    groups: dict[str, dict] = {}
    for name, run in found.items():
        provenance = run["provenance"]
        params = {key: value for key, value in provenance["params"].items() if key != "seed"}
        how = [provenance.get(key) for key in ("backend", "precision")]
        group = groups.setdefault(json.dumps([params, provenance["data"], how], sort_keys=True), {})
        if all(provenance["params"]["seed"] != one["provenance"]["params"]["seed"] for one in group.values()):
            group[name] = run
    return list(groups.values())


def _scatter(results: Path) -> str:
    """A sentence on the scatter over seeds for each group of `seeds`, the pipeline's run among them."""
    pipeline = read_trained(results)
    groups = [list(group.values()) for group in seeds(({None: pipeline} if pipeline else {}) | read_runs(results))]
    return "".join(f"\n\n{scatter(group)}" for group in groups if len(group) > 1)


def scatter(group: Sequence[Mapping]) -> str:
    """The mean of the test accuracy over the runs of a group of `seeds`, in a sentence."""
    found = [run["metrics"]["test_accuracy"] for run in group]
    return (
        f"Over {len(found)} seeds the test accuracy after the last epoch is {percent(statistics.mean(found))}"
        f" ± {100 * statistics.stdev(found):.2f} points (mean ± standard deviation)."
    )
