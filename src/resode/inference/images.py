"""Image files as the pixels that a network takes, with NumPy and Pillow alone."""

import io
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from resode.base import files
from resode.base.errors import InputError
from resode.base.text import quoted

# Width and height of the images that networks are trained with.
SIZE = (32, 32)
# Pillow has some forty decoders, most of them for files that nobody has.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
# An image takes up to 20 bytes of memory a pixel, its file's included. Photos as JPEG may have more: they become smaller as they are
# decoded. Pillow opens no file of more than 179 million pixels.
MOST_PIXELS = 40_000_000
# Four bytes a pixel, without compression.
MOST_BYTES = 4 * MOST_PIXELS


def decoded(path: Path) -> np.ndarray:
    """One image file as a network takes it, uint8 (32, 32, 3), RGB.

    It is turned upright where its camera noted how, and resized by Pillow's bicubic filter, which averages over the pixels
    that become one; proportions are not kept. Its colours are those of its profile, if it has one, in sRGB. Grey becomes RGB with
    three equal values; transparent parts are white. White of 16 bits is 65,535.

    Raises:
        InputError: no such file, no image of `FORMATS`, too many bytes or pixels, numbers of 32 bits, or a damaged file.
    """
    shown = quoted(str(path), 500)
    content = io.BytesIO(files.read_bytes(path, MOST_BYTES))
    try:
        # What decoders warn of is raised as well, or does no harm.
        with warnings.catch_warnings(action="ignore"), Image.open(content, formats=FORMATS) as image:
            # A photo as a JPEG file need not be decoded in full to be made small.
            image.draft("RGB", (4 * SIZE[0], 4 * SIZE[1]))
            if image.width * image.height > MOST_PIXELS:
                raise InputError(
                    f"{shown} has {image.width} x {image.height} pixels; at most {MOST_PIXELS:,} are read: make it smaller"
                )
            image.load()
            # Pillow turns the image first and then rewrites the camera's notes, which fails on odd ones.
            with suppress(Exception):
                ImageOps.exif_transpose(image, in_place=True)
            if image.mode in ("I", "F"):
                raise InputError(
                    f"{shown} holds numbers of 32 bits, which do not say what is white: save it with 8 bits"
                )
            profile = image.info.get("icc_profile")
            if image.mode.startswith("I;16"):
                # Pillow would cut off what is above 255. Of colours it has read the first 8 bits.
                image = image.convert("I").point(lambda value: value / 257).convert("L")
            image = _in_srgb(image, profile).convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
            return np.asarray(image.resize(SIZE, Image.Resampling.BICUBIC))
    except InputError:
        raise
    except Image.UnidentifiedImageError as error:
        raise InputError(f"{shown} is no image of these formats: {', '.join(FORMATS)}") from error
    except Exception as error:
        # Each of Pillow's decoders has its own exception for a damaged file.
        raise InputError(f"cannot read {shown} as an image: {quoted(str(error))}") from error


# The modes of images that a profile can be of, by its colours.
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
