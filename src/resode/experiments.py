"""DVC experiments: stages run in scratch copies of the repository, their results kept as commits beside the branches."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import paths


def dvc(*arguments: str, **options) -> subprocess.CompletedProcess:
    """Run `dvc` with `arguments` in the repository; `options` are those of `subprocess.run`."""
    environment = {**os.environ}
    # Committing an experiment needs an author; on a fresh machine git has none.
    for role in ("AUTHOR", "COMMITTER"):
        environment.setdefault(f"GIT_{role}_NAME", "resode")
        environment.setdefault(f"GIT_{role}_EMAIL", "resode@localhost")
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=paths.ROOT, env=environment, **options)


def flags(settings: dict) -> list[str]:
    """The options of `dvc exp run` for `settings`, {"section.key": value}."""
    return [part for key, value in settings.items() for part in ("-S", f"{key}={json.dumps(value)}")]


def commits() -> dict[str, str]:
    """The commit of each experiment by its name."""
    listed = subprocess.run(
        ["git", "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps"],
        cwd=paths.ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\n")  # fmt: skip
    return {line.rpartition("/")[2]: line.split()[0] for line in listed if line}


def extract(commit: str, path: str, target: Path) -> None:
    """Put the folder `path` of `commit` at `target`, whole or not at all; `target` is replaced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        packed = os.path.join(scratch, "packed.zip")
        subprocess.run(["git", "archive", "--output", packed, commit, path], cwd=paths.ROOT, check=True)
        shutil.unpack_archive(packed, scratch)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(os.path.join(scratch, path), target)
