"""Checkpoints that survive a kill at any moment, the folder of one run, and who may go on from which checkpoint.

A checkpoint is one file, see `tensors`: the variables by name and a text in JSON, `state`, which
says what was trained and how far. The two newest are kept, and those at drops of the learning rate and at changes of the unroll
length. A torn file is noticed by its checksum, and the one before it is used.

A training goes on from a checkpoint of another run folder if everything is equal but the schedule, and learning rates and unroll
lengths are too up to there. A checkpoint that lies beside the results (`HANDED_OVER`) is resumed even under other code, other software and
on other hardware: who put it there wants that.
"""

import fcntl
import json
import os
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from resode.base import paths, tensors
from resode.base.errors import InputError
from resode.base.files import read_json, write_bytes
from resode.base.text import quoted
from resode.config import parameters
from resode.config.schema import TrainingParams
from resode.training import schedule

_KEPT = 2
# A checkpoint that git carries from clone to clone, in the folder of a run's results.
HANDED_OVER = "handed_over.checkpoint"
# Of such a file, in bytes: git hosts refuse larger ones.
MOST_HANDED_OVER = 500_000_000
# Section `training`: the schedule, and what moves nothing but speed and rounding.
_SCHEDULE = {"reference_batch_size", "reference_iterations", "reference_drops", "drop_factor", "unroll_schedule"}
_SPEED = {"block_length", "convolution", "devices"}
# Whether values and state fit a training; it raises ValueError, which says what does not.
Check = Callable[[Mapping[str, np.ndarray], Mapping], None]


class _State(BaseModel):
    """The text `state` of a checkpoint."""

    model_config = ConfigDict(strict=True, extra="forbid")
    inputs: dict[str, Any]
    update: NonNegativeInt
    history: list[dict[str, int | float]]
    pieces: list[dict[str, Any]]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process alone; the lock goes with the process, however it ends.

    Raises:
        InputError: another process trains in this folder (its id is named), or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / "lock", "a+", encoding="utf-8")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise InputError(f"cannot write in {folder}: {error.strerror}; make the folder writable") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise InputError(
                f"the same already runs as process {file.read().strip()}; wait for it or stop it"
            ) from None
        except OSError as error:
            raise InputError(
                f"the file system of {folder} has no locks ({error.strerror}); make {paths.RUNS} a link to a folder on another"
            ) from error
        # What a kill in the middle of a write left.
        for partial in folder.glob(".*.*.*"):
            if partial.is_file():
                partial.unlink()
        try:
            os.truncate(file.name, 0)
            os.write(file.fileno(), str(os.getpid()).encode())
        except OSError as error:
            raise InputError(f"cannot write {file.name}: {error.strerror}; free space") from error
        yield


def save(
    folder: Path, update: int, values: Mapping[str, np.ndarray], state: Mapping, staying: Container[int] = ()
) -> None:
    """Write the checkpoint of `update` and delete all but the newest two and those of the updates `staying`.

    Args:
        values: the variables by name.
        state: `inputs` (what decides the weights), `update`, `history` (a row an epoch) and `pieces`, see `loop`.

    Raises:
        InputError: the disk is full or the folder not writable; older checkpoints stay.
    """
    write_bytes(_path(folder, update), tensors.encode(values, {"state": json.dumps(state)}))
    for old in _newest_first(folder)[_KEPT:]:
        if _update(old) not in staying:
            old.unlink()


def read(path: Path, check: Check | None = None) -> tuple[dict[str, np.ndarray], dict]:
    """The checkpoint `path`, an ordinary file, as (values, state).

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, of another version, or does not pass `check`; the message says in a few words why.
    """
    file = tensors.File(path)
    try:
        state = _State.model_validate(json.loads(file.texts.get("state", "{}"))).model_dump()
    except ValidationError as error:
        raise ValueError("it is of another version of this code") from error
    values = {name: file[name] for name in file.shapes}
    if check:
        check(values, state)
    return values, state


def restore(folder: Path, check: Check | None = None) -> tuple[dict[str, np.ndarray], dict] | None:
    """The newest intact checkpoint as (values, state), or None; deletes damaged ones, which would count among those that are kept, and says so."""
    for path in _newest_first(folder):
        try:
            return read(path, check)
        except ValueError as error:
            path.unlink()
            instead = "using the one before it" if _newest_first(folder) else "there is no other; starting afresh"
            print(f"Checkpoint {path.name} is damaged ({error}); {instead}.", flush=True)
    return None


def furthest(
    folder: Path, inputs: Mapping, last: int, handed_over: Path | None = None, check: Check | None = None
) -> tuple[dict[str, np.ndarray], dict] | None:
    """The checkpoint from which a training with `inputs` in its run folder `folder` goes on, as (values, state), or None.

    It is the furthest of its own, those of other schedules in the run folders beside, and `handed_over`; of equally far ones
    the first. A line says so if it is not its own.

    Args:
        last: updates of the whole training.
        check: what a checkpoint that is gone on from has to pass.

    Raises:
        InputError: `handed_over` is damaged, or no checkpoint.
    """
    check_ours = _of(inputs, check)
    found = restore(folder, check_ours)
    done = found[1]["update"] if found else 0
    further = sorted(_agreeing(folder.parent, inputs, done + 1, last), key=_update, reverse=True)
    if other := _first_intact(further, check_ours):
        path, *found = other
        done = found[1]["update"]
        print(f"Going on from {path}, of a run whose schedule is the same up to there.", flush=True)

    def fits(state: Mapping) -> bool:
        return state["update"] <= last and agree(inputs, state["inputs"], state["update"], any_code=True)

    def check_if_used(values: Mapping[str, np.ndarray], state: Mapping) -> None:
        if check and fits(state) and state["update"] > done:
            check(values, state)

    if handed_over and (other := read_handed_over(handed_over, check_if_used)):
        _, state = other
        if not fits(state):
            differing = differences(_schedule_free(state["inputs"], True), _schedule_free(inputs, True)) or [
                "learning rates or unroll lengths"
            ]
            print(
                f"{handed_over} is left alone: it is of a training with other {quoted(', '.join(differing), 1000)}.",
                flush=True,
            )
        elif state["update"] > done:
            found = other
            print(f"Going on from {handed_over}, which was handed over.", flush=True)
    return found


