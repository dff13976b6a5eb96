"""The choice between direct convolutions and products by measurement."""

import pytest

from helpers import settings, small_dataset
from resode.base import provenance
from resode.training import convolutions, loop

WIDE = {"model": {"channels": [2, 128], "pool_after": [1]}, "training": {"convolution": "auto"}}


def chosen(runs, **training):
    given = settings(**{**WIDE, "training": {**WIDE["training"], **training}})
    return convolutions.chosen(given.model, given.training, runs)


def take(monkeypatch, **seconds):
    """Let each update take so many seconds, by its way."""
    monkeypatch.setattr(convolutions, "_update", lambda unit, batch: unit.convolution)
    monkeypatch.setattr(convolutions, "_seconds", seconds.get)


def test_units_take_the_way_that_is_faster_and_keep_it(tmp_path, monkeypatch, capsys):
    take(monkeypatch, direct=2, winograd=1)
    assert chosen(tmp_path) == ["unit2"]
    assert "Timing" in capsys.readouterr().out
    take(monkeypatch, direct=1, winograd=2)
    assert chosen(tmp_path) == ["unit2"]
    assert not capsys.readouterr().out
    # Of another batch nothing is known.
    assert chosen(tmp_path, batch_size=4) == []


def test_a_way_that_is_named_is_not_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(convolutions, "_faster", None)
    assert [chosen(tmp_path, convolution=way) for way in ("direct", "winograd")] == ["direct", "winograd"]
    narrow = settings(training={"convolution": "auto"})
    assert convolutions.chosen(narrow.model, narrow.training, tmp_path) == "auto"


@pytest.mark.jax("slow")
def test_both_ways_are_really_timed(monkeypatch):
    monkeypatch.setattr(convolutions, "_REPEATS", 1)
    given = settings(model={"channels": [2, 8], "pool_after": [1]})
    assert convolutions._faster(given.model, 2, ["unit2"]) in ([], ["unit2"])


@pytest.mark.jax("slow")
def test_a_training_goes_on_in_the_way_of_its_checkpoint(tmp_path, monkeypatch):
    def training(way, hardware=None):
        take(monkeypatch, **way)
        given = settings(model={"channels": [2, 128], "pool_after": [1]}, training={"batch_size": 8})
        one = loop._Run(small_dataset(), ("test", *tested), given, tmp_path / str(way["direct"]), None)
        if hardware:
            one._keep_convolutions({"hardware": hardware, "units_of_products": ["unit2"]})
        return loop.model.winograd_units(one.network)

    dataset = small_dataset()
    tested = dataset.test_images, dataset.test_labels
    assert training({"direct": 2, "winograd": 1}) == ["unit2"]
    (tmp_path / "convolutions.json").unlink()
    slow = {"direct": 1, "winograd": 2}
    assert training(slow) == []
    assert training(slow, provenance.hardware()) == ["unit2"]
    assert training(slow, "another machine") == []
