"""Training from few steps to many: the finer network, its weights and momentum, and a training stopped on every level."""

import json

import numpy as np
import pytest

from helpers import SMALL, files, settings, small_dataset, train
from resode.base.errors import InputError, TimeOver
from resode.config import parameters
from resode.training import checkpoint, identity, loop, prolongation, schedule
from units import array, built, images

# Steps change in the middle of both epochs of 10 updates, before the drop after 15.
SHARED = {"channels": [4], "pool_after": [], "unroll_length": 4}
FREE = SHARED | {"block": "antisymmetric", "weights_in_time": "free"}

FAST = {"schedule": "linear", "reference_drops": [], "optimizer": "muon", "nesterov": True, "label_smoothing": 0.1}


def levels(model=SHARED, **training):
    schedule = {"unroll_schedule": [[1, 0.0], [2, 5.0], [4, 12.0]]}
    return {"training": SMALL["training"] | schedule | training, "model": SMALL["model"] | model}


@pytest.mark.parametrize(
    ("block", "integrator", "weights_in_time", "order"),
    [
        pytest.param("hamiltonian", "euler", "shared", 1, marks=pytest.mark.slow),
        ("hamiltonian", "euler", "free", 1),
        pytest.param("two_layer_hamiltonian", "symplectic_euler", "free", 1, marks=pytest.mark.slow),
        pytest.param("residual", "euler", "shared", 1, marks=pytest.mark.slow),
        pytest.param("linear_multistep", "euler", "shared", 1, marks=pytest.mark.slow),
        ("linear_multistep", "euler", "free", 1),
        # Of order 2; free weights are taken at the beginnings of steps, which is as exact for leapfrog alone.
        ("antisymmetric", "midpoint", "shared", 2),
        pytest.param("hamiltonian", "verlet", "free", 1, marks=pytest.mark.slow),
        ("second_order", "leapfrog", "free", 2),
    ],
)
@pytest.mark.jax("slow")
def test_twice_the_steps_of_half_the_size_are_near(block, integrator, weights_in_time, order):
    """Time 1, from 4 steps on: the distance of n and 2 n steps falls as a power of h when h is halved three times."""
    made = dict(integrator=integrator, weights_in_time=weights_in_time)
    x, steps = images(2, 6, 5, 4), 4
    layer = built(block, h=1 / steps, unroll_length=steps, **made)
    distances = []
    for _ in range(4):
        finer = built(block, h=layer.h / 2, unroll_length=2 * steps, **made)
        values = {weight.name: array(weight) for weight in layer.weights}
        found = prolongation.prolonged(values, {weight.name: weight.shape for weight in finer.weights}, steps)
        finer.set_weights([found[weight.name] for weight in finer.weights])
        distances.append(np.abs(array(finer(x)) - array(layer(x))).max())
        layer, steps = finer, 2 * steps
    rates = np.log2(np.divide(distances[:-1], distances[1:]))
    # While steps are long it may fall faster.
    assert np.all(rates > order - 0.35) and rates[-1] < order + 0.35, (distances, rates)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_free_weights_and_momentum_are_interpolated_in_time(steps):
    random = np.random.default_rng(steps)
    old, new = np.arange(steps), np.arange(2 * steps) / 2
    values = {
        "unit1/kernel": random.normal(size=(steps, 3, 3, 2, 2)).astype("float32"),
        "sgd/unit1_kernel_momentum": random.normal(size=(steps, 3, 3, 2, 2)).astype("float32"),
        "sgd/stem_kernel_momentum": random.normal(size=(7, 7)).astype("float32"),
        "sgd/iteration": np.int64(5),
    }
    shapes = {name: value.shape for name, value in values.items()}
    for name in ("unit1/kernel", "sgd/unit1_kernel_momentum"):
        shapes[name] = (2 * steps, 3, 3, 2, 2)
    found = prolongation.prolonged(values, shapes, steps)
    for name, value in values.items():
        assert found[name].dtype == value.dtype and found[name].shape == shapes[name]
        if name.endswith(("unit1/kernel", "unit1_kernel_momentum")):
            for index in np.ndindex(3, 3, 2, 2):
                # Behind its last point it keeps the value there.
                expected = np.interp(new, old, value[:, *index])
                np.testing.assert_allclose(found[name][:, *index], expected, rtol=1e-6, atol=1e-7)
        else:
            np.testing.assert_array_equal(found[name], value)


def test_the_multistep_factor_has_none_for_the_first_step():
    found = prolongation.prolonged({"k": np.array([1.0, 3.0, 4.0])}, {"k": (7,)}, 4)["k"]
    # Known at steps 1, 2, 3 of 4, wanted at 1/2, 1, …, 7/2.
    np.testing.assert_allclose(found, np.interp([0.5, 1, 1.5, 2, 2.5, 3, 3.5], [1, 2, 3], [1, 3, 4]))


def test_coarser_networks_take_larger_steps_over_the_same_time():
    model = settings(**levels()).model
    found = [prolongation.coarser(model, steps) for steps in (1, 2, 4)]
    assert [(one.unroll_length, one.h) for one in found] == [(1, 0.6), (2, 0.3), (4, 0.15)]
    assert found[-1] == model


def test_levels_are_counted_as_drops_are():
    given = parameters.load({"training": {"unroll_schedule": [[1, 0.0], [2, 32000.0], [4, 48000.0]]}}).training
    assert schedule.levels(given, 512_000) == [(0, 1), (256_000, 2), (384_000, 4)]
    assert schedule.levels(given, 256_000) == [(0, 1)]
    assert schedule.levels(parameters.load().training, 512_000) == []


