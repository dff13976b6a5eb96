"""Figures of results: drawn from little, equal every time, and shown as they are written."""

import base64

import numpy as np
import pytest

from helpers import make_run
from resode.analysis import published
from resode.figures import results, style

pytestmark = pytest.mark.once

NAMES = ["cat", "dog", "ship"]


def test_figures_can_be_drawn_without_mistakes():
    images, labels = np.zeros((5, 32, 32, 3), np.uint8), np.array([0, 0, 1, 1, 2])
    for chosen in ([], [3], [1, 3]):
        assert style.png(results.mistakes(images, labels, np.eye(3)[[0, 1, 1, 2, 2]], chosen, NAMES))


def test_equal_figures_give_equal_bytes():
    first, second = (style.png(results.confusion(np.eye(3, dtype=int), NAMES)) for _ in range(2))
    assert first == second


def test_shown_figure_is_the_written_one(tmp_path):
    figure = results.class_accuracy({"cat": 0.5, "dog": 1.0, "truck": None}, 0.75)
    shown = style.show(figure, tmp_path / "figure.png", "two <classes>", "Two classes & more.")
    encoded = base64.b64encode((tmp_path / "figure.png").read_bytes()).decode()
    assert f"base64,{encoded}" in shown.data
    assert 'alt="two &lt;classes&gt;"' in shown.data
    assert "<figcaption>Two classes &amp; more.</figcaption></figure>" in shown.data


def test_training_curve_with_and_without_the_published_one():
    history = make_run().history
    assert style.png(results.training_curve(history, published.read_published_curve()))
    assert style.png(results.training_curve(history))
