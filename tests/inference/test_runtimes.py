"""Files of other runtimes: the predictions of the Keras network, and what is refused. With packages of the extra `export`."""

import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from test_inference import pixels, random_network, write

from helpers import small_dataset
from resode import cli
from resode.base import paths
from resode.base.errors import InputError
from resode.benchmarks import runtimes as study
from resode.data import digits, records
from resode.inference import runtimes, trained
from resode.report import release

on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow writes such files")


def install(packages, *options):
    """Install `packages` with pip, or skip the test where it cannot."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", *options, *packages], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"pip cannot install {', '.join(packages)}: {done.stderr.strip().splitlines()[-1]}")


@pytest.fixture(scope="module")
def pins():
    """The packages of the extra `export`."""
    with (paths.ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]["optional-dependencies"]["export"]


@pytest.fixture(scope="module")
def extra(pins, tmp_path_factory):
    """The extra `export`, in this environment or for this module alone."""
    names = [name for names in (*runtimes.WRITERS.values(), *runtimes.READERS.values()) for name in names]
    with pytest.MonkeyPatch.context() as patch:
        if not all(map(importlib.util.find_spec, names)):
            site = tmp_path_factory.mktemp("site")
            # What they need besides is in this environment.
            install([*pins, "backports.strenum"], "--no-deps", "--target", str(site))
            patch.setattr(sys, "path", [*sys.path, str(site)])
            importlib.invalidate_caches()
        yield


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A network with random weights that tells where it comes from, in the place where git carries one, and its data set."""
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    monkeypatch.setattr(paths, "NETWORK", tmp_path / "network.safetensors")
    digits.write(paths.dataset("digits"))
    dataset = records.load(paths.dataset("digits"))
    network, chosen, mean = random_network()
    images = dataset.test_images
    path = write(tmp_path, network, chosen, mean)
    right = int((trained.Network(path).predict(images).argmax(axis=1) == dataset.test_labels).sum())
    told = {"run": "first", "data": dataset.provenance, "test_correct": right, "test_total": len(images)}
    content = trained.encoded(network, chosen, ["one", "two", "three"], mean, told, "Digits")
    paths.NETWORK.write_bytes(content)
    return paths.NETWORK


@pytest.mark.slow
@on_tensorflow
@pytest.mark.parametrize("suffix", runtimes.SUFFIXES)
def test_file_predicts_what_the_keras_network_does_for_any_number_of_images(suffix, weights, extra, tmp_path, capsys):
    path = tmp_path / f"net{suffix}"
    assert cli.main(["export", str(path)]) == 0
    network, expected = runtimes.Network(path), trained.Network(weights).predict(pixels(7))
    assert expected.std(axis=0).max() > 1e-3
    for batch_size in (1, 3, 7):
        np.testing.assert_allclose(network.predict(pixels(7), batch_size), expected, atol=1e-5)
    assert network.class_names == ["one", "two", "three"]
    assert json.loads(network.metadata["model"])["channels"] == [4, 8, 8]
    assert set(json.loads(network.metadata["made_with"])) >= {"keras", "tensorflow", "commit"}
    capsys.readouterr()
    assert cli.main(["verify", "--weights", str(path)]) == 0
    assert re.match(r"(ONNX Runtime|LiteRT) [\d.]+, float32: ", capsys.readouterr().out)


@pytest.mark.slow
@on_tensorflow
@pytest.mark.parametrize(
    "changes",
    [
        {"block": "two_layer_hamiltonian", "integrator": "symplectic_euler", "backward": "reversible"},
        {"block": "antisymmetric", "gamma": 0.2, "kernel_size": 2, "channels": [3, 3, 9], "activation": "tanh"},
        {"kernel_size": 4, "weights_in_time": "free"},
    ],
)
def test_other_networks_too(changes, extra, tmp_path):
    network = trained.Network(write(tmp_path, *random_network(**changes)))
    (tmp_path / "net.onnx").write_bytes(runtimes.of_onnx(network))
    found = runtimes.Network(tmp_path / "net.onnx").predict(pixels(3))
    np.testing.assert_allclose(found, network.predict(pixels(3)), atol=1e-5)


