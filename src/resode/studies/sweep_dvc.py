"""Trials as DVC experiments in the queue of `dvc queue`, on one machine, each in a copy of a scratch clone of the repository."""

import hashlib
import itertools
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Container, Sequence
from pathlib import Path

from dvc.repo import Repo

from resode.analysis.sweeps import DIVERGED, DONE, FAILED
from resode.base import paths
from resode.base.errors import Diverged, InputError
from resode.pipeline import experiments
from resode.studies.trials import Trial, Watch

_WATCH_SECONDS = 10
# A task is given up after so many looks in a row at which no worker was alive: a busy worker may miss one.
_LOOKS = 3
# As DVC calls them.
_QUEUED, _RUNNING, _FAILED = "Queued", "Running", "Failed"


class Queue:
    """`run` trials by `dvc exp run --queue` and `dvc queue start`, one after another.

    The queue lives in a clone of the repository as it stands, .runs/queue/CODE, which nobody edits; other code or parameters have
    another clone. A trial is the experiment sweep-TRIAL. DVC does not repeat the task of a lost worker, so the next try is an
    experiment of its own, whose name ends with -2, -3 and so on.
    """

    name = "dvc"

    def run(self, trials: Sequence[Trial], watch: Watch) -> None:
        """Run what is not over yet and report all to `watch`.

        Raises:
            InputError: the data set is missing, or DVC does not take a trial; what it said is part of the message.
        """
        # DVC hands folders of experiments to git as addresses.
        paths.check_for_dvc("[{}#?]|[^ -~]")
        needs_archive = trials[0].params.data.name == "cifar10"
        if needs_archive and not paths.ARCHIVE.exists():
            raise InputError(f"{paths.ARCHIVE} is missing; run: make repro, or make data ARCHIVE=path")
        self.clone = paths.RUNS / "queue" / _code()
        experiments.lasting(self.clone)
        if needs_archive:
            # In DVC's cache, from which each trial's copy gets it.
            cache = experiments.dvc(
                paths.ROOT, "cache", "dir", stdout=subprocess.PIPE, text=True, errors="replace"
            ).stdout.strip()
            self._dvc("cache", "dir", "--local", os.path.join(paths.ROOT, cache))
        print(f"DVC's queue is in {self.clone}", flush=True)
        self.first = {trial: f"sweep-{trial.name}" for trial in trials}
        self.tries = {}
        statuses, commits = self._statuses(), experiments.commits(self.clone)
        for number, (trial, name) in enumerate(self.first.items(), start=1):
            last, fresh = _tries(name, {*statuses, *commits})
            over = last is not None and (last in commits or statuses[last] != _FAILED or self._diverged(last))
            self.tries[trial] = last if over else self._queue(trial, fresh, f"{number} of {len(trials)}")
        self.workless = 0
        try:
            while len(watch.rows) < len(trials):
                self._look(watch)
        except BaseException:
            self._stop()
            raise

    def _queue(self, trial: Trial, name: str, which: str) -> str:
        print(f"queueing {which}: {trial.label}", flush=True)
        self._dvc("exp", "run", "--queue", "--name", name, *experiments.flags(trial.settings), "training")
        return name

    def _look(self, watch: Watch) -> None:
        """Report what is over since the last look; if nothing is, wait."""
        statuses, commits = self._statuses(), experiments.commits(self.clone)
        over = {name: trial for trial, name in self.tries.items() if trial not in watch.rows}
        news = False
        for name, trial in over.items():
            if name in commits:
                with tempfile.TemporaryDirectory() as scratch:
                    folder = Path(scratch) / "training"
                    experiments.extract(self.clone, commits[name], "results/training", folder)
                    watch.over(trial, DONE, folder)
                news = True
            elif statuses.get(name) == _FAILED:
                diverged = self._diverged(name)
                watch.over(trial, DIVERGED if diverged else FAILED, reason="" if diverged else self._reason(name))
                news = True
        running = [name for name, trial in over.items() if trial not in watch.rows and statuses.get(name) == _RUNNING]
        self.workless = self.workless + 1 if running and not self._workers() else 0
        if self.workless == _LOOKS:
            # Killed, or told to stop just when it took the task.
            for name in running:
                trial = over[name]
                _, fresh = _tries(self.first[trial], {*statuses, *commits})
                self.tries[trial] = self._queue(trial, fresh, "again")
        elif not running and any(statuses.get(name) == _QUEUED for name in over):
            # The worker goes on in the background with what it inherits: a pipe would be waited for until it ends.
            experiments.dvc(self.clone, "queue", "start", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        watch.tell(len(running))
        if not news:
            time.sleep(_WATCH_SECONDS)

    def _stop(self) -> None:
        """Let the worker take nothing more, then stop the trial that it has."""
        self._dvc("queue", "stop")
        statuses = self._statuses()
        running = [name for name in self.tries.values() if statuses.get(name) == _RUNNING]
        if running:
            self._dvc("queue", "kill", *running)

    def _dvc(self, *arguments: str) -> None:
        done = experiments.dvc(self.clone, *arguments, capture_output=True, text=True, errors="replace")
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())
            raise InputError(f"dvc {' '.join(arguments[:2])}: {said}")

    def _statuses(self) -> dict[str, str]:
        """Status of each task of DVC's queue by the name of its experiment."""
        # What `dvc queue status` prints for people; no documented interface of DVC has it.
        with Repo(str(self.clone)) as repo:
            return {task["name"]: task["status"] for task in repo.experiments.celery_queue.status()}

    def _workers(self) -> bool:
        """Return whether a worker of DVC's queue lives."""
        with Repo(str(self.clone)) as repo:
            return bool(repo.experiments.celery_queue.worker_status())

    def _log(self, name: str) -> str:
        # A task that never began has none.
        return experiments.dvc(
            self.clone, "queue", "logs", name, capture_output=True, text=True, errors="replace"
        ).stdout

    def _diverged(self, name: str) -> bool:
        return Diverged.SAYS in self._log(name)

    def _reason(self, name: str) -> str:
        said = [line.strip() for line in self._log(name).splitlines() if line.strip()]
        told = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
        return (told or said or ["it was stopped before it began"])[-1]


def _tries(name: str, known: Container[str]) -> tuple[str | None, str]:
    """The last try of the experiment `name` that is `known`, and the name of the next."""
    last = None
    for one in itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2))):
        if one not in known:
            return last, one
        last = one


def _code() -> str:
    """A digest of code, parameters, backend and versions, so that trials with others do not count as done."""
    from resode.base import provenance

    sources = [
        paths.PARAMS,
        paths.ROOT / "data.dvc",
        paths.DVC_YAML,
        paths.NOTEBOOKS / "training.ipynb",
        *paths.modules(paths.ROOT / "src" / "resode"),
    ]
    parts = [path.read_bytes() for path in sources] + [json.dumps(provenance.same_software()).encode()]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:8]
