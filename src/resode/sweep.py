"""Choosing h and the unroll length on validation images: a grid of trainings, their table, and the best of them.

sweep.yaml says what is tried. A trial is the training of one pair (h, unroll length) with one seed; trials differ in nothing
else. Two engines run them, DVC's queue (`sweep_queue`) and Ray (`sweep_cluster`), and leave the same table,
results/sweep/NAME/trials.csv, byte for byte: what an engine ran on stands beside it, in NAME/ENGINE.json.
"""

import csv
import hashlib
import io
import itertools
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import checkpoint, evaluation, files, linear_stability, params, paths, plans, report
from .errors import InputError
from .evaluation import percent
from .odes import ODES
from .progress import duration

FILE = paths.ROOT / "sweep.yaml"
FOLDER = paths.RESULTS / "sweep"
TABLE = "trials.csv"
DONE, DIVERGED, FAILED = "done", "diverged", "failed"
_MEASURED = ("updates", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
_GRID = ("model.h", "model.unroll_length", "seed")
_PARTS = {"settings": dict, "h": list, "unroll_length": list, "seeds": list}


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
        h, unroll_length, seed: what it tries.
        settings: all that it changes in params.yaml, {"section.key": value}.
        content: all of its parameters, as in params.yaml.
    """

    h: float
    unroll_length: int
    seed: int
    settings: dict[str, Any] = field(repr=False, compare=False)
    content: dict[str, Any] = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """As a folder's name; trials with other parameters have others."""
        digest = hashlib.sha256(json.dumps(self.content, sort_keys=True).encode()).hexdigest()
        return f"h{self.h:g}-n{self.unroll_length}-s{self.seed}-{digest[:8]}"

    def __str__(self) -> str:
        return f"h = {self.h:g}, unroll length {self.unroll_length}, seed {self.seed}"


# --- the plan


def read(name: str, file: Path = FILE) -> dict:
    """The sweep `name` of sweep.yaml: {"settings": {…}, "h": […], "unroll_length": […], "seeds": […]}.

    Raises:
        InputError: the file is missing or is not YAML, there is no such sweep, or it has other parts.
    """
    content = plans.read(file)
    if not isinstance(content, dict) or name not in content:
        known = ", ".join(map(str, content)) if isinstance(content, dict) else "nothing"
        raise InputError(f"{file.name} has no sweep {name!r}; it has {known}")
    found = content[name]
    plans.check(found, _PARTS, f"{file.name}, {name}")
    for part in _GRID:
        if part in found["settings"]:
            raise InputError(f"{file.name}, {name}: {part} stands in the settings; it is the grid's")
    for part in ("h", "unroll_length", "seeds"):
        # As the table writes them: 1 and 1.0 are one h.
        written = {
            f"{value:g}" if part == "h" and isinstance(value, int | float) else str(value) for value in found[part]
        }
        if len(written) < len(found[part]):
            raise InputError(f"{file.name}, {name}: {part} {found[part]} names a value twice")
    return found


def planned(name: str, file: Path = FILE) -> list[Trial]:
    """Every trial of the sweep `name`, seed by seed, so that what is stopped early has whole seeds.

    Raises:
        InputError: see `read`; or a trial that params.yaml does not accept, or no images are held out.
    """
    chosen = read(name, file)
    trials = []
    for seed, h, unroll_length in itertools.product(chosen["seeds"], chosen["h"], chosen["unroll_length"]):
        settings = {**chosen["settings"], **dict(zip(_GRID, (h, unroll_length, seed), strict=True))}
        content = plans.changed(settings, f"{file.name}, {name}")
        if not content["data"]["validation_fraction"]:
            raise InputError(f"{file.name}, {name}: data.validation_fraction = 0: a sweep chooses on validation images")
        trials.append(Trial(float(h), unroll_length, seed, settings, content))
    return trials


# --- running


class Watch:
    """What has come out so far, told as it comes; engines report to it.

    Attributes:
        rows: a row of the table for each trial that is over.
        failed: the reason of each trial that failed.
        provenance: what training wrote about where it ran, of a trial that is done; None before.
    """

    def __init__(self, trials: Sequence[Trial]):
        self.trials = trials
        self.rows: dict[Trial, dict] = {}
        self.failed: dict[Trial, str] = {}
        self.provenance: dict | None = None
        self.started = time.monotonic()
        self.before: int | None = None
        self.told: tuple[str, float] = ("", 0.0)

    def over(self, trial: Trial, status: str, folder: Path | None = None, reason: str = "") -> None:
        """`trial` is over.

        Args:
            folder: what training wrote, if it is done.
            reason: why it failed, if it did.
        """
        self.rows[trial] = {"status": status}
        if status == FAILED:
            self.failed[trial] = reason
            print(f"failed: {trial}: {reason}", flush=True)
        if folder is not None:
            last = evaluation.read_history(folder / "history.csv")[-1]
            self.rows[trial] |= {key: last[key] for key in _MEASURED}
            self.provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))

    def tell(self, running: int) -> None:
        """Print a line if it has news, or none came for a minute: trials done, running, failed, the best so far, the time left."""
        if self.before is None:
            # What an earlier call did says nothing about the time that is left.
            self.before = len(self.rows)
        over = [row["status"] for row in self.rows.values()]
        line = (
            f"{over.count(DONE)} done, {running} running, {over.count(DIVERGED)} diverged, {over.count(FAILED)} failed"
        )
        line += f" of {len(self.trials)} trials"
        done = {trial: row for trial, row in self.rows.items() if row["status"] == DONE}
        if done:
            best = max(done, key=lambda trial: done[trial]["validation_accuracy"])
            line += f"; best {percent(done[best]['validation_accuracy'])} ({best})"
        now = time.monotonic()
        if line == self.told[0] and now - self.told[1] < 60:
            return
        self.told = line, now
        finished = len(self.rows) - self.before
        if finished:
            each = (now - self.started) / finished
            line += f"; {duration(each * (len(self.trials) - len(self.rows)))} left"
        print(line, flush=True)


