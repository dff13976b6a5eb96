"""Stages of a run: one after another, and beside one another."""

import subprocess
import threading

import pytest

from resode.base.errors import InputError, TimeOver
from resode.experiments import runs
from resode.pipeline import stages


@pytest.mark.parametrize(("status", "raised"), [(1, InputError), (stages.UNFINISHED, TimeOver)])
@pytest.mark.parametrize("lane", [0, 1])
def test_a_stage_that_stops_lets_no_further_one_begin(status, raised, lane, monkeypatch):
    """Nor one of those beside it, which ends first what it has begun."""
    begun, beside, stopped = [], threading.Event(), threading.Event()

    def run(command, env):
        begun.append(command[-1])
        if command[-1] == "stops":
            assert beside.wait(10)
            stopped.set()
            return subprocess.CompletedProcess(command, status)
        if command[-1] == "beside":
            # The next of its lane would begin after the other lane has stopped.
            beside.set()
            assert stopped.wait(10)
            threading.Event().wait(0.2)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    lanes = [["stops", "never"], ["beside", "never"]]
    with pytest.raises(raised):
        runs.run_stages(lanes[lane], {}, lanes[1 - lane])
    assert sorted(begun) == ["beside", "stops"]
