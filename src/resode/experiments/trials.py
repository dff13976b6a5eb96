"""Grids of trainings: a trial is one training, an engine runs trials, and a watch collects their outcomes.

One rule for resuming: run the same command again. A trial goes on from its checkpoint, and one whose training is complete is not
trained again.
"""

import hashlib
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field

from resode.analysis import evaluation
from resode.analysis.sweeps import DIVERGED, DONE, FAILED
from resode.base import files, paths
from resode.base.errors import Diverged, InputError
from resode.base.text import duration, percent, quoted
from resode.config import parameters, schema
from resode.data import records
from resode.data.records import Dataset

# Of a grid. A typing error is refused before it is checked trial by trial.
MOST_TRIALS = 1000


def _distinct(values: list) -> list:
    # As tables write them: 0.15 and 0.150000001 are one h.
    if len({f"{one:g}" if isinstance(one, float) else str(one) for one in values}) < len(values):
        raise ValueError(f"{quoted(values)} names a value twice")
    return values


Value = TypeVar("Value")
Values = Annotated[list[Value], Field(min_length=1, max_length=MOST_TRIALS), AfterValidator(_distinct)]


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
        label: for people; no other trial of the grid has it.
        settings: all that it changes in params.yaml, {"section.key": value}.
        params: all of its parameters.
    """

    label: str
    settings: dict[str, Any] = field(repr=False, compare=False)
    params: schema.Params = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """The name of its folder or experiment; trials with other parameters have others."""
        digest = hashlib.sha256(self.params.model_dump_json().encode()).hexdigest()
        return f"{re.sub('[^A-Za-z0-9.+]+', '-', self.label)}-{digest[:8]}"


def planned(
    where: str, settings: Mapping[str, Any], variants: Mapping[str, Mapping[str, Any]], seeds: Sequence[int]
) -> dict[str, list[Trial]]:
    """The trials of each of the `variants`, {label: its changes}, one a seed, with common `settings`.

    Args:
        where: what messages call the file that says so.

    Raises:
        InputError: too many trials; a setting that every variant or seed would overrule, or that params.yaml does not accept; two variants
            that train the same.
    """
    if (count := len(variants) * len(seeds)) > MOST_TRIALS:
        raise InputError(f"{where}: {count:,} trials; at most {MOST_TRIALS:,} are taken on")
    for key in settings:
        if key == "seed" or all(key in changed for changed in variants.values()):
            raise InputError(f"{where}: {quoted(key)} stands in the settings; it is what is compared")
    plan: dict[str, list[Trial]] = {}
    seen: dict[str, str] = {}
    for label, changed in variants.items():
        for seed in seeds:
            given = {**settings, **changed, "seed": seed}
            params = parameters.validate(parameters.changed(given, f"{where}, {label}"))
            if (other := seen.setdefault(params.model_dump_json(), label)) != label:
                raise InputError(f"{where}: {label} trains what {other} trains; delete one")
            plan.setdefault(label, []).append(Trial(f"{label}, seed {seed}", given, params))
    return plan


def seed_by_seed(plan: Iterable[Sequence[Trial]]) -> list[Trial]:
    """The trials of all variants in the order in which they run, so that what is stopped early has whole seeds."""
    return [trial for one_seed in zip(*plan, strict=True) for trial in one_seed]


class Watch:
    """Outcomes so far, printed as they come; engines report to it.

    Attributes:
        rows: for each trial that is over its `status`; the `reason` of a failure; of what is done the last row of its history and its
            `seconds`.
        provenance: what training wrote about where it ran, of a trial that is done; None before.
    """

    def __init__(self, trials: Sequence[Trial]):
        self.trials = trials
        self.rows: dict[Trial, dict] = {}
        self.provenance: dict | None = None
        self.started = time.monotonic()
        self.before: int | None = None
        self.shown: tuple[str, float] = ("", 0.0)

    def over(self, trial: Trial, status: str, folder: Path | None = None, reason: str = "") -> None:
        """Record that `trial` is over.

        Args:
            folder: what training wrote, if it is done.
            reason: why it failed, if it did.
        """
        self.rows[trial] = {"status": status, "reason": reason}
        if status == FAILED:
            print(f"failed: {trial.label}: {reason}", flush=True)
        if status == DONE:
            self.provenance = files.read_json(folder / "provenance.json")
            last = evaluation.read_history(folder / "history.csv")[-1]
            self.rows[trial] |= {**last, "seconds": self.provenance["wall_seconds"]}

    def tell(self, running: int) -> None:
        """Print a line if it has news, or none came for a minute: trials done, running, failed, the best so far, the time left."""
        if self.before is None:
            # What an earlier call did says nothing about the time that is left.
            self.before = len(self.rows)
        over = [row["status"] for row in self.rows.values()]
        line = (
            f"{over.count(DONE)} done, {running} running, {over.count(DIVERGED)} diverged, {over.count(FAILED)} failed"
            f" of {len(self.trials)} trials"
        )
        done = [(row, trial) for trial, row in self.rows.items() if row["status"] == DONE]
        if done:
            key = f"{evaluation.tested_on([done[0][0]])}_accuracy"
            row, best = max(done, key=lambda one: one[0][key])
            line += f"; best {percent(row[key])} ({best.label})"
        now = time.monotonic()
        if line == self.shown[0] and now - self.shown[1] < 60:
            return
        self.shown = line, now
        finished = len(self.rows) - self.before
        if finished:
            each = (now - self.started) / finished
            line += f"; {duration(each * (len(self.trials) - len(self.rows)))} left"
        print(line, flush=True)


def train(trial: Trial, dataset: Dataset, results: Path, runs: Path) -> str:
    """Train `trial` and return DONE or DIVERGED; see `loop.train` for the rest."""
    from resode.training import loop

    try:
        loop.train(dataset, trial.params, results, runs)
    except Diverged as error:
        print(f"diverged: {error}", flush=True)
        return DIVERGED
    return DONE


def train_here(
    trial: Trial, dataset: Dataset, runs: Path, watch: Watch, measure: Callable[[Path], dict] = lambda results: {}
) -> None:
    """Train `trial` in this process, with its checkpoints in `runs`, and report it to `watch`.

    Args:
        measure: what is added to the trial's row, if it is done, from the folder that training wrote.

    Raises:
        InputError: what `loop.train` raises, but divergence.
    """
    import keras

    watch.tell(1)
    print(f"{trial.label}:", flush=True)
    with tempfile.TemporaryDirectory() as results:
        status = train(trial, dataset, Path(results), runs)
        watch.over(trial, status, Path(results))
        if status == DONE:
            watch.rows[trial] |= measure(Path(results))
    # What one network compiled is of no use to the next.
    keras.utils.clear_session()


class Here:
    """`run` trials in this process, one after another, where Ray is not installed.

    Args:
        runs: folder of their checkpoints.
    """

    name = "here"

    def __init__(self, runs: Path = paths.RUNS / "sweep" / "here"):
        self.runs = runs

    def run(self, trials: Sequence[Trial], watch: Watch) -> None:
        """Run all trials and report them to `watch`; one whose training is complete only writes its results again.

        Raises:
            InputError: the data set is missing.
        """
        dataset = records.load(paths.dataset(trials[0].params.data.name))
        for trial in trials:
            try:
                train_here(trial, dataset, self.runs, watch)
            except InputError as error:
                watch.over(trial, FAILED, reason=str(error))
