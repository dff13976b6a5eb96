"""Files that a training leaves in its folder, read without Keras.

`provenance.json` names the training (`training`, a hash over what it was made from and what came out) and each file beside it by
its SHA-256 (`files`). What other stages write about a training repeats the name. So what lies in one folder is not taken for one
training: `provenance`, `check_files` and `check_of` compare.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resode.base import files, paths
from resode.base.errors import InputError

WEIGHTS = "model.weights.h5"
HISTORY = "history.csv"
METRICS = "metrics.json"
PROVENANCE = "provenance.json"
MEAN_IMAGE = "mean_image.npy"
# Those that a provenance names.
_NAMED = (WEIGHTS, MEAN_IMAGE, HISTORY, METRICS)


def names(folder: Path, inputs: Mapping) -> dict[str, Any]:
    """The entries of provenance.json on the files in `folder`: the `training` with `inputs` that wrote them, and the SHA-256 of each."""
    found = {"files": _digests(folder)}
    name = hashlib.sha256(json.dumps({"inputs": inputs, **found}, sort_keys=True).encode()).hexdigest()[:16]
    return {"training": name, **found}


def _digests(folder: Path) -> dict[str, str]:
    there = [name for name in _NAMED if (folder / name).is_file()]
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in there}


def provenance(folder: Path) -> dict:
    """The content of the provenance.json in `folder`.

    Raises:
        InputError: it is missing or damaged, or a file beside it is not the one that it names.
    """
    path = folder / PROVENANCE
    found = files.read_json(path)
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no provenance; {advice(folder)}")
    check_files(folder, found)
    return found


def check_files(folder: Path, provenance: Mapping) -> None:
    """Check that the files in `folder` are those that `provenance` names; older ones name none.

    Raises:
        InputError: one is another.
    """
    named = provenance.get("files")
    for name, digest in _digests(folder).items() if named else ():
        # Of the oldest runs the tables alone are named.
        if named.get(name, digest) != digest:
            raise InputError(
                f"{folder / name} is not of the training that {PROVENANCE} beside it names; {advice(folder)}"
            )


def check_of(training: Mapping, content: Mapping, path: Path) -> None:
    """Check that `content`, of the file `path`, is of the training with the provenance `training`.

    Raises:
        InputError: they name different trainings, or one names none.
    """
    if training.get("training") is None or content.get("training") != training["training"]:
        folder = path.parent.parent
        run = "" if folder == paths.RESULTS else f" {folder.name}"
        raise InputError(f"{path} is not of the training in {folder / 'training'}; run: resode run{run}")


def weights_file(folder: Path) -> Path:
    """The weights that training left in `folder`.

    Raises:
        InputError: there are none.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise InputError(f"no trained weights at {path}; {advice(folder)}")
    return path


def default_weights() -> Path:
    """The weights that are used where none are named: results/training, or what git carries as long as there are none."""
    folder = paths.results("training")
    return paths.NETWORK if paths.NETWORK.is_file() and not (folder / WEIGHTS).is_file() else folder


def advice(folder: Path) -> str:
    """Advice on a folder without weights, or with others than it should have: the pipeline's training brings them, or that of a run, or it is the wrong folder."""
    run = folder.absolute().parent
    if run == paths.RESULTS:
        return "run: dvc repro training"
    if run.parent == paths.RESULTS / "runs" and run.is_dir():
        return f"run: resode run {run.name}"
    return "name a folder that a training wrote, or a file made with: resode export NAME.safetensors"


def mean_image(folder: Path) -> np.ndarray:
    """The mean image (H, W, C) that the training in `folder` subtracted.

    Raises:
        InputError: there is none, or its file is damaged.
    """
    path = folder / MEAN_IMAGE
    content = files.read_bytes(path, 1_000_000)
    try:
        return np.load(io.BytesIO(content))
    except (EOFError, ValueError) as error:
        raise InputError(f"{path} is damaged") from error
