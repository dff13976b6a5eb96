"""Inference with NumPy, a unit at a time: the numbers of the Keras network, in the memory of one unit."""

import json
import re
import sys
import typing
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save, save_file

from resode.analysis import evaluation
from resode.base import tensors
from resode.base.errors import InputError
from resode.benchmarks import inference_memory
from resode.config import parameters, schema
from resode.inference import low_memory, trained, weights_schema
from resode.nn import model
from resode.ode.equations import ODES
from resode.training import augmentation
from units import PAIRS, array, built, images

ACTIVATIONS = [
    name
    for member in typing.get_args(schema.ModelParams.model_fields["activation"].annotation)
    for name in typing.get_args(member) or (None,)
]


def random_network(**changes):
    """A small Keras network with every weight random, its parameters, and a mean image."""
    small = {"channels": [4, 8, 8], "pool_after": [1, 2], "unroll_length": 3, **changes}
    chosen = parameters.load({"model": small}).model
    network = model.build(chosen, classes=3)
    generator = np.random.default_rng(0)
    # Positive, as a variance is.
    network.set_weights([np.abs(generator.normal(0, 0.3, weight.shape)) if weight.ndim < 2
                         else generator.normal(0, 0.3, weight.shape) for weight in network.get_weights()])  # fmt: skip
    return network, chosen.model_dump(), generator.uniform(100, 150, (32, 32, 3)).astype("float32")


def write(folder: Path, network, chosen: dict, mean: np.ndarray) -> Path:
    path = folder / "model.safetensors"
    path.write_bytes(trained.encoded(network, chosen, ["one", "two", "three"], mean))
    return path


def pixels(count: int) -> np.ndarray:
    """Images that a network tells apart: noise of 8 × 8 pixels."""
    small = np.random.default_rng(1).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return small.repeat(8, axis=1).repeat(8, axis=2)


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 7])
def test_convolutions_are_those_of_the_keras_layers(kernel_size):
    layer, x = built("hamiltonian", kernel_size=kernel_size), images(1, 6, 5, 2)
    kernel = layer.get_weights()[0]
    for name in ("convolve", "convolve_transposed"):
        found, expected = getattr(low_memory, name)(x[0], kernel), getattr(layer, name)(x, kernel)
        np.testing.assert_allclose(found, array(expected)[0], atol=1e-5)


