"""Demo and queue in scratch clones: the user's own tree stays as it is, whenever they end and whatever git is told."""

import errno
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.exceptions import ReproductionError
from dvc.stage.exceptions import StageCmdFailedError

from helpers import wait_for
from resode import cli
from resode.base import paths, provenance
from resode.base.errors import InputError
from resode.pipeline import clones, demo, dvc, parents

GIT = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]


def git(folder, *arguments) -> str:
    return subprocess.run([*GIT, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def everything(folder: Path) -> dict[str, bytes]:
    """Every file of the user, git's own included; not what is ignored, the place of clones and results of the demo."""
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {
        str(name): path.read_bytes()
        for name, path in found.items()
        if name.parts[0] not in (".runs", "build") and "__pycache__" not in name.parts
    }


@pytest.fixture
def tree(tmp_path):
    """The repository's files that decide anything, in a folder with an odd name, with changes of each kind."""
    folder = tmp_path / "müller's #1?%41 copy"
    folder.mkdir()
    names = subprocess.run(["git", "ls-files", "-z"], cwd=paths.ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if not name.startswith(("results/", "tests/")) and (paths.ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((paths.ROOT / name).read_bytes())
    for name in paths.ROOT.glob("src/resode/**/*.py"):
        (folder / name.relative_to(paths.ROOT)).write_bytes(name.read_bytes())
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    (folder / "params.yaml").write_bytes((folder / "params.yaml").read_bytes() + b"# mine\n")
    (folder / "README.md").write_text("staged", encoding="utf-8")
    git(folder, "add", "README.md")
    (folder / "untracked.h5").write_text("mine", encoding="utf-8")
    return folder


def start_demo(folder: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "resode", "demo"]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)


# Of a demo's start, each by a file that is in the clone from then on.
MOMENTS = (
    "",
    ".git/HEAD",
    ".git/settings",
    "params.yaml",
    "untracked.h5",
    ".git/index",
    ".git/refs/heads/*",
    ".dvc/tmp/*",
    "data/digits/dataset.json",
    "results/.*.partial",
)


@pytest.mark.slow
def test_a_demo_killed_at_a_moment_of_its_start_leaves_the_tree_as_it_was(tree):
    """Held at each moment up to the last, where it is killed: what is held has done to files what one killed there has done."""
    before = everything(tree)
    demo = start_demo(tree)
    try:
        for moment in MOMENTS:
            wait_for(lambda moment=moment: list(tree.glob(f".runs/demo/clone-*/{moment}")), demo)
            os.killpg(demo.pid, signal.SIGSTOP)
            assert everything(tree) == before, f"when there was {moment}"
            if moment != MOMENTS[-1]:
                os.killpg(demo.pid, signal.SIGCONT)
    finally:
        os.killpg(demo.pid, signal.SIGKILL)
        demo.wait()
    assert everything(tree) == before


def test_a_clone_has_what_is_there_whatever_git_ignores(tree, tmp_path, monkeypatch):
    (tmp_path / "ignored").write_text("*.h5\n*.yaml\n", encoding="utf-8")
    (tmp_path / "config").write_text(f"[core]\nexcludesFile = {tmp_path / 'ignored'}\n", encoding="utf-8")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    monkeypatch.setattr(paths, "ROOT", tree)
    (tree / "build").mkdir()
    (tree / "build" / "old").touch()
    head = git(tree, "rev-parse", "HEAD")
    before = everything(tree)
    with clones.scratch(tree / ".runs" / "demo") as clone:
        copied = {name: content for name, content in everything(clone).items() if not name.startswith(".git/")}
        assert copied == {name: content for name, content in before.items() if not name.startswith(".git/")}
        assert not (clone / "build").exists()
        assert git(clone, "status", "--porcelain") == "" and "untracked.h5" in git(clone, "ls-files")
        told = clones.dvc(clone, "config", "core.analytics", capture_output=True, text=True)
        assert told.stdout == "false\n"
        assert provenance.commit() == {"commit": head, "modified": False}
    assert everything(tree) == before and not list(tree.glob(".runs/demo/clone-*"))


def test_results_of_a_demo_cross_disks_and_replace_those_of_the_last(tree, tmp_path, monkeypatch):
    """Renaming from one folder to another fails here, as between disks; within one it is possible."""
    rename = os.rename

    def between_disks(source, target, **_):
        if Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    def stages(clone, *_):
        assert os.environ[parents.STARTED_BY] == parents.this()
        (clone / "results" / "evaluation").mkdir(parents=True)
        (clone / "results" / "evaluation" / "metrics.json").write_text('{"test_accuracy": 1}', encoding="utf-8")
        (clone / "build" / "site").mkdir(parents=True)
        return subprocess.CompletedProcess([], 0)

    monkeypatch.setattr(paths, "ROOT", tree)
    monkeypatch.setattr(paths, "RUNS", tree / ".runs")
    monkeypatch.setattr(demo, "BUILD", tree / "build" / "demo")
    monkeypatch.setattr(clones, "dvc", stages)
    # Put back after the test.
    monkeypatch.setenv(parents.STARTED_BY, "")
    disk = tmp_path / "disk"
    (disk / "old").mkdir(parents=True)
    (tree / "build").mkdir()
    (tree / "build" / "demo").symlink_to(disk)
    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, between_disks)
    demo.run([])
    assert (
        sorted(path.name for path in disk.iterdir()) == ["evaluation", "site"]
        and (tree / "build" / "demo").is_symlink()
    )
    # A disk that is full in the end.
    monkeypatch.setattr(shutil, "copytree", lambda *_, **__: between_disks("a/b", "c/d"))
    with pytest.raises(InputError, match=f"cannot write {disk}: Invalid cross-device link; free space"):
        demo.run([])
    assert sorted(path.name for path in disk.iterdir()) == ["evaluation", "site"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_ctrl_c_waits_for_dvc_which_waits_for_its_stage(tree, monkeypatch):
    ended = []

    def interrupted(*_):
        os.kill(os.getpid(), signal.SIGINT)
        ended.append(True)
        return subprocess.CompletedProcess([], 255)

    monkeypatch.setattr(paths, "ROOT", tree)
    monkeypatch.setattr(paths, "RUNS", tree / ".runs")
    monkeypatch.setattr(clones, "dvc", interrupted)
    monkeypatch.setenv(parents.STARTED_BY, "")
    # Whoever starts the tests in the background may ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            demo.run([])
        assert ended and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_stage_that_failed_has_the_last_word(tmp_path):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\nno_scm = true\nanalytics = false\n", encoding="utf-8")
    (tmp_path / "dvc.yaml").write_text("stages: {a: {cmd: echo stopped >&2; exit 130}}\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": paths.python_path(), "DVC_SITE_CACHE_DIR": str(tmp_path / "cache")}

    command = [sys.executable, "-m", "resode.pipeline.dvc", "repro"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (255, "stopped\n") and "Running stage 'a'" in done.stdout


def test_what_dvc_itself_has_to_say_is_said():
    def record(error):
        return logging.LogRecord("dvc", logging.ERROR, "", 0, "", None, (type(error), error, None))

    failed = ReproductionError("failed to reproduce")
    assert dvc._is_news(record(failed)) and dvc._is_news(logging.makeLogRecord({}))
    failed.__cause__ = StageCmdFailedError("command", 1)
    assert not dvc._is_news(record(failed))


def test_links_to_another_disk_are_not_written_through(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tree)
    disk = tmp_path / "disk"
    for name in (
        "results/toys/toys.json",
        "data/digits/test_batch.bin",
        ".venv/bin/python",
        "build/demo/old",
        ".runs/old",
    ):
        (disk / name).parent.mkdir(parents=True, exist_ok=True)
        (disk / name).write_text("mine", encoding="utf-8")
    (tree / "params.yaml").rename(disk / "params.yaml")
    shutil.rmtree(tree / "data")
    for name in ("results", "data", ".venv", "build", ".runs", "params.yaml"):
        (tree / name).symlink_to(disk / name)
    (tree / ".#params.yaml").symlink_to("nobody@nowhere")
    (tree / "mine").symlink_to(disk)
    with clones.scratch(tree / ".runs" / "demo") as clone:
        assert [path for path in clone.rglob("*") if path.is_symlink()] == [clone / "mine"]
        assert (clone / "results" / "toys" / "toys.json").read_text(encoding="utf-8") == "mine"
        assert (clone / "params.yaml").read_bytes() == (disk / "params.yaml").read_bytes()
        assert not any((clone / name).exists() for name in ("data", ".venv", "build", ".runs"))


def test_a_git_that_takes_no_other_settings_makes_a_clone_all_the_same(tree, tmp_path, monkeypatch):
    """As before 2.32: the user's own signing and hooks are asked for."""
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "pre-commit").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (tmp_path / "hooks" / "pre-commit").chmod(0o755)
    mine = (
        f"[commit]\ngpgSign = true\n[core]\nhooksPath = {tmp_path / 'hooks'}\nexcludesFile = {tmp_path / 'ignored'}\n"
    )
    (tmp_path / "config").write_text(mine, encoding="utf-8")
    (tmp_path / "ignored").write_text("*.h5\n", encoding="utf-8")
    made = clones._environment
    monkeypatch.setattr(paths, "ROOT", tree)
    monkeypatch.setattr(
        clones, "_environment", lambda clone: made(clone) | {"GIT_CONFIG_GLOBAL": str(tmp_path / "config")}
    )
    with clones.scratch(tree / ".runs" / "demo") as clone:
        assert "untracked.h5" in git(clone, "ls-files")


def test_environments_are_not_copied(tree, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tree)
    for name in ("mine/pyvenv.cfg", "mine/lib/a.py", "envs/b/conda-meta/history", "envs/b/bin/python", "envs/mine.txt"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    with clones.scratch(tree / ".runs" / "demo") as clone:
        assert not (clone / "mine").exists() and [path.name for path in (clone / "envs").iterdir()] == ["mine.txt"]


def test_links_in_results_are_not_written_through(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tree)
    monkeypatch.setenv("RESODE_RESULTS", str(tree / "results"))
    (tmp_path / "toys").mkdir()
    (tmp_path / "toys" / "toys.json").write_text("mine", encoding="utf-8")
    (tree / "results").mkdir()
    (tree / "results" / "toys").symlink_to(tmp_path / "toys")
    with clones.scratch(tree / ".runs" / "demo") as clone:
        (clone / "results" / "toys" / "toys.json").write_text("the demo's", encoding="utf-8")
        assert "RESODE_RESULTS" not in clones._environment(clone)
    assert (tmp_path / "toys" / "toys.json").read_text(encoding="utf-8") == "mine"


def test_a_copy_without_git_inside_another_repository_is_no_part_of_it(tree, monkeypatch):
    shutil.rmtree(tree / ".git")
    outer = tree.parent
    git(outer, "init", "--quiet")
    (outer / ".gitignore").write_text("*\n", encoding="utf-8")
    monkeypatch.setattr(paths, "ROOT", tree)
    before = everything(outer)
    with clones.scratch(tree / ".runs" / "demo") as clone:
        assert (clone / "params.yaml").read_bytes() == (tree / "params.yaml").read_bytes()
        assert provenance.commit()["commit"] is None
    with_locks = everything(outer)
    assert {name: with_locks[name] for name in before} == before


@pytest.mark.parametrize("command", ["demo", "check", "data"])
def test_a_path_that_dvc_cannot_take_is_refused_before_anything_starts(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "ROOT", tmp_path / "x{a}")
    assert cli.main([command, *(["file"] if command == "data" else [])]) == 1
    assert "because of the '{' in its path; move the repository" in capsys.readouterr().err


@pytest.mark.parametrize("where", [".dvc", "databases"])
def test_a_folder_that_takes_no_more_of_dvc_is_named(where, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "databases"))
    (tmp_path / where).touch()
    assert cli.main(["check"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: DVC cannot write in {tmp_path / where}") and error.count("\n") == 1


def test_a_limit_on_file_sizes_is_one_line():
    command = [sys.executable, "-m", "resode", "check"]
    limited = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    environment = {**os.environ, "PYTHONPATH": paths.python_path()}
    done = subprocess.run(command, env=environment, preexec_fn=limited, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: DVC cannot write in ") and done.stderr.count("\n") == 1
    assert done.stderr.endswith("File too large; free space, make the folder writable, or lift a limit of ulimit -f\n")


@pytest.mark.slow
def test_experiments_show_the_settings_and_the_finished_runs_of_a_fresh_clone_whole_in_a_pipe(tree):
    numbers = Path("results", "readme", "runs.json")
    (tree / numbers).parent.mkdir(parents=True)
    (tree / numbers).write_bytes((paths.ROOT / numbers).read_bytes())
    # make would install the environment that is in use already.
    command = ["make", "--old-file", ".venv/requirements.lock", "experiments"]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    shown = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=True).stdout
    assert "model.unroll_length" in shown and "cpu-quarter" in shown and "test_accuracy" in shown and "…" not in shown