def _of(inputs: Mapping, check: Check | None = None, any_code: bool = False) -> Check:
    """A check that a checkpoint is of a training with `inputs`, see `agree`, and passes `check`: folder and name do not tell."""

    def check_all(values: Mapping[str, np.ndarray], state: Mapping) -> None:
        if not agree(inputs, state["inputs"], state["update"], any_code):
            raise ValueError("it is of another training")
        if check:
            check(values, state)

    return check_all


def read_handed_over(path: Path, check: Check | None = None) -> tuple[dict[str, np.ndarray], dict] | None:
    """The checkpoint `path` that lies beside results, as (values, state), or None if there is none.

    Raises:
        InputError: it is damaged, no checkpoint, or does not pass `check`.
    """
    if not os.path.lexists(path):
        return None
    try:
        return read(path, check)
    except (OSError, ValueError) as error:
        why = quoted(str(error))
        raise InputError(
            f"{path} is damaged or no checkpoint ({why}); restore it with git, or delete it to do without it"
        ) from error


def agree(ours: Mapping, theirs: Mapping, updates: int, any_code: bool = False) -> bool:
    """Return whether trainings of the inputs `ours` and `theirs` are the same in their first `updates` updates.

    Args:
        any_code: code, software and hardware may differ, what is trained may not.
    """
    try:
        if _schedule_free(ours, any_code) != _schedule_free(theirs, any_code):
            return False
        return _scheduled(ours, updates) == _scheduled(theirs, updates)
    except (AttributeError, KeyError, TypeError, ValueError):
        # Inputs of another version.
        return False


def furthest_of_any_code(runs: Path, inputs: Mapping, last: int) -> tuple[Path, dict[str, np.ndarray], dict] | None:
    """The intact checkpoint in the run folders in `runs` with most updates, of the same training as `inputs` by whatever
    code and with at most `last` updates, as (file, values, state), or None; of equally far ones that of these inputs.
    """
    found = _agreeing(runs, inputs, 1, last, any_code=True)
    ours = [path.parent for path in runs.glob("*/inputs.json") if read_inputs(path) == inputs]
    furthest_first = sorted(found, key=lambda path: (_update(path), path.parent in ours), reverse=True)
    return _first_intact(furthest_first, _of(inputs, any_code=True))


def differences(before: Mapping, after: Mapping) -> list[str]:
    """The names of the inputs that are not the same in `before` and `after`."""
    old, new = parameters.flat(before), parameters.flat(after)
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def _agreeing(runs: Path, inputs: Mapping, first: int, last: int, any_code: bool = False) -> list[Path]:
    """The checkpoints of `first` to `last` updates in the run folders in `runs` that agree with `inputs`."""
    found = []
    for path in runs.glob("*/inputs.json"):
        theirs = read_inputs(path)
        found += [
            one
            for one in _newest_first(path.parent)
            if first <= _update(one) <= last and agree(inputs, theirs, _update(one), any_code)
        ]
    return found


def read_inputs(path: Path) -> dict:
    """The content of the inputs.json `path`; empty if a crash of the machine has torn it, or it is somebody else's."""
    try:
        found = read_json(path)
    except InputError:
        return {}
    return found if isinstance(found, dict) else {}


def _first_intact(found: list[Path], check: Check | None = None) -> tuple[Path, dict[str, np.ndarray], dict] | None:
    for path in found:
        # The run may be in progress and have deleted it.
        with suppress(OSError, ValueError):
            return path, *read(path, check)
    return None


def _schedule_free(inputs: Mapping, any_code: bool) -> dict:
    """The inputs but for the later part of the schedule; with `any_code` but for code, software and speed, too."""
    changing = _SCHEDULE | (_SPEED if any_code else set())
    params = parameters.with_defaults(inputs["params"])
    training = {name: value for name, value in params["training"].items() if name not in changing}
    free = {name: value for name, value in inputs.items() if not (any_code and name in ("code", "software"))}
    return free | {"params": params | {"training": training}}


def _scheduled(inputs: Mapping, updates: int) -> tuple[list, list]:
    params = TrainingParams.model_validate(inputs["params"]["training"])
    # Nothing was trained yet: all levels but the first lie ahead.
    return schedule.rates(params, updates), schedule.levels(params, max(updates, 1))


def _path(folder: Path, update: int) -> Path:
    return folder / f"{update:09d}.checkpoint"


def _update(path: Path) -> int:
    return int(path.stem)


def _newest_first(folder: Path) -> list[Path]:
    return sorted(
        (path for path in folder.glob("*.checkpoint") if path.stem.isdecimal() and path.is_file()), reverse=True
    )
