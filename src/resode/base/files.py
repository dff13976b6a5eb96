"""Reading files that anyone may have written, and writing them so that a kill or a full disk never leaves half a file."""

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from resode.base.errors import InputError
from resode.base.text import quoted

# Many times that of any table or description here.
_MOST_TEXT_BYTES = 10_000_000


def read_bytes(path: Path, most: int) -> bytes:
    """The content of the ordinary file `path`, of at most `most` bytes.

    Raises:
        InputError: it is missing, larger, no ordinary file (another kind could be waited for without end), or not readable.
    """
    shown = quoted(str(path), 500)
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"cannot read {shown}: it is not an ordinary file")
        if status.st_size > most:
            raise InputError(f"cannot read {shown}: {status.st_size:,} bytes; at most {most:,} are read")
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {shown}: {error.strerror}") from error


def read_text(path: Path, most: int = _MOST_TEXT_BYTES) -> str:
    """The text in the file `path`, UTF-8, of at most `most` bytes, 10 MB.

    Raises:
        InputError: see `read_bytes`; or it is no UTF-8.
    """
    try:
        return read_bytes(path, most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{quoted(str(path), 500)} is no text: {error}") from error


def read_json(path: Path) -> Any:
    """The JSON document in the file `path`, of at most 10 MB.

    Raises:
        InputError: see `read_text`; or it is none.
    """
    content = read_text(path)
    try:
        return json.loads(content)
    except (RecursionError, ValueError) as error:
        raise InputError(f"{quoted(str(path), 500)} is not JSON: {quoted(str(error))}") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` as a whole; if that fails, `path` is as it was.

    Raises:
        InputError: the folder or the disk does not take it, or there is something that is no ordinary file.
    """
    path = Path(path)
    # Replacing a device or a pipe would destroy it.
    if path.exists() and not path.is_file():
        raise InputError(f"cannot write {path}: it is not an ordinary file")
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # NamedTemporaryFile makes files private; results are for everyone who may read the folder.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; free space or make the folder writable") from error
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


def write_text(path: Path, content: str) -> None:
    """Write `content` as UTF-8; see `write_bytes`."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: object) -> None:
    """Write `content` as indented JSON; see `write_bytes`."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `folder` in the end; if the block fails, `folder` is as it was.

    It lies beside `folder`, or beside the target if that is a link, so that nothing is renamed from one disk to another.

    Raises:
        InputError: the disk does not take it.
    """
    folder = Path(os.path.realpath(folder))
    # Fixed names, so that the next run clears away what a killed one left.
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        _remove(partial)
        partial.mkdir(parents=True)
        yield partial
        _exchange(partial, folder, folder.with_name(f".{folder.name}.replaced"))
    except OSError as error:
        # Errors of many files at once have no words of their own.
        said = error.strerror or quoted(str(error))
        raise InputError(f"cannot write {folder}: {said}; free space or make the folder writable") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _exchange(new: Path, folder: Path, replaced: Path) -> None:
    """Put `new` in the place of `folder`; if that fails, `folder` is as it was."""
    if folder.exists():
        _remove(replaced)
        os.rename(folder, replaced)
    try:
        os.rename(new, folder)
    except OSError:
        if replaced.exists():
            os.rename(replaced, folder)
        raise
    _remove(replaced)


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
