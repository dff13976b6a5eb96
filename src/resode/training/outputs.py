"""Files that a training leaves in its folder, read without Keras."""

import io
import warnings
from pathlib import Path

import numpy as np

from resode.base import files, paths
from resode.base.errors import InputError

WEIGHTS = "model.weights.h5"
HISTORY = "history.csv"
METRICS = "metrics.json"
PROVENANCE = "provenance.json"
MEAN_IMAGE = "mean_image.npy"


def weights_file(folder: Path) -> Path:
    """The weights that training left in `folder`.

    Raises:
        InputError: there are none.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise InputError(f"no trained weights at {path}; {_advice(folder)}")
    return path


def _advice(folder: Path) -> str:
    """Advice on a folder without weights: the pipeline's training brings them, or that of a run, or it is the wrong folder."""
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
    # Larger than any image of 32 x 32 pixels.
    content = files.read_bytes(path, 1_000_000)
    try:
        # NumPy warns of a header that is not as it writes them.
        with warnings.catch_warnings(action="error"):
            return np.load(io.BytesIO(content))
    except Exception as error:
        # NumPy alone raises eight kinds for a damaged file.
        raise InputError(f"{path} is damaged") from error


def trained_on(folder: Path) -> str:
    """Title of the data set that the training in `folder` used; it says so if the data are not the published ones."""
    return files.read_json(folder / PROVENANCE)["data"]["title"]
