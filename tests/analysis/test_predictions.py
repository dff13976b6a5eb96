"""Predictions of a run: kept as they were, and compared with another's."""

import numpy as np
import pytest

from resode.analysis import predictions
from resode.base.errors import InputError

PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.50001, 0.49999]])


def test_predictions_come_back(tmp_path):
    predictions.write(tmp_path, PROBABILITIES, np.array([0, 0, 1]), "a")
    found = predictions.read(tmp_path / "predictions.npz")
    # float16 makes a tie of the last.
    assert found.classes.tolist() == [0, 1, 0] and found.probabilities[2, 0] == found.probabilities[2, 1]
    np.testing.assert_allclose(found.probabilities, PROBABILITIES, atol=1e-3)
    assert found.right.tolist() == [True, False, False]
    assert (found.training, found.probabilities.dtype, found.classes.dtype) == ("a", np.float16, np.uint8)


def test_equal_predictions_give_equal_bytes_and_those_of_ten_thousand_images_are_small(tmp_path):
    probabilities = np.random.default_rng(0).dirichlet(np.ones(10), 10_000)
    for name in ("first", "second"):
        predictions.write(tmp_path / name, probabilities, probabilities.argmax(axis=1), None)
    first, second = (tmp_path / name / "predictions.npz" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    assert len(first.read_bytes()) < 250_000
    assert predictions.read(first).training == ""


def test_what_is_no_file_of_predictions_is_refused(tmp_path):
    path = tmp_path / "predictions.npz"
    with pytest.raises(InputError):
        predictions.read(path)
    predictions.write(tmp_path, PROBABILITIES, np.array([0, 0, 1]), "a")
    whole = path.read_bytes()
    # The last with a bit of the first array flipped.
    for content in (b"", whole[:-30], whole[:80] + bytes([whole[80] ^ 1]) + whole[81:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="holds no predictions; run the evaluation stage again"):
            predictions.read(path)
    predictions.write(tmp_path, PROBABILITIES, np.array([0, 0]), "a")
    with pytest.raises(InputError, match="unequal numbers"):
        predictions.read(path)


@pytest.mark.parametrize(
    ("b", "c", "p"),
    [
        (0, 0, 1.0),
        (3, 3, 1.0),
        # All 5 one way: 2 / 2^5.
        (5, 0, 0.0625),
        # 1 of 6: 2 (1 + 6) / 2^6.
        (1, 5, 0.21875),
        # 2 of 10: 2 (1 + 10 + 45) / 2^10.
        (8, 2, 0.109375),
    ],
)
def test_mcnemars_test_by_hand(b, c, p):
    first = np.array([True] * b + [False] * c + [True] * 7 + [False] * 4)
    second = np.array([False] * b + [True] * c + [True] * 7 + [False] * 4)
    assert predictions.mcnemar(first, second) == (b, c, pytest.approx(p, abs=1e-12))
    with pytest.raises(ValueError, match="unequal numbers"):
        predictions.mcnemar(first, second[1:])
