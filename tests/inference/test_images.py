"""Image files that people have, as the pixels that a network takes."""

import io
import os
import signal
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from resode.base.errors import InputError
from resode.inference import images, predict


def test_image_of_the_right_size_is_taken_as_it_is(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    np.testing.assert_array_equal(images.decoded(tmp_path / "image.png"), image)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_image_becomes_rgb(mode, tmp_path):
    grey = Image.linear_gradient("L").resize((64, 48))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey).astype("uint16") * 257)
    else:
        image = grey.convert("RGB").convert(mode)
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    image.save(path)
    found = images.decoded(path)
    assert found.shape == (32, 32, 3) and found.dtype == np.uint8
    expected = np.asarray(grey.resize((32, 32), Image.Resampling.BICUBIC))[..., None]
    # One bit a pixel: dithered.
    assert np.abs(found.astype(int) - expected).mean() < (40 if mode == "1" else 4)


def test_transparent_parts_are_white_and_photos_upright(tmp_path):
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 64, 32))
    image.save(tmp_path / "image.png")
    found = images.decoded(tmp_path / "image.png")
    assert found[4, 16].tolist() == [255, 0, 0] and found[28, 16].tolist() == [255, 255, 255]
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image.convert("RGB").save(tmp_path / "image.jpg", exif=exif, quality=95)
    assert images.decoded(tmp_path / "image.jpg")[28, 16, 0] > 240


