"""Evaluation: known values, and a refusal where weights and history are of different runs."""

import csv
import io
import json
import math

import keras
import numpy as np
import pytest

from resode.analysis import evaluation
from resode.base.errors import InputError

NAMES = ["cat", "dog", "ship"]
HEADER = "epoch,updates,learning_rate,train_loss,train_accuracy,test_loss,test_accuracy"
LABELS = np.array([0, 0, 1, 1, 2])
PROBABILITIES = np.array(
    [
        [0.9, 0.05, 0.05],
        [0.1, 0.7, 0.2],  # a cat taken for a dog, 0.7
        [0.3, 0.6, 0.1],
        [0.05, 0.05, 0.9],  # a dog taken for a ship, 0.9
        [0.0, 0.0, 1.0],
    ]
)


def history(*test_accuracies: float) -> list[dict[str, float]]:
    same = {"learning_rate": 0.1, "train_loss": 1.0, "test_loss": 1.0}
    return [
        {"epoch": epoch, "updates": 10 * epoch, "train_accuracy": 0.5 + epoch / 100, "test_accuracy": accuracy} | same
        for epoch, accuracy in enumerate(test_accuracies, start=1)
    ]


@pytest.mark.parametrize(
    ("rates", "epochs"),
    [
        ([0.1, 0.1, 0.01, 0.01, 0.01, 0.001], [3, 6]),
        ([0.1, 0.01], [2]),
        ([0.1, 0.1], []),
        # A linear schedule.
        ([0.1, 0.2, 0.17, 0.13, 0.1, 0.07, 0.03, 0.001], []),
    ],
)
def test_epochs_at_which_the_learning_rate_drops(rates, epochs):
    rows = [row | {"learning_rate": rate} for row, rate in zip(history(*[0.5] * len(rates)), rates, strict=True)]
    assert evaluation.drops(rows) == epochs


def test_wilson_interval_by_hand():
    # Centre (p + z²/2n) / (1 + z²/n), half width z √(p(1−p)/n + z²/4n²) / (1 + z²/n).
    z, n, p = 1.959963985, 100, 0.9
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert evaluation.wilson_interval(90, 100) == pytest.approx((centre - half, centre + half), abs=1e-8)
    assert evaluation.wilson_interval(90, 100) == pytest.approx((0.825634, 0.944771), abs=1e-6)
    assert evaluation.wilson_interval(10, 10) == (pytest.approx(0.722467, abs=1e-6), 1)


def test_metrics_of_a_small_case():
    # The rows from epoch 11 on are the last ten.
    rows = history(0.99, *[0.1] * 9, *[0.5] * 4, 0.8, *[0.5] * 4, 0.6)
    numbers = evaluation.metrics(rows, PROBABILITIES, LABELS, [*NAMES, "truck"])
    assert (numbers["test_correct"], numbers["test_total"], numbers["test_accuracy"]) == (3, 5, 0.6)
    assert (numbers["best_test_accuracy"], numbers["best_epoch"]) == (0.99, 1)
    assert numbers["last_ten_test_accuracy"] == pytest.approx((8 * 0.5 + 0.8 + 0.6) / 10)
    assert numbers["train_accuracy"] == pytest.approx(0.7)
    assert numbers["epochs"] == 20
    assert numbers["class_accuracy"] == {"cat": 0.5, "dog": 0.5, "ship": 1.0, "truck": None}
    assert numbers["test_accuracy_low"] < 0.6 < numbers["test_accuracy_high"]
    text = evaluation.summary(numbers, "pets").data
    assert "**60.00 %** of the test images of pets" in text and "3 of 5" in text
    assert "- mean of the last ten epochs: 54.00 %\n" in text
    held_out = [{key.replace("test", "validation"): value for key, value in row.items()} for row in rows]
    found = evaluation.metrics(held_out, PROBABILITIES, LABELS, NAMES)
    assert found["last_ten_validation_accuracy"] == pytest.approx(0.54) and "last_ten_test_accuracy" not in found
    # Ten of nineteen are no end of a training.
    numbers = evaluation.metrics(rows[1:], PROBABILITIES, LABELS, NAMES)
    assert "last_ten_test_accuracy" not in numbers and "last ten" not in evaluation.summary(numbers, "pets").data


def test_metrics_refuse_the_history_of_another_run_and_allow_one_image_for_rounding():
    assert evaluation.metrics(history(0.8), PROBABILITIES, LABELS, NAMES)["test_accuracy"] == 0.6
    with pytest.raises(InputError, match="0.6000.*0.9500.*do not belong together"):
        evaluation.metrics(history(0.95), PROBABILITIES, LABELS, NAMES)


def test_mistakes_come_surest_first_and_no_more_than_there_are():
    assert evaluation.most_confident_mistakes(PROBABILITIES, LABELS, 1).tolist() == [3]
    assert evaluation.most_confident_mistakes(PROBABILITIES, LABELS, 9).tolist() == [3, 1]
    # Tied ones keep the order of the test set.
    tied = np.tile([0.2, 0.8], (3, 1))
    assert evaluation.most_confident_mistakes(tied, np.zeros(3, int), 3).tolist() == [0, 1, 2]


def test_written_files(tmp_path):
    numbers = evaluation.metrics(history(0.6), PROBABILITIES, LABELS, NAMES) | {"training": "a"}
    evaluation.write(tmp_path, numbers, LABELS, PROBABILITIES, NAMES)
    by_class = numbers.pop("class_accuracy")
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == numbers
    written = json.loads((tmp_path / "class_accuracy.json").read_text(encoding="utf-8"))
    assert written == {"training": "a", "class_accuracy": by_class}
    rows = list(csv.DictReader(io.StringIO((tmp_path / "confusion.csv").read_text(encoding="utf-8"))))
    assert rows[1] == {"actual": "cat", "predicted": "dog"}
    assert len(rows) == len(LABELS)


def test_history_is_read_with_its_types(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(f"{HEADER}\n1,20,0.1,1.5,0.4,1.4,0.45\n", encoding="utf-8")
    row = evaluation.read_history(path)[0]
    assert row == dict(zip(HEADER.split(","), (1, 20, 0.1, 1.5, 0.4, 1.4, 0.45), strict=True))
    assert isinstance(row["epoch"], int)


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "is missing; run the training stage first"),
        (b"epoch,updates\n", "has no epochs"),
        (b"epoch,updates\n1,2\n", "row 1, learning_rate: Field required; run the training stage again"),
        (f"{HEADER}\n1,20,0.1\n".encode(), "row 1, train_loss: Input should be a valid number"),
        (f"{HEADER}\n2,20,0.1,1.5,0.4,1.4,0.45\n".encode(), "row 1 is not of epoch 1"),
        (f"{HEADER}\n1,20,0.1,nan,0.4,1.4,0.4\n".encode(), "row 1, train_loss: Input should be a finite number"),
        (b"a" * 200_000, "is no table .*field larger"),
        (b"\xff\xfe", "is no table .*is no text"),
    ],
)
def test_unusable_history_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "history.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        evaluation.read_history(tmp_path / "history.csv")


def softmax_of_inputs() -> keras.Model:
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Softmax()(inputs))


def test_predict_equals_the_softmax_ignores_the_batch_size_and_refuses_what_is_not_finite():
    logits = np.random.default_rng(0).normal(size=(7, 3)).astype("float32")
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for batch_size in (2, 7):
        found = evaluation.predict(softmax_of_inputs(), logits, batch_size)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(InputError, match="not finite"):
        evaluation.predict(softmax_of_inputs(), np.full((1, 3), np.nan, "float32"))
