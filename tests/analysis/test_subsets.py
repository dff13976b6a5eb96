"""Accuracy on parts of CIFAR-10's test images: the lists, and a small example counted by hand."""

import numpy as np
import pytest

from resode.analysis import subsets
from resode.base.errors import InputError


def test_the_lists_are_those_of_the_papers():
    duplicates, wrong = subsets.near_duplicates(), subsets.wrong_labels()
    assert (len(duplicates), duplicates.min() >= 0, duplicates.max() < 10_000) == (286, True, True)
    assert len({row["test_image"] for row in wrong}) == len(wrong) == 54
    assert sum(row["votes_guessed"] >= 3 for row in wrong) == 18
    assert all(row["given_label"] != row["guessed_label"] and row["votes_given"] < 3 for row in wrong)


def row(*numbers):
    names = ("test_image", "given_label", "guessed_label", "votes_given", "votes_guessed")
    return dict(zip(names, numbers, strict=True)) | {"votes_both": 0, "votes_neither": 0}


LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1])
# Wrong: images 1, 4 and 6. Image 1 has a twin in the training set, the label of 4, 5 and 6 is wrong.
CLASSES = np.array([0, 2, 2, 0, 0, 2, 2, 1])
WRONG = [row(4, 1, 0, 1, 4), row(5, 2, 0, 0, 3), row(6, 0, 1, 2, 2)]


def test_accuracies_by_hand():
    found = subsets.accuracies(CLASSES, LABELS, np.array([1, 2]), WRONG)
    assert {part["name"]: (part["correct"], part["total"]) for part in found["subsets"]} == {
        "all": (5, 8),
        "without near duplicates of training images": (4, 6),
        "near duplicates of training images alone": (1, 2),
        "without wrong labels": (4, 5),
        "without both": (3, 3),
    }
    assert (found["errors"], found["wrong_labels"], found["errors_of_them"]) == (3, 3, 2)
    # People agreed on another label for 4 and 5; the network gave 4 that one.
    assert (found["agreed"], found["found"]) == (2, 1)
    # Wilson's interval of 5 of 8: (5/8 + z²/16 ± z √(15/64/8 + z²/256)) / (1 + z²/8), z = 1.96.
    assert (found["subsets"][0]["low"], found["subsets"][0]["high"]) == pytest.approx((0.3057, 0.8632), abs=1e-4)
    text = subsets.words(found)
    assert "| all | 8 | 5 | 62.50 % | 30.57 to 86.32 |" in text
    assert "Of the 3 errors 2 are among the 3 images with a wrong label." in text and "for 2 of these" in text


def test_a_part_without_images_has_no_row_and_lists_of_other_labels_are_refused():
    found = subsets.accuracies(CLASSES, LABELS, np.array([], int), [])
    assert "near duplicates of training images alone" not in {part["name"] for part in found["subsets"]}
    with pytest.raises(InputError, match="is of other labels"):
        subsets.accuracies(CLASSES, LABELS, np.array([1]), [row(4, 2, 0, 1, 4)])


def test_the_lists_are_of_the_published_images_alone():
    assert subsets.known({"name": "cifar10", "published": True})
    assert not subsets.known({"name": "cifar10", "published": False})
    assert not subsets.known({"name": "digits", "published": True})
