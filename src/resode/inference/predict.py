"""The command `resode predict`: class probabilities of image files.

Until it knows which network to use, it needs NumPy and Pillow alone.
"""

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from resode.base import files, paths
from resode.base.errors import InputError
from resode.base.text import quoted
from resode.training import outputs

# Width and height of the images that networks are trained with.
SIZE = (32, 32)
TOP = 3
# Pillow has some forty decoders, most of them for files that nobody has.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
# An image takes up to 16 bytes of memory a pixel. JPEG is made smaller as it is decoded, and may be larger.
MOST_PIXELS = 50_000_000
# Four bytes a pixel, without compression.
MOST_BYTES = 4 * MOST_PIXELS
_ORIENTATION = 0x0112
_TILE_WIDTH, _TILE_LENGTH = 0x0142, 0x0143
# By the orientation of a photo.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path: Path) -> np.ndarray:
    """An image file as the network takes it, uint8 (32, 32, 3), RGB.

    It is turned upright where its camera noted how, and resized by Pillow's bicubic filter, which averages over the pixels
    that become one; proportions are not kept. Grey becomes RGB with three equal values; transparent parts are white. In an image
    of floats 0 is black and 1 white. In one of whole numbers of more than 8 bits 65,535 is white, if the brightest pixel has at
    least a quarter of it.

    Raises:
        InputError: no such file, no image of `FORMATS`, too many bytes or pixels, or numbers that do not say what is white.
    """
    shown = quoted(str(path), 500)
    content = io.BytesIO(files.read_bytes(path, MOST_BYTES))
    try:
        # What Pillow warns of, it then refuses or reads.
        with _silent(), warnings.catch_warnings(action="ignore"), Image.open(content, formats=FORMATS) as image:
            # A photo as a JPEG file need not be decoded in full to be made small.
            image.draft("RGB", (4 * SIZE[0], 4 * SIZE[1]))
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise InputError(
                    f"{shown} has {width} x {height} pixels; at most {MOST_PIXELS:,} are read: make it smaller"
                )
            # A tile of a TIFF file may be larger than its image.
            tags = getattr(image, "tag_v2", {})
            if tags.get(_TILE_WIDTH, 0) * tags.get(_TILE_LENGTH, 0) > MOST_PIXELS:
                raise InputError(f"{shown} has tiles of more than {MOST_PIXELS:,} pixels: save it without tiles")
            # Pillow itself turns images of some formats, such as TIFF, when it loads them, and then drops the note.
            image.load()
            turn = _turn(image)
            image = _in_8_bits(image, path)
            image = (image if turn is None else image.transpose(turn)).convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
            return np.asarray(image.resize(SIZE, Image.Resampling.BICUBIC))
    except InputError:
        raise
    except Image.UnidentifiedImageError as error:
        raise InputError(f"{shown} is no image of these formats: {', '.join(FORMATS)}") from error
    except Exception as error:
        # Each of Pillow's decoders has its own exception for a damaged file.
        raise InputError(f"cannot read {shown} as an image: {quoted(str(error))}") from error


@contextmanager
def _silent() -> Iterator[None]:
    """Keep stderr quiet: libtiff writes there itself what Pillow raises as well, or what does no harm."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return the turn that sets `image` upright; None if it is upright, or its file does not say.

    `ImageOps.exif_transpose` would also rewrite the camera's notes, and fails on odd ones.
    """
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION))
    except Exception:
        return None


def _in_8_bits(image: Image.Image, path: Path) -> Image.Image:
    """`image`, or if Pillow would cut off its numbers at 255, a grey image with 8 bits.

    Raises:
        InputError: the numbers do not say what is white.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    low, high = values.min(), values.max()
    # So small, whole numbers are as likely of 8, 10, 12 or 14 bits as dark.
    unclear = image.mode != "F" and high < 65535 / 4
    if unclear or not 0 <= low <= high <= (1 if image.mode == "F" else 65535):
        raise InputError(
            f"{quoted(str(path), 500)} holds numbers from {low:g} to {high:g} and does not say which is white; save it with 8 bits"
        )
    if image.mode == "F":
        return Image.fromarray(np.rint(255 * values).astype(np.uint8))
    return image.convert("I").point(lambda value: value / 257).convert("L")


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
        InputError: see `read_image`, `trained.Network` and `low_memory.NumPyNetwork`.
    """
    pixels = np.stack([read_image(path) for path in images])
    if weights is None:
        weights = paths.results("training")
        if paths.NETWORK.is_file() and (low_memory or not any(weights.glob("*.weights.h5"))):
            weights = paths.NETWORK
        elif low_memory:
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
