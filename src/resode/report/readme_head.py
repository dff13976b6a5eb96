"""Distance of the runs from the claim: accuracy over the share of the post's schedule, and the head of the README.

Like the report, all of it is derived from files that runs wrote.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from resode.analysis import evaluation, reference, sweeps
from resode.analysis.reference import read_published, read_published_curve, worded
from resode.base import files, paths
from resode.base.text import percent, table
from resode.config import parameters
from resode.experiments import runs
from resode.report import fast, runs_table, verdicts
from resode.training import checkpoint, outputs, schedule

# Figures that README.md shows.
FIGURES = paths.RESULTS / "readme"


@dataclass(frozen=True)
class Point:
    """A finished run of the claim's setting with `share` of its schedule; see `reference.share`."""

    name: str
    share: float
    history: list[dict[str, float]]
    provenance: dict
    metrics: dict

    @property
    def label(self) -> str:
        """Its name, and how it resampled shifts if not as the published run did."""
        shifts = reference.shifts(self.provenance, read_published())
        return f"{self.name}, {shifts}" if shifts else self.name


def points(results: Path = paths.RESULTS) -> list[Point]:
    """The pipeline's run and those of results/runs that are of the claim's setting, the longest first."""
    claimed = read_published()
    found = [("the pipeline's", one) for one in [runs_table.read_trained(results)] if one]
    found += runs_table.read_runs(results).items()
    made = [
        Point(name, share, run["history"], run["provenance"], run["metrics"])
        for name, run in found
        if (share := reference.share(run["provenance"], claimed))
    ]
    return sorted(made, key=lambda point: -point.share)


def share_table(found: Sequence[Point]) -> str:
    """Accuracy over the share of the schedule with the published one, as a Markdown table; "" without a run."""
    if not found:
        return ""
    last = read_published_curve()[-1]
    rows = [
        (
            worded(point.share),
            point.label,
            f"{point.history[-1]['epoch']:,}",
            f"{percent(point.metrics['test_accuracy'])} ({_interval(point)})",
            percent(point.metrics["train_accuracy"]),
        )
        for point in reversed(found)
    ]
    rows.append(
        (
            "the whole",
            "published",
            f"{last['epoch']:.0f}",
            percent(last["test_accuracy"]),
            percent(last["train_accuracy"]),
        )
    )
    header = ("Share of the post's schedule", "Run", "Epochs", "Test, last epoch (95 % interval)", "Train")
    return f"{table(header, rows, 'llrrr')}\n\n{MEANING}"


MEANING = (
    "A shorter run has the post's network, data, rates and batches, and fewer updates. `eighth` and `quarter` drop the learning rate after a half and"
    " three quarters of them, as the post's text says; the published run dropped it after one third and two thirds, as the author's"
    " notebook does ([differences](docs/differences.md)). A shorter run can show whether all of these learn as published, and an accuracy that this"
    " network reaches. It cannot show whether the whole schedule ends at 90.37 %: a shorter run that ends lower does not contradict the claim, and"
    " one that ends as high does not confirm it. Only a run of the whole schedule gets a verdict. The intervals (Wilson's) say how far the choice of"
    " the 10,000 test images may move an accuracy by chance; another seed moves it, too, and they do not include that."
)


SHARES = (
    "Test accuracy over the share of the post's schedule. Bars are 95 % intervals; the diamond is the published run"
)


def section() -> str:
    """The page of runs: table of accuracy over the share of the schedule, and the curve of the run that says most."""
    found = points()
    if not found:
        return "No such run is finished yet: `resode run eighth`, `quarter`."
    distance = reference.distance(found[0].history, read_published_curve(), "train_accuracy")
    beside = f" Train accuracy beside the published curve, at its learning rates: {distance}." if distance else ""
    return (
        f"{share_table(found)}\n\n![accuracy and loss of each epoch over the published ones](results/readme/curve.png)"
        f"\n\n*Accuracy and loss of each epoch of run {found[0].name}; the published run in grey.{beside}*"
    )


