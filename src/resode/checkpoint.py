"""Checkpoints that survive a kill at any moment, and the folder of one run.

A checkpoint is one file: the SHA-256 of what follows, then a NumPy archive of the variables and of a JSON text. The
two newest are kept. A torn file is noticed by its checksum, and the one before it is used.
"""

import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from . import paths
from .errors import InputError
from .files import write_bytes

_KEPT = 2
_DIGEST = 64


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
        for partial in folder.glob(".*.checkpoint.*"):
            partial.unlink()
        try:
            os.truncate(file.name, 0)
            os.write(file.fileno(), str(os.getpid()).encode())
        except OSError as error:
            raise InputError(f"cannot write {file.name}: {error.strerror}; free space") from error
        yield


def save(folder: Path, update: int, values: list[np.ndarray], state: dict) -> None:
    """Write the checkpoint of `update` and delete all but the newest two.

    Args:
        values: the variables, in the order in which `restore` returns them.
        state: whatever JSON can hold.

    Raises:
        InputError: the disk is full or the folder not writable; older checkpoints stay.
    """
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(state).encode(), "uint8")
    np.savez(buffer, state=text, **{str(i): value for i, value in enumerate(values)})
    content = buffer.getvalue()
    write_bytes(_path(folder, update), hashlib.sha256(content).hexdigest().encode() + content)
    for old in _newest_first(folder)[_KEPT:]:
        old.unlink()


def restore(folder: Path) -> tuple[list[np.ndarray], dict] | None:
    """The newest intact checkpoint as (values, state), or None; deletes damaged ones, which would count as kept, and says so."""
    for path in _newest_first(folder):
        content = path.read_bytes()
        if hashlib.sha256(content[_DIGEST:]).hexdigest().encode() != content[:_DIGEST]:
            path.unlink()
            instead = "using the one before it" if _newest_first(folder) else "there is no other; starting afresh"
            print(f"Checkpoint {path.name} is damaged (checksum); {instead}.", flush=True)
            continue
        with np.load(io.BytesIO(content[_DIGEST:]), allow_pickle=False) as archive:
            values = [archive[str(i)] for i in range(len(archive.files) - 1)]
            return values, json.loads(archive["state"].tobytes())
    return None


def _path(folder: Path, update: int) -> Path:
    return folder / f"{update:09d}.checkpoint"


def _newest_first(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("*.checkpoint") if path.is_file()), reverse=True)
