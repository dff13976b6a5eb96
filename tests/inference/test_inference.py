"""Inference with NumPy, a unit at a time: the numbers of the Keras network, in the memory of one unit."""

import contextlib
import io
import json
import os
import re
import sys
import typing
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from helpers import settings
from resode.analysis import evaluation
from resode.base import config
from resode.base.errors import InputError
from resode.inference import contents, low_memory, safetensors, trained
from resode.nn import model
from resode.ode import integrators
from resode.ode.equations import ODES
from resode.studies import inference_memory
from resode.training import augmentation, loop
from units import PAIRS, array, built, images

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
    found = low_memory.NumPyNetwork(path).predict(chosen_images)
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
        kernel_size=layer.kernel_size,
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
    chosen = config.load({"model": changes}).model.model_dump()
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


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("mean_image.value", np.nan, "mean_image.value holds a number that is not finite"),
        ("mean_image.value", 1e38, "the mean image has a number that is not from 0 to 255"),
        ("stem_normalization.moving_variance", -5.0, "a variance in it is negative"),
        ("unit1.kernel", np.inf, "unit1.kernel holds a number that is not finite"),
        ("head_softmax.bias", np.nan, "head_softmax.bias holds a number that is not finite"),
    ],
)
@pytest.mark.parametrize("reader", [low_memory.NumPyNetwork, trained.Network])
def test_tensors_that_are_damaged_are_named(name, value, words, reader, whole, tmp_path):
    length = int.from_bytes(whole[:8], "little")
    begin = 8 + length + json.loads(whole[8 : 8 + length])[name]["data_offsets"][0]
    path = tmp_path / "file"
    path.write_bytes(whole[:begin] + np.float32(value).tobytes() + whole[begin + 4 :])
    with pytest.raises(InputError, match=re.escape(words)):
        reader(path).predict(pixels(1))


# --- the file


def test_file_is_laid_out_as_the_format_says(tmp_path):
    tensors = {"a.x": images(2, 3), "a.k": np.float32(7), "b.x": images(0, 2)}
    content = safetensors.encode(tensors, {"é": "ü"})
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert length % 8 == 0 and content[8:9] == b"{"
    assert header["__metadata__"] == {"é": "ü", "crc32": header["__metadata__"]["crc32"]}
    assert header["a.k"] == {"dtype": "F32", "shape": [], "data_offsets": [24, 28]}
    assert content[8 + length :] == tensors["a.x"].tobytes() + tensors["a.k"].tobytes()
    (tmp_path / "file").write_bytes(content)
    file = safetensors.File(tmp_path / "file")
    assert file.metadata == header["__metadata__"]
    found = file.tensors("a")
    assert list(found) == ["x", "k"] and found["k"] == 7 and found["k"].shape == ()
    np.testing.assert_array_equal(found["x"], tensors["a.x"])
    assert not found["x"].flags.writeable


