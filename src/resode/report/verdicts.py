"""Published against reproduced: compares results/ with reference/ and words the outcome.

Everything here is derived from files the other stages wrote; nothing is computed anew.
"""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from resode.analysis import evaluation
from resode.analysis.reference import (
    NOT_REPRODUCED,
    REPRODUCED,
    differences,
    judge,
    schedule,
    share,
    shifts,
    shown,
    worded,
)
from resode.base import files, paths
from resode.base.errors import InputError
from resode.base.text import percent, table
from resode.config import parameters
from resode.pipeline import inputs
from resode.training import outputs

# What a run is, from the least to the most it can say about the claim.
DEMO, OTHER_DATA, OTHER_SETTING, REPRODUCTION = "demo", "altered data", "different setting", "reproduction"
# Keys of provenance.json that do not explain themselves.
WORDED = {
    "modified": "sources differ from the commit",
    "commit_unknown": "commit not known, because",
    "wall_seconds": "wall time in seconds",
    "resumes": "times resumed",
}


# --- reading


@dataclass(frozen=True)
class Run:
    """The files that the stages wrote about one run."""

    model: dict
    history: list[dict[str, float]]
    provenance: dict
    metrics: dict
    stability: dict


def read_run(results: Path = paths.RESULTS) -> Run:
    """Read the results the report is built from.

    Raises:
        InputError: a file is missing or unreadable, or not all are of one training.
    """
    trained = read_training(results)
    model = results / "model"
    if other := inputs.others(model / "model.ipynb", trained["provenance"]["params"]):
        raise InputError(f"{model} is of other parameters than {results / 'training'}: {other}; run: resode model")
    return Run(
        model=_json(model / "model.json"),
        stability=of_training(trained["provenance"], results / "stability" / "stability.json"),
        **trained,
    )


def read_training(results: Path) -> dict:
    """Of the training in `results`, {"history", "provenance", "metrics"}; raises as `read_run`."""
    history = evaluation.read_history(results / "training" / "history.csv")
    provenance = outputs.provenance(results / "training")
    return {
        "history": history,
        "provenance": provenance,
        "metrics": of_training(provenance, results / "evaluation" / "metrics.json"),
    }


def of_training(provenance: Mapping, path: Path) -> dict:
    """The content of the JSON file `path`.

    Raises:
        InputError: it is missing, unreadable, or not of the training with this provenance.
    """
    found = _json(path)
    outputs.check_of(provenance, found, path)
    return found


def _json(path: Path) -> dict:
    if not path.exists():
        raise InputError(f"{path} is missing; run the {path.parent.name} stage first")
    try:
        found = files.read_json(path)
        if not isinstance(found, dict):
            raise InputError(f"{path} holds no results")
        return found
    except InputError as error:
        raise InputError(f"{error}; run the {path.parent.name} stage again") from error


# --- comparing


def build(run: Run, published: Mapping) -> dict:
    """The report as data: what kind of run it is, why, and one line for each published figure.

    A line's verdict is "reproduced" or "not reproduced" where the run can decide it; the kind of run ("demo",
    "altered data", "different setting") where it cannot; None for figures shown for orientation only.
    """
    changed = differences(run.provenance["params"] | {"data": run.provenance["data"]}, published)
    kind = _kind(run.provenance["data"], changed)
    found = counts(run.model) | values(run.history, run.provenance, run.metrics)
    return {
        "training": run.provenance.get("training"),
        "kind": kind,
        "data": run.provenance["data"]["title"],
        "data_name": run.provenance["data"]["name"],
        "data_published": bool(run.provenance["data"]["published"]),
        "differences": changed,
        "schedule": schedule(run.provenance["params"]["training"]["reference_drops"], published),
        "share": share(run.provenance, published),
        "shifts": shifts(run.provenance, published),
        "shorter": run.provenance["params"]["training"]["reference_iterations"]
        < published["claim"]["training"]["reference_iterations"],
        "test_correct": run.metrics["test_correct"],
        "test_total": run.metrics["test_total"],
        "lines": [_line(figure, found[figure["id"]], kind, changed, run) for figure in published["figures"]],
    }


def _kind(data: Mapping, changed: Mapping) -> str:
    if "data" in changed:
        return DEMO
    if not data["published"]:
        return OTHER_DATA
    return OTHER_SETTING if changed else REPRODUCTION


def values(history: Sequence[Mapping], provenance: Mapping, metrics: Mapping) -> dict[str, float | None]:
    """The published figures that a training decides, by id; None where it does not have one."""
    above = [row["epoch"] for row in history if row.get("test_accuracy", 0) >= 0.9]
    return {
        **{key: metrics.get(key) for key in ("test_accuracy", "best_test_accuracy", "last_ten_test_accuracy")},
        "train_accuracy": metrics["train_accuracy"],
        "first_epoch_90": above[0] if above else None,
        "hours": provenance["wall_seconds"] / 3600,
    }