@pytest.mark.slow
@on_tensorflow
def test_int8_is_of_the_convolutions_alone_and_holds_each_kernel_once(weights, extra, tmp_path):
    import onnx

    sizes = {}
    for name, more in (("float32", []), ("int8", ["--int8"])):
        assert cli.main(["export", str(tmp_path / f"{name}.onnx"), *more]) == 0
        model = onnx.load(tmp_path / f"{name}.onnx")
        assert not any(node.op_type == "ConvTranspose" for node in model.graph.node)
        kernels = [one for one in model.graph.initializer if len(one.dims) == 4 and one.dims[2:] == [3, 3]]
        sizes[name] = sorted(len(one.raw_data) for one in kernels)
    # A unit's K, for Kᵀ too.
    assert sizes == {
        name: sorted(9 * half**2 * size for half in (2, 4, 4)) for name, size in (("float32", 4), ("int8", 1))
    }
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    quantized = [
        node for node in model.graph.node if {producers.get(name) for name in node.input} == {"DequantizeLinear"}
    ]
    # What follows a convolution reads its result in 8 bits; sums of states do not.
    assert {node.op_type for node in quantized} == {"Conv", "Relu", "Neg"}
    network = runtimes.Network(tmp_path / "int8.onnx")
    assert network.metadata["precision"] == "int8"
    expected = trained.Network(weights).predict(pixels(20))
    difference = abs(network.predict(pixels(20)) - expected).max()
    assert 1e-5 < difference < 0.1


@pytest.mark.slow
@on_tensorflow
def test_twelve_lines_of_the_docs_run_with_onnxruntime_numpy_and_pillow_alone(weights, extra, tmp_path, capsys):
    code = re.search(r"```python\n(.*?)```", (paths.ROOT / "docs" / "predict.md").read_text(encoding="utf-8"), re.S)[1]
    assert len(list(filter(None, code.splitlines()))) == 12
    assert set(re.findall(r"^(?:import|from) (\w+)", code, re.M)) == {"json", "sys", "numpy", "onnxruntime", "PIL"}
    image = tmp_path / "image.png"
    Image.fromarray(small_dataset().train_images[1]).resize((70, 50)).save(image)
    assert cli.main(["export", str(tmp_path / "net.onnx")]) == 0
    capsys.readouterr()
    assert cli.main(["predict", str(image)]) == 0
    expected = capsys.readouterr().out.split(",")[0] + "\n"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, image]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, expected), done.stderr


def test_combinations_that_do_not_go_are_one_line(monkeypatch, refused):
    assert "--int8 writes a file NAME.onnx, not net.tflite" in refused("export", "net.tflite", "--int8")
    assert "--int8 writes a file NAME.onnx, not net.safetensors" in refused("export", "net.safetensors", "--int8")
    for name in ("net.pb", "net.ONNX", "net"):
        assert f"a file is NAME.safetensors, NAME.onnx or NAME.tflite, not {name}" in refused("export", name)
    monkeypatch.setattr(runtimes, "WRITERS", {".onnx": ("no_such_package",), ".tflite": ()})
    for arguments in (["export", "net.onnx"], ["runtimes"]):
        assert "this needs no_such_package, which is not installed; run: .venv/bin/pip" in refused(*arguments)
    monkeypatch.setattr(runtimes, "WRITERS", {".onnx": (), ".tflite": ()})
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert "a file .tflite is written with TensorFlow; set KERAS_BACKEND=tensorflow" in refused("export", "net.tflite")
    assert "a file .onnx is written with TensorFlow; set KERAS_BACKEND=tensorflow" in refused("runtimes")
    assert not any(Path(name).exists() for name in ("net.tflite", "net.pb", "net.ONNX", "net"))


@pytest.mark.slow
@on_tensorflow
def test_files_of_others_and_other_networks_are_one_line(extra, tmp_path):
    import onnx
    from onnx import TensorProto, helper

    for suffix in runtimes.SUFFIXES:
        (tmp_path / f"net{suffix}").write_bytes(b"not a network" * 9)
        with pytest.raises(InputError, match="is no network that `resode export` wrote: ") as error:
            release.verify(tmp_path / f"net{suffix}")
        assert "\n" not in str(error.value)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    with pytest.raises(InputError, match=r"wrote: its metadata have no class_names$"):
        release.verify(path)
    # Its runtime reads it, and finds only as it predicts that this is another network.
    onnx.helper.set_model_props(model, {"class_names": '["one"]', "precision": "float32"})
    onnx.save(model, path)
    with pytest.raises(InputError, match="is no network that `resode export` wrote: "):
        release.verify(path)


def test_int8_needs_the_images_of_the_training(weights):
    network = trained.Network(weights)
    assert runtimes.training_images(network).shape == (runtimes.CALIBRATION, 32, 32, 3)
    network.facts["data"]["sha256"] = {}
    with pytest.raises(InputError, match="holds other images than those"):
        runtimes.training_images(network)
    network.facts = {}
    with pytest.raises(InputError, match="do not tell their data set, whose images int8 needs"):
        runtimes.training_images(network)


@pytest.mark.parametrize("changes", [{"training": "another"}, {"run": "eighth"}])
def test_speed_of_other_weights_than_the_accuracys_makes_no_table(changes, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "FOLDER", tmp_path)
    told = {"run": "quarter", "training": "one", "hardware": "CPU: old", "rows": []}
    for name, content in {"accuracy": told, "speed": told | changes}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="is of different weights, or of older ones"):
        study.text()