def test_transposed_convolution_is_the_adjoint_between_other_numbers_of_channels():
    kernel = images(4, 4, 2, 3)
    x, y = images(7, 5, 2, seed=2), images(7, 5, 3, seed=3)
    left, right = low_memory.convolve(x, kernel), low_memory.convolve_transposed(y, kernel)
    assert np.vdot(left, y) == pytest.approx(np.vdot(x, right), rel=1e-5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_keras(name):
    x = np.linspace(-200, 200, 4001, dtype="float32").reshape(1, -1)
    found = low_memory.ACTIVATIONS[name](x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, array(keras.activations.get(name)(x)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weights_in_time", ["shared", "free"])
@pytest.mark.parametrize(("block", "integrator"), PAIRS)
def test_unit_is_the_keras_layer(block, integrator, weights_in_time):
    layer, x = built(block, integrator=integrator, weights_in_time=weights_in_time), images(1, 6, 5, 4)
    same = {
        name: getattr(layer, name) for name in ("integrator", "weights_in_time", "h", "unroll_length", "kernel_size")
    }
    unit = low_memory.NumPyUnit(block=block, activation=np.tanh, gamma=getattr(layer, "gamma", 0.0), **same)
    weights = {weight.name: array(weight) for weight in layer.weights}
    np.testing.assert_allclose(unit(x[0], weights), array(layer(x))[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"block": "linear_multistep", "h": 0.1, "activation": "gelu"},
        {"block": "second_order", "integrator": "leapfrog", "weights_in_time": "free", "activation": None},
        {"block": "antisymmetric", "gamma": 0.2, "kernel_size": 2, "channels": [3, 3, 9], "pool_after": []},
    ],
)
def test_networks_predict_what_the_keras_networks_do(changes, tmp_path):
    network, chosen, mean = random_network(**changes)
    # More than a batch.
    path, chosen_images = write(tmp_path, network, chosen, mean), pixels(50 if not changes else 2)
    expected = evaluation.predict(network, np.asarray(augmentation.normalise(chosen_images, mean)))
    found = low_memory.NumPyNetwork(path).predict(chosen_images)
    assert found.dtype == np.float32 and expected.std(axis=0).max() > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_unroll_length_is_set_at_run_time(tmp_path):
    network, chosen, mean = random_network()
    path = write(tmp_path, network, chosen, mean)
    # The same time in more steps.
    h = chosen["h"] * chosen["unroll_length"] / 6
    deeper = model.build(schema.ModelParams(**{**chosen, "unroll_length": 6, "h": h}), classes=3)
    deeper.set_weights(network.get_weights())
    expected = evaluation.predict(deeper, np.asarray(augmentation.normalise(pixels(2), mean)))
    np.testing.assert_allclose(low_memory.NumPyNetwork(path, 6).predict(pixels(2)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "steps", "message"),
    [
        ({}, 0, "--unroll-length 0: block hamiltonian takes 1 to 10,000 steps"),
        ({"block": "linear_multistep"}, 1, "block linear_multistep takes 2 to 10,000 steps"),
        ({"weights_in_time": "free"}, 5, "do not share their weights"),
        ({"architecture": "resnet20"}, 5, "this network is a resnet20"),
    ],
)
def test_unroll_length_that_is_not_possible(changes, steps, message):
    chosen = parameters.load({"model": changes}).model.model_dump()
    with pytest.raises(InputError, match=message):
        low_memory.with_unroll_length(chosen, steps)
    assert low_memory.with_unroll_length(chosen, None) == chosen


def test_predictions_that_are_not_finite_are_refused(tmp_path):
    path = write(tmp_path, *random_network(block="residual", h=1e20))
    with pytest.raises(InputError, match="not finite; take more steps"):
        low_memory.NumPyNetwork(path, 500).predict(pixels(1))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_memory_is_that_of_the_largest_unit_and_does_not_grow_with_depth(monkeypatch):
    monkeypatch.setattr(inference_memory, "UNROLL_LENGTHS", (4, 60))
    found = inference_memory.measure_inference()
    assert (found["largest_unit_bytes"], found["activation_bytes"]) == (4 * 2_360_320, 4 * 16 * 16 * 256)
    shallow, deep = (run["above_interpreter_bytes"] for run in found["runs"])
    assert found["largest_unit_bytes"] < shallow <= found["bound_bytes"]
    assert deep == pytest.approx(shallow, abs=1e6)


# --- the file


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write(tmp_path_factory.mktemp("whole"), *random_network()).read_bytes()


def test_file_holds_arrays_and_texts_and_is_the_same_after_the_official_library_wrote_it_again(tmp_path):
    arrays = {"a.x": images(2, 3), "a.k": np.float32(7), "b.n": np.arange(3)}
    first, again = tmp_path / "first", tmp_path / "again"
    first.write_bytes(tensors.encode(arrays, {"é": "ü", "a": "b"}))
    assert first.read_bytes() == tensors.encode(arrays, {"a": "b", "é": "ü"})
    with safe_open(first, "numpy") as file:
        save_file(load_file(first), again, file.metadata())
    for path in (first, again):
        found = tensors.File(path)
        assert found.texts == {"é": "ü", "a": "b"} and found.shapes == {"a.k": (), "a.x": (2, 3), "b.n": (3,)}
        for name, one in arrays.items():
            np.testing.assert_array_equal(found[name], one)
            assert found[name].dtype == one.dtype


# Of a file of weights, and of the same network under other parameters.
DAMAGED = {
    "cut short": (lambda whole: whole[:-4], "cut short, or no file of the safetensors format"),
    "a bit of an array": (lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]), "its checksum is another"),
    "a digit of h": (lambda whole: whole.replace(b'h\\\\\\": 0.15', b'h\\\\\\": 0.25'), "its checksum is another"),
    "another program": (lambda whole: save({"a": np.zeros(2)}), "resode did not write it"),
    "no network": (lambda whole: tensors.encode({}, {"class_names": "[]"}), "is of another version of this code"),
    "another network": (
        lambda whole: tensors.encode({"mean_image.value": np.zeros(3)}, {"model": MODEL, "class_names": '["a", "b"]'}),
        "of another network than it says: head_softmax.bias has the shape None, not (2,)",
    ),
}
MODEL = json.dumps(parameters.load({"model": {"channels": [4], "pool_after": []}}).model.model_dump())


@pytest.mark.parametrize("reader", [low_memory.NumPyNetwork, trained.Network])
@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_files_are_one_line(damage, reader, written, tmp_path):
    path, (change, words) = tmp_path / "file", DAMAGED[damage]
    path.write_bytes(written)
    reader(path)
    assert change(written) != written
    path.write_bytes(change(written))
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        reader(path)
    assert str(caught.value).endswith("make one with: resode export NAME.safetensors")


@pytest.mark.parametrize("block", ODES)
@pytest.mark.parametrize("weights_in_time", ["shared", "free"])
def test_shapes_in_a_file_are_those_of_the_keras_network(block, weights_in_time):
    network, chosen, _ = random_network(block=block, weights_in_time=weights_in_time)
    found = {f"{layer.name}.{weight.name}": tuple(weight.shape) for layer in network.layers for weight in layer.weights}
    assert weights_schema.shapes(chosen, 3) == {"mean_image.value": (32, 32, 3), **found}


@pytest.mark.parametrize("name", ["mean_image.npy", "model.weights.h5"])
def test_folder_of_a_training_with_a_file_of_another_is_refused(name, finished):
    path = finished / "results" / name
    assert trained.Network(path.parent).class_names == ["plain", "dark"]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=f"{name} is not of the training that provenance.json beside it names"):
        trained.Network(path.parent)
