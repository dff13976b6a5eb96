"""Toy problems: the points, and that every stable block separates them."""

import json

import keras
import numpy as np
import pytest

from resode.analysis import toys
from resode.config import parameters
from resode.figures import style
from resode.figures import toys as plots_toys

GIVEN = parameters.load()
ALL = [(name, *pair) for name in toys.PROBLEMS for pair in toys.STABLE.items()]
# Compiling takes XLA several seconds a network on JAX; there one of each problem has to do.
CHOSEN = ALL if keras.backend.backend() == "tensorflow" else [ALL[0], ALL[-1]]


@pytest.mark.parametrize("name", toys.PROBLEMS)
def test_points_follow_from_the_seed_and_training_sees_no_test_point(name):
    train, test = toys.problem(name, 101, 0)
    again, _ = toys.problem(name, 101, 0)
    other, _ = toys.problem(name, 101, 1)
    assert train.x.shape == test.x.shape == (101, 2) and train.x.dtype == np.float32
    assert np.bincount(train.label).tolist() == ([21, 20, 20, 20, 20] if name == "peaks" else [51, 50])
    np.testing.assert_array_equal(train.x, again.x)
    assert not np.isin(train.x, test.x).any() and not np.isin(train.x, other.x).any()
    assert np.abs(train.x).max() < toys.EDGE


def test_classes_lie_where_the_formulas_put_them(monkeypatch):
    monkeypatch.setattr(toys, "NOISE", 0)
    points, _ = toys.problem("spirals", 1000, 0)
    radius, angle = np.hypot(*points.x.T), np.arctan2(points.x[:, 1], points.x[:, 0])
    turns = (radius - 0.2 * points.label) * 2 - angle / (2 * np.pi)
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-3)
    points, _ = toys.problem("ellipses", 1000, 0)
    radius = np.hypot(points.x[:, 0], points.x[:, 1] / 0.6)
    assert radius[points.label == 0].max() <= 0.5 + 1e-6
    assert radius[points.label == 1].min() >= 0.7 - 1e-6 and radius.max() <= 1 + 1e-6


def test_classes_of_the_peaks_are_fifths_of_their_height():
    # MATLAB's own: the highest hill, the deepest hollow, and the flat land far from both.
    found = toys._peaks(np.array([-0.0093, 0.2283, 3]), np.array([1.5814, -1.6255, -3]))
    np.testing.assert_allclose(found, [8.1062, -6.5511, -6e-5], atol=1e-3)
    points, _ = toys.problem("peaks", 1000, 0)
    height = toys._peaks(*(points.x.astype(float) / toys.SCALE).T)
    fifths = 5 * (height + 6.5511) / (8.1062 + 6.5511)
    # The ends of their grid are not quite those of the landscape.
    clear = np.abs(fifths - fifths.round()) > 0.02
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(np.floor(fifths[clear]), points.label[clear])
    assert np.abs(points.x).max() <= 1.2 + 1e-6


@pytest.mark.parametrize(("name", "block", "integrator"), CHOSEN)
@pytest.mark.slow
@pytest.mark.jax
def test_stable_blocks_are_useful(name, block, integrator):
    found = toys.classifier(name, block, integrator, GIVEN.toys, GIVEN.seed)
    assert found.test_accuracy >= (0.95 if name == "peaks" else 0.97)
    assert len(found.wrong) == round((1 - found.test_accuracy) * GIVEN.toys.points)


def test_equal_runs_are_equal_and_are_written_and_drawn(tmp_path):
    few = GIVEN.toys.model_copy(update={"points": 20, "unroll_length": 2, "updates": 3})
    first, second = (toys.classifier("spirals", "hamiltonian", "euler", few, 0) for _ in range(2))
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    assert first.row == second.row and first.probabilities.shape == (toys.SIDE, toys.SIDE, 2)
    toys.write(tmp_path, [first])
    assert json.loads((tmp_path / "toys.json").read_text(encoding="utf-8")) == [first.row]
    (row,) = toys.table([first])
    assert (row["block"], row["spirals, %"]) == ("hamiltonian", f"{100 * first.test_accuracy:.1f}")
    assert style.png(plots_toys.boundaries(toys.problem("spirals", 20, 0)[1], [first]))
