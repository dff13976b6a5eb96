"""Inference with NumPy, a unit at a time: the numbers of the Keras network, in the memory of one unit."""

import json
import sys
import typing
from pathlib import Path

import keras
import numpy as np
import pytest
from test_blocks import PAIRS, built
from test_layers import array, images

from resode.analysis import evaluation
from resode.base import config
from resode.base.errors import InputError
from resode.inference import low_memory, safetensors, trained
from resode.nn import model
from resode.studies import inference_memory
from resode.training import augmentation

ACTIVATIONS = [
    name
    for member in typing.get_args(config.ModelParams.model_fields["activation"].annotation)
    for name in typing.get_args(member) or (None,)
]


def random_network(**changes):
    """A small Keras network with every weight random, its parameters, and a mean image."""
    chosen = config.load({"model": {"channels": [4, 8, 8], "pool_after": [1, 2], "unroll_length": 3, **changes}}).model
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
    return (
        np.random.default_rng(1).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    )


def compare(folder: Path, count: int = 2, **changes):
    network, chosen, mean = random_network(**changes)
    path, chosen_images = write(folder, network, chosen, mean), pixels(count)
    expected = evaluation.predict(network, np.asarray(augmentation.normalise(chosen_images, mean)))
    found = low_memory.Network(path).predict(chosen_images)
    assert found.dtype == np.float32 and expected.std(axis=0).max() > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 7])
def test_convolutions_are_those_of_the_keras_layers(kernel_size):
    layer, x = built("hamiltonian", kernel_size=kernel_size), images(1, 6, 5, 2)
    kernel = layer.get_weights()[0]
    np.testing.assert_allclose(low_memory.convolve(x[0], kernel), array(layer.convolve(x, kernel))[0], atol=1e-5)
    np.testing.assert_allclose(
        low_memory.convolve_transposed(x[0], kernel), array(layer.convolve_transposed(x, kernel))[0], atol=1e-5
    )


def test_transposed_convolution_is_the_adjoint_between_other_numbers_of_channels():
    kernel = images(4, 4, 2, 3)
    x, y = images(7, 5, 2, seed=2), images(7, 5, 3, seed=3)
    assert np.vdot(low_memory.convolve(x, kernel), y) == pytest.approx(
        np.vdot(x, low_memory.convolve_transposed(y, kernel)), rel=1e-5
    )


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
    unit = low_memory.NumPyUnit(
        block=block,
        integrator=integrator,
        weights_in_time=weights_in_time,
        h=layer.h,
        unroll_length=layer.unroll_length,
        activation=np.tanh,
        gamma=getattr(layer, "gamma", 0.0),
    )
    weights = {weight.name: array(weight) for weight in layer.weights}
    np.testing.assert_allclose(unit(x[0], weights), array(layer(x))[0], rtol=1e-5, atol=1e-5)


def test_network_predicts_what_the_keras_network_does(tmp_path):
    compare(tmp_path, count=50)


@pytest.mark.parametrize(
    "changes",
    [
        {"block": "linear_multistep", "h": 0.1, "activation": "gelu"},
        {"block": "second_order", "integrator": "leapfrog", "weights_in_time": "free", "activation": None},
        {"block": "antisymmetric", "gamma": 0.2, "kernel_size": 2, "channels": [3, 3, 9], "pool_after": []},
    ],
)
def test_other_networks_predict_what_the_keras_networks_do(changes, tmp_path):
    compare(tmp_path, **changes)


