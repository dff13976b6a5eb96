"""The command `resode predict`: class probabilities of image files.

Until it knows which network to use, it needs NumPy, Pillow and safetensors alone.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from resode.base import paths
from resode.base.errors import InputError
from resode.base.text import quoted
from resode.inference.images import decoded
from resode.training import outputs

TOP = 3


def line(path: Path, probabilities: np.ndarray, class_names: Sequence[str]) -> str:
    """Return the line printed for one image: its likeliest classes."""
    best = np.argsort(-probabilities, kind="stable")[:TOP]
    return f"{quoted(str(path), 500)}: " + ", ".join(f"{class_names[i]} {100 * probabilities[i]:.1f} %" for i in best)


def run(images: Sequence[Path], weights: Path | None, low_memory: bool, unroll_length: int | None) -> None:
    """Print a line an image, and of which data set the classes are.

    Args:
        images: image files.
        weights: a folder that a training left, which needs Keras, or a file of `resode export`, which does not, see `low_memory`.
            By default results/training, or what git carries as long as there is none.
        low_memory: predict with NumPy alone; `weights` must be a file.
        unroll_length: steps a unit, if other than trained with.

    Raises:
        InputError: see `images.decoded`, `trained.Network` and `low_memory.NumPyNetwork`.
    """
    pixels = np.stack([decoded(path) for path in images])
    if weights is None:
        weights = paths.NETWORK if low_memory else outputs.default_weights()
        if low_memory and not weights.is_file():
            raise InputError("--low-memory needs --weights FILE, a file made with: resode export FILE")
    if low_memory or weights.is_file():
        from resode.inference.low_memory import NumPyNetwork

        network = NumPyNetwork(weights, unroll_length)
    else:
        # Before Keras is loaded, which takes seconds.
        outputs.weights_file(weights)
        from resode.inference import trained

        network = trained.Network(weights, unroll_length)
    for path, probabilities in zip(images, network.predict(pixels), strict=True):
        print(line(path, probabilities, network.class_names))
    if network.data:
        print(f"The classes are those of {quoted(network.data)}.")