def run(name: str, engine: Any, file: Path = FILE, folder: Path = FOLDER) -> Path:
    """Run every trial of the sweep `name` and write the table; return its path.

    A trial that diverges is recorded as diverged, one that fails as failed, and the sweep goes on. What is done is not trained
    again when the same is run again.

    Args:
        engine: an object with a `name` and a method `run(trials, watch)`.

    Raises:
        InputError: a wrong sweep or one that is running, before any trial starts; trials that failed, when the table is
            written.
    """
    trials = planned(name, file)
    watch = Watch(trials)
    with checkpoint.locked(paths.RUNS / "sweeps" / name):
        engine.run(trials, watch)
    table = _table(trials, watch)
    path = folder / name / TABLE
    files.write_text(path, table)
    found = watch.provenance or {}
    files.write_json(
        folder / name / f"{engine.name}.json",
        {
            "engine": engine.name,
            **{
                key: value
                for key, value in found.items()
                if key not in ("params", "updates", "wall_seconds", "resumes", "pieces")
            },
            **read(name, file),
            "omega": _frequency(trials[0], watch.provenance),
            "params": {key: trials[0].content[key] for key in ("data", "model", "augmentation", "training")},
            "trials": len(trials),
            "sha256": hashlib.sha256(table.encode()).hexdigest(),
        },
    )
    if watch.failed:
        trial, reason = next(iter(watch.failed.items()))
        raise InputError(
            f"{len(watch.failed)} of {len(trials)} trials failed, the first with {trial}: {reason}; mend that and run the same"
            " command again"
        )
    return path


def _table(trials: Sequence[Trial], watch: Watch) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["h", "unroll_length", "seed", "status", *_MEASURED], lineterminator="\n")
    writer.writeheader()
    for trial in sorted(trials, key=lambda trial: (trial.h, trial.unroll_length, trial.seed)):
        point = {"h": f"{trial.h:g}", "unroll_length": trial.unroll_length, "seed": trial.seed}
        writer.writerow({**point, **watch.rows[trial]})
    return text.getvalue()


