"""Runs besides the pipeline's: the same stages with other parameters, without DVC.

A run is an entry of runs.yaml: its changes to params.yaml. Its folder results/runs/NAME holds the params.yaml that it was trained
with and, like results/, a folder for each stage.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from resode.base import paths, stopping
from resode.base.errors import STOP_AT, InputError, TimeOver
from resode.base.files import write_bytes, write_text
from resode.base.text import quoted
from resode.config import parameters, schema, yaml
from resode.pipeline import stages
from resode.training import checkpoint, identity, outputs, schedule


def read() -> dict[str, dict]:
    """The runs of runs.yaml: {name: {"section.key": value}}, those of the run that `like` names included.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    content = parameters.read_as(paths.RUNS_YAML, dict[schema.Name, schema.Settings])
    for name, settings in content.items():
        if "like" in settings:
            if (other := settings.pop("like")) not in list(content)[: list(content).index(name)]:
                raise InputError(f"{paths.RUNS_YAML}, {name}: like must name a run above it, not {quoted(repr(other))}")
            content[name] = content[other] | settings
    return content


def folder(name: str) -> Path:
    """The folder of the results of run `name`."""
    return paths.RESULTS / "runs" / name


def changes(name: str) -> dict[str, Any]:
    """The changes of the run `name` to params.yaml, {"section.key": value}.

    Raises:
        InputError: no such run.
    """
    known = read()
    if name not in known:
        raise InputError(f"runs.yaml has no run {quoted(repr(name))}; it has {', '.join(known)}")
    return known[name]


def params_of(name: str) -> dict[str, Any]:
    """The parameters of the run `name`: params.yaml with what runs.yaml changes, checked.

    Raises:
        InputError: no such run, or wrong parameters.
    """
    return parameters.changed(changes(name), f"{paths.RUNS_YAML.name}, {name}")


def run(name: str | None = None, minutes: float = float("inf")) -> None:
    """Train and evaluate the run `name`; without a name, run every stage of the pipeline as params.yaml stands.

    The data set must be in place. Nothing here needs DVC; `resode commit` records the pipeline's results afterwards.

    Args:
        minutes: training saves and stops after so long; the same call continues it.

    Raises:
        InputError: no such run, wrong parameters, another process that runs it, or a stage that failed (it said why).
        TimeOver: the minutes were over before the training was, or SIGTERM came.
    """
    environment = {**os.environ, "PYTHONPATH": paths.python_path(), STOP_AT: str(time.time() + 60 * minutes)}
    if name is None:
        run_stages(stages.STAGES, environment)
        _drop_handed_over(name)
        print("Next, where DVC is: resode commit", flush=True)
        return
    text = yaml.text(params_of(name))
    own = paths.RUNS / "run" / name
    with checkpoint.locked(own):
        write_text(own / "params.yaml", text)
        environment |= {"RESODE_PARAMS": str(own / "params.yaml"), "RESODE_RESULTS": str(folder(name))}
        run_stages(stages.OF_A_RUN[:1], environment)
        # Only now: until then the results there are of the last training, with its parameters.
        write_text(folder(name) / "params.yaml", text)
        run_stages(stages.OF_A_RUN[1:], environment)
        _drop_handed_over(name)


def run_stages(chosen: Sequence[str], environment: Mapping[str, str], meanwhile: Sequence[str] = ()) -> None:
    """Run the stages `chosen`, one after another, and beside them those of `meanwhile`.

    Raises:
        InputError: one failed (it said why).
        TimeOver: one saved what it has and stopped.
    """
    over = threading.Event()

    def one_after_another(names: Sequence[str]) -> None:
        try:
            for stage in names:
                if over.is_set():
                    return
                # In one piece, whatever is printed beside it.
                print(f"{stage}:\n", end="", flush=True)
                status = subprocess.run([sys.executable, "-m", "resode", stage], env=environment).returncode
                if status == stages.UNFINISHED:
                    # It said where it stopped.
                    raise TimeOver
                if status:
                    raise InputError(f"the stage {stage} stopped; the message above says why")
        except Exception:
            over.set()
            raise

    with stopping.passed_on(), ThreadPoolExecutor() as pool:
        try:
            for lane in [pool.submit(one_after_another, names) for names in (chosen, meanwhile)]:
                lane.result()
        finally:
            over.set()


def _drop_handed_over(name: str | None) -> None:
    """Delete the checkpoint beside the results of the finished run `name`, if it is one of this training."""
    path = _handed_over(name)
    if not (found := checkpoint.read_handed_over(path)):
        return
    _, state = found
    done = outputs.provenance(path.parent / "training")
    ours = {
        "params": done["params"],
        "validation_fraction": done["data"].get("validation_fraction", 0.0),
        "data": done["data"]["sha256"],
    }
    if state["update"] <= done["updates"] and checkpoint.agree(ours, state["inputs"], state["update"], any_code=True):
        print(f"Finished: {path} is of no more use and deleted.", flush=True)
        path.unlink()


def hand_over(name: str | None = None) -> Path:
    """Write the furthest checkpoint of the run `name` beside its results, in the place of an older one; return its path.

    Git can carry it elsewhere: `run` goes on from it in any clone, whichever code and machine made it. Without a name it is
    the checkpoint of the pipeline's run.

    Raises:
        InputError: no such run, wrong parameters, no data set, or no checkpoint yet.
    """
    from resode.data import records

    checked = parameters.validate(params_of(name)) if name else parameters.load()
    inputs = identity.all_inputs(records.load(paths.dataset(checked.data.name)), checked)
    found = checkpoint.furthest_of_any_code(paths.RUNS, inputs, schedule.updates(checked.training))
    if found is None:
        raise InputError(f"{paths.RUNS} has no checkpoint of this run yet; run: resode run {name or ''}".rstrip())
    source, _, state = found
    if source.stat().st_size > checkpoint.MOST_HANDED_OVER:
        raise InputError(
            f"{source} has more than {checkpoint.MOST_HANDED_OVER:,} bytes, too many for git; copy the folder .runs"
        )
    path = _handed_over(name)
    write_bytes(path, source.read_bytes())
    print(f"Update {state['update']:,} of at most {schedule.updates(checked.training):,}.", flush=True)
    return path


def _handed_over(name: str | None) -> Path:
    return (folder(name) if name else paths.RESULTS) / checkpoint.HANDED_OVER
