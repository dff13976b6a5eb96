"""Schedule, resuming and failures of training."""

import errno
import json
import os

import numpy as np
import pytest

from helpers import files, settings, small_dataset, train
from resode.base.errors import STOP_AT, InputError, TimeOver
from resode.config import parameters
from resode.training import checkpoint, compiling, identity, loop, schedule


def test_the_schedule_of_params_yaml_is_the_posts():
    given = parameters.load().training
    assert (schedule.updates(given), schedule.drops(given)) == (512_000, [256_000, 384_000])
    assert schedule.updates(given) // (50_000 // given.batch_size) == 327
    # And that of the notebook drops after epochs 109 and 218.
    given = parameters.load({"training": {"reference_drops": [21282.25, 42564.5]}}).training
    assert schedule.drops(given) == [109 * 1562, 218 * 1562]


def test_learning_rate_drops_after_the_given_number_of_updates():
    rate = compiling.learning_rate(parameters.load().training, 512_000)
    # Keras asks with the number of finished updates.
    rates = [float(rate(done)) for done in (0, 255_999, 256_000, 383_999, 384_000, 511_999)]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-6)


LINEAR = {"schedule": "linear", "reference_drops": []}


def test_linear_rate_rises_to_its_peak_and_falls_to_zero():
    given = parameters.load({"training": LINEAR | {"learning_rate": 0.2, "warmup": 0.25}}).training
    # Of 20 updates five rise; after the last it would be zero.
    rate = compiling.learning_rate(given, 20)
    rates = [float(rate(done)) for done in (0, 1, 4, 5, 6, 19, 20)]
    np.testing.assert_allclose(rates, [0, 0.04, 0.16, 0.2, 0.2 * 14 / 15, 0.2 / 15, 0], rtol=1e-5, atol=1e-9)
    assert schedule.drops(given) == []


def test_linear_schedule_spans_the_whole_epochs_and_stands_in_the_history(tmp_path):
    # 25 scheduled updates are 2 epochs of 10; the last update of an epoch is the one with so many before it.
    train(tmp_path, training=LINEAR | {"reference_iterations": 25.0})
    rates = [float(line.split(",")[2]) for line in files(tmp_path)[loop.HISTORY].decode().splitlines()[1:]]
    np.testing.assert_allclose(rates, [0.05 * (1 - 9 / 20) / 0.85, 0.05 * (1 - 19 / 20) / 0.85], rtol=1e-5)


def test_linear_trainings_of_other_lengths_have_nothing_in_common():
    def inputs(**training):
        return identity.all_inputs(small_dataset(), settings(training=LINEAR | training))

    ours = inputs()
    assert checkpoint.agree(ours, inputs(), 20)
    # Not the first update either: its rate is zero, but the random numbers of a few are a poor reason to go on from it.
    for training in ({"reference_iterations": 40.0}, {"warmup": 0.3}, {"schedule": "drops"}):
        assert not checkpoint.agree(ours, inputs(**training), 1)


def test_checkpoints_from_before_there_was_a_choice_of_optimizer_or_levels_are_gone_on_from():
    ours = identity.all_inputs(small_dataset(), settings())
    theirs = json.loads(json.dumps(ours))
    for name in ("schedule", "warmup", "optimizer", "nesterov", "muon_learning_rate", "muon_momentum", "muon_decay"):
        del theirs["params"]["training"][name]
    del theirs["params"]["training"]["label_smoothing"], theirs["params"]["training"]["unroll_schedule"]
    del theirs["params"]["augmentation"]["crop_edges"]
    assert checkpoint.agree(ours, theirs, 20)
    smoothed = identity.all_inputs(small_dataset(), settings(training={"label_smoothing": 0.1}))
    assert not checkpoint.agree(smoothed, theirs, 20)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training": {"schedule": "linear"}}, r"reference_drops \[15.0\] are of schedule drops; with schedule linear"),
        ({"training": LINEAR | {"warmup": 0.0}}, "training.warmup = 0.0: input should be greater than 0"),
        ({"training": {"optimizer": "adam"}}, "training.optimizer = 'adam': input should be 'sgd' or 'muon'"),
        ({"training": {"muon_momentum": 1.0}}, "training.muon_momentum = 1.0: input should be less than 1"),
        ({"training": {"label_smoothing": 1.0}}, "training.label_smoothing = 1.0: input should be less than 1"),
        (
            {"training": {"optimizer": "muon"}, "model": {"architecture": "resnet20"}},
            "training.optimizer muon trains the kernels of units; resnet20 takes sgd",
        ),
        ({"augmentation": {"crop_edges": "reflect"}}, "crop_edges reflect needs a crop; shifts repeat the edge pixels"),
    ],
)
def test_wrong_schedules_optimizers_and_crops_are_refused(changes, words):
    with pytest.raises(InputError, match=words) as caught:
        settings(**changes)
    assert "\n" not in str(caught.value)