# --- what came out


@dataclass(frozen=True)
class Pair:
    """A pair (h, unroll length) over its seeds.

    Attributes:
        accuracies: validation accuracy of each trial that is done.
        diverged: trials that diverged.
        trials: of them all.
        h_omega: h ω, with ω the largest frequency of a fresh network's units; None without a verdict (see `stability`).
        growth: what a unit's steps do to the oscillation with this h ω that they stretch most; None without a verdict.
    """

    h: float
    unroll_length: int
    accuracies: tuple[float, ...]
    diverged: int
    trials: int
    h_omega: float | None
    growth: float | None

    @property
    def mean(self) -> float | None:
        """Mean validation accuracy; None if a trial diverged: what diverges with some seeds is not to be chosen."""
        return statistics.mean(self.accuracies) if self.accuracies and not self.diverged else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds (n − 1)."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None


@dataclass(frozen=True)
class Outcome:
    """What a sweep gave.

    Attributes:
        pairs: by h, then by unroll length.
        limit: the largest h at which the integrator keeps oscillations with the frequency ω bounded: 0 if it never does,
            inf if always; None without a verdict.
        about: the contents of the engines' files, {engine: {…}}.
    """

    name: str
    pairs: list[Pair]
    limit: float | None
    about: dict[str, dict]

    @property
    def setting(self) -> dict:
        """The content of one engine's file; the engines' settings are the same."""
        return next(iter(self.about.values()))

    @property
    def best(self) -> Pair | None:
        """The pair with the highest mean validation accuracy; of equals the one with fewer steps, then the smaller h."""
        known = [pair for pair in self.pairs if pair.mean is not None]
        return min(known, key=lambda pair: (-pair.mean, pair.unroll_length, pair.h), default=None)


def names(folder: Path = FOLDER) -> list[str]:
    """The sweeps that have results."""
    return sorted(path.parent.name for path in folder.glob(f"*/{TABLE}"))


def outcome(name: str, folder: Path = FOLDER) -> Outcome:
    """What the files of the sweep `name` say.

    Raises:
        InputError: they are missing, or are of different sweeps.
    """
    path = folder / name / TABLE
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; run: resode sweep {name}") from error
    about = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(path.parent.glob("*.json"))}
    digest = hashlib.sha256(text.encode()).hexdigest()
    # An engine's file of an earlier, other sweep says nothing about this table.
    about = {engine: one for engine, one in about.items() if one["sha256"] == digest}
    if not about:
        raise InputError(f"{path} is of another sweep than the files beside it; run: resode sweep {name}")
    setting = next(iter(about.values()))
    omega, chosen = setting["omega"], setting["params"]["model"]
    integrator = chosen["integrator"]
    rows = sorted(csv.DictReader(io.StringIO(text)), key=lambda row: (float(row["h"]), int(row["unroll_length"])))
    pairs = [
        _pair(float(h), int(steps), list(group), omega, integrator, ODES[chosen["block"]].form)
        for (h, steps), group in itertools.groupby(rows, key=lambda row: (row["h"], row["unroll_length"]))
    ]
    limit = None if omega is None else linear_stability.limit(integrator) / omega
    return Outcome(name, pairs, limit, about)


def _pair(h: float, steps: int, rows: list[dict], omega: float | None, integrator: str, form: str) -> Pair:
    return Pair(
        h=h,
        unroll_length=steps,
        accuracies=tuple(float(row["validation_accuracy"]) for row in rows if row["status"] == DONE),
        diverged=sum(row["status"] == DIVERGED for row in rows),
        trials=len(rows),
        h_omega=None if omega is None else h * omega,
        growth=None if omega is None else linear_stability.growth(integrator, form, h * omega, steps),
    )


