"""Calibration: bins and errors counted by hand, and a temperature that is known."""

import json
import math

import numpy as np
import pytest

from resode.analysis import calibration
from resode.figures import results, style

# Confidences 0.6 (right), 0.6 (wrong), 0.9 (right), 1 (right).
PROBABILITIES = np.array([[0.6, 0.4], [0.4, 0.6], [0.1, 0.9], [1.0, 0.0]])
LABELS = np.array([0, 0, 1, 0])


def test_bins_and_expected_calibration_error_by_hand():
    bins = calibration.reliability(PROBABILITIES, LABELS, bins=5)
    # (0.4, 0.6] has two images, half of them right; (0.8, 1] two, both right, of mean confidence 0.95.
    assert [(round(one["low"], 9), one["images"]) for one in bins] == [(0.4, 2), (0.8, 2)]
    assert [one["confidence"] for one in bins] == pytest.approx([0.6, 0.95])
    assert [one["accuracy"] for one in bins] == [0.5, 1]
    assert calibration.expected_error(bins) == pytest.approx((2 * 0.1 + 2 * 0.05) / 4)


def test_fifteen_bins_of_equal_width():
    bins = calibration.reliability(PROBABILITIES, LABELS)
    # 0.6 = 9/15 is the upper end of its bin, and 1 of the last.
    assert [(round(15 * one["low"]), one["images"]) for one in bins] == [(8, 2), (13, 1), (14, 1)]
    assert all(one["high"] - one["low"] == pytest.approx(1 / 15) for one in bins)


def test_negative_log_likelihood_by_hand():
    found = calibration.negative_log_likelihood(PROBABILITIES, LABELS)
    assert found == pytest.approx(-(math.log(0.6) + math.log(0.4) + math.log(0.9)) / 4)
    # A probability that was rounded to 0 counts as the smallest of float32.
    assert calibration.negative_log_likelihood(PROBABILITIES[3:], [1]) == pytest.approx(126 * math.log(2), rel=1e-6)


def test_a_temperature_is_that_of_the_logits():
    logits = np.array([[2.0, 0.0, -1.0]])
    softmax = np.exp(logits) / np.exp(logits).sum()
    cooled = np.exp(logits / 3) / np.exp(logits / 3).sum()
    np.testing.assert_allclose(calibration.scaled(softmax, 3), cooled)
    np.testing.assert_allclose(calibration.scaled(softmax, 1), softmax)


def overconfident(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities 0.9 and 0.1 of which three in four are right: calibrated with 3^(1) = 9^(1/T), T = 2."""
    return np.tile([0.9, 0.1], (n, 1)), np.arange(n) // 2 % 4 // 3


def test_temperatures_are_fitted_on_the_other_half_of_the_test_images():
    probabilities, labels = overconfident()
    found = calibration.study(probabilities, labels)
    assert found["temperatures"] == pytest.approx([2, 2], abs=1e-3)
    assert found["before"]["expected_error"] == pytest.approx(0.15)
    assert found["after"]["expected_error"] == pytest.approx(0, abs=1e-3)
    assert found["after"]["confidence"] == pytest.approx(0.75, abs=1e-3)
    # The even images are all right, so that the odd ones are made surer.
    labels[::2] = 0
    labels[1::2] = np.arange(200) % 2
    found = calibration.study(probabilities, labels)
    assert found["temperatures"] == [calibration.fitted(probabilities[one::2], labels[one::2]) for one in (1, 0)]
    assert found["temperatures"][0] > 5 and found["temperatures"][1] < 0.5
    assert found["fitted_on"] == "the other half of the test images"


def test_validation_images_are_taken_where_there_are_some():
    found = calibration.study(PROBABILITIES, LABELS, overconfident())
    assert found["temperatures"] == [pytest.approx(2, abs=1e-3)] and found["fitted_on"] == "validation images"
    expected = calibration.reliability(calibration.scaled(PROBABILITIES, found["temperatures"][0]), LABELS)
    assert found["after"]["bins"] == expected


def test_words_file_and_figure(tmp_path):
    found = calibration.study(*overconfident())
    text = calibration.words(found, 0.75)
    assert "is 90.00 % at an accuracy of 75.00 %; the expected calibration error is 15.00 %" in text
    assert "temperatures of 2.00 and 2.00, each fitted on the other half of the test images" in text
    calibration.write(tmp_path, found, "a")
    assert json.loads((tmp_path / "calibration.json").read_text(encoding="utf-8"))["training"] == "a"
    assert style.png(results.reliability(found["before"]["bins"], found["after"]["bins"]))