def rewritten(content: bytes, change) -> bytes:
    """`content` with its header as `change` leaves it, a function of the header as a mapping."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def metadata(**changes):
    """A change of the metadata, {name: what is to be in JSON}."""

    def change(header):
        for name, value in changes.items():
            header["__metadata__"][name] = json.dumps(value)

    return change


def model_with(**changes):
    def change(header):
        header["__metadata__"]["model"] = json.dumps({**json.loads(header["__metadata__"]["model"]), **changes})

    return change


def tensor_with(name, **changes):
    return lambda header: header[name].update(changes)


# What the official package refuses, too.
DAMAGED = {
    "empty": lambda whole: b"",
    "a picture": lambda whole: b"\x89PNG\r\n\x1a\n and so on",
    "cut in the header": lambda whole: whole[:100],
    "cut in a tensor": lambda whole: whole[:-4],
    "bytes behind": lambda whole: whole + b"1234",
    "a header of 2^62 bytes": lambda whole: (2**62).to_bytes(8, "little") + whole[8:],
    "a list for a header": lambda whole: (2).to_bytes(8, "little") + b"[]",
    "a space before the header": lambda whole: (
        (int.from_bytes(whole[:8], "little") + 1).to_bytes(8, "little") + b" " + whole[8:]
    ),
    "a long header": lambda whole: (
        (2_000_000).to_bytes(8, "little") + b'{"a":[' + b"[]," * 666_000 + b"[]" + b"]}" + bytes(2_000_000)
    ),
    "a deep header": lambda whole: (100_000).to_bytes(8, "little") + b"[" * 50_000 + b"]" * 50_000,
    "half precision": lambda whole: rewritten(whole, tensor_with("head_softmax.bias", dtype="F16")),
    "a hole": lambda whole: rewritten(whole, lambda header: header.pop("unit1.b1")),
    "an overlap": lambda whole: rewritten(whole, tensor_with("unit1.b1", data_offsets=[0, 8])),
    "a negative side": lambda whole: rewritten(whole, tensor_with("head_softmax.bias", shape=[-3])),
    "a side of 3.0": lambda whole: rewritten(whole, tensor_with("head_softmax.bias", shape=[3.0])),
    "true for a side": lambda whole: rewritten(whole, tensor_with("head_softmax.bias", shape=[True, 3])),
    "no offsets": lambda whole: rewritten(whole, lambda header: header["unit1.b1"].pop("data_offsets")),
    "offsets that are no numbers": lambda whole: rewritten(whole, tensor_with("unit1.b1", data_offsets=["a", None])),
    "a side of 4,300 digits": lambda whole: rewritten(
        whole, tensor_with("unit1.b1", shape=[10**4299], data_offsets=[0, 4 * 10**4299])
    ),
    "metadata that are no texts": lambda whole: rewritten(whole, lambda header: header["__metadata__"].update(a=1)),
    "a name twice": lambda whole: whole.replace(b'"unit1.b2"', b'"unit1.b1"', 1),
}
# Of the format, but no network that this code builds.
OTHERS = {
    "model.channels": [model_with(channels=value) for value in (None, [], [4, True], ["4"], [4, 6, 8], [0], [10**9], 4)],
    "model.h": [model_with(h=value) for value in ([], None, -1, 0, True, "0.1", 1e301)],
    "model.unroll_length": [model_with(unroll_length=value) for value in (-1, 0, 1.5, 10**12, None)],
    "model.kernel_size": [model_with(kernel_size=value) for value in (0, "3", 10**6)],
    "model.pool_after": [model_with(pool_after=value) for value in ([1, 2, 3, 4, 5, 6], [7], [2, 1], None, [[1]])],
    "model.block": [model_with(block=value) for value in ("hamiltonean", [], None, {"a": 1})],
    "model.integrator": [model_with(integrator="simpson")],
    "leapfrog": [model_with(integrator="leapfrog")],
    "model.activation": [model_with(activation=value) for value in ("swish", ["relu"])],
    "model.architecture": [model_with(architecture="resnet20")],
    "model.weights_in_time": [model_with(weights_in_time="once")],
    "model.backward": [model_with(backward="bogus")],
    "model.kernel_initializer": [model_with(kernel_initializer=5)],
    "model.l2": [model_with(l2="x")],
    "model.smoothness": [model_with(smoothness=None)],
    "it has a parameter model.extra": [model_with(**{"extra\x1b[31m": 1})],
    "what it tells of itself": [metadata(told=None), metadata(told=[1])],
    "no told in JSON": [lambda header: header["__metadata__"].update(told="{"), lambda header: header["__metadata__"].update(told="[" * 100_000)],
    "model.gamma": [model_with(gamma=value) for value in (-1, 2e9)],
    "has the shape": [model_with(kernel_size=5), metadata(class_names=["a", "b"])],
    "is missing": [model_with(channels=[4, 8, 8, 8]), model_with(block="antisymmetric")],
    "which this network has not": [model_with(channels=[4, 8], pool_after=[1]), model_with(block="two_layer_hamiltonian")],
    "the names of its classes": [
        metadata(class_names=value) for value in ("abc", [], [1, 2, 3], ["a", "b", "\x1b[31mc"], ["a", "b", "x" * 101], ["a", "b", " "], None)
    ],
    "two of its classes have one name": [metadata(class_names=["a", "b", "a"])],
    "the title of its data set": [lambda header: header["__metadata__"].update(data="a\nb")],
    "no model in JSON": [lambda header: header["__metadata__"].pop("model"), lambda header: header["__metadata__"].update(model="{"), lambda header: header["__metadata__"].update(model='{"h": 1, "h": 2}')],
    "its parameters are": [metadata(model=[1]), metadata(model=None)],
    "no class_names in JSON": [lambda header: header["__metadata__"].pop("class_names")],
}  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write(tmp_path_factory.mktemp("whole"), *random_network()).read_bytes()


@pytest.fixture(scope="module")
def whole(written):
    """The file without its checksum, as others may write it."""
    return rewritten(written, lambda header: header["__metadata__"].pop("crc32"))


@pytest.mark.parametrize("reader", [low_memory.NumPyNetwork, trained.Network])
@pytest.mark.parametrize("place", ["h", "mean_image.value", "unit2.kernel", "head_softmax.bias", "last byte"])
def test_one_altered_bit_is_damage(place, reader, written, tmp_path):
    """A network with another h, or one other number, predicts as well as the right one, and otherwise."""
    length = int.from_bytes(written[:8], "little")
    header = json.loads(written[8 : 8 + length])
    if place == "h":
        at = written.index(b'h\\": 0.') + 8
    else:
        at = 8 + length + header[place]["data_offsets"][0] if place in header else len(written) - 1
    content = bytearray(written)
    content[at] ^= 1
    (tmp_path / "file").write_bytes(written)
    reader(tmp_path / "file")
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match="is damaged: its checksum is another; make one with: resode export"):
        reader(tmp_path / "file")


@pytest.mark.parametrize("reader", [low_memory.NumPyNetwork, trained.Network])
@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_files_are_one_line(damage, reader, whole, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(DAMAGED[damage](whole))
    with pytest.raises(InputError, match="is not a safetensors file|is damaged") as caught:
        reader(path)
    # Not the file's own name: it may be somebody's photo.
    assert "resode export NAME.safetensors" in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("reader", [low_memory.NumPyNetwork, trained.Network])
@pytest.mark.parametrize(
    ("words", "change"), [(words, change) for words, changes in OTHERS.items() for change in changes]
)
def test_files_of_another_network_are_one_line(words, change, reader, whole, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(rewritten(whole, change))
    with pytest.raises(InputError, match="holds no network of this version") as caught:
        reader(path)
    message = str(caught.value)
    assert words in message and message.isprintable() and len(message) < 600


VALUES = [
    *(None, True, "", "1", [], [0], [1], [1, 2], [1, 2, 3], [2, 1], [2], [4, 8, 16], [4, 8, 20], [3, 3, 3], [16_384], [16_385]),
    *(-1, 0, 1, 2, 5, 6, 63, 64, 10_000, 10_001, 16_384, 16_385, 10**6, 10**9, 10**9 + 1, 0.5, 1.0, 1e3, 1e9, 1.1e9, 1e300),
    *("units", "resnet20", *ODES, *integrators.INTEGRATORS, "shared", "free", "store", "recompute", "reversible"),
    *("keras2_he_normal", "he_normal", "relu", "softplus", "softmax"),
]  # fmt: skip


@pytest.mark.parametrize("name", config.ModelParams.model_fields)
def test_parameters_of_a_file_are_those_of_the_schema(name):
    """`contents` repeats the schema's bounds, since it has to work without pydantic."""

    def takes(check) -> list:
        taken = []
        for value in VALUES:
            with contextlib.suppress(InputError):
                check(value)
                taken.append(value)
        return taken

    here = config.load({"model": {"channels": [4, 8, 8], "pool_after": [1, 2]}}).model.model_dump()
    by_schema = takes(lambda value: config.load({"model": {**here, name: value}}))
    if name == "architecture":
        # The other networks have no units, and are exported as Keras' own files.
        by_schema = ["units"]
    assert by_schema == takes(lambda value: contents.check_model({**here, name: value}, ACTIVATIONS, "file"))


