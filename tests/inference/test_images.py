"""Image files that people have, as the pixels that a network takes."""

import os
import struct

import numpy as np
import pytest
from PIL import Image

from resode.base.errors import InputError
from resode.inference import predict

pytestmark = pytest.mark.once


def test_image_of_the_right_size_is_taken_as_it_is(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    np.testing.assert_array_equal(predict.read_image(tmp_path / "image.png"), image)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_image_becomes_rgb(mode, tmp_path):
    grey = Image.linear_gradient("L").resize((64, 48))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey).astype("uint16") * 257)
    else:
        image = grey.convert("RGB").convert(mode)
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    image.save(path)
    found = predict.read_image(path)
    assert found.shape == (32, 32, 3) and found.dtype == np.uint8
    expected = np.asarray(grey.resize((32, 32), Image.Resampling.BICUBIC))[..., None]
    # One bit a pixel: dithered.
    assert np.abs(found.astype(int) - expected).mean() < (40 if mode == "1" else 4)


def test_transparent_parts_are_white_and_photos_upright(tmp_path):
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 64, 32))
    image.save(tmp_path / "image.png")
    found = predict.read_image(tmp_path / "image.png")
    assert found[4, 16].tolist() == [255, 0, 0] and found[28, 16].tolist() == [255, 255, 255]
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image.convert("RGB").save(tmp_path / "image.jpg", exif=exif, quality=95)
    assert predict.read_image(tmp_path / "image.jpg")[28, 16, 0] > 240


