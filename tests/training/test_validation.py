"""The validation split, and what training, evaluation and report make of it."""

import json
from pathlib import Path

import numpy as np
import pytest

from helpers import settings, small_dataset
from resode.analysis import evaluation
from resode.base.errors import InputError
from resode.training import augmentation, compiling, loop, outputs, validation


def test_each_class_gives_its_share_and_the_rest_keeps_its_order():
    dataset = small_dataset(samples=81)
    rest, images, labels = validation.split(dataset, 0.25, seed=0)
    # 41 and 40 images: ⌊10.25 + ½⌋ and 10.
    assert np.bincount(labels).tolist() == [10, 10]
    assert len(rest.train_images) == 61 and images.shape == (20, 32, 32, 3)
    whole = {image.tobytes(): number for number, image in enumerate(dataset.train_images)}
    kept, held_out = ([whole[image.tobytes()] for image in part] for part in (rest.train_images, images))
    assert sorted(kept + held_out) == list(range(81))
    assert kept == sorted(kept) and held_out == sorted(held_out)
    np.testing.assert_array_equal(labels, dataset.train_labels[held_out])
    np.testing.assert_array_equal(rest.train_labels, dataset.train_labels[kept])
    assert rest.test_images is dataset.test_images
    again, other = (validation.split(dataset, 0.25, seed)[1] for seed in (0, 1))
    assert (again == images).all() and (other != images).any()


@pytest.mark.parametrize(
    ("fraction", "words"),
    [(0.001, "0.001 of 81 images is no image"), (0.99, "leaves no training image of class plain")],
)
def test_a_fraction_that_leaves_nothing_is_refused(fraction, words):
    with pytest.raises(InputError, match=words):
        validation.split(small_dataset(), fraction, seed=0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("validation")
    dataset = small_dataset()
    # The test images are not looked at: these could not be.
    blind = loop.Dataset(**{**vars(dataset), "test_images": None, "test_labels": None})
    loop.train(blind, settings(data={"validation_fraction": 0.25}), folder / "results", folder / "runs")
    return folder / "results"


@pytest.mark.jax("slow")
def test_training_sees_the_rest_alone_and_tests_on_what_is_held_out(trained):
    rest, images, labels = validation.split(small_dataset(), 0.25, seed=0)
    history = evaluation.read_history(trained / loop.HISTORY)
    # 61 images: 7 updates of 8 an epoch, 20 // 7 epochs.
    assert [row["updates"] for row in history] == [7, 14]
    assert list(history[0])[-2:] == ["validation_loss", "validation_accuracy"]
    assert json.loads((trained / loop.METRICS).read_text(encoding="utf-8")) == history[-1]
    np.testing.assert_array_equal(outputs.mean_image(trained), augmentation.mean_image(rest.train_images))
    network = compiling.compiled(settings().model, settings().training, seed=5, classes=2)
    compiling.load_weights(network, trained)
    normalised = augmentation.normalise(images, outputs.mean_image(trained))
    found = network.evaluate(normalised, labels, verbose=0, return_dict=True)
    assert found["accuracy"] == pytest.approx(history[-1]["validation_accuracy"], abs=1e-6)
    assert json.loads((trained / loop.PROVENANCE).read_text(encoding="utf-8"))["data"]["validation_fraction"] == 0.25


def test_evaluation_reports_the_test_accuracy_once(trained):
    history = evaluation.read_history(trained / loop.HISTORY)
    probabilities = np.eye(2)[[0, 1, 1, 1]]
    found = evaluation.metrics(history, probabilities, np.array([0, 1, 0, 1]), ["plain", "dark"])
    assert found["test_accuracy"] == 0.75
    assert found["validation_accuracy"] == history[-1]["validation_accuracy"]
    assert "best_validation_accuracy" in found and "best_test_accuracy" not in found
    assert "best epoch, validation accuracy" in evaluation.summary(found, "noise").data