@pytest.mark.parametrize("block", ODES)
@pytest.mark.parametrize("weights_in_time", ["shared", "free"])
def test_shapes_in_a_file_are_those_of_the_keras_network(block, weights_in_time):
    network, chosen, _ = random_network(block=block, weights_in_time=weights_in_time)
    found = {f"{layer.name}.{weight.name}": tuple(weight.shape) for layer in network.layers for weight in layer.weights}
    assert contents.shapes(chosen, 3) == {"mean_image.value": (32, 32, 3), **found}


def saved_by(save, array) -> bytes:
    file = io.BytesIO()
    save(file, array)
    return file.getvalue()


def refuses(folder: Path, name: str, content: bytes) -> bool:
    """Whether the folder of a training is refused, in one line, with this as the content of the file `name`."""
    (folder / name).write_bytes(content)
    try:
        trained.Network(folder)
    except InputError as error:
        assert "\n" not in str(error) and "\x1b" not in str(error)
        return True
    return False


def described(**changes):
    return lambda good: json.dumps({**json.loads(good), **changes}).encode()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("mean_image.npy", lambda good: saved_by(np.savez, np.zeros((32, 32, 3)))),
        ("mean_image.npy", lambda good: saved_by(np.save, np.zeros((32, 32, 3), complex))),
        # Of another training, good otherwise.
        ("mean_image.npy", lambda good: saved_by(np.save, np.zeros((32, 32, 3), "float32"))),
        # Of Python 2, of which NumPy warns.
        ("mean_image.npy", lambda good: good.replace(b"(32, 32, 3), }   ", b"(32L, 32L, 3L), }")),
        ("provenance.json", described(class_names=["a", "b\x1b"])),
        ("provenance.json", described(class_names=["a", "b", "c"])),
        ("provenance.json", described(class_names=["a", "a"])),
        ("provenance.json", described(data={"title": ["digits"]})),
        ("provenance.json", lambda good: b"[1]"),
        ("provenance.json", lambda good: b"{"),
        ("provenance.json", lambda good: b"[" * 100_000),
        ("provenance.json", lambda good: good.replace(b"{", b'{"seed": 1, "seed": 1,', 1)),
        ("provenance.json", lambda good: good + b" " * 20_000_000),
    ],
)
def test_folder_of_a_training_with_a_wrong_file_is_refused(name, change, finished):
    folder = finished / "results"
    assert trained.Network(folder).class_names == ["plain", "dark"]
    assert refuses(folder, name, change((folder / name).read_bytes()))


