"""Trials as DVC experiments in the queue of `dvc queue`: one machine, each in a scratch copy of the repository."""

import hashlib
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from . import experiments, paths
from .errors import Diverged, InputError
from .sweep import DIVERGED, DONE, FAILED, Trial, Watch

_WATCH_SECONDS = 10
_QUEUED, _RUNNING, _FAILED, _SUCCESS = "Queued", "Running", "Failed", "Success"


class Queue:
    """`run` trials by `dvc exp run --queue` and `dvc queue start`, one after another."""

    name = "dvc"

    def run(self, trials: Sequence[Trial], watch: Watch) -> None:
        """Run what is not over yet and report all to `watch`.

        Raises:
            InputError: DVC does not take a trial; what it said is part of the message.
        """
        code = _code()
        names = {_name(trial, code): trial for trial in trials}
        before = _statuses()
        for number, (name, trial) in enumerate(names.items(), start=1):
            if before.get(name) == _FAILED and not _diverged(name):
                _dvc("queue", "remove", name)
                del before[name]
            if name not in before and name not in experiments.commits():
                print(f"queueing {number} of {len(names)}: {trial}", flush=True)
                _dvc("exp", "run", "--queue", "--name", name, *experiments.flags(trial.settings), "training")
        try:
            while len(watch.rows) < len(trials):
                self._look(names, watch)
        except BaseException:
            _dvc("queue", "stop", "--kill")
            raise

    def _look(self, names: dict[str, Trial], watch: Watch) -> None:
        """Report what is over since the last look; if nothing is, wait."""
        statuses, commits = _statuses(), experiments.commits()
        over = {name: trial for name, trial in names.items() if trial not in watch.rows}
        news = False
        for name, trial in over.items():
            if name in commits:
                with tempfile.TemporaryDirectory() as scratch:
                    folder = Path(scratch) / "training"
                    experiments.extract(commits[name], "results/training", folder)
                    watch.over(trial, DONE, folder)
                news = True
            elif statuses.get(name) == _FAILED:
                watch.over(trial, DIVERGED if _diverged(name) else FAILED)
                news = True
        running = [name for name in over if statuses.get(name) == _RUNNING]
        if not running and any(statuses.get(name) == _QUEUED for name in over):
            # The worker goes on in the background with what it inherits: a pipe would be waited for until it ends.
            experiments.dvc("queue", "start", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        watch.tell(len(running))
        if not news:
            time.sleep(_WATCH_SECONDS)


def _dvc(*arguments: str) -> str:
    done = experiments.dvc(*arguments, capture_output=True, text=True)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise InputError(f"dvc {' '.join(arguments[:2])}: {said}")
    return done.stdout


def _statuses() -> dict[str, str]:
    """Status of each task of DVC's queue by the name of its experiment."""
    lines = [line.split() for line in _dvc("queue", "status").splitlines()]
    return {words[1]: words[-1] for words in lines if words and words[-1] in (_QUEUED, _RUNNING, _FAILED, _SUCCESS)}


def _diverged(name: str) -> bool:
    return Diverged.SAYS in _dvc("queue", "logs", name)


def _name(trial: Trial, code: str) -> str:
    return f"sweep-{trial.name}-{code}"


def _code() -> str:
    """A digest of the code, so that trials of other code are not taken for done."""
    sources = [
        paths.DVC_YAML,
        paths.NOTEBOOKS / "training.ipynb",
        *sorted((paths.ROOT / "src" / "resode").glob("*.py")),
    ]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:8]