def counts(model: Mapping) -> dict[str, int]:
    """The published figures that `model.json` has, by id."""
    found = model["parameters"]
    return {"parameters": found["total"], "trainable_parameters": found["trainable"]}


def _line(figure: Mapping, value: float | None, kind: str, changed: Mapping, run: Run) -> dict:
    line = {key: figure[key] for key in ("id", "name", "unit", "source")}
    line |= {"published": figure["value"], "reproduced": value, "tolerance": figure["tolerance"]}
    if figure["id"] == "test_accuracy":
        line["interval"] = [run.metrics["test_accuracy_low"], run.metrics["test_accuracy_high"]]
    if figure["id"] == "best_test_accuracy" and value is not None:
        line["epoch"] = run.metrics["best_epoch"]
    if figure["id"] == "first_epoch_90":
        line["looked_for"] = evaluation.tested_on(run.history) == "test"
    line["verdict"] = _verdict(figure, value, kind, changed)
    return line


def _verdict(figure: Mapping, value: float | None, kind: str, changed: Mapping) -> str | None:
    if figure["tolerance"] is None:
        return None
    # The parameter count follows from the network alone, whatever it was trained on and how.
    decided_by_model = figure.get("needs") == "model" and kind != DEMO and "model" not in changed
    if kind != REPRODUCTION and not decided_by_model:
        return kind
    return judge(value, figure["value"], figure["tolerance"])


def write(folder: Path, report: Mapping) -> None:
    """Write `report.json` to `folder`."""
    files.write_json(Path(folder) / "report.json", dict(report))


# --- wording


def headline(report: Mapping) -> str:
    """The result at the top of the page, as Markdown."""
    line = _by_id(report)["test_accuracy"]
    low, high = line["interval"]
    return (
        f"**{percent(line['reproduced'])}** test accuracy after the last epoch on *{html.escape(report['data'])}*: "
        f"{report['test_correct']:,} of {report['test_total']:,} images, 95 % interval {percent(low)} to {percent(high)}. "
        f"{_against(report, line)}"
    )


def _against(report: Mapping, line: Mapping) -> str:
    published = f"Published for CIFAR-10: {percent(line['published'])}."
    if report["kind"] != REPRODUCTION:
        return published
    distance = 100 * (line["reproduced"] - line["published"])
    verdicts = [one["verdict"] for one in report["lines"]]
    reproduced = verdicts.count(REPRODUCED)
    total = reproduced + verdicts.count(NOT_REPRODUCED)
    return (
        f"{published} Difference {signed(distance)} points: **{line['verdict']}**. "
        f"{reproduced} of {total} figures with a tolerance are reproduced."
    )


def banner(report: Mapping) -> str:
    """The kind of run and the conclusions it allows, as a Markdown block quote; empty for a reproduction."""
    text = {DEMO: _demo_text, OTHER_DATA: _altered_text, OTHER_SETTING: _setting_text}.get(report["kind"])
    return "".join(f"> {line}\n" for line in text(report).split("\n")) + "\n" if text else ""


def _demo_text(report: Mapping) -> str:
    parameters = _by_id(report)["parameters"]
    smaller = [name for name, is_so in (
        ("a smaller network", parameters["reproduced"] < parameters["published"]), ("a shorter schedule", report["shorter"])
    ) if is_so]  # fmt: skip
    how = f", with {' and '.join(smaller)}" + (", so that it takes minutes on any computer" * (len(smaller) == 2))
    easier = "The task is far easier than CIFAR-10: the" if report["data_name"] == "digits" else "The"
    return (
        "**This is a demo, not a reproduction.** "
        f"The whole pipeline ran, from images to this page, but on *{html.escape(report['data'])}* instead of CIFAR-10{how if smaller else ''}. "
        f"It shows that everything works and what a finished report looks like. {easier} "
        "accuracy says nothing about the published claim, and no line below gets a verdict. The published "
        "figures stand beside it for orientation only. `make repro` runs the real thing."
    )


def _altered_text(report: Mapping) -> str:
    return (
        "**The data are not the published CIFAR-10.** "
        "`data.require_published` is off and at least one file of the data set is not the "
        "published one (its SHA-256 differs). Nothing on this page says anything about CIFAR-10 as "
        "published, and no accuracy gets a verdict."
    ) + _difference_list(report)


def _setting_text(report: Mapping) -> str:
    text = (
        "**A different setting than the published one.** "
        "The run's parameters are not those of the published run, so its accuracies get no verdict."
    )
    if report["share"]:
        other = f" and {report['shifts']}" if report["shifts"] else ""
        text += f" It is the post's setting with {worded(report['share'])} of its schedule{other}."
    return text + _difference_list(report)


def _difference_list(report: Mapping) -> str:
    entries = [f"{section}.{entry}" for section, changed in report["differences"].items() for entry in changed]
    return "".join(["\n", *(f"\n- {entry}" for entry in entries)]) if entries else ""