@pytest.mark.parametrize("name", ["mean_image.npy", "provenance.json"])
def test_pipe_in_the_folder_of_a_training_is_refused(name, finished):
    (finished / "results" / name).unlink()
    os.mkfifo(finished / "results" / name)
    with pytest.raises(InputError, match="not an ordinary file"):
        trained.Network(finished / "results")


KERNEL = "layers/conv2d/vars/0"
ONE, OTHER = "layers/batch_normalization/vars/0", "layers/batch_normalization/vars/1"


def kernel(change):
    def put(file):
        values = file[KERNEL][...]
        del file[KERNEL]
        file[KERNEL] = change(values)

    return put


def gigabytes_of_zeros(file):
    del file[KERNEL]
    file.create_dataset(KERNEL, (2000, 1000, 256), "f4", chunks=(2000, 1000, 256), compression="gzip", fillvalue=0)


def moved(put):
    """Move an array to another name, so that the shapes are still those of the network, and put something in its place."""

    def change(file):
        file.move(OTHER, "decoy")
        put(file)

    return change


@pytest.mark.parametrize(
    "change",
    [
        kernel(lambda values: values.astype("c8")),
        kernel(lambda values: values.astype("f8")),
        kernel(lambda values: np.full(values.shape, b"1.5", "S8")),
        kernel(lambda values: np.full_like(values, np.nan)),
        kernel(lambda values: values[..., :1]),
        # Of another training, good otherwise.
        kernel(lambda values: 2 * values),
        gigabytes_of_zeros,
        moved(lambda file: (file.create_dataset(OTHER, file[ONE].shape, "f4"), file.pop("decoy"))),
        moved(lambda file: file.__setitem__(OTHER, file[ONE])),
        moved(lambda file: file.__setitem__(OTHER, h5py.SoftLink(f"/{ONE}"))),
        moved(lambda file: None),
        lambda file: file.create_group("/".join("a" * 5000)),
    ],
)
def test_weights_that_keras_would_not_have_written_are_refused(change, finished):
    path = finished / "results" / "model.weights.h5"
    with h5py.File(path, "a") as file:
        change(file)
    assert refuses(path.parent, path.name, path.read_bytes())