def test_unroll_length_is_set_at_run_time(tmp_path):
    network, chosen, mean = random_network()
    path = write(tmp_path, network, chosen, mean)
    # The same time in more steps.
    h = chosen["h"] * chosen["unroll_length"] / 6
    deeper = model.build(config.ModelParams(**{**chosen, "unroll_length": 6, "h": h}), classes=3)
    deeper.set_weights(network.get_weights())
    expected = evaluation.predict(deeper, np.asarray(augmentation.normalise(pixels(2), mean)))
    np.testing.assert_allclose(low_memory.Network(path, 6).predict(pixels(2)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "steps", "message"),
    [
        ({}, 0, "--unroll-length 0: block hamiltonian needs at least 1"),
        ({"block": "linear_multistep"}, 1, "block linear_multistep needs at least 2"),
        ({"weights_in_time": "free"}, 5, "do not share their weights"),
        ({"architecture": "resnet20"}, 5, "this network is a resnet20"),
    ],
)
def test_unroll_length_that_is_not_possible(changes, steps, message):
    chosen = config.load({"model": changes}).model.model_dump()
    with pytest.raises(InputError, match=message):
        low_memory.with_unroll_length(chosen, steps)
    assert low_memory.with_unroll_length(chosen, None) == chosen


def test_predictions_that_are_not_finite_are_refused(tmp_path):
    path = write(tmp_path, *random_network(block="residual", h=1e20))
    with pytest.raises(InputError, match="not finite; take more steps"):
        low_memory.Network(path, 500).predict(pixels(1))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_that_of_the_largest_unit_and_does_not_grow_with_depth(monkeypatch):
    monkeypatch.setattr(inference_memory, "UNROLL_LENGTHS", (4, 60))
    found = inference_memory.measure_inference()
    assert (found["largest_unit_bytes"], found["activation_bytes"]) == (4 * 2_360_320, 4 * 16 * 16 * 256)
    shallow, deep = (run["above_interpreter_bytes"] for run in found["runs"])
    assert found["largest_unit_bytes"] < shallow <= found["bound_bytes"]
    assert deep == pytest.approx(shallow, abs=1e6)


# --- the file


def test_file_is_laid_out_as_the_format_says(tmp_path):
    tensors = {"a.x": images(2, 3), "a.k": np.float32(7), "b.x": images(0, 2)}
    content = safetensors.encode(tensors, {"é": "ü"})
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert length % 8 == 0 and content[8:9] == b"{"
    assert header["__metadata__"] == {"é": "ü"}
    assert header["a.k"] == {"dtype": "F32", "shape": [], "data_offsets": [24, 28]}
    assert content[8 + length :] == tensors["a.x"].tobytes() + tensors["a.k"].tobytes()
    (tmp_path / "file").write_bytes(content)
    file = safetensors.File(tmp_path / "file")
    assert file.metadata == {"é": "ü"}
    found = file.tensors("a")
    assert list(found) == ["x", "k"] and found["k"] == 7 and found["k"].shape == ()
    np.testing.assert_array_equal(found["x"], tensors["a.x"])
    assert not found["x"].flags.writeable


def test_wrong_files_are_one_line(tmp_path):
    path = write(tmp_path, *random_network())
    whole = path.read_bytes()
    wrong = [
        (b"", "is not a safetensors file"),
        (b"\x89PNG\r\n\x1a\n and so on", "is not a safetensors file"),
        (whole[:100], "is not a safetensors file"),
        (whole[:-4], "head_softmax.bias is cut short"),
        (whole.replace(b'"F32"', b'"F16"', 1), "mean_image.value is cut short or not float32"),
        (safetensors.encode({"a.x": np.zeros(3)}, {}), "holds no network"),
        (whole.replace(b"hamiltonian", b"hamiltonean", 1), "holds no network of this version"),
    ]
    for content, message in wrong:
        path.write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            low_memory.Network(path)
        # Not the file's own name: it may be somebody's photo.
        assert "resode export NAME.safetensors" in str(caught.value)
    path.write_bytes(safetensors.encode({"mean_image.value": np.zeros((32, 32, 3))}, safetensors_metadata(whole)))
    with pytest.raises(InputError, match="has no weights of stem_convolution"):
        low_memory.Network(path).predict(pixels(1))
    with pytest.raises(InputError, match="cannot read .*none: No such file"):
        low_memory.Network(tmp_path / "none")


def safetensors_metadata(content: bytes) -> dict:
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
