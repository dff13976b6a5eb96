"""The command `resode predict`: class probabilities of image files.

Until it knows which network to use, it needs NumPy and Pillow alone.
"""

import io
import math
import os
import re
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
# An image takes up to 20 bytes of memory a pixel, its file's included.
MOST_PIXELS = 40_000_000
# JPEG is made smaller as it is decoded; a progressive one takes up to 8 bytes a pixel before. Phones take 108 million.
MOST_JPEG_PIXELS = 110_000_000
# Four bytes a pixel, without compression.
MOST_BYTES = 4 * MOST_PIXELS
# A photo takes some hundreds. Pillow reads headers, and runs of pixels in BMP, piece by piece.
MOST_READS = 3_000_000
# A progressive JPEG has about ten. Each is a pass over the whole image, however few bytes it takes.
MOST_SCANS = 100
# The start of a segment of a JPEG file that has a length, or the end of the image.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
_START_OF_IMAGE, _START_OF_SCAN, _END_OF_IMAGE = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
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
        InputError: no such file, no image of `FORMATS`, too many bytes, pixels or scans, or numbers that do not say what is white.
    """
    shown = quoted(str(path), 500)
    content = files.read_bytes(path, MOST_BYTES)
    try:
        if content.startswith(_START_OF_IMAGE):
            _check_scans(content)
        # What Pillow warns of, it then refuses or reads.
        with (
            _silent(),
            warnings.catch_warnings(action="ignore"),
            Image.open(_Content(content), formats=FORMATS) as image,
        ):
            _check_pixels(image, MOST_JPEG_PIXELS, shown)
            # A photo as a JPEG file need not be decoded in full to be made small.
            image.draft("RGB", (4 * SIZE[0], 4 * SIZE[1]))
            _check_pixels(image, MOST_PIXELS, shown)
            # A tile of a TIFF file may be larger than its image, and its sides may be texts.
            tags = getattr(image, "tag_v2", {})
            tile = [tags.get(tag, 0) for tag in (_TILE_WIDTH, _TILE_LENGTH)]
            if not all(isinstance(side, int) for side in tile) or math.prod(tile) > MOST_PIXELS:
                raise InputError(
                    f"{shown} has tiles of more than {MOST_PIXELS:,} pixels or of no size: save it without tiles"
                )
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


class _Content(io.BytesIO):
    """The bytes of an image file, which may be read `MOST_READS` times: millions of tiny pieces would take minutes."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > MOST_READS:
            raise ValueError(f"it has more than {MOST_READS:,} pieces; save it anew")
        return super().read(size)


def _check_pixels(image: Image.Image, most: int, shown: str) -> None:
    width, height = image.size
    if width * height > most:
        raise InputError(f"{shown} has {width} x {height} pixels; at most {most:,} are read: make it smaller")


def _check_scans(content: bytes) -> None:
    """Refuse a JPEG file of too many scans, as libtiff does; Pillow does not count them."""
    place = scans = 0
    for _ in range(MOST_READS):
        marker = _MARKER.search(content, place)
        if marker is None or marker[0] == _END_OF_IMAGE:
            return
        scans += marker[0] == _START_OF_SCAN
        if scans > MOST_SCANS:
            break
        place = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2])
    raise ValueError(f"it has more than {MOST_SCANS} scans or {MOST_READS:,} pieces; save it anew")


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
