"""Image files as the pixels that a network takes.

Files are decoded in a process of their own, in bounded time and memory. That needs NumPy and Pillow alone.
"""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from resode.base import files, paths
from resode.base.errors import InputError
from resode.base.text import quoted

# Width and height of the images that networks are trained with.
SIZE = (32, 32)
# Pillow has some forty decoders, most of them for files that nobody has.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
# An image takes up to 20 bytes of memory a pixel, its file's included.
MOST_PIXELS = 40_000_000
# JPEG is made smaller as it is decoded; a progressive one takes up to 8 bytes a pixel before. Phones take 108 million.
MOST_JPEG_PIXELS = 110_000_000
# For width and height: the more pixels become one, the coarser Pillow rounds the weight of each.
MOST_SIDE = 100_000
# Four bytes a pixel, without compression.
MOST_BYTES = 4 * MOST_PIXELS
# Bounds on decoding one image, in seconds of the processor and in bytes.
MOST_SECONDS = 8
MOST_MEMORY = 900_000_000
_ORIENTATION = 0x0112
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 0x0102, 0x0106, 0x0153
_WHITE_IS_ZERO, _SIGNED = 0, 2
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


def read(image_files: Sequence[Path], seconds: float = MOST_SECONDS) -> np.ndarray:
    """Image files as a network takes them, uint8 (N, 32, 32, 3), each as `decoded` in a process of its own.

    Args:
        seconds: of the processor, for each image.

    Raises:
        InputError: see `decoded`; or an image takes more than `seconds` or than `MOST_MEMORY`.
    """
    # The decoders' own words say what is raised as well, or does no harm.
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-m", "resode.inference.images", str(seconds), *image_files],
        env={**os.environ, "PYTHONPATH": paths.python_path(), "PYTHONIOENCODING": "utf-8", "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if answers and "error" in answers[-1]:
        raise InputError(answers[-1]["error"])
    if len(answers) < len(image_files):
        shown = quoted(str(image_files[len(answers)]), 500)
        if done.returncode == -signal.SIGPROF:
            raise InputError(_too_much(shown, seconds))
        raise InputError(f"cannot read {shown}: its decoder ended with status {done.returncode}; run the command again")
    return np.stack([np.frombuffer(bytes.fromhex(one["pixels"]), np.uint8).reshape(*SIZE[::-1], 3) for one in answers])


def _too_much(shown: str, seconds: float) -> str:
    return (
        f"{shown} takes more than {seconds:g} s or {MOST_MEMORY // 10**6} MB to read: make it smaller, or save it anew"
    )


def _decode_in_bounds(seconds: float, image_files: Sequence[str]) -> None:
    """Print a line of JSON for each image, its `pixels` in hexadecimal, or at the first that cannot be read its `error`, and stop."""
    # Whoever started this may have it ignored.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    # Systems without a module resource, or without one of its limits, do without.
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_MEMORY,) * 2)
    for path in image_files:
        # Ends this process when it is over, in the middle of a decoder too.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            answer = {"pixels": decoded(Path(path)).tobytes().hex()}
        except MemoryError:
            answer = {"error": _too_much(quoted(path, 500), seconds)}
        except InputError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)
        if "error" in answer:
            break


def decoded(path: Path) -> np.ndarray:
    """One image file as `read` gives it, uint8 (32, 32, 3), RGB, without its bounds.

    It is turned upright where its camera noted how, and resized by Pillow's bicubic filter, which averages over the pixels
    that become one; proportions are not kept. Its colours are those of its profile, if it has one, in sRGB. Grey becomes RGB with three equal values; transparent parts are white. In an image
    of floats 0 is black and 1 white. In one of whole numbers of more than 8 bits 65,535 is white, if the brightest pixel has at
    least a quarter of it.

    Raises:
        InputError: no such file, no image of `FORMATS`, too many bytes or pixels, or numbers that do not say what is white.
        MemoryError: the process may not take as much as it needs.
    """
    shown = quoted(str(path), 500)
    content = files.read_bytes(path, MOST_BYTES)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_pixels(image, MOST_JPEG_PIXELS, shown)
            # A photo as a JPEG file need not be decoded in full to be made small.
            image.draft("RGB", (4 * SIZE[0], 4 * SIZE[1]))
            _check_pixels(image, MOST_PIXELS, shown)
            _check_numbers(image, shown)
            # Known before it is loaded: then colours have 8 bits.
            wide = ";16" in str(image.tile)
            # Pillow itself turns images of some formats, such as TIFF, when it loads them, and then drops the note.
            image.load()
            turn, profile = _turn(image), image.info.get("icc_profile")
            image = _in_srgb(_in_8_bits(image, wide, shown), profile)
            image = (image if turn is None else image.transpose(turn)).convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
            return np.asarray(image.resize(SIZE, Image.Resampling.BICUBIC))
    except (InputError, MemoryError):
        raise
    except Image.UnidentifiedImageError as error:
        raise InputError(f"{shown} is no image of these formats: {', '.join(FORMATS)}") from error
    except Exception as error:
        # Each of Pillow's decoders has its own exception for a damaged file.
        raise InputError(f"cannot read {shown} as an image: {quoted(str(error))}") from error