def result_table(results: Path = paths.RESULTS) -> str:
    """README: the published figures beside the post's training and the fast one here, with what each took.

    Rows and columns without data are left out; what needs no training stands there without one.
    """
    found, quick = points(results), fast.seeds(results)
    network = _network(results)
    here = {}
    if found:
        point = found[0]
        shifts = reference.shifts(point.provenance, read_published())
        whole = point.share == 1 and not shifts
        status = "the whole schedule" if whole else f"partial: {worded(point.share)} of the schedule"
        status += f", {shifts}" if shifts else ""
        run = {"history": point.history, "provenance": point.provenance, "metrics": point.metrics}
        here["The post's training here"] = network | _cells([run], judged=whole) | {"Status": status}
    elif network:
        here["Here"] = network
    if quick:
        here["A fast training here"] = network | _cells(list(quick.values())) | {"Status": "another training"}
    last = read_published_curve()[-1]
    published = {
        figure["name"]: verdicts.shown_value(figure["value"], figure["unit"]) for figure in read_published()["figures"]
    }
    published |= {
        "Epochs": f"{last['epoch']:.0f}",
        "Machine": read_published()["machine"],
        "Seeds": str(read_published()["seeds"]),
    }
    rows = [
        (name, published.get(name, ""), *(cells.get(name, "—") for cells in here.values()))
        for name in [*published, "Status"]
        if any(name in cells for cells in here.values())
    ]
    return table(("", "Published", *here), rows, "l" + "r" * (1 + len(here))) if rows else ""


def _network(results: Path) -> dict[str, str]:
    """The figures that the network decides alone, with their verdicts, {name: cell}; empty before the stage model has run."""
    path = results / "model" / "model.json"
    if not path.is_file():
        return {}
    built = files.read_json(path)
    counts = verdicts.counts(built)
    return {
        figure["name"]: f"{counts[figure['id']]:,}"
        + (f" {verdicts.judged(counts[figure['id']], figure)}" if built["matches_published"] else "")
        for figure in read_published()["figures"]
        if figure["id"] in counts
    }


def _cells(trained: Sequence[Mapping], judged: bool = False) -> dict[str, str]:
    """Figures and effort of trainings that differ in their seed alone, {name: cell}: means, and behind ± standard deviations.

    Args:
        trained: see `runs_table.read_trained`.
        judged: whether the figures get a verdict beside their difference from the published ones.
    """
    cells = {}
    for figure in read_published()["figures"]:
        values = [verdicts.values(**run).get(figure["id"]) for run in trained]
        if None in values:
            continue
        mean = statistics.mean(values)
        cell = verdicts.shown_value(mean if figure["unit"] != "count" else round(mean), figure["unit"])
        if figure["unit"] == "fraction":
            cell += f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
            cell += f" ({verdicts.signed(100 * (mean - figure['value']))})"
        if judged and figure["tolerance"] is not None:
            cell += f" {verdicts.judged(mean, figure)}"
        cells[figure["name"]] = cell
    machines = dict.fromkeys(
        piece["hardware"].removeprefix("CPU: ") for run in trained for piece in runs_table.pieces(run["provenance"])
    )
    cells["Epochs"] = f"{trained[0]['history'][-1]['epoch']:,}"
    return cells | {"Machine": "; ".join(machines), "Seeds": str(len(trained))}


def head(results: Path = paths.RESULTS) -> str:
    """README, under the claim: what is settled and what the run shows that says most about it, runs in progress, and a curve."""
    found, model = points(results), results / "model" / "model.json"
    as_published = model.is_file() and files.read_json(model)["matches_published"]
    paragraphs = [_verdict(found, as_published), *_surprise(results, found[0])] if found else []
    paragraphs += fast.sentences(results)
    waiting = in_progress(results)
    paragraphs += [_progress(one) for one in waiting]
    if found:
        rings = "; an open ring is a run in progress, as far as it has got" * bool(waiting)
        paragraphs.append(
            f"![test accuracy over the share of the schedule](results/readme/share.png)\n\n*{SHARES}{rings}.*"
        )
    return "\n\n".join(paragraphs)


