"""The commands predict and export: image files in, a line each out, with Keras or in a bare environment."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL
import pytest
import test_training
from PIL import Image

from resode import cli
from resode.base import config, paths
from resode.base.errors import InputError
from resode.inference import predict
from resode.training import loop


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a training left."""
    made = tmp_path_factory.mktemp("trained")
    test_training.train(made)
    return made / "results"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two image files of other sizes, dark and plain as the two classes of the training."""
    made = tmp_path_factory.mktemp("photos")
    dark, plain = (Image.fromarray(image) for image in test_training.small_dataset().train_images[[1, 0]])
    dark.resize((70, 50)).save(made / "dark.png")
    plain.resize((40, 90)).save(made / "plain.jpg")
    return [str(made / "dark.png"), str(made / "plain.jpg")]


def exported(folder: Path, path: Path) -> str:
    assert cli.main(["export", str(path), "--weights", str(folder)]) == 0
    return str(path)


def test_predictions_need_no_data_and_not_the_parameters_of_today(folder, photos, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "none")
    assert cli.main(["predict", *photos, "--weights", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    for line, path in zip(lines, photos, strict=True):
        words = line.removeprefix(f"{path}: ").replace(",", "").split()
        assert sorted(words[::3]) == ["dark", "plain"] and words[2] == words[5] == "%"
        assert float(words[1]) >= float(words[4]) and float(words[1]) + float(words[4]) == pytest.approx(100, abs=0.11)


@pytest.mark.parametrize("more", [[], ["--unroll-length", "3"]])
def test_low_memory_says_the_same_with_numpy_and_pillow_alone(more, folder, photos, tmp_path, capsys):
    weights = exported(folder, tmp_path / "model.safetensors")
    assert cli.main(["predict", *photos, "--weights", str(folder), *more]) == 0
    expected = capsys.readouterr().out
    python = bare_environment(tmp_path / "bare")
    environment = {**os.environ, "PYTHONPATH": str(paths.ROOT / "src")}

    def run(*arguments):
        return subprocess.run([python, *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True)

    for name in ("keras", "pydantic", "yaml", "pandas", "scipy"):
        assert "ModuleNotFoundError" in run("-c", f"import {name}").stderr
    done = run("-m", "resode", "predict", "--low-memory", *photos, "--weights", weights, *more)
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")


def bare_environment(where: Path) -> Path:
    """A Python with nothing but NumPy and Pillow, those of this environment."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", where], check=True)
    (site,) = where.glob("lib/python*/site-packages")
    for package in (np, PIL):
        source = Path(package.__file__).parent
        for one in (source, source.with_name(f"{source.name.lower().replace('pil', 'pillow')}.libs")):
            if one.exists():
                (site / one.name).symlink_to(one)
    return where / "bin" / "python"


def test_exports_are_equal_and_follow_the_training(folder, tmp_path):
    first, second = (Path(exported(folder, tmp_path / name)).read_bytes() for name in ("a", "b"))
    assert first == second


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{photo}", "--weights", "{none}"], "no trained weights at {none}/model.weights.h5; run: dvc repro training"),
        (["{none}"], "cannot read {none}: No such file or directory"),
        (["{here}"], "cannot read {here}: Is a directory"),
        (["{text}"], "{text} is no image of these formats: JPEG, PNG"),
        (["{cut}"], "cannot read {cut}: image file is truncated"),
        (["{photo}", "--weights", "{text}"], "{text} is not a safetensors file, or cut short; make one with"),
        (["{photo}", "--low-memory"], "--low-memory needs --weights FILE, a file made with: resode export FILE"),
        (["{photo}", "--low-memory", "--weights", "{none}"], "cannot read {none}: No such file"),
        (["{photo}", "--weights", "{folder}", "--unroll-length", "0"], "--unroll-length 0: block hamiltonian"),
    ],
)
def test_wrong_input_is_one_line(arguments, message, folder, photos, tmp_path, capsys):
    names = {name: str(tmp_path / name) for name in ("none", "text", "cut")}
    names |= {"photo": photos[0], "folder": str(folder), "here": str(tmp_path)}
    Path(names["text"]).write_text("no image", encoding="utf-8")
    content = Path(photos[0]).read_bytes()
    Path(names["cut"]).write_bytes(content[: len(content) // 2])
    assert cli.main(["predict", *(one.format(**names) for one in arguments)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: " + message.format(**names)) and error.count("\n") == 1


def copied(folder: Path, where: Path) -> Path:
    where.mkdir()
    for path in folder.iterdir():
        (where / path.name).write_bytes(path.read_bytes())
    return where


def test_folders_of_other_versions_and_other_networks(folder, photos, tmp_path, capsys):
    def error(where: Path, *command: str) -> str:
        assert cli.main([*command, "--weights", str(where)]) == 1
        return capsys.readouterr().err

    older = copied(folder, tmp_path / "older")
    text = (older / loop.PROVENANCE).read_text(encoding="utf-8")
    (older / loop.PROVENANCE).write_text(text.replace('"class_names"', '"labels"'), encoding="utf-8")
    assert "older was trained by another version of this code" in error(older, "predict", photos[0])
    (older / loop.PROVENANCE).write_text(text.replace('"kernel_size": 3', '"kernel_size": 5'), encoding="utf-8")
    assert "does not fit this network" in error(older, "predict", photos[0])
    (older / loop.PROVENANCE).write_text(text, encoding="utf-8")
    (older / loop.MEAN_IMAGE).unlink()
    assert f"cannot read {older}/mean_image.npy, which belongs to" in error(older, "predict", photos[0])
    resnet = tmp_path / "resnet"
    loop.train(
        test_training.small_dataset(),
        config.load({**test_training.SMALL, "model": {"architecture": "resnet20"}}),
        resnet,
        tmp_path / "runs",
    )
    assert "resnet holds a resnet20; low-memory inference is for units" in error(
        resnet, "export", str(tmp_path / "file")
    )
    assert cli.main(["predict", photos[0], "--weights", str(resnet)]) == 0


# --- reading images


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
