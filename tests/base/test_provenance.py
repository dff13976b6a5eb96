"""What a result says about where it comes from."""

import os
import subprocess

import nbformat
import pytest

from resode.base import environment, paths, provenance


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A small checkout with a module and a notebook."""
    monkeypatch.setattr(paths, "ROOT", tmp_path / "copy")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.delenv("RESODE_COMMIT", raising=False)
    (tmp_path / "copy" / "src").mkdir(parents=True)
    (tmp_path / "copy" / "notebooks").mkdir()
    (tmp_path / "copy" / "src" / "a.py").write_text("1\n", encoding="utf-8")
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")])
    nbformat.write(made, tmp_path / "copy" / "notebooks" / "a.ipynb")
    git(tmp_path / "copy", "init", "--quiet")
    git(tmp_path / "copy", "add", "--all")
    git(tmp_path / "copy", "commit", "--quiet", "--message", "first")
    return tmp_path / "copy"


def git(folder, *arguments) -> str:
    command = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def test_outputs_that_are_saved_in_a_notebook_are_no_change_and_other_sources_are_one(checkout):
    clean = {"commit": git(checkout, "rev-parse", "HEAD"), "modified": False}
    assert provenance.commit() == clean
    path = checkout / "notebooks" / "a.ipynb"
    index = (checkout / ".git" / "index").read_bytes()
    saved = nbformat.read(path, as_version=4)
    saved.cells[0].outputs = [nbformat.v4.new_output("stream", text="2")]
    saved.cells[0].execution_count, saved.metadata["language_info"] = 1, {"name": "python"}
    nbformat.write(saved, path)
    assert provenance.commit() == clean and (checkout / ".git" / "index").read_bytes() == index
    saved.cells[0].source = "1 + 2"
    nbformat.write(saved, path)
    assert provenance.commit() == {**clean, "modified": True}
    git(checkout, "checkout", "--quiet", ".")
    (checkout / "src" / "a.py").write_text("2\n", encoding="utf-8")
    assert provenance.commit() == {**clean, "modified": True}


@pytest.mark.parametrize("command", [["add", "notebooks/b.ipynb"], ["mv", "notebooks/a.ipynb", "notebooks/c.ipynb"]])
def test_a_notebook_that_the_commit_does_not_have_is_a_change(checkout, command):
    path = checkout / "notebooks" / "a.ipynb"
    path.with_name("b.ipynb").write_bytes(path.read_bytes())
    git(checkout, *command)
    assert provenance.commit() == {"commit": git(checkout, "rev-parse", "HEAD"), "modified": True}


def test_a_checkout_that_git_refuses_says_why(checkout, monkeypatch):
    # Git's own way to make its tests refuse.
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    found = provenance.commit()
    assert found["commit"] is None
    assert found["commit_unknown"].startswith("git: detected dubious ownership in repository")
    monkeypatch.setenv("RESODE_COMMIT", "abc")
    assert provenance.commit() == {"commit": "abc", "modified": None}


def test_a_repository_around_a_copy_is_not_its_own(checkout):
    (checkout / ".git").rename(checkout.parent / ".git")
    git(checkout.parent, "status")
    found = provenance.commit()
    assert found["commit"] is None and "not a git repository" in found["commit_unknown"]


def test_variables_that_set_threads_or_kernels_are_left_out(monkeypatch):
    for name in ("TF_NUM_INTRAOP_THREADS", "NPROC", "ONEDNN_MAX_CPU_ISA", "DNNL_DEFAULT_FPMATH_MODE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    environment.own()
    left = {name for name in os.environ if name.startswith(("TF_NUM", "NPROC", "ONEDNN", "DNNL"))}
    assert not left and "XLA_FLAGS" in os.environ
