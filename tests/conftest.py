"""Fixtures of tests in several modules."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from resode.base import environment, paths
from resode.data import records

# As the command line does, before a test module copies the environment for its processes.
environment.own()
# Seconds of a test that is not marked `slow`.
QUICK = 3


def pytest_configure(config):
    if cache := getattr(config, "cache", None):
        # Each training builds its program anew; XLA compiles equal ones once.
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(cache.mkdir("jax"))
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"


def pytest_itemcollected(item):
    if os.environ.get("KERAS_BACKEND") == "jax" and any(mark.args == ("slow",) for mark in item.iter_markers("jax")):
        item.add_marker("slow")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    before = sum(os.times()[:4])
    result = yield
    spent = sum(os.times()[:4]) - before
    # CPU time, with processes that ended: others' work does not count. The same work takes up to three times as much of it on a slow
    # machine, or beside other tests, whose threads share the cores. XLA compiles for seconds.
    most = QUICK * max(3, os.getloadavg()[0] / os.cpu_count())
    slow = pyfuncitem.get_closest_marker("slow") or os.environ.get("KERAS_BACKEND") == "jax"
    if spent > most and not slow:
        pytest.fail(f"took {spent:.1f} s of CPU time: make it quicker, or mark it slow (see CONTRIBUTING.md)", False)
    return result


@pytest.fixture(autouse=True)
def environment():
    """Undo what a test did to the environment: commands called in this process change it."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def refused(capsys):
    """Runs a command that has to fail, and returns the one line that it says, without "error: "."""
    from resode import cli

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert cli.main([str(one) for one in arguments]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    return run


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory):
    """The folder of a small training that nothing stopped."""
    # Not every test needs TensorFlow or JAX, whose import takes seconds.
    import helpers

    folder = tmp_path_factory.mktemp("uninterrupted")
    helpers.train(folder)
    return folder


@pytest.fixture
def finished(uninterrupted, tmp_path):
    """A copy of `uninterrupted` that a test may change."""
    return Path(shutil.copytree(uninterrupted, tmp_path / "finished"))


@pytest.fixture
def precision():
    """Sets the precision of layers that are made from then on, for this test."""
    import keras

    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.fixture
def noise(tmp_path, monkeypatch):
    """A data set of noise under the name of the digits, in a folder of data of its own."""
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    random = np.random.default_rng(0)
    content = {
        name: records.encode(random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), np.arange(count) % 2)
        for name, count in (("data_batch_1.bin", 16), (records.TEST_FILE, 8))
    }
    described = {"title": "Noise", "class_names": ["a", "b"], "source": "made here", "published": True}
    records.write(paths.dataset("digits"), content, name="digits", **described)


@pytest.fixture
def clone(tmp_path):
    """A clone of the repository as it stands, changes that are not committed included."""
    folder = tmp_path / "clone"
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run([*git, "clone", "--quiet", paths.ROOT, folder], check=True)
    changed = subprocess.run(
        ["git", "ls-files", "--modified", "--others", "--exclude-standard"],
        cwd=paths.ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    for name in changed:
        if (paths.ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((paths.ROOT / name).read_bytes())
    subprocess.run([*git, "add", "--all"], cwd=folder, check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "as it stands"], cwd=folder, check=True)
    return folder