@pytest.mark.parametrize(
    "chosen", [levels(), levels(FREE), levels(FREE, **FAST)], ids=["shared", "free", "free by Muon"]
)
@pytest.mark.slow
@pytest.mark.jax
def test_training_stopped_on_every_level_and_at_every_change_ends_with_the_same_bytes(chosen, tmp_path, monkeypatch):
    train(tmp_path / "whole", **chosen)
    # Each process is stopped when so many updates are done.
    for stop in (3, 5, 8, 14):
        with monkeypatch.context() as patch:
            told = lambda self, stop=stop: TimeOver(f"at {self.update}") if self.update >= stop else None
            patch.setattr(loop._Run, "_reason_to_stop", told)
            with pytest.raises(TimeOver, match=f"at {stop}"):
                train(tmp_path / "pieces", **chosen)
    train(tmp_path / "pieces", **chosen)
    assert files(tmp_path / "pieces") == files(tmp_path / "whole")
    found = json.loads((tmp_path / "pieces" / "results" / loop.PROVENANCE).read_text(encoding="utf-8"))
    assert found["resumes"] == 4


@pytest.mark.slow
@pytest.mark.jax
def test_each_level_has_its_steps_and_goes_on_from_the_weights_and_momentum_before(tmp_path, monkeypatch):
    built, before, after, measured = [], [], [], []
    build, refine, begin = loop._Run._build, loop._Run._refine, loop.Progress.begin

    def seen(self, unroll_length):
        build(self, unroll_length)
        built.append((self.network.get_layer("unit1").h, self.network.get_layer("unit1").unroll_length))

    def refined(self):
        before.append((self.update, self._values()))
        refine(self)
        after.append(self._values())

    def begun(self, update):
        begin(self, update)
        measured.append(self._first[0])

    monkeypatch.setattr(loop.Progress, "begin", begun)
    monkeypatch.setattr(loop._Run, "_build", seen)
    monkeypatch.setattr(loop._Run, "_refine", refined)
    train(tmp_path, **levels(FREE))
    assert built == [(0.6, 1), (0.3, 2), (0.15, 4)]
    assert [update for update, _ in before] == [5, 12]
    # The speed of each level is measured from its first update on.
    assert measured == 5 * [1] + 7 * [6] + 8 * [13]
    for (update, old), new in zip(before, after, strict=True):
        assert old.keys() == new.keys() and new["sgd/iteration"] == update
        # Those of the partial epoch too.
        grown = {name for name in old if old[name].shape != new[name].shape}
        assert grown == {name for name in old if "unit" in name}
        assert any("momentum" in name for name in grown)
        for name in old:
            np.testing.assert_array_equal(new[name][::2] if name in grown else new[name], old[name])


@pytest.mark.slow
def test_checkpoints_at_changes_stay_and_serve_another_schedule_up_to_there(tmp_path, capsys):
    train(tmp_path / "on", **levels())
    kept = [path.stem[-2:] for path in sorted(tmp_path.glob("on/runs/*/*.checkpoint"))]
    assert kept == ["05", "12", "15", "20"]
    later = levels(unroll_schedule=[[1, 0.0], [2, 5.0], [4, 16.0]])
    capsys.readouterr()
    train(tmp_path / "on", **later)
    assert "000000012.checkpoint, of a run whose schedule is the same up to there." in capsys.readouterr().out
    train(tmp_path / "scratch", **later)
    assert files(tmp_path / "on") == files(tmp_path / "scratch")


def test_a_training_in_levels_agrees_with_itself_alone():
    ours = identity.all_inputs(small_dataset(), settings(**levels()))
    assert checkpoint.agree(ours, json.loads(json.dumps(ours)), 20)
    assert not checkpoint.agree(ours, identity.all_inputs(small_dataset(), settings(model=SHARED)), 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unroll_schedule": [[1, 0.0], [3, 5.0]]}, "training: unroll_schedule: 3 is not twice 1"),
        ({"unroll_schedule": [[1, 0.0], [2, 5.0]]}, "ends with unroll length 2; it must end with model.unroll_length 4"),
        ({"unroll_schedule": [[1, 0.0], [2, 5.0], [4, 5.0]]}, "levels begin at 0, 5, 5; they must begin at 0, increase"),
        ({"unroll_schedule": [[2, 0.0], [4, 20.0]]}, "lie before reference_iterations 20"),
        ({"unroll_schedule": [[2, 0.0], [4, 5.3]]}, "unroll_schedule: 5.3 x 8 / 8 is not a whole number of updates"),
        ({"unroll_schedule": [[2.0, 0.0], [4, 5.0]]}, "training.unroll_schedule.0.0 = 2.0: input should be a valid integer"),
        ({"model": SHARED | {"architecture": "resnet20"}}, "needs units; resnet20 has no steps to be halved"),
        ({"model": SHARED | {"block": "linear_multistep"}}, "block linear_multistep needs an unroll length of at least 2"),
        ({"unroll_schedule": [2, 4]}, "training.unroll_schedule.0 = 2: input should be a valid tuple"),
    ],
)  # fmt: skip
def test_wrong_schedules_and_networks_without_such_steps_are_refused(change, words):
    with pytest.raises(InputError, match=words) as caught:
        settings(**levels(**change))
    assert "\n" not in str(caught.value)


def test_a_level_that_no_whole_epoch_reaches_is_refused(tmp_path):
    change = levels(reference_iterations=25.0, unroll_schedule=[[1, 0.0], [2, 5.0], [4, 22.0]])
    with pytest.raises(InputError, match="last level begins after the last whole epoch, which ends at update 20"):
        train(tmp_path, **change)