def test_image_that_is_too_large_is_refused(tmp_path, monkeypatch):
    Image.new("L", (64, 64)).save(tmp_path / "image.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match="exceeds limit"):
        predict.read_image(tmp_path / "image.png")


def test_bytes_are_bounded_before_they_are_read(tmp_path):
    (tmp_path / "image.webp").write_bytes(b"RIFF")
    # Without taking space on the disk.
    os.truncate(tmp_path / "image.webp", 2_500_000_000)
    with pytest.raises(InputError, match="2,500,000,000 bytes; at most 160,000,000 are read"):
        predict.read_image(tmp_path / "image.webp")


@pytest.mark.parametrize("extension", ["png", "gif", "bmp", "tiff", "webp", "jpg"])
def test_pixels_are_bounded_before_they_are_decoded(extension, tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(predict, "MOST_PIXELS", 300 * 300)
    path = tmp_path / f"image.{extension}"
    Image.new("RGB", (2400, 2400 if extension == "jpg" else 301), "white").save(path)
    # Pillow would warn.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4_000_000 if extension == "jpg" else 600_000)
    if extension == "jpg":
        # Made smaller as it is decoded.
        assert (predict.read_image(path) >= 254).all()
    else:
        with pytest.raises(InputError, match="2400 x 301 pixels; at most 90,000 are read"):
            predict.read_image(path)
    assert not recwarn.list


def test_progressive_jpeg_is_bounded_before_it_is_made_smaller(tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "MOST_JPEG_PIXELS", 300 * 300)
    Image.new("RGB", (301, 300)).save(tmp_path / "image.jpg", progressive=True)
    with pytest.raises(InputError, match="301 x 300 pixels; at most 90,000 are read: make it smaller"):
        predict.read_image(tmp_path / "image.jpg")


@pytest.mark.parametrize(
    ("extension", "before", "piece"),
    [("jpg", b"\xff\xdb", b"\xff\xe5\0\2"), ("jpg", b"\xff\xdb", b"\xff"), ("gif", b",", b"!\xfe\1c\0")],
)
def test_pieces_of_a_file_are_bounded(extension, before, piece, tmp_path, monkeypatch):
    path = tmp_path / f"image.{extension}"
    Image.new("L", (32, 32)).save(path)
    predict.read_image(path)
    path.write_bytes(path.read_bytes().replace(before, 2000 * piece + before, 1))
    predict.read_image(path)
    monkeypatch.setattr(predict, "MOST_READS", 1000)
    with pytest.raises(InputError, match="cannot read .* as an image: it has more than .*1,000 pieces; save it anew"):
        predict.read_image(path)


def test_scans_of_a_jpeg_are_bounded(tmp_path):
    path = tmp_path / "image.jpg"
    Image.new("RGB", (320, 320), "red").save(path, progressive=True)
    content = path.read_bytes()
    read = predict.read_image(path)
    last = content.rindex(b"\xff\xda")
    scans, scan, end = content.count(b"\xff\xda"), content[last:-2], content[-2:]

    def write(count: int) -> None:
        # A thumbnail, and what cameras put behind the image, hold scans that nobody decodes.
        notes = b"\xff\xe5" + (2 + 300 * 4).to_bytes(2) + 300 * (scan[:4])
        path.write_bytes(content[:2] + notes + content[2:-2] + (count - scans) * scan + end + 300 * scan)

    write(predict.MOST_SCANS)
    np.testing.assert_array_equal(predict.read_image(path), read)
    write(predict.MOST_SCANS + 1)
    with pytest.raises(InputError, match="cannot read .*image.jpg as an image: it has more than 100 scans"):
        predict.read_image(path)


@pytest.mark.parametrize(
    "tile",
    [
        {322: (4, 1, 40_000), 324: (4, 1, 8), 325: (4, 1, 1)},
        # 200 bytes of text, in an image of strips.
        {322: (2, 200, 8), 273: (4, 1, 8), 278: (4, 1, 32), 279: (4, 1, 1)},
    ],
)
def test_tile_that_is_larger_than_its_image_is_refused(tile, tmp_path):
    tags = {
        tag: (4, 1, value) for tag, value in {256: 32, 257: 32, 258: 8, 259: 1, 262: 1, 277: 1, 323: 40_000}.items()
    }
    tags |= tile
    entries = b"".join(struct.pack("<HHII", tag, *tags[tag]) for tag in sorted(tags))
    path = tmp_path / "tile.tif"
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(300))
    with pytest.raises(InputError, match="tile.tif has tiles of more than 40,000,000 pixels or of no size: save"):
        predict.read_image(path)


def test_names_and_files_that_are_odd_are_one_line(tmp_path):
    odd = tmp_path / "a\n\x1b[31mb.png"
    for make in (lambda: odd.write_bytes(b"no image"), lambda: os.mkfifo(odd)):
        odd.unlink(missing_ok=True)
        make()
        with pytest.raises(InputError) as raised:
            predict.read_image(odd)
        assert str(raised.value).isprintable()
    assert predict.line(odd, np.array([1.0]), ["cat"]).isprintable()


@pytest.mark.parametrize("extension", ["jpg", "png", "tif", "webp"])
def test_every_orientation_is_turned_upright(extension, tmp_path):
    """Four quarters of different grey, which tell the eight orientations apart."""
    image = Image.new("RGB", (32, 32))
    for place, grey in {(0, 0): 0, (16, 0): 80, (0, 16): 160, (16, 16): 240}.items():
        image.paste((grey, grey, grey), (*place, place[0] + 16, place[1] + 16))
    for orientation in range(1, 9):
        # What turns an image upright, applied to the upright one, is undone by its inverse.
        turn = predict._TURNS.get(orientation)
        inverse = {
            Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
            Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
        }
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = image if turn is None else image.transpose(inverse.get(turn, turn))
        stored.save(tmp_path / f"image.{extension}", exif=exif, quality=95)
        found = predict.read_image(tmp_path / f"image.{extension}")[8::16, 8::16, 0]
        np.testing.assert_allclose(found, [[0, 80], [160, 240]], atol=8, err_msg=f"orientation {orientation}")


@pytest.mark.parametrize("extension", ["tif", "png"])
@pytest.mark.parametrize(("kind", "largest"), [("uint16", 0), ("uint16", 255), ("uint16", 4095), ("int32", 1000)])
def test_whole_numbers_that_may_be_of_fewer_bits_are_refused_and_not_black(extension, kind, largest, tmp_path):
    if (extension, kind) == ("png", "int32"):
        pytest.skip("PNG has none")
    path = tmp_path / f"image.{extension}"
    Image.fromarray(np.linspace(0, largest, 32 * 32).reshape(32, 32).astype(kind)).save(path)
    with pytest.raises(InputError, match=f"from 0 to {largest} and does not say which is white; save it with 8 bits"):
        predict.read_image(path)


def odd_exif(tag: int, kind: int, count: int, value: bytes) -> bytes:
    """EXIF of a camera held upside down, with an entry that is not as the standard has it."""
    entries = struct.pack("<HHI4s", 0x0112, 3, 1, b"\x03\0\0\0") + struct.pack("<HHI4s", tag, kind, count, value)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + b"\0\0\0\0"


@pytest.mark.parametrize(
    "entry",
    [
        (0x010E, 5, 1, b"\x08\0\0\0"),  # ImageDescription as a fraction
        (0x010E, 11, 1, b"\x05\0\0\0"),  # or as a float
        (0x011A, 2, 1, b"\x05\0\0\0"),  # XResolution as text
        (0x011A, 6, 1, b"\xff\xff\xff\xff"),  # or below zero
        (0x0128, 4, 1, b"\xff\xff\xff\xff"),  # ResolutionUnit as a large number
        (0x8769, 6, 1, b"\xff\xff\xff\xff"),  # the pointer to more entries below zero
        (0x02BC, 2, 1, b"\x05\0\0\0"),  # XMP as text
        (0x02BC, 3, 1, b"\xff\xff\xff\xff"),  # or as a number
    ],
)
def test_odd_entries_beside_the_orientation_do_no_harm(entry, tmp_path):
    image = Image.new("RGB", (64, 64), (0, 0, 0))
    image.paste((255, 0, 0), (0, 0, 64, 32))
    image.save(tmp_path / "image.jpg", exif=odd_exif(*entry), quality=95)
    assert predict.read_image(tmp_path / "image.jpg")[28, 16, 0] > 240


def test_floats_from_0_to_1_are_scaled_and_other_large_numbers_refused(tmp_path):
    def saved(values):
        Image.fromarray(values).save(tmp_path / "image.tif")
        return predict.read_image(tmp_path / "image.tif")

    grey = np.linspace(0, 255, 32 * 32).astype("uint8").reshape(32, 32)
    np.testing.assert_array_equal(saved(grey.astype("float32") / 255)[..., 0], grey)
    np.testing.assert_array_equal(saved(grey.astype("int32") * 257)[..., 0], saved(grey.astype("uint16") * 257)[..., 0])
    refused = [grey.astype("float32"), grey.astype("float32") - 1, grey.astype("float32") * np.nan]
    for values in (*refused, grey.astype("int32"), grey.astype("int32") << 20, -grey.astype("int32")):
        with pytest.raises(InputError, match="does not say which is white; save it with 8 bits"):
            saved(values)


@pytest.mark.parametrize(
    ("extension", "how"),
    [
        *((kind, {}) for kind in ("avif", "dds", "jp2", "webp", "tiff", "gif", "png", "jpg")),
        *(("tiff", {"compression": kind}) for kind in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "lzma")),
    ],
)
def test_damaged_files_of_every_kind_are_one_line_or_read(extension, how, tmp_path, capfd):
    path = tmp_path / f"image.{extension}"
    Image.linear_gradient("L").convert("RGB").resize((64, 64)).save(path, **how)
    content = path.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(40):
        # In the first bytes, of which decoders know more than of the rest.
        changed = bytearray(content[: random.integers(20, len(content))])
        for place in random.integers(0, min(len(changed), 200), 3):
            changed[place] = random.integers(256)
        path.write_bytes(changed)
        try:
            predict.read_image(path)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    # Nor a word of the decoders' own.
    assert refused and capfd.readouterr().err == ""