def curves(results: Path = paths.RESULTS) -> dict[str, dict[str, reference.Distance]]:
    """Distances of train and test accuracy from the published curve, for the runs of the claim's setting, by how they resampled shifts.

    Of runs with the same way, which have a beginning in common, the one with most epochs at the published rates; also of runs in progress.
    """
    curve, found = read_published_curve(), {}
    for shifts, history in [
        *((reference.shifts(one.provenance, read_published()), one.history) for one in points(results)),
        *((one["shifts"], one["history"]) for one in in_progress(results)),
    ]:
        both = {name: reference.distance(history, curve, f"{name}_accuracy") for name in ("train", "test")}
        name = shifts or "nearest shifts"
        if all(both.values()) and (
            name not in found or len(both["train"].by_epoch) > len(found[name]["train"].by_epoch)
        ):
            found[name] = both
    return found


def resampling() -> str:
    """The distances of `curves` as a Markdown table, and their figure."""
    rows = [
        (
            name,
            f"{min(both['train'].by_epoch)} to {max(both['train'].by_epoch)}",
            *(
                text
                for one in both.values()
                for text in (
                    verdicts.signed(one.mean),
                    "—" if one.deviation is None else f"{one.deviation:.2f}",
                    f"{one.same_sign} of {len(one.by_epoch)}",
                )
            ),
        )
        for name, both in curves().items()
    ]
    if not rows:
        return "No run has an epoch yet."
    header = (
        "Here",
        "Epochs",
        "Train, mean difference in points",
        "sd",
        "epochs with its sign",
        "Test",
        "sd",
        "epochs",
    )
    return (
        f"{table(header, rows, 'llrrrrrr')}\n\n![difference of train accuracy to the published run by epoch](results/readme/resampling.png)"
        "\n\n*Train accuracy less the published run's after each epoch with the same learning rates.*"
    )


def draw(results: Path = paths.RESULTS, folder: Path = FIGURES) -> None:
    """Write the figures of README.md and docs/ to `folder`, or delete those of which there is nothing to show."""
    # Slow to import, and not needed by those who only read.
    from resode.figures import results as plots_results
    from resode.figures import style
    from resode.figures import sweep as plots_sweep

    found, waiting = points(results), in_progress(results)
    figures = {
        "curve.png": found and plots_results.training_curve(found[0].history, read_published_curve()),
        "share.png": found
        and plots_results.shares(
            [(p.label, p.share, p.metrics) for p in found],
            read_published_curve()[-1],
            [(one["name"] or "the pipeline's", one["share"], one["history"][-1]) for one in waiting if one["history"]],
        ),
        "speed.png": (machines := [files.read_json(path) for path in sorted((results / "bench").glob("*.json"))])
        and plots_results.speed(machines),
        "fast.png": (trainings := fast.trainings(results)) and plots_results.budgets(trainings),
        "resampling.png": (compared := curves(results))
        and plots_results.differences({name: both["train"].by_epoch for name, both in compared.items()}),
        **{
            f"sweep_{name}.png": plots_sweep.heat_map(sweeps.outcome(name, results / "sweep"))
            for name in sweeps.names(results / "sweep")
        },
    }
    for name, figure in figures.items():
        if figure:
            files.write_bytes(folder / name, style.png(figure))
        else:
            (folder / name).unlink(missing_ok=True)


def in_progress(results: Path = paths.RESULTS) -> list[dict]:
    """The checkpoints of the claim's setting, with its schedule or a share, that were handed over: for each its run's "name" (None:
    the pipeline's), "file", "history", "effort" in words, "update", the "share" of the post's schedule that is done, and "updates" and "epochs" of its whole
    schedule.

    One of another training than its run's now, which the run leaves alone, is left out.
    """
    made, claimed = [], read_published()
    for name in (None, *runs.read()):
        folder = results / "runs" / name if name else results
        path = folder / checkpoint.HANDED_OVER
        if not (found := checkpoint.read_handed_over(path)):
            continue
        _, state = found
        given = runs.params_of(name) if name else parameters.read()
        data = given["data"] | {"published": given["data"]["require_published"]}
        checked = parameters.validate(given)
        ours = {
            "params": parameters.trained_with(checked),
            "validation_fraction": checked.data.validation_fraction,
            "data": state["inputs"]["data"],
        }
        if not checkpoint.agree(ours, state["inputs"], state["update"], any_code=True):
            continue
        if not (share := reference.share({"params": given, "data": data}, claimed)):
            continue
        whole = checked.training
        history = state["history"]
        per_epoch = history[-1]["updates"] // history[-1]["epoch"] if history else None
        made.append(
            {
                "name": name,
                "shifts": reference.shifts({"params": given}, claimed),
                "file": path,
                "history": history,
                "effort": runs_table.effort(
                    {
                        "pieces": state["pieces"],
                        "resumes": sum(piece["processes"] for piece in state["pieces"]) - 1,
                        "wall_seconds": sum(piece["seconds"] for piece in state["pieces"]),
                    }
                ),
                "update": state["update"],
                "updates": schedule.updates(whole),
                "share": share * state["update"] / schedule.updates(whole),
                "epochs": schedule.updates(whole) // per_epoch if per_epoch else None,
            }
        )
    return made


