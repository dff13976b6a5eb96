"""Image files that people have, as the pixels that a network takes."""

import os
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from resode.base.errors import InputError
from resode.inference import images, predict


def saved(path, image: Image.Image, **how) -> np.ndarray:
    image.save(path, **how)
    return images.decoded(path)


@pytest.mark.parametrize("name", ["1.png", "L.png", "LA.png", "P.gif", "RGB.webp", "RGBA.bmp", "CMYK.jpg", "CMYK.tif"])
def test_every_kind_of_image_becomes_rgb(name, tmp_path):
    grey = Image.linear_gradient("L").resize((64, 48))
    found = saved(tmp_path / name, grey.convert("RGB").convert(name.partition(".")[0]))
    assert found.shape == (32, 32, 3) and found.dtype == np.uint8
    expected = np.asarray(grey.resize((32, 32), Image.Resampling.BICUBIC))[..., None]
    # One bit a pixel: dithered.
    assert np.abs(found.astype(int) - expected).mean() < (40 if name == "1.png" else 4)


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_transparent_parts_are_white(mode, tmp_path):
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 64, 32))
    found = saved(tmp_path / "image.png", image.quantize() if mode == "P" else image)
    assert found[4, 16].tolist() == [255, 0, 0] and found[28, 16].tolist() == [255, 255, 255]


@pytest.mark.parametrize("extension", ["jpg", "png", "tif", "webp"])
def test_photo_of_a_camera_held_upside_down_or_on_its_side_is_turned_upright(extension, tmp_path):
    """Four quarters of different grey, which tell the eight orientations apart."""
    image = Image.new("RGB", (32, 32))
    for place, grey in {(0, 0): 0, (16, 0): 80, (0, 16): 160, (16, 16): 240}.items():
        image.paste((grey, grey, grey), (*place, place[0] + 16, place[1] + 16))
    turn = Image.Transpose
    # As it lies in a file of orientation 1, 2, …
    ways = (None, turn.FLIP_LEFT_RIGHT, turn.ROTATE_180, turn.FLIP_TOP_BOTTOM, turn.TRANSPOSE, turn.ROTATE_90)
    for orientation, way in enumerate((*ways, turn.TRANSVERSE, turn.ROTATE_270), 1):
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = image if way is None else image.transpose(way)
        found = saved(tmp_path / f"image.{extension}", stored, exif=exif, quality=95)[8::16, 8::16, 0]
        np.testing.assert_allclose(found, [[0, 80], [160, 240]], atol=8, err_msg=f"orientation {orientation}")


def test_odd_note_beside_the_orientation_does_no_harm(tmp_path):
    # Upside down, and a resolution as text, which Pillow does not write again.
    entries = struct.pack("<HHI4sHHI4s", 0x0112, 3, 1, b"\x03\0\0\0", 0x011A, 2, 1, b"\x05\0\0\0")
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + entries + bytes(4)
    image = Image.new("RGB", (64, 64))
    image.paste((255, 0, 0), (0, 0, 64, 32))
    assert saved(tmp_path / "image.jpg", image, exif=exif, quality=95)[28, 16, 0] > 240


@pytest.mark.parametrize("extension", ["png", "tif"])
@pytest.mark.parametrize("brightest", [1000, 65535])
def test_white_of_16_bits_is_65535_also_in_a_dark_image(brightest, extension, tmp_path):
    values = np.linspace(0, brightest, 32 * 32).reshape(32, 32)
    found = saved(tmp_path / f"image.{extension}", Image.fromarray(values.astype("uint16")))
    np.testing.assert_allclose(found[..., 0], values / 257, atol=1)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# Another profile: what it calls red is sRGB's green.
SWAPPED = SRGB.replace(b"rXYZ", b"....").replace(b"gXYZ", b"rXYZ").replace(b"....", b"gXYZ")
SWAPPED = SWAPPED.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_of_a_profile_become_those_of_srgb(mode, tmp_path):
    image = Image.new("RGB", (32, 32), (255, 0, 0)).convert(mode)
    found = saved(tmp_path / "image.png", image, icc_profile=SWAPPED)
    np.testing.assert_allclose(found, np.broadcast_to((0, 255, 0), found.shape), atol=2)


@pytest.mark.parametrize("content", [SRGB, b"no profile", SWAPPED.replace(b"RGB XYZ ", b"CMYKXYZ "), SWAPPED[:200]])
def test_image_with_srgbs_profile_or_one_that_cannot_be_used_is_as_it_was(content, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(saved(tmp_path / "a.png", Image.fromarray(pixels), icc_profile=content), pixels)


def test_pixels_are_bounded_before_they_are_decoded_and_a_photo_becomes_smaller_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MOST_PIXELS", 300 * 300)
    image = Image.new("RGB", (1200, 1200), "white")
    assert (saved(tmp_path / "image.jpg", image) >= 254).all()
    with pytest.raises(InputError, match="1200 x 1200 pixels; at most 90,000 are read: make it smaller"):
        saved(tmp_path / "image.png", image)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match="exceeds limit"):
        images.decoded(tmp_path / "image.jpg")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("extension", ["jpg", "png", "gif", "bmp", "tiff", "webp"])
def test_damaged_file_of_any_kind_is_one_line(extension, tmp_path):
    path = tmp_path / f"image.{extension}"
    Image.effect_noise((64, 64), 50).convert("RGB").save(path)
    for part in (0.1, 0.5):
        path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
        with pytest.raises(InputError, match=rf"image\.{extension}") as raised:
            images.decoded(path)
        assert str(raised.value).isprintable()


def test_what_is_no_image_is_one_line(tmp_path):
    odd = tmp_path / "a\n\x1b[31mb.png"
    odd.write_text("no image", encoding="utf-8")
    Image.fromarray(np.zeros((32, 32), "float32")).save(tmp_path / "float.tif")
    (tmp_path / "large.webp").touch()
    # Without taking space on the disk.
    os.truncate(tmp_path / "large.webp", 2_500_000_000)
    for name, said in {
        odd.name: r"a\\n\\x1b\[31mb.png is no image of these formats: JPEG, PNG",
        "float.tif": "holds numbers of 32 bits, which do not say what is white: save it with 8 bits",
        "large.webp": "2,500,000,000 bytes; at most 160,000,000 are read",
    }.items():
        with pytest.raises(InputError, match=said) as raised:
            images.decoded(tmp_path / name)
        assert str(raised.value).isprintable()
    assert predict.line(odd, np.array([1.0]), ["cat"]).isprintable()
