"""Choosing h and the unroll length on validation images: a grid of trainings, their table, and the best of them.

sweep.yaml says what is tried. A trial is the training of one pair (h, unroll length) with one seed; trials differ in nothing
else. Two engines run them, DVC's queue (`sweep_dvc`) and Ray (`sweep_ray`), and leave the same table,
results/sweep/NAME/trials.csv, byte for byte: what an engine ran on stands beside it, in NAME/ENGINE.json.
"""

import csv
import hashlib
import io
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resode.analysis import evaluation
from resode.analysis.sweeps import DIVERGED, DONE, FAILED, FOLDER, TABLE
from resode.base import config, files, paths, strict_yaml
from resode.base.errors import InputError
from resode.base.text import duration, percent
from resode.ode.equations import ODES
from resode.training import checkpoint

FILE = paths.ROOT / "sweep.yaml"
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
    content = strict_yaml.read(file)
    if not isinstance(content, dict) or name not in content:
        known = ", ".join(map(str, content)) if isinstance(content, dict) else "nothing"
        raise InputError(f"{file.name} has no sweep {name!r}; it has {known}")
    found = content[name]
    config.check_parts(found, _PARTS, f"{file.name}, {name}")
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
        content = config.changed(settings, f"{file.name}, {name}")
        if not content["data"]["validation_fraction"]:
            raise InputError(f"{file.name}, {name}: data.validation_fraction = 0: a sweep chooses on validation images")
        trials.append(Trial(float(h), unroll_length, seed, settings, content))
    return trials


# --- running


class Watch:
    """Outcomes so far, printed as they come; engines report to it.

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


def _frequency(trial: Trial, made: Mapping | None) -> float | None:
    """ω of the fresh network with a trial's seed, which depends on neither h nor unroll length, where weights are shared.

    None where the eigenvalues may lie anywhere, or no trial was done and the number of classes is not known.
    """
    if made is None:
        return None
    import keras

    from resode.analysis import stability
    from resode.nn import model

    chosen = config.validate(trial.content)
    keras.utils.set_random_seed(chosen.seed)
    units = model.units(model.build(chosen.model, len(made["class_names"])))
    judged = bool(units) and ODES[chosen.model.block].oscillates
    return max(stability.frequency(unit) for unit in units) if judged else None
