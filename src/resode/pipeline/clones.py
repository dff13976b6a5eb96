"""Scratch clones of the repository in which DVC runs stages, so that the user's files, index and HEAD are left alone."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resode.base import paths, provenance
from resode.base.errors import InputError
from resode.training import checkpoint

# Used instead of the user's own settings, whose ignored files, signatures and hooks do not belong in a scratch clone. Git refuses
# folders of another owner, as which a file server may show all folders; this one was made here.
_GIT_SETTINGS = """[safe]
directory = *
"""
# In the clone's own configuration, since git before 2.32 does not read the settings above.
_CLONE_SETTINGS = {
    "core.excludesFile": os.devnull,
    "core.hooksPath": os.devnull,
    "user.name": "resode",
    "user.email": "resode@localhost",
    "commit.gpgSign": "false",
}


@contextmanager
def scratch(home: Path) -> Iterator[Path]:
    """A clone, see `make`, in a folder of its own in `home`, which is deleted in the end. What a killed process left there is deleted first.

    Raises:
        InputError: another process has one there, or it cannot be made.
    """
    with checkpoint.locked(home):
        for left in home.glob("clone-*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="clone-", dir=home, ignore_cleanup_errors=True) as folder:
            make(Path(folder))
            yield Path(folder)


def make(folder: Path) -> None:
    """Copy the files of the repository as they lie there to `folder`, and commit them in a git repository of its own.

    Environments and what a .gitignore of the repository excludes are left out; for links see `_copy`. The repository need not be
    under git.

    Raises:
        InputError: git is missing, or `folder` cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _git(folder, "init", "--quiet", "--template=")
        (folder / ".git" / "settings").write_text(_GIT_SETTINGS, encoding="utf-8")
        # By git, since DVC reads no configuration file with a section twice.
        for name, value in _CLONE_SETTINGS.items():
            _git(folder, "config", name, value)
        # Nothing is tracked yet, so that these are all.
        there = ["-C", str(paths.ROOT), "--work-tree", str(paths.ROOT)]
        listed = _git(folder, *there, "ls-files", "-z", "--others", "--exclude-per-directory=.gitignore")
        names = [os.fsdecode(name) for name in listed.split(b"\0") if name]
        environments = _environments(names)
        for name in names:
            # A repository inside this one is listed as a folder.
            if not name.endswith("/") and not name.startswith(environments):
                _copy(name, folder)
        _git(folder, "add", "--all", "--force")
        _git(folder, "commit", "--quiet", "--message", "as it stands")
    except OSError as error:
        raise InputError(f"cannot make a clone in {folder}: {error.filename}: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.decode(errors="replace").split())
        raise InputError(f"cannot make a clone in {folder}: {said}") from error


def _environments(names: list[str]) -> tuple[str, ...]:
    """The folders of environments of venv and conda, with a slash at the end; they have gigabytes, and no .gitignore has to name them."""
    marks = ("/pyvenv.cfg", "/conda-meta/history")
    return tuple(name.removesuffix(mark) + "/" for name in names for mark in marks if name.endswith(mark))


def _copy(name: str, folder: Path) -> None:
    """Copy the file or link `name` of the repository to `folder`.

    Where stages write, files, results and data, there must be no links, through which they would write to the user's own.
    """
    source, target = paths.ROOT / name, folder / name
    top = name.partition("/")[0]
    # Links to nothing, such as editors leave beside a file, have nothing to copy; data sets are made again, and may be large.
    if not source.exists() or (source.is_dir() and top == "data"):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir() and top == "results":
        shutil.copytree(source, target, ignore_dangling_symlinks=True)
    else:
        shutil.copy2(source, target, follow_symlinks=not source.is_dir())


def dvc(clone: Path, *arguments: str, **options) -> subprocess.CompletedProcess:
    """Run `dvc` with `arguments` in `clone`; `options` are those of `subprocess.run`. See `pipeline.dvc` for what it says."""
    environment = {
        **_environment(clone),
        "PYTHONPATH": paths.python_path(),
        # dvc.yaml calls the interpreter "python".
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]),
        provenance.TOLD: json.dumps(provenance.commit()),
    }
    return subprocess.run(
        [sys.executable, "-m", "resode.pipeline.dvc", *arguments], cwd=clone, env=environment, **options
    )


def _git(clone: Path, *arguments: str) -> bytes:
    command = ["git", "--git-dir", str(clone / ".git"), "--work-tree", str(clone), *arguments]
    return subprocess.run(command, cwd=clone, env=_environment(clone), capture_output=True, check=True).stdout


def _environment(clone: Path) -> dict[str, str]:
    # The user's own repository, parameters and results.
    own = ("GIT_", "RESODE_PARAMS", "RESODE_RESULTS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return {**kept, "GIT_CONFIG_GLOBAL": str(clone / ".git" / "settings"), "GIT_CONFIG_SYSTEM": os.devnull}