def test_history_has_a_row_an_epoch(uninterrupted):
    lines = files(uninterrupted)[loop.HISTORY].decode().splitlines()
    assert lines[0] == "epoch,updates,learning_rate,train_loss,train_accuracy,test_loss,test_accuracy"
    assert [line.split(",")[:3] for line in lines[1:]] == [["1", "10", "0.05"], ["2", "20", "0.005"]]
    first, last = (float(line.split(",")[3]) for line in lines[1:])
    assert last < first


@pytest.mark.jax("slow")
def test_equal_runs_give_equal_bytes(uninterrupted, tmp_path):
    train(tmp_path)
    assert files(tmp_path) == files(uninterrupted)


def test_another_seed_begins_with_other_weights():
    chosen = settings()
    first, other = (compiling.compiled(chosen.model, chosen.training, one, 2).get_weights()[0] for one in (0, 1))
    assert (first != other).any()


@pytest.mark.jax
def test_weights_are_those_that_the_history_was_measured_with(uninterrupted):
    network = compiling.compiled(settings().model, settings().training, seed=5, classes=2)
    compiling.load_weights(network, uninterrupted / "results")
    dataset = small_dataset()
    images = loop.augmentation.normalise(dataset.test_images, loop.augmentation.mean_image(dataset.train_images))
    found = network.evaluate(images, dataset.test_labels, verbose=0, return_dict=True)
    last = files(uninterrupted)[loop.HISTORY].decode().splitlines()[-1].split(",")
    assert found["loss"] == pytest.approx(float(last[5]), abs=1e-4)


@pytest.mark.slow
@pytest.mark.jax
def test_killed_trainings_resume_to_the_same_bytes(tmp_path):
    import kills

    found = kills.compare(2, tmp_path)
    assert [(one["equal"], one["resumes"]) for one in found] == 2 * [(True, 1)]
    assert found[1]["writing"]


def test_torn_checkpoint_is_noticed_and_the_one_before_it_used(uninterrupted, finished, capsys):
    older, newest = sorted(finished.glob("runs/*/*.checkpoint"))
    newest.write_bytes(newest.read_bytes()[:-100])
    train(finished)
    said = capsys.readouterr().out
    cut = "cut short, or no file of the safetensors format"
    assert f"{newest.name} is damaged ({cut}); using the one before it." in said
    assert f"Resuming after update {int(older.stem)} of 20" in said
    assert files(finished) == files(uninterrupted)


def test_without_an_intact_checkpoint_training_starts_afresh_and_keeps_new_ones(uninterrupted, finished, capsys):
    (folder,) = (finished / "runs").iterdir()
    for path in folder.glob("*.checkpoint"):
        path.unlink()
    for name in ("000000998", "000000999"):
        (folder / f"{name}.checkpoint").write_bytes(b"")
    train(finished)
    cut = "cut short, or no file of the safetensors format"
    said = f"000000998.checkpoint is damaged ({cut}); there is no other; starting afresh."
    assert said in capsys.readouterr().out
    assert sorted(path.stem[-2:] for path in folder.glob("*.checkpoint")) == ["15", "20"]
    assert files(finished) == files(uninterrupted)


def test_other_parameters_start_afresh_and_say_why(finished, capsys, monkeypatch):
    monkeypatch.setenv(STOP_AT, "0")
    with pytest.raises(TimeOver, match="after update 0 of 20"):
        train(finished, model={"h": 0.2})
    assert "Starting afresh: since the last training, params.model.h changed." in capsys.readouterr().out


def test_loss_that_is_not_finite_names_epoch_and_h_and_keeps_the_checkpoint(tmp_path):
    with pytest.raises(InputError, match=r"not finite in epoch 1 with model.h = 1e\+30"):
        train(tmp_path, model={"h": 1e30})
    assert not (tmp_path / "results").exists()
    assert not list(tmp_path.glob("runs/*/*.checkpoint"))


def test_file_system_without_locks_is_one_line(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(checkpoint.fcntl, "flock", unsupported)
    with pytest.raises(InputError, match="has no locks .*; make .*/.runs a link"), checkpoint.locked(tmp_path):
        pass


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reference_batch_size": 100, "batch_size": 100}, "batch_size = 100: noise has only 81 images"),
        ({"reference_iterations": 9.0, "reference_drops": []}, "less than one epoch of 10"),
    ],
)
def test_schedule_that_does_not_fit_the_data(change, words, tmp_path):
    with pytest.raises(InputError, match=words):
        train(tmp_path, training=change)