def test_image_that_is_too_large_is_refused(tmp_path, monkeypatch):
    Image.new("L", (64, 64)).save(tmp_path / "image.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match="exceeds limit"):
        images.decoded(tmp_path / "image.png")


def test_bytes_are_bounded_before_they_are_read(tmp_path):
    (tmp_path / "image.webp").write_bytes(b"RIFF")
    # Without taking space on the disk.
    os.truncate(tmp_path / "image.webp", 2_500_000_000)
    with pytest.raises(InputError, match="2,500,000,000 bytes; at most 160,000,000 are read"):
        images.decoded(tmp_path / "image.webp")


@pytest.mark.parametrize("extension", ["png", "gif", "bmp", "tiff", "webp", "jpg"])
def test_pixels_are_bounded_before_they_are_decoded(extension, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MOST_PIXELS", 300 * 300)
    path = tmp_path / f"image.{extension}"
    Image.new("RGB", (2400, 2400 if extension == "jpg" else 301), "white").save(path)
    if extension == "jpg":
        # Made smaller as it is decoded.
        assert (images.decoded(path) >= 254).all()
    else:
        with pytest.raises(InputError, match="2400 x 301 pixels; at most 90,000, 100,000 a side, are read"):
            images.decoded(path)


@pytest.mark.parametrize("size", [(1, 100_001), (100_001, 1)])
def test_sides_are_bounded_before_they_are_decoded(size, tmp_path):
    Image.new("L", size, 128).save(tmp_path / "image.png")
    with pytest.raises(InputError, match="pixels; at most 110,000,000, 100,000 a side, are read: make it smaller"):
        images.decoded(tmp_path / "image.png")
    Image.new("L", tuple(min(side, 100_000) for side in size), 128).save(tmp_path / "image.png")
    assert (images.decoded(tmp_path / "image.png") == 128).all()


def test_progressive_jpeg_is_bounded_before_it_is_made_smaller(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MOST_JPEG_PIXELS", 300 * 300)
    Image.new("RGB", (301, 300)).save(tmp_path / "image.jpg", progressive=True)
    with pytest.raises(InputError, match="301 x 300 pixels; at most 90,000, 100,000 a side, are read: make it smaller"):
        images.decoded(tmp_path / "image.jpg")


def segments(count: int) -> bytes:
    """EXIF in so many pieces, which Pillow puts together one after the other."""
    return count * (b"\xff\xe1\x00\xd0Exif\0\0" + bytes(200))


def jpeg(before: bytes = b"", scans: int = 0) -> bytes:
    """A progressive JPEG file, with segments before its own, and so many scans more than it needs."""
    file = io.BytesIO()
    Image.new("RGB", (3000, 3000), "red").save(file, "JPEG", progressive=True)
    content = file.getvalue()
    return content[:2] + before + content[2:-2] + scans * content[content.rindex(b"\xff\xda") : -2] + content[-2:]


def tiff(tags: dict[int, tuple[int, int, int]], behind: int = 300) -> bytes:
    """A grey TIFF file of 32 x 32 pixels, with other entries (type, count, value)."""
    own = {256: 32, 257: 32, 258: 8, 259: 1, 262: 1, 277: 1}
    tags = {tag: (4, 1, value) for tag, value in own.items()} | tags
    entries = b"".join(struct.pack("<HHII", tag, *tags[tag]) for tag in sorted(tags))
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(behind)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("segments.jpg", lambda: jpeg(segments(40_000))),
        ("scans.jpg", lambda: jpeg(scans=3000)),
        # A tile larger than its image, and 20 million places of strips.
        (
            "tile.tif",
            lambda: tiff({259: (4, 1, 5), 322: (4, 1, 40_000), 323: (4, 1, 40_000), 324: (4, 1, 8), 325: (4, 1, 1)}),
        ),
        ("strips.tif", lambda: tiff({273: (4, 20_000_000, 8), 278: (4, 1, 32), 279: (4, 1, 1024)}, 81_000_000)),
    ],
)
def test_decoders_are_bounded_in_time_and_memory(name, content, tmp_path):
    (tmp_path / name).write_bytes(content())
    with pytest.raises(InputError) as raised:
        images.read([tmp_path / name], seconds=0.5)
    assert str(raised.value) in (
        f"{tmp_path}/{name} takes more than 0.5 s or 900 MB to read: make it smaller, or save it anew",
        # As libtiff says that it gets no memory.
        f"cannot read {tmp_path}/{name} as an image: decoder error -9",
    )


def test_images_with_more_in_them_than_usual_are_read(tmp_path):
    content = {"a.jpg": jpeg(), "b.jpg": jpeg(segments(100)), "c.jpg": jpeg(scans=5)}
    for name, one in content.items():
        (tmp_path / name).write_bytes(one)
    read = images.read([tmp_path / name for name in content])
    assert read.shape == (3, 32, 32, 3) and (read == images.decoded(tmp_path / "a.jpg")).all()


def test_bounds_are_of_each_image_and_the_first_that_cannot_be_read_is_named(tmp_path, capfd):
    good, damaged = tmp_path / "good.jpg", tmp_path / "damaged.tif"
    Image.new("L", (6000, 6000)).save(good)
    Image.new("RGB", (64, 64)).save(damaged, compression="tiff_lzw")
    content = damaged.read_bytes()
    damaged.write_bytes(content[:8] + bytes(30) + content[38:])
    images.read([good] * 8, seconds=1)
    with pytest.raises(InputError, match=f"cannot read {damaged} as an image"):
        images.read([good, damaged, tmp_path / "none"])
    # Nor a word of the decoders' own.
    assert capfd.readouterr().err == ""


def test_decoder_that_is_stopped_from_outside_is_told_apart(tmp_path, monkeypatch):
    Image.new("L", (32, 32)).save(tmp_path / "image.png")
    monkeypatch.setattr(images.sys, "executable", "/bin/false")
    with pytest.raises(InputError, match="image.png: its decoder ended with status 1; run the command again"):
        images.read([tmp_path / "image.png"])


def test_who_starts_a_decoder_does_not_change_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "utf-16")
    Image.new("L", (32, 32), 128).save(tmp_path / "image.png")
    assert (images.read([tmp_path / "image.png"]) == 128).all()
    (tmp_path / "scans.jpg").write_bytes(jpeg(scans=3000))
    before = signal.signal(signal.SIGPROF, signal.SIG_IGN)
    try:
        with pytest.raises(InputError, match="takes more than 0.5 s"):
            images.read([tmp_path / "scans.jpg"], seconds=0.5)
    finally:
        signal.signal(signal.SIGPROF, before)


