"""CIFAR-10's test images with a near duplicate among the training images, and those whose label is wrong: accuracy with and without.

Which they are, and who found out, is in reference/ and its README.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from resode.analysis.evaluation import counted
from resode.base import files, paths
from resode.base.errors import InputError
from resode.base.text import percent, rows_table

FILE = "subsets.json"
DUPLICATES = paths.REFERENCE / "cifar10_near_duplicates.csv"
VOTES = paths.REFERENCE / "cifar10_label_votes.csv"
# Of five people. A label counts as wrong where fewer chose it alone; people agree on another where as many chose that.
MAJORITY = 3


def known(provenance: Mapping) -> bool:
    """Return whether the lists are of the test images of the data set with this provenance."""
    return provenance["name"] == "cifar10" and bool(provenance["published"])


def near_duplicates(path: Path = DUPLICATES) -> np.ndarray:
    """Numbers of the test images that have a near duplicate in the training set, sorted."""
    table = pd.read_csv(io.StringIO(files.read_text(path)))
    return np.unique(table["test_image"][table["other_set"] == "train"])


def wrong_labels(path: Path = VOTES) -> list[dict[str, int]]:
    """The test images whose label fewer than `MAJORITY` of five people chose alone: a row of the list for each."""
    table = pd.read_csv(io.StringIO(files.read_text(path)))
    return table[table["votes_given"] < MAJORITY].to_dict("records")


def accuracies(
    classes: np.ndarray, labels: np.ndarray, duplicates: np.ndarray | None = None, wrong: list[dict] | None = None
) -> dict[str, Any]:
    """Accuracy on all test images and on parts of them, with Wilson's intervals, and what the network made of wrong labels.

    Args:
        classes, labels: (N,), predicted and given classes, in the order of the test set.
        duplicates, wrong: by default `near_duplicates` and `wrong_labels`.

    Returns:
        "subsets": for each part "name", "correct", "total", "accuracy", "low", "high"; "errors": how many images are classified
        otherwise than their label says; of those with a wrong label: "wrong_labels", how many there are, "errors_of_them", how many
        of the errors they are, "agreed", how many have another label that `MAJORITY` people chose, and "found", how many of
        these the network gave that label.

    Raises:
        InputError: the list of wrong labels is of other labels.
    """
    duplicates = near_duplicates() if duplicates is None else duplicates
    wrong = wrong_labels() if wrong is None else wrong
    classes, labels = np.asarray(classes), np.asarray(labels)
    if any(labels[row["test_image"]] != row["given_label"] for row in wrong):
        raise InputError(f"{VOTES} is of other labels than those of the data set; restore it with git")
    right = classes == labels
    twin, mislabelled = np.zeros(len(labels), bool), np.zeros(len(labels), bool)
    twin[duplicates] = True
    mislabelled[[row["test_image"] for row in wrong]] = True
    parts = {
        "all": np.ones(len(labels), bool),
        "without near duplicates of training images": ~twin,
        "near duplicates of training images alone": twin,
        "without wrong labels": ~mislabelled,
        "without both": ~twin & ~mislabelled,
    }
    agreed = [row for row in wrong if row["votes_guessed"] >= MAJORITY]
    return {
        "subsets": [
            {"name": name, **counted(int(right[part].sum()), int(part.sum()))}
            for name, part in parts.items()
            if part.any()
        ],
        "errors": int((~right).sum()),
        "wrong_labels": len(wrong),
        "errors_of_them": int((~right & mislabelled).sum()),
        "agreed": len(agreed),
        "found": sum(int(classes[row["test_image"]] == row["guessed_label"]) for row in agreed),
    }


def words(found: Mapping) -> str:
    """The outcome of `accuracies`, as a table and two sentences in Markdown."""
    rows = [
        {
            "test images": part["name"],
            "number": f"{part['total']:,}",
            "correct": f"{part['correct']:,}",
            "accuracy": percent(part["accuracy"]),
            "95 % interval": f"{100 * part['low']:.2f} to {100 * part['high']:.2f}",
        }
        for part in found["subsets"]
    ]
    return (
        f"{rows_table(rows)}\n\nOf the {found['errors']:,} errors {found['errors_of_them']} are among the {found['wrong_labels']} images with a wrong"
        f" label. On another label at least {MAJORITY} of five people agreed for {found['agreed']} of these; the network gave that label to"
        f" {found['found']}."
    )


def write(folder: Path, found: Mapping, training: str | None) -> None:
    """Write `subsets.json` to `folder`: what `accuracies` found, and the name of the `training`."""
    files.write_json(Path(folder) / FILE, {"training": training, **found})
