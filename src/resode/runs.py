"""Runs besides the pipeline's: the same stages with other parameters, and without DVC where there is none.

A run is a line of runs.yaml, what it changes in params.yaml. Its folder results/runs/NAME holds its params.yaml and, like
results/, a folder a stage.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import yaml

from . import cli, params, paths
from .errors import STOP_AT, InputError, TimeOver
from .files import write_text

STAGES = ("training", "evaluation")


def read() -> dict[str, dict]:
    """The runs of runs.yaml: {name: {"section.key": value}}."""
    return yaml.safe_load(paths.RUNS_YAML.read_text(encoding="utf-8"))


def folder(name: str) -> Path:
    """Where the run `name` has its results."""
    return paths.RESULTS / "runs" / name


def run(name: str | None = None, minutes: float = float("inf")) -> None:
    """Train and evaluate the run `name`; without a name, run every stage of the pipeline as params.yaml stands.

    The data set must be in place. Nothing here needs DVC; `dvc commit` records the pipeline's results afterwards.

    Args:
        minutes: training saves and stops after so long; the same call goes on.

    Raises:
        InputError: no such run, wrong parameters, or a stage that failed (it said why).
        TimeOver: the minutes were over before the training was.
    """
    environment = {**os.environ, "PYTHONPATH": paths.python_path(), STOP_AT: str(time.time() + 60 * minutes)}
    stages = cli.STAGES
    if name is not None:
        stages = STAGES
        environment |= {"RESODE_PARAMS": str(_write_params(name)), "RESODE_RESULTS": str(folder(name))}
    for stage in stages:
        print(f"{stage}:", flush=True)
        status = subprocess.run(
            [sys.executable, "-m", "resode", stage],
            env=environment,
        ).returncode
        if status == cli.UNFINISHED:
            raise TimeOver(f"stopped in {stage}, as told")
        if status:
            raise InputError(f"the stage {stage} stopped; the message above says why")
    if name is None:
        print(f"Next, where DVC is: dvc commit --force {' '.join(stages)}", flush=True)


def _write_params(name: str) -> Path:
    known = read()
    if name not in known:
        raise InputError(f"runs.yaml has no run {name!r}; it has {', '.join(known)}")
    content = params.changed(known[name])
    path = folder(name) / "params.yaml"
    write_text(path, yaml.safe_dump(content, sort_keys=False))
    return path