def test_names_and_files_that_are_odd_are_one_line(tmp_path):
    odd = tmp_path / "a\n\x1b[31mb.png"
    for make in (lambda: odd.write_bytes(b"no image"), lambda: os.mkfifo(odd)):
        odd.unlink(missing_ok=True)
        make()
        with pytest.raises(InputError) as raised:
            images.decoded(odd)
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
        turn = images._TURNS.get(orientation)
        inverse = {
            Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
            Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
        }
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = image if turn is None else image.transpose(inverse.get(turn, turn))
        stored.save(tmp_path / f"image.{extension}", exif=exif, quality=95)
        found = images.decoded(tmp_path / f"image.{extension}")[8::16, 8::16, 0]
        np.testing.assert_allclose(found, [[0, 80], [160, 240]], atol=8, err_msg=f"orientation {orientation}")


@pytest.mark.parametrize("extension", ["tif", "png"])
@pytest.mark.parametrize(("kind", "largest"), [("uint16", 0), ("uint16", 255), ("uint16", 4095), ("int32", 1000)])
def test_whole_numbers_that_may_be_of_fewer_bits_are_refused_and_not_black(extension, kind, largest, tmp_path):
    if (extension, kind) == ("png", "int32"):
        pytest.skip("PNG has none")
    path = tmp_path / f"image.{extension}"
    Image.fromarray(np.linspace(0, largest, 32 * 32).reshape(32, 32).astype(kind)).save(path)
    with pytest.raises(InputError, match=f"from 0 to {largest} and does not say which is white; save it with 8 bits"):
        images.decoded(path)


@pytest.mark.parametrize(("mode", "raw"), [("RGB", "RGB;16B"), ("LA", "LA;16B"), ("RGBA", "RGBA;16B")])
@pytest.mark.parametrize("largest", [255, 4095, 65535])
def test_colours_that_may_be_of_fewer_bits_are_refused_and_not_black(mode, raw, largest, tmp_path):
    kind = {"RGB": 2, "LA": 4, "RGBA": 6}[mode]
    values = np.full((32, 32, len(mode)), 65535, ">u2")
    values[..., : 1 if mode == "LA" else 3] = np.linspace(0, largest, 32 * 32).reshape(32, 32, 1)
    lines = b"".join(b"\0" + line.tobytes() for line in values)
    chunks = {b"IHDR": struct.pack(">IIBBBBB", 32, 32, 16, kind, 0, 0, 0), b"IDAT": zlib.compress(lines), b"IEND": b""}
    path = tmp_path / "image.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks.items()
        )
    )
    with Image.open(path) as image:
        assert raw in str(image.tile)
    if largest == 65535:
        assert np.ptp(images.decoded(path)) > 250
    else:
        with pytest.raises(InputError, match=f"numbers below {largest + 1:,} and does not say which is white; save it"):
            images.decoded(path)


@pytest.mark.parametrize("largest", [4095, 65535])
def test_ink_that_may_be_of_fewer_bits_is_refused_and_not_white(largest, tmp_path):
    ink = np.repeat(np.linspace(0, largest, 32 * 32).astype("<u2"), 4).tobytes()
    # Its four numbers of bits stand first.
    tags = {258: (3, 4, 150), 262: (3, 1, 5), 277: (3, 1, 4), 273: (4, 1, 158), 278: (4, 1, 32), 279: (4, 1, len(ink))}
    content = tiff(tags, 0).ljust(150, b"\0")
    path = tmp_path / "ink.tif"
    path.write_bytes(content + struct.pack("<4H", 16, 16, 16, 16) + ink)
    if largest == 65535:
        assert np.ptp(images.decoded(path)) > 250
    else:
        with pytest.raises(InputError, match="numbers below 4,096 and does not say which is white; save it"):
            images.decoded(path)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({258: (3, 1, 8), 339: (3, 1, 2)}, "signed numbers"),
        ({258: (3, 1, 16), 339: (3, 1, 2)}, "signed numbers"),
        ({258: (3, 1, 16), 262: (3, 1, 0)}, "white as zero"),
        ({258: (3, 1, 32), 262: (3, 1, 0), 339: (3, 1, 3)}, "white as zero"),
    ],
)
def test_numbers_that_pillow_takes_for_others_are_refused(tags, said, tmp_path):
    strips = {273: (4, 1, 200), 278: (4, 1, 32), 279: (4, 1, 4096)}
    (tmp_path / "image.tif").write_bytes(tiff(strips | tags, 5000))
    with pytest.raises(InputError, match=f"image.tif holds {said}: save it with 8 bits"):
        images.decoded(tmp_path / "image.tif")


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
    assert images.decoded(tmp_path / "image.jpg")[28, 16, 0] > 240


