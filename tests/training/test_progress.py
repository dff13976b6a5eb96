"""What a person sees of a training: the line, the history and the curves that grow with it."""

import io
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from helpers import train
from resode.base.errors import STOP_AT, TimeOver
from resode.training import engine, loop, progress
from resode.training import tensorboard as curves

METRICS = {"loss": 1.5, "accuracy": 0.25}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets, in a list."""
    now = [100.0]
    for name in ("DVC_STAGE", "MAKELEVEL", progress.COLUMNS):
        monkeypatch.delenv(name, raising=False)
    return now


def test_lines_in_a_pipe_come_every_ten_seconds_and_later_every_minute(clock, capsys):
    shown, told = [], progress.Progress(epochs=3, per_epoch=200, seconds=lambda: clock[0])
    for second in range(1, 300):
        clock[0] = 100.0 + second
        told.begin(second)
        if told.due():
            shown.append(second)
            told.show_updates(second, METRICS)
    assert shown == [10, 20, 30, 40, 50, 60, 120, 180, 240]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(shown)
    # 60 of 600 updates, a second each.
    assert lines[5].startswith("epoch 1/3 30%, loss 1.5000, accuracy 0.2500, 9 min left, ends ")
    assert lines[5].endswith(", 1000.0 ms an update") and lines[6].startswith("epoch 1/3 60%")


def test_a_line_on_a_terminal_moves_and_is_no_wider(clock, monkeypatch, capsys):
    monkeypatch.setenv(progress.COLUMNS, "60")
    told = progress.Progress(epochs=3, per_epoch=10, seconds=lambda: clock[0])
    for update in (1, 2, 12):
        clock[0] += 1
        told.begin(update)
        assert told.due()
        told.show_updates(update, METRICS)
    told.show_test(20, 0.5)
    told.end()
    written = capsys.readouterr().out
    assert written.count("\n") == 1 and written.endswith("\n")
    lines = written.rstrip("\n").split("\r")[1:]
    assert [line[:14] for line in lines] == ["epoch 1/3 10%,", "epoch 1/3 20%,", "epoch 2/3 20%,", "epoch 2/3 test"]
    assert {len(line) for line in lines} == {59}


@pytest.mark.parametrize(("name", "moves"), [("OTHER", True), ("DVC_STAGE", False), ("MAKELEVEL", False)])
def test_no_line_moves_under_dvc_and_make(clock, name, moves, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv(name, "1")
    assert bool(progress.columns()) == moves


def test_the_tests_of_the_epochs_that_come_belong_to_the_time_left(clock, capsys):
    told = progress.Progress(epochs=2, per_epoch=10, seconds=lambda: clock[0])
    # A test before the measurement begins is no part of it.
    clock[0] += 50
    told.add_test({"epoch": 0, "test_accuracy": 0.1}, "test", 50)
    told.begin(1)
    clock[0] += 9
    told.show_updates(10, METRICS)
    clock[0] += 100
    told.add_test({"epoch": 1, "test_accuracy": 0.5}, "test", 100)
    told.show_updates(10, METRICS)
    before, after = capsys.readouterr().out.splitlines()
    assert ", 60 s left" in before and ", 1000.0 ms an update" in before
    assert ", 2 min left" in after and after.endswith("1000.0 ms an update, test accuracy 0.5000 after epoch 1")


@pytest.mark.slow
@pytest.mark.jax
def test_metrics_are_fetched_when_they_are_shown(tmp_path, monkeypatch):
    fetched = []
    original = engine.Engine.metrics
    monkeypatch.setattr(engine.Engine, "metrics", lambda self: fetched.append(1) or original(self))
    monkeypatch.setattr(progress.Progress, "due", lambda self: False)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 1e9)
    train(tmp_path)
    # For each of two epochs, and the checkpoints of the drop and the end; not for each of 20 updates.
    assert len(fetched) == 4


@pytest.mark.slow
@pytest.mark.jax
def test_history_and_curves_grow_and_a_resumed_training_draws_no_epoch_twice(tmp_path, monkeypatch):
    def told():
        (folder,) = (tmp_path / "runs").iterdir()
        events = EventAccumulator(str(folder / "tensorboard"))
        events.Reload()
        scalars = {
            name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]
        }
        return (folder / loop.HISTORY).read_bytes(), scalars

    original = loop._Run._save

    def killed(self):
        if self.history:
            raise KeyboardInterrupt
        original(self)

    # The last checkpoint is of an update before the first epoch's end.
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(loop._Run, "_save", killed)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path)
    history, scalars = told()
    assert history.count(b"\n") == 2 and [step for step, _ in scalars["train_loss"]] == [1]
    monkeypatch.undo()
    monkeypatch.setenv(STOP_AT, "0")
    with pytest.raises(TimeOver):
        train(tmp_path)
    # As far as the checkpoint.
    (folder,) = (tmp_path / "runs").iterdir()
    assert not (folder / loop.HISTORY).exists()
    monkeypatch.undo()
    train(tmp_path)
    history, scalars = told()
    assert history == (tmp_path / "results" / loop.HISTORY).read_bytes()
    header, *rows = (line.split(",") for line in history.decode().splitlines())
    assert sorted(scalars) == sorted(header[1:])
    for column, name in enumerate(header[1:], start=1):
        expected = [(int(row[0]), pytest.approx(float(row[column]), rel=1e-6)) for row in rows]
        assert scalars[name] == expected


def test_epochs_are_not_drawn_twice_after_a_resume_without_the_data_server(tmp_path, monkeypatch):
    times = iter(range(100))
    monkeypatch.setattr(curves.time, "time", lambda: 1000.0 + next(times))
    rows = [{"epoch": epoch, "loss": 1.0 / epoch} for epoch in (1, 2, 3)]
    curves.Curves(tmp_path, []).add(*rows[:2])
    # As TensorBoard's own reader, which goes on to the next file.
    shown = EventAccumulator(str(tmp_path))
    shown.Reload()
    curves.Curves(tmp_path, rows[:2]).add(rows[2])
    shown.Reload()
    assert [event.step for event in shown.Scalars("loss")] == [1, 2, 3]


def test_time_in_which_the_process_was_suspended_is_left_out(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    clock = progress.Clock()
    begin = clock.seconds()
    for seconds in (1, 1, 3600, 1, 5):
        now[0] += seconds
        clock.seconds()
    # It slept one of the 3,600 seconds on its own account.
    assert clock.seconds() - begin == 9
