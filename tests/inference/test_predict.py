"""The commands predict and export: image files in, a line each out, with Keras or in a bare environment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL
import pytest
import safetensors
from PIL import Image

from helpers import small_dataset, train
from resode import cli
from resode.base import paths
from resode.training import loop


@pytest.fixture
def folder(uninterrupted):
    """What a training left."""
    return uninterrupted / "results"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two image files of other sizes, dark and plain as the two classes of the training."""
    made = tmp_path_factory.mktemp("photos")
    dark, plain = (Image.fromarray(image) for image in small_dataset().train_images[[1, 0]])
    dark.resize((70, 50)).save(made / "dark.png")
    plain.resize((40, 90)).save(made / "plain.jpg")
    return [str(made / "dark.png"), str(made / "plain.jpg")]


def exported(folder: Path, path: Path) -> str:
    assert cli.main(["export", str(path), "--weights", str(folder)]) == 0
    return str(path)


def test_predictions_need_no_data_and_not_the_parameters_of_today(folder, photos, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "none")
    assert cli.main(["predict", *photos, "--weights", str(folder)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == "The classes are those of Noise."
    for line, path in zip(lines, photos, strict=True):
        words = line.removeprefix(f"{path}: ").replace(",", "").split()
        assert sorted(words[::3]) == ["dark", "plain"] and words[2] == words[5] == "%"
        assert float(words[1]) >= float(words[4]) and float(words[1]) + float(words[4]) == pytest.approx(100, abs=0.11)


@pytest.mark.parametrize("more", [["--unroll-length", "3"], pytest.param([], marks=pytest.mark.slow)])
def test_low_memory_says_the_same_with_numpy_pillow_and_safetensors_alone(more, folder, photos, tmp_path, capsys):
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
    """A Python with nothing but NumPy, Pillow and safetensors, those of this environment."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", where], check=True)
    (site,) = where.glob("lib/python*/site-packages")
    for package in (np, PIL, safetensors):
        source = Path(package.__file__).parent
        for one in (source, source.with_name(f"{source.name.lower().replace('pil', 'pillow')}.libs")):
            if one.exists():
                (site / one.name).symlink_to(one)
    return where / "bin" / "python"


def test_export_leaves_what_is_no_ordinary_file(folder, tmp_path, refused):
    path = tmp_path / "pipe.safetensors"
    os.mkfifo(path)
    said = f"cannot write {path}: it is not an ordinary file"
    assert refused("export", path, "--weights", folder) == said
    assert path.is_fifo()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{photo}", "--weights", "{none}"], "no trained weights at {none}/model.weights.h5; name a folder that"),
        (["{none}"], "cannot read {none}: No such file or directory"),
        (["{photo}", "--low-memory", "--weights", "no\nsuch"], "cannot read no\\nsuch: No such file"),
        (["{here}"], "cannot read {here}: it is not an ordinary file"),
        (["{cut}"], "cannot read {cut} as an image: image file is truncated"),
        (["{photo}", "--weights", "{text}"], "cannot read {text} as weights: cut short, or no file of the"),
        (["{photo}", "--low-memory"], "--low-memory needs --weights FILE, a file made with: resode export FILE"),
        (["{photo}", "--weights", "{folder}", "--unroll-length", "0"], "--unroll-length 0: block hamiltonian"),
        (["{photo}", "--weights", "{folder}", "--unroll-length", "1000000000"], "--unroll-length 1000000000: block"),
        (["{photo}", "--weights", "{folder}", "--unroll-length", "9" * 400], "--unroll-length 999"),
    ],
)
def test_wrong_input_is_one_line(arguments, message, folder, photos, tmp_path, refused, monkeypatch):
    monkeypatch.setattr(paths, "NETWORK", tmp_path / "none.safetensors")
    names = {name: str(tmp_path / name) for name in ("none", "text", "cut")}
    names |= {"photo": photos[0], "folder": str(folder), "here": str(tmp_path)}
    Path(names["text"]).write_text("no image", encoding="utf-8")
    content = Path(photos[0]).read_bytes()
    Path(names["cut"]).write_bytes(content[: len(content) // 2])
    error = refused("predict", *(one.format(**names) for one in arguments))
    assert error.startswith(message.format(**names))


def test_folders_of_other_versions_and_damaged_ones(folder, photos, tmp_path, refused):
    older = Path(shutil.copytree(folder, tmp_path / "older"))
    predict = ("predict", photos[0], "--weights", older)
    text = (older / loop.PROVENANCE).read_text(encoding="utf-8")
    (older / loop.PROVENANCE).write_text(text.replace('"class_names"', '"labels"'), encoding="utf-8")
    assert "provenance.json was written by another version of this code" in refused(*predict)
    (older / loop.PROVENANCE).write_text(text.replace('"kernel_size": 3', '"kernel_size": 5'), encoding="utf-8")
    assert "is damaged, or of another network" in refused(*predict)
    (older / loop.PROVENANCE).write_text(text, encoding="utf-8")
    (older / loop.MEAN_IMAGE).unlink()
    said = f"cannot read {older}/mean_image.npy: No such file or directory; name a folder that a training wrote"
    assert said in refused(*predict)


@pytest.mark.slow
def test_folder_of_another_network_predicts_and_is_not_exported(photos, tmp_path, refused):
    train(tmp_path, model={"architecture": "resnet20"})
    resnet = tmp_path / "results"
    told = refused("export", tmp_path / "file.safetensors", "--weights", resnet)
    assert "the network is a resnet20; a file of weights, for low-memory inference, is of units" in told
    assert cli.main(["predict", photos[0], "--weights", str(resnet)]) == 0