def test_floats_from_0_to_1_are_scaled_and_other_large_numbers_refused(tmp_path):
    def saved(values):
        Image.fromarray(values).save(tmp_path / "image.tif")
        return images.decoded(tmp_path / "image.tif")

    grey = np.linspace(0, 255, 32 * 32).astype("uint8").reshape(32, 32)
    np.testing.assert_array_equal(saved(grey.astype("float32") / 255)[..., 0], grey)
    np.testing.assert_array_equal(saved(grey.astype("int32") * 257)[..., 0], saved(grey.astype("uint16") * 257)[..., 0])
    refused = [grey.astype("float32"), grey.astype("float32") - 1, grey.astype("float32") * np.nan]
    for values in (*refused, grey.astype("int32"), grey.astype("int32") << 20, -grey.astype("int32")):
        with pytest.raises(InputError, match="does not say which is white; save it with 8 bits"):
            saved(values)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("extension", "how"),
    [
        *((kind, {}) for kind in ("avif", "dds", "jp2", "webp", "tiff", "gif", "png", "jpg")),
        *(("tiff", {"compression": kind}) for kind in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "lzma")),
    ],
)
def test_damaged_files_of_every_kind_are_one_line_or_read(extension, how, tmp_path):
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
            images.decoded(path)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused


def profile(curve: int, space: bytes = b"RGB ") -> bytes:
    """An ICC profile with sRGB's primaries and the exponent `curve` / 256, named "other"."""
    xyz = lambda *values: b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * value) for value in values))
    tone = b"curv" + bytes(4) + struct.pack(">IH", 1, curve) + bytes(2)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 6) + b"other\0" + bytes(78),
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.4361, 0.2225, 0.0139),
        b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
        b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
        b"rTRC": tone,
        b"gTRC": tone,
        b"bTRC": tone,
        b"kTRC": tone,
    }
    table, content, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", start + len(content), len(value))
        content += value
    head = struct.pack(">I4sI4s4s4s", start + len(content), b"none", 0x02400000, b"mntr", space, b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    return head + table + content


@pytest.mark.parametrize(("mode", "space"), [("RGB", b"RGB "), ("RGBA", b"RGB "), ("P", b"RGB "), ("L", b"GRAY")])
def test_colours_of_a_profile_become_those_of_srgb(mode, space, tmp_path):
    image = Image.new("L", (32, 32), 55).convert(mode)
    image.save(tmp_path / "linear.png", icc_profile=profile(256, space))
    # 55 / 255 of the light is 1.055 x^(1 / 2.4) - 0.055 in sRGB.
    expected = 255 * (1.055 * (55 / 255) ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(images.decoded(tmp_path / "linear.png"), expected, atol=1.5)


@pytest.mark.parametrize(
    "content",
    [
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        b"no profile",
        profile(256, b"CMYK"),
        profile(256)[:200],
    ],
)
def test_image_with_srgbs_profile_or_one_that_cannot_be_used_is_as_it_was(content, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png", icc_profile=content)
    np.testing.assert_array_equal(images.decoded(tmp_path / "image.png"), pixels)
