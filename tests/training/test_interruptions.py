"""Training when the disk is full, another process at work, or its parent gone."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import ENVIRONMENT, files, settings, small_dataset, train, wait_for
from resode.base.errors import STOP_AT, InputError, TimeOver
from resode.training import loop

MANY = {"reference_iterations": 1e5, "reference_drops": []}
LONG = f"""
import sys
from pathlib import Path
import helpers as t
from resode.base.errors import TimeOver
from resode.training import progress
t.loop.CHECKPOINT_SECONDS = 1e9
progress._FIRST = 0
try:
    t.loop.train(t.small_dataset(), t.settings(training={MANY}), *map(Path, sys.argv[1:]))
except TimeOver as error:
    sys.exit(f"error: {{error}}")
"""


def command(folder: Path) -> list:
    """A long training without checkpoints, whose first sign of life is the time that an update takes."""
    return [sys.executable, "-c", LONG, folder / "results", folder / "runs"]


@pytest.mark.slow
def test_full_disk_is_one_line_and_keeps_the_last_checkpoint(uninterrupted, tmp_path, monkeypatch):
    left = iter(range(12))

    def full(descriptor):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="cannot write .*: No space left on device; free space"):
        train(tmp_path)
    kept = [path.name for path in tmp_path.glob("runs/*/*") if "checkpoint" in path.name]
    assert len(kept) == 2 and not any(name.startswith(".") for name in kept) and not (tmp_path / "results").exists()
    monkeypatch.undo()
    train(tmp_path)
    assert files(tmp_path) == files(uninterrupted)


@pytest.mark.slow
def test_training_whose_parent_is_gone_saves_and_stops(tmp_path):
    parent = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    log = tmp_path / "log"
    with log.open("w", encoding="utf-8") as output:
        both = [sys.executable, "-c", parent, *command(tmp_path)]
        process = subprocess.Popen(both, env=ENVIRONMENT, stdout=output, stderr=output)
    wait_for(lambda: "ms an update" in log.read_text(encoding="utf-8"), process)
    process.kill()
    process.wait()
    wait_for(lambda: "the process that started this training is gone" in log.read_text(encoding="utf-8"))
    assert list(tmp_path.glob("runs/*/*.checkpoint"))


def test_stage_ends_with_the_command_that_started_it(tmp_path):
    stage = "from resode.pipeline import parents; parents.stop_when_gone(0.05); import time; print('on', flush=True); time.sleep(60)"
    outer = f'{sys.executable} -c "{stage}" & echo $! > pid; wait'
    log = tmp_path / "log"
    with log.open("w", encoding="utf-8") as output:
        how = {"cwd": tmp_path, "env": ENVIRONMENT, "stdout": output, "stderr": output, "start_new_session": True}
        shell = subprocess.Popen(["sh", "-c", outer], **how)
    wait_for(lambda: "on" in log.read_text(encoding="utf-8"), shell)
    shell.send_signal(signal.SIGKILL)
    shell.wait()
    wait_for(lambda: "the command that started this stage is gone" in log.read_text(encoding="utf-8"))
    pid = int((tmp_path / "pid").read_text(encoding="utf-8"))
    status = Path(f"/proc/{pid}/status")
    wait_for(lambda: not status.exists() or "Z" in status.read_text(encoding="utf-8").split("State:")[1][:4])


@pytest.mark.slow
@pytest.mark.jax
def test_time_that_is_over_leaves_a_checkpoint_and_the_same_bytes_in_the_end(uninterrupted, tmp_path, monkeypatch):
    monkeypatch.setenv(STOP_AT, "0")
    with pytest.raises(TimeOver, match="after update 0 of 20"):
        train(tmp_path)
    assert list(tmp_path.glob("runs/*/*.checkpoint")) and not (tmp_path / "results").exists()
    monkeypatch.delenv(STOP_AT)
    train(tmp_path)
    assert files(tmp_path) == files(uninterrupted)


@pytest.mark.slow
def test_second_process_is_refused_and_sigterm_saves_the_first_and_ends_it_with_one_line(tmp_path):
    runs, log = tmp_path / "runs", tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(command(tmp_path), env=ENVIRONMENT, stdout=output, stderr=output)
    try:
        wait_for(lambda: "ms an update" in log.read_text(), process)
        with pytest.raises(InputError, match=f"the same already runs as process {process.pid}"):
            loop.train(small_dataset(), settings(training=MANY), tmp_path / "second", runs)
        process.terminate()
        assert process.wait(30) == 1
    finally:
        process.kill()
    last = log.read_text().splitlines()[-1]
    (path,) = runs.glob("*/*.checkpoint")
    assert last == f"error: stopped after update {int(path.stem):,} of 100,000; run the same command to continue"
    assert int(path.stem) > 0


PASSES_ON = """
import subprocess, sys
from resode.base import stopping
with stopping.passed_on():
    subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
    raise ValueError("told, the next stage must not begin")
"""
NOTICES = """
from resode.base import stopping
with stopping.noticed() as told:
    print("on", flush=True)
    while not told.wait(0.01): pass
print("saved", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize(("child", "said"), [(NOTICES, "on\nsaved\n"), ("print('on', flush=True); input()", "on\n")])
def test_signals_of_schedulers_are_passed_on_to_the_child_and_wait_for_it(child, said, number):
    process = subprocess.Popen(
        [sys.executable, "-c", PASSES_ON, child], env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "on\n"
    process.send_signal(number)
    written, errors = process.communicate(timeout=30)
    assert ("on\n" + written, process.returncode) == (said, 1)
    assert errors.splitlines()[-1] == "resode.base.errors.TimeOver: stopped; run the same command to continue"


@pytest.mark.jax
def test_sigterm_in_the_middle_of_an_epochs_test_resumes_to_the_same_bytes(uninterrupted, tmp_path, monkeypatch):
    class Told:
        looks = 0

        def is_set(self):
            # Looked at before each of the ten updates of the epoch, before its test and after the test's batch.
            Told.looks += 1
            return Told.looks > 11

    monkeypatch.setattr(loop.stopping, "noticed", lambda: contextlib.nullcontext(Told()))
    with pytest.raises(TimeOver, match="after update 10 of 20"):
        train(tmp_path)
    monkeypatch.undo()
    train(tmp_path)
    assert files(tmp_path) == files(uninterrupted)