def test_changed_bytes_in_the_head_of_weights_are_refused_in_one_line(finished):
    folder = finished / "results"
    good = (folder / "model.weights.h5").read_bytes()
    places = range(96, 2000, 119)
    refused = sum(
        refuses(folder, "model.weights.h5", good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
        for place in places
    )
    assert refused == len(places)
    assert not refuses(folder, "model.weights.h5", good)
    assert trained.Network(folder).params["channels"] == settings().model.channels


@pytest.mark.parametrize(
    "changes",
    [{"channels": [16, 64, 128, 256, 512, 8192], "pool_after": []}, {"architecture": "preresnet1202_stochastic"}],
)
def test_network_that_the_weights_do_not_fit_is_not_built(changes, finished, monkeypatch):
    path = finished / "results" / "provenance.json"
    described = json.loads(path.read_bytes())
    described["params"]["model"] |= changes
    path.write_text(json.dumps(described))
    monkeypatch.setattr(model, "build", None)
    with pytest.raises(InputError, match="model.weights.h5 is damaged, or of another network; run: dvc repro training"):
        trained.Network(finished / "results")


@pytest.mark.parametrize("architecture", ["preresnet{}_stochastic", "lm_resnet{}"])
@pytest.mark.slow
def test_shapes_of_a_deep_network_are_those_that_keras_builds(architecture):
    deep = settings().model.model_copy(update={"architecture": architecture.format(116)})
    found = loop.expected_shapes(model.build(deep, 3))
    assert trained._may_fit(deep, 3, found)
    assert not trained._may_fit(deep, 4, found)
    assert not trained._may_fit(deep, 3, found | {"layers/conv2d_999/vars/0": (16,)})
    assert not trained._may_fit(
        deep, 3, {f"layers/q_{number}/vars/0": shape for number, shape in enumerate(found.values())}
    )


@pytest.mark.slow
def test_deep_network_is_not_built_for_as_many_arrays(finished, monkeypatch):
    path = finished / "results" / "provenance.json"
    described = json.loads(path.read_bytes())
    described["params"]["model"]["architecture"] = "preresnet1202"
    path.write_text(json.dumps(described))
    with h5py.File(path.with_name("model.weights.h5"), "a") as file:
        for number in range(5000):
            file.create_dataset(f"layers/conv2d_{number + 1}/vars/0", data=np.zeros(1, "float32"))
    built = []

    def build(params, *arguments, **options):
        built.append(params.architecture)
        return original(params, *arguments, **options)

    original = model.build
    monkeypatch.setattr(model, "build", build)
    with pytest.raises(InputError, match="model.weights.h5 is damaged, or of another network; run: dvc repro training"):
        trained.Network(finished / "results")
    assert sorted(built) == ["preresnet14", "preresnet20"]


def test_missing_file_is_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot read .*none: No such file"):
        low_memory.NumPyNetwork(tmp_path / "none")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError, match="not an ordinary file"):
        low_memory.NumPyNetwork(tmp_path / "fifo")
