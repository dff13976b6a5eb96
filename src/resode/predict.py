"""The command `resode predict`: class probabilities of image files.

Whatever it imports before it knows with which network must do with NumPy and Pillow alone.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from . import paths
from .errors import InputError

# Width and height of the images that networks are trained with.
SIZE = (32, 32)
TOP = 3


def read_image(path: Path) -> np.ndarray:
    """An image file as the network takes it, uint8 (32, 32, 3), RGB.

    It is turned upright where its camera noted how, and resized by Pillow's bicubic filter, which averages over the pixels
    that become one; proportions are not kept. Grey becomes RGB with three equal values; transparent parts are white.

    Raises:
        InputError: no such file, or no image that Pillow can read.
    """
    try:
        with Image.open(path) as image:
            # A photo as a JPEG file need not be decoded in full to be made small.
            image.draft("RGB", (4 * SIZE[0], 4 * SIZE[1]))
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I"):
                # Grey with 16 bits, which Pillow would cut off at 255.
                image = image.convert("I").point(lambda value: value / 257).convert("L")
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
            return np.asarray(image.resize(SIZE, Image.Resampling.BICUBIC))
    except Image.UnidentifiedImageError as error:
        raise InputError(f"{path} is not an image that Pillow can read") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise InputError(f"cannot read {path} as an image: {error}") from error


def line(path: Path, probabilities: np.ndarray, class_names: Sequence[str]) -> str:
    """What is printed for one image: its likeliest classes."""
    best = np.argsort(-probabilities, kind="stable")[:TOP]
    return f"{path}: " + ", ".join(f"{class_names[i]} {100 * probabilities[i]:.1f} %" for i in best)


def run(images: Sequence[Path], weights: Path | None, low_memory: bool, unroll_length: int | None) -> None:
    """Print a line an image.

    Args:
        images: image files.
        weights: a folder that a training left, which needs Keras, or a file of `resode export`, which does not, see `inference`.
            By default results/training, or what git carries as long as there is none.
        low_memory: it must be a file.
        unroll_length: steps a unit, if other than trained with.

    Raises:
        InputError: see `read_image`, `trained.Network` and `inference.Network`.
    """
    pixels = np.stack([read_image(path) for path in images])
    if weights is None:
        weights = paths.results("training")
        if paths.NETWORK.is_file() and (low_memory or not any(weights.glob("*.weights.h5"))):
            weights = paths.NETWORK
        elif low_memory:
            raise InputError("--low-memory needs --weights FILE, a file made with: resode export FILE")
    if low_memory or weights.is_file():
        from . import inference

        network = inference.Network(weights, unroll_length)
    else:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        from . import trained

        network = trained.Network(weights, unroll_length)
    for path, probabilities in zip(images, network.predict(pixels), strict=True):
        print(line(path, probabilities, network.class_names))
