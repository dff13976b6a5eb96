"""Figures of results: drawn from little, equal every time, and shown as they are written."""

import io

import numpy as np
import PIL.Image

from resode.figures import results, style

NAMES = ["cat", "dog", "ship"]


def test_figures_can_be_drawn_without_mistakes():
    images, labels = np.zeros((5, 32, 32, 3), np.uint8), np.array([0, 0, 1, 1, 2])
    for chosen in ([], [3], [1, 3]):
        assert style.png(results.mistakes(images, labels, np.eye(3)[[0, 1, 1, 2, 2]], chosen, NAMES))


def test_shown_figure_is_the_written_one(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(style, "display", lambda content, **options: shown.append((content, options)))
    figure = results.class_accuracy({"cat": 0.5, "dog": 1.0, "truck": None}, 0.75)
    style.show(figure, tmp_path / "figure.png", "two classes", "Two classes.")
    (image, options), (caption, _) = shown
    written = (tmp_path / "figure.png").read_bytes()
    assert image == {"image/png": written, "text/plain": "two classes"}
    # On the screen it has two thirds of its pixels.
    width = PIL.Image.open(io.BytesIO(written)).width
    assert options["metadata"] == {"image/png": {"alt": "two classes", "width": width * 2 // 3}}
    assert caption.data == "*Two classes.*"