def comparison_table(report: Mapping) -> str:
    """Published against reproduced, line by line, as a Markdown table."""
    mine = "Reproduced" if report["kind"] == REPRODUCTION else "This run"
    rows = [
        (line["name"], _value(line, "published"), _reproduced(line), _tolerance(line), _marked(line["verdict"]))
        for line in report["lines"]
    ]
    return table(("", "Published", mine, "Tolerance", "Verdict"), rows, "lrrrl")


def sources_list(report: Mapping) -> str:
    """Sources of the published figures, as a Markdown list."""
    return "\n".join(f"- {line['name']}: {line['source']}" for line in report["lines"])


def _by_id(report: Mapping) -> dict[str, dict]:
    return {line["id"]: line for line in report["lines"]}


def signed(points: float) -> str:
    """A difference in points with its sign."""
    return f"{points:+.2f}".replace("-", "−")


def _value(line: Mapping, key: str) -> str:
    if line[key] is None:
        return "never" if line.get("looked_for") else "—"
    return shown_value(line[key], line["unit"])


def shown_value(value: float, unit: str) -> str:
    """A value of a figure: in per cent, hours (or minutes), or as a number."""
    if unit == "fraction":
        return percent(value)
    if unit == "hours":
        return f"{value:.1f} h" if value >= 1 else f"{60 * value:.1f} min"
    return f"{value:,}"


def _reproduced(line: Mapping) -> str:
    return _value(line, "reproduced") + (f" (epoch {line['epoch']})" if "epoch" in line else "")


def _tolerance(line: Mapping) -> str:
    if line["tolerance"] is None:
        return "—"
    return f"± {100 * line['tolerance']:.1f} points" if line["tolerance"] else "exact"


def judged(value: float, figure: Mapping) -> str:
    """The verdict on a `value` of a published `figure`, with its mark."""
    return _marked(judge(value, figure["value"], figure["tolerance"]))


def _marked(verdict: str | None) -> str:
    marks = {REPRODUCED: "✓ reproduced", NOT_REPRODUCED: "✗ **not reproduced**", None: "—"}
    return marks.get(verdict, f"no verdict: {verdict}")


def provenance_table(run: Run) -> str:
    """Hardware, software and data of the training run, as a Markdown table."""
    entries = {WORDED.get(key, key): value for key, value in run.provenance.items() if key not in ("params", "pieces")}
    pieces = run.provenance.get("pieces", [])
    if len(pieces) > 1:
        entries |= {f"piece {number}": piece for number, piece in enumerate(pieces, 1)}
    return table(("", ""), _leaves(entries), "ll")


def params_table(run: Run) -> str:
    """The run's parameters, as a Markdown table."""
    return table(("Parameter", "Value"), _leaves(run.provenance["params"]), "ll")


def _leaves(content: Mapping) -> list[tuple[str, str]]:
    told = {name: shown(value) for name, value in parameters.flat(content, " · ").items() if value is not None}
    return [(name, "`{}`".format(value.replace("|", "\\|").replace("\n", " "))) for name, value in told.items()]


def curve_text(report: Mapping, run: Run) -> str:
    """The caption of the training curve, as Markdown: the schedule, and whose curves are drawn."""
    drawn = "The published curve is that of another data set and is not drawn."
    if report["kind"] != DEMO:
        drawn = "In grey the published run, whose learning rate dropped after epochs 109 and 218."
    return f"{schedule_text(report, run)} {drawn}"


def schedule_text(report: Mapping, run: Run) -> str:
    """One sentence on the schedule that was trained with."""
    last = run.history[-1]
    dropped = [f"epoch {epoch}" for epoch in evaluation.drops(run.history)]
    where = f"; the learning rate drops from {' and '.join(dropped)} on" if dropped else ""
    if run.provenance["params"]["training"].get("schedule") == "linear":
        where = "; the learning rate rises and falls linearly"
    which = f", as in the {report['schedule']}" if report["schedule"] else ""
    return f"{last['epoch']:,} epochs, {last['updates']:,} updates{where}{which}."


def stability_table(run: Run) -> str:
    """h ω of each trained unit and the growth of perturbations, predicted and measured, as a Markdown table."""
    found = run.stability
    if not found["units"]:
        return "This network has no unit that solves an ODE."
    name = found["integrator"]
    rows = [
        (
            str(unit["unit"]),
            f"{unit['h_omega']:.3f}",
            "—" if not unit["inside"] else "inside" if unit["inside"][name] else "outside",
            "—" if unit["unit_amplification"] is None else f"{unit['unit_amplification']:.3f}",
            f"{unit['measured']:.3f}",
        )
        for unit in found["units"]
    ]
    steps = f"growth over {found['unroll_length']} steps"
    return table(("Unit", r"$h \omega$", f"Region of {name}", f"{steps}, predicted", "measured"), rows, "lrlrr")
