"""The Makefile and the set-up, with programs that stand for Python, pip and git and write down what they are told."""

import os
import shutil
import subprocess

import pytest

from resode.base import paths

STUB = '#!/bin/sh\necho "$0 $*" >> "$LOG"\n'
# Makes an environment with a pip; `pip install` of the lock fails where FAIL is set, `pip list` says what the folder has.
PYTHON = (
    STUB
    + """\
case "$*" in
  "-m venv "*)
    mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; echo "VIRTUAL_ENV=$PWD/$3" > "$3/bin/activate"; echo tensorflow==2 > "$3/has"
    printf '#!/bin/sh\\ncase "$*" in *requirements.lock*) exit ${FAIL:-0};; esac\\n' > "$3/bin/pip"; chmod +x "$3/bin/pip";;
  *"pip list"*) cat "$(dirname "$0")/../has";;
esac
"""
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with Makefile, set-up and lock, and a program `python3` that stands for Python."""
    (tmp_path / "repository" / "scripts").mkdir(parents=True)
    for name in ("Makefile", "scripts/setup.sh"):
        shutil.copy(paths.ROOT / name, tmp_path / "repository" / name)
    (tmp_path / "repository" / "requirements.lock").write_text("tensorflow==2\n")
    program(tmp_path / "bin" / "python3", PYTHON)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    return tmp_path / "repository"


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def make(folder, *arguments, **environment):
    # Not those of a make that runs the tests.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=folder, env=inherited | environment, capture_output=True, text=True)


def by_hand(folder):
    with (folder / ".venv" / "has").open("a") as file:
        file.write("jax-cuda13-plugin==1\n")


def test_set_up_that_fails_leaves_the_last_environment(folder):
    assert make(folder, "setup").returncode == 0
    by_hand(folder)
    (folder / "requirements.lock").write_text("tensorflow==3\n")
    done = make(folder, "setup", FAIL="1")
    assert done.returncode and "no new environment; the one that was there, if any, is as it was" in done.stderr
    assert "jax-cuda13" in (folder / ".venv" / "has").read_text() and not (folder / ".venv.last").exists()
    # And it is still to be done.
    done = make(folder, "setup")
    assert done.returncode == 0 and (folder / ".venv" / "requirements.lock").read_text() == "tensorflow==3\n"
    assert "Not in requirements.lock, and not installed again: jax-cuda13-plugin\n" in done.stdout
    assert "jax-cuda13" not in (folder / ".venv" / "has").read_text() and not (folder / ".venv.last").exists()


def test_set_up_that_was_killed_brings_the_last_environment_back_first(folder):
    assert make(folder, "setup").returncode == 0
    by_hand(folder)
    (folder / ".venv").rename(folder / ".venv.last")
    (folder / ".venv").mkdir()
    assert make(folder, "setup", FAIL="1").returncode
    assert "jax-cuda13" in (folder / ".venv" / "has").read_text()


def test_environment_of_a_moved_or_copied_clone_is_made_anew_by_set_up_alone(folder):
    assert make(folder, "setup").returncode == 0
    moved = folder.rename(folder.with_name("moved"))
    log = moved.parent / "log"
    log.unlink()
    # Whatever the environment has installed, it is the code of this repository that runs.
    program(moved / ".venv" / "bin" / "python", STUB + 'echo "$PYTHONPATH" >> "$LOG"\n')
    assert make(moved, "site").returncode == 0
    assert log.read_text().splitlines()[1].split(":")[0] == str(moved / "src")
    assert "venv" not in log.read_text().splitlines()[0].partition(" ")[2]
    assert make(moved, "setup").returncode == 0
    assert str(moved) in (moved / ".venv" / "bin" / "activate").read_text()


def test_data_from_a_file_are_written_and_then_recorded_by_dvc(folder):
    assert make(folder, "setup").returncode == 0
    program(folder / ".venv" / "bin" / "python", STUB + 'case "$*" in *wrong*) exit 1;; esac\n')
    log = folder.parent / "log"
    for archive, commands in (
        ("a b.tar.gz", ["-m resode cifar10 a b.tar.gz", "-m dvc commit --force --quiet cifar10"]),
        ("wrong", ["-m resode cifar10 wrong"]),
    ):
        log.unlink()
        assert bool(make(folder, "data", f"ARCHIVE={archive}").returncode) is (archive == "wrong")
        assert [line.partition(" ")[2] for line in log.read_text().splitlines()][-len(commands) :] == commands
    assert "give the archive: make data ARCHIVE=path" in make(folder, "data").stderr