def _verdict(found: Sequence[Point], as_published: bool) -> str:
    """Whether the claim is settled, how near the longest of the runs comes, what the shorter ones reached, and what would settle it.

    Args:
        as_published: whether the network has the published parameters.
    """
    point = found[0]
    metrics = point.metrics
    claimed = {figure["id"]: figure["value"] for figure in read_published()["figures"]}
    of = "the whole schedule" if point.share == 1 else f"{worded(point.share)} of the schedule"
    reached = (
        f"**{percent(metrics['test_accuracy'])} with {of}** (run {point.label}; {metrics['test_correct']:,} of {metrics['test_total']:,}"
        f" test images, 95 % interval {_interval(point)}), published {percent(claimed['test_accuracy'])} with all of it"
    )
    more = "[All runs](docs/runs.md), with hours, hardware and commits."
    if point.share == 1 and not reference.shifts(point.provenance, read_published()):
        return f"{reached}. {more}"
    shorter = "".join(f" With {worded(one.share)} of it: {percent(one.metrics['test_accuracy'])}." for one in found[1:])
    settled = "**Settled:** the network's parameters. " * as_published
    return (
        f"{settled}**Not settled yet:** the post's training has not been run to its end here. {reached}.{shorter}"
        f" Only the whole schedule can settle the claim: `make repro`, or `resode run notebook` with the published run's drops. {more}"
    )


def _surprise(results: Path, point: Point) -> list[str]:
    """One sentence on the linear stability of the trained network, if explicit Euler's steps are outside of its region in every unit."""
    path = results / "runs" / point.name / "stability" / "stability.json"
    if not path.is_file():
        return []
    content = files.read_json(path)
    outputs.check_of(point.provenance, content, path)
    units = content["units"]
    found = [unit["h_omega"] for unit in units if unit["inside"] and not unit["inside"]["euler"]]
    if len(found) < len(units):
        return []
    return [
        "The post calls its layers stable. Their linearised ODE is; explicit Euler's steps amplify every oscillation, the"
        f" more the larger h ω, step size times frequency, which is {min(found):.1f} to {max(found):.1f} in the trained units. The network still classifies well"
        f" ([stability](results/runs/{point.name}/stability/stability.ipynb))."
    ]


def _progress(one: Mapping) -> str:
    run = f"run `{one['name']}`" if one["name"] else "the pipeline's run"
    command = f"resode run {one['name'] or ''}".rstrip()
    file = one["file"].relative_to(paths.ROOT) if one["file"].is_relative_to(paths.ROOT) else one["file"]
    goes_on = f"Anyone can resume it from any clone: `{command}` starts from its [checkpoint]({file})."
    if not one["history"]:
        return f"**In progress:** {run}, {one['update']:,} of {one['updates']:,} updates. {goes_on}"
    last = one["history"][-1]
    split = evaluation.tested_on(one["history"])
    return (
        f"**In progress:** {run}, {last['epoch']} of {one['epochs']} epochs. After epoch {last['epoch']}: train accuracy"
        f" {percent(last['train_accuracy'])}, {split} accuracy {percent(last[f'{split}_accuracy'])} (CIFAR-10; {one['effort']}). {goes_on}"
    )


def _interval(point: Point) -> str:
    return f"{100 * point.metrics['test_accuracy_low']:.2f} to {percent(point.metrics['test_accuracy_high'])}"