def _frequency(trial: Trial, made: Mapping | None) -> float | None:
    """ω of the fresh network with a trial's seed, which depends on neither h nor unroll length, where weights are shared.

    None where the eigenvalues may lie anywhere, or no trial was done and the number of classes is not known.
    """
    if made is None:
        return None
    import keras

    from . import model, stability
    from .layers import ResidualConv2D

    chosen = params.validate(trial.content)
    keras.utils.set_random_seed(chosen.seed)
    units = model.units(model.build(chosen.model, len(made["class_names"])))
    judged = bool(units) and not any(isinstance(unit, ResidualConv2D) for unit in units)
    return max(stability.frequency(unit) for unit in units) if judged else None


def rows(found: Outcome) -> list[dict[str, str]]:
    """A row a pair, for a table."""
    return [
        {
            "h": f"{pair.h:g}",
            "unroll length": str(pair.unroll_length),
            "validation accuracy": _accuracy(pair),
            "h ω": "—" if pair.h_omega is None else f"{pair.h_omega:.3f}",
            "growth over a unit": "—" if pair.growth is None else f"{pair.growth:.3g}",
        }
        for pair in found.pairs
    ]


def _accuracy(pair: Pair) -> str:
    shown = percent(statistics.mean(pair.accuracies)) if pair.accuracies else ""
    shown += f" ± {100 * pair.spread:.2f}" if pair.spread is not None else ""
    diverged = f"{pair.diverged} of {pair.trials} diverged" if pair.diverged else ""
    return ", ".join(filter(None, (shown, diverged))) or FAILED


def summary(found: Outcome) -> str:
    """What was run and which pair is the best, in a few sentences, as Markdown."""
    about, best = found.setting, found.best
    by = " and ".join(found.about)
    if "data" not in about:
        return f"{about['trials']} trials by {by}, none of which trained to its end."
    equal = ", which gave the same table byte for byte" if len(found.about) > 1 else ""
    text = (
        f"**{about['data']['title']}**: {about['trials']} trials by {by}{equal}; {about['hardware']}, {about['backend']}, "
        f"{about['precision']}, commit {(about['commit'] or 'unknown')[:7]}{' with changes' if about['modified'] else ''}. "
        f"Accuracy on a fraction of {about['params']['data']['validation_fraction']:g} of the training images, held out, after the last "
        f"epoch, mean ± standard deviation over {len(about['seeds'])} seeds.\n\n"
    )
    if best is None:
        return text + "No pair trained with every seed."
    rivals = [
        pair
        for pair in found.pairs
        if pair is not best
        and pair.mean is not None
        and best.mean - pair.mean <= max(best.spread or 0, pair.spread or 0)
    ]
    text += f"Best: **h = {best.h:g}, unroll length {best.unroll_length}**, {_accuracy(best)}."
    if rivals:
        others = "; ".join(f"h = {pair.h:g}, unroll length {pair.unroll_length}" for pair in rivals)
        text += f" Within one standard deviation of it, so no worse as far as {len(about['seeds'])} seeds can tell: {others}."
    return text


def limit_text(found: Outcome) -> str:
    """What the integrator's limit of stability says about the grid, in a sentence, as Markdown."""
    integrator = found.setting["params"]["model"]["integrator"]
    if found.limit is None:
        return "The eigenvalues of this block may lie anywhere, so there is no limit of stability to draw."
    if found.limit == 0:
        return f"No h keeps oscillations bounded under {integrator}; what each pair makes of them is their growth over a unit."
    if found.limit == float("inf"):
        return f"{integrator} keeps oscillations bounded at every h of the grid."
    return (
        f"{integrator} keeps the oscillations of a fresh network bounded up to h = {found.limit:.3g}, the dashed line."
    )


def tables(folder: Path = FOLDER) -> str:
    """Every sweep's summary and table, as Markdown, for the README."""
    found = [outcome(name, folder) for name in names(folder)]
    return (
        "\n\n".join(
            f"{summary(one)}\n\n{_markdown(rows(one))}\n\n![validation accuracy](results/sweep/{one.name}.png)"
            for one in found
        )
        or "Not swept yet: `make sweep`."
    )


def _markdown(content: list[dict[str, str]]) -> str:
    return report.table(tuple(content[0]), [tuple(row.values()) for row in content], "r" * len(content[0]))