def _check_pixels(image: Image.Image, most: int, shown: str) -> None:
    width, height = image.size
    if width * height > most or max(width, height) > MOST_SIDE:
        raise InputError(
            f"{shown} has {width} x {height} pixels; at most {most:,}, {MOST_SIDE:,} a side, are read: make it smaller"
        )


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return the turn that sets `image` upright; None if it is upright, or its file does not say.

    `ImageOps.exif_transpose` would also rewrite the camera's notes, and fails on odd ones.
    """
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION))
    except Exception:
        return None


def _check_numbers(image: Image.Image, shown: str) -> None:
    """Refuse a TIFF file whose numbers Pillow would read as other brightness."""
    tags = getattr(image, "tag_v2", {})
    signed = _SIGNED in tags.get(_SAMPLE_FORMAT, ()) and max(tags[_BITS]) <= 16
    if signed or image.mode.startswith(("I", "F")) and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        raise InputError(f"{shown} holds {'signed numbers' if signed else 'white as zero'}: save it with 8 bits")


def _in_8_bits(image: Image.Image, wide: bool, shown: str) -> Image.Image:
    """`image`, or if Pillow would cut off its numbers at 255, a grey image with 8 bits.

    Args:
        wide: its file has 16 bits for each number.

    Raises:
        InputError: the numbers do not say what is white.
    """
    numbers = image.mode.startswith(("I", "F"))
    if not numbers and not wide:
        return image
    values = np.asarray(image)
    if not numbers:
        values = values[..., [band != "A" for band in image.getbands()]]
    low, high = values.min(), values.max()
    # So small, whole numbers are as likely of 8, 10, 12 or 14 bits as dark. Of colours Pillow has kept the first 8 of 16 bits.
    unclear = image.mode != "F" and high < (65535 if numbers else 255) / 4
    if unclear or not 0 <= low <= high <= (1 if image.mode == "F" else 65535):
        found = f"from {low:g} to {high:g}" if numbers else f"below {256 * (int(high) + 1):,}"
        raise InputError(f"{shown} holds numbers {found} and does not say which is white; save it with 8 bits")
    if not numbers:
        return image
    if image.mode == "F":
        return Image.fromarray(np.rint(255 * values).astype(np.uint8))
    return image.convert("I").point(lambda value: value / 257).convert("L")


# Of a profile's colours, the modes of images that it can be of.
_OF_PROFILE = {"RGB ": ("RGB", "RGBA", "P", "PA", "L", "LA"), "GRAY": ("L", "LA"), "CMYK": ("CMYK",)}


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """`image` of 8 bits in sRGB, if its `profile` is another; as it is without a profile, or with one that cannot be read or is not
    of such an image.
    """
    if not profile:
        return image
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = own.profile.xcolor_space
        # Rounding would move colours by one.
        if "sRGB" in ImageCms.getProfileDescription(own) or image.mode not in _OF_PROFILE.get(space, ()):
            return image
        alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
        colours = image.convert({"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}[space])
        made = ImageCms.profileToProfile(colours, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image
    if alpha:
        made.putalpha(alpha)
    return made


if __name__ == "__main__":
    _decode_in_bounds(float(sys.argv[1]), sys.argv[2:])
