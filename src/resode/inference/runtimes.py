"""Trained networks in files of other runtimes: ONNX, for ONNX Runtime and many others, and LiteRT.

Such a file takes images as they are, uint8 (N, 32, 32, 3), and gives class probabilities, float32 (N, classes): the mean image and the
factor 1/128 are in it. Its metadata are texts: `class_names` and `model` in JSON, `data`, `told` if the weights tell of their run, and
`precision` and `made_with`.

It holds direct convolutions: matrix products, see `winograd`, would store each kernel four times as large, and once more for its
transpose. Needs the extra `export` of pyproject.toml, and to write a file TensorFlow as Keras' backend.
"""

import importlib.util
import json
import tempfile
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from resode.base import files, paths, provenance
from resode.base.errors import InputError
from resode.base.text import quoted
from resode.inference.weights_schema import IMAGE
from resode.training import outputs

ONNX, LITERT = ".onnx", ".tflite"
SUFFIXES = (ONNX, LITERT)
# Training images that the ranges of int8 are taken from.
CALIBRATION = 500
CONVOLUTIONS = ("Conv",)
# At a time: more make the activations of a pass larger than a CPU's caches.
_BATCH = 50
_INPUT, _OUTPUT = "image", "probabilities"
WRITERS = {ONNX: ("onnx", "onnxruntime", "tf2onnx"), LITERT: ()}
READERS = {ONNX: ("onnxruntime",), LITERT: ("ai_edge_litert",)}


def export(source: Path | None, path: Path, int8: bool = False) -> None:
    """Write the network in `source` to the file `path`, ONNX or LiteRT by its suffix.

    Args:
        source: what `trained.Network` reads; by default results/training, or what git carries as long as there is none.
        int8: kernels, inputs and results of the convolutions in 8 bits, calibrated on training images; the states and their sums stay
            in float32. ONNX alone.

    Raises:
        InputError: a suffix, backend or library that does not do, no training images for int8, or see `trained.Network`.
    """
    if int8 and path.suffix != ONNX:
        raise InputError(f"--int8 writes a file NAME{ONNX}, not {quoted(path.name)}")
    check_writer(path.suffix)
    from resode.inference import trained

    network = trained.Network(source or outputs.default_weights())
    images = training_images(network) if int8 else None
    content = of_onnx(network, images=images) if path.suffix == ONNX else of_litert(network)
    files.write_bytes(path, content)


def check_writer(suffix: str) -> None:
    """Check that files `suffix` can be written here.

    Raises:
        InputError: a library is not installed, or Keras runs on another backend than TensorFlow.
    """
    _check_libraries(WRITERS[suffix])
    import keras

    if keras.backend.backend() != "tensorflow":
        raise InputError(f"a file {suffix} is written with TensorFlow; set KERAS_BACKEND=tensorflow")


def of_onnx(
    network: Any,
    images: np.ndarray | None = None,
    operations: Sequence[str] | None = CONVOLUTIONS,
    kernels: str = "QUInt8",
    convolution: str = "direct",
) -> bytes:
    """The bytes of an ONNX file of `network`, a `trained.Network`.

    Args:
        images: calibrate on these, uint8 (N, 32, 32, 3), and use int8; None keeps float32.
        operations: the types of operations in int8; None is every one that ONNX Runtime can.
        kernels: their numbers in int8, by ONNX Runtime's name. Processors without VNNI add two products with signed ones, "QInt8", in
            16 bits and cut off what is larger.
        convolution: see `blocks.ODEConv2D`.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        with warnings.catch_warnings():
            # Keras 3.15's, on names that NumPy no longer has.
            warnings.simplefilter("ignore", FutureWarning)
            _whole(network, convolution).export(file, format="onnx", verbose=False)
        model = onnx.load(file)
    _rename(model)
    _transposed_as_convolutions(model)
    if images is not None:
        model = _in_int8(model, images, operations, kernels)
    _kernels_once(model)
    texts = _metadata(
        network, "float32" if images is None else "int8", ("tensorflow", "tf2onnx", "onnx", "onnxruntime")
    )
    onnx.helper.set_model_props(model, texts)
    return model.SerializeToString()


def of_litert(network: Any) -> bytes:
    """The bytes of a LiteRT file of `network`, a `trained.Network`."""
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.tflite"
        _whole(network, "direct").export(file, format="litert", verbose=False)
        model = flatbuffer_utils.convert_bytearray_to_object(bytearray(file.read_bytes()))
    for name, text in _metadata(network, "float32", ("tensorflow",)).items():
        buffer, entry = schema.BufferT(), schema.MetadataT()
        buffer.data = np.frombuffer(text.encode(), np.uint8)
        entry.name, entry.buffer = name, len(model.buffers)
        model.buffers.append(buffer)
        model.metadata.append(entry)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _whole(network: Any, convolution: str) -> Any:
    """The Keras model from images, uint8, to probabilities."""
    import keras

    from resode.config.schema import ModelParams
    from resode.nn import model
    from resode.training import augmentation

    # The backward pass is no matter here; what saves its memory would be in the graph.
    params = ModelParams(**{**network.params, "backward": "store"})
    built = model.build(params, len(network.class_names), network.mean.shape, convolution=convolution)
    built.set_weights(network.keras.get_weights())
    image = keras.Input(network.mean.shape, dtype="uint8", name=_INPUT)
    whole = keras.Model(image, built(augmentation.normalise(image, network.mean)))
    # Keras exports what has been called once.
    whole(np.zeros((1, *network.mean.shape), "uint8"))
    return whole


def _metadata(network: Any, precision: str, libraries: Sequence[str]) -> dict[str, str]:
    code = provenance.commit()
    made_with = {name: version(name) for name in ("keras", *libraries)}
    texts = {
        "class_names": json.dumps(network.class_names, ensure_ascii=False),
        "model": json.dumps(network.params),
        "precision": precision,
        "made_with": json.dumps({**made_with, "commit": code["commit"], "modified": code["modified"]}),
    }
    if network.facts:
        texts["told"] = json.dumps(network.facts, ensure_ascii=False)
    return texts | ({"data": network.data} if network.data else {})


# --- the graph of an ONNX file


def _rename(model: Any) -> None:
    """Name the result, and the first dimension of both ends."""
    (result,) = model.graph.output
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            if name == result.name:
                node.output[index] = _OUTPUT
    result.name = _OUTPUT
    for end in (model.graph.input[0], result):
        end.type.tensor_type.shape.dim[0].dim_param = "N"


def _transposed_as_convolutions(model: Any) -> None:
    """Make convolutions of the transposed ones, with kernels turned round: runtimes have faster ones, and in int8 only these."""
    from onnx import helper, numpy_helper

    kernels = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "ConvTranspose":
            continue
        kernel = numpy_helper.to_array(kernels[node.input[1]])
        name = f"{node.input[1]}/turned"
        if name not in kernels:
            kernels[name] = numpy_helper.from_array(_turned(kernel), name)
            model.graph.initializer.append(kernels[name])
        pads = next(tuple(one.ints) for one in node.attribute if one.name == "pads")
        # Zeros around the image, where the transposed convolution cuts off what is outside.
        around = [size - 1 - pad for size, pad in zip(kernel.shape[2:] * 2, pads, strict=True)]
        attributes = {"kernel_shape": kernel.shape[2:], "pads": around, "strides": (1, 1)}
        node.CopyFrom(helper.make_node("Conv", [node.input[0], name], list(node.output), node.name, **attributes))


def _turned(kernel: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(kernel.swapaxes(0, 1)[:, :, ::-1, ::-1])


def _kernels_once(model: Any) -> None:
    """Let the file hold each kernel once: the turned one is made of it by two operations, which a runtime does as it loads the file."""
    from onnx import helper, numpy_helper

    constants = {
        "turned/starts": [-1, -1],
        # Before the first pixel, whatever the size.
        "turned/ends": [-(2**31), -(2**31)],
        "turned/axes": [2, 3],
        "turned/steps": [-1, -1],
    }
    kernels = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for name, tensor in kernels.items():
        turned = kernels.get(f"{name}/turned") or kernels.get(f"{name.removesuffix('_quantized')}/turned_quantized")
        if turned is None or turned is tensor:
            continue
        # In int8 too: both have one scale, that of the largest number in them.
        assert np.array_equal(numpy_helper.to_array(turned), _turned(numpy_helper.to_array(tensor)))
        model.graph.initializer.remove(turned)
        swapped = f"{turned.name}/swapped"
        nodes.append(helper.make_node("Transpose", [name], [swapped], perm=(1, 0, 2, 3)))
        nodes.append(helper.make_node("Slice", [swapped, *constants], [turned.name]))
    if nodes:
        model.graph.initializer.extend(
            numpy_helper.from_array(np.array(value), name) for name, value in constants.items()
        )
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])


def _in_int8(model: Any, images: np.ndarray, operations: Sequence[str] | None, kernels: str) -> Any:
    import onnx
    from onnxruntime import quantization

    class Images(quantization.CalibrationDataReader):
        def __init__(self):
            self._batches = iter(np.split(images, range(_BATCH, len(images), _BATCH)))

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self._batches, None)
            return None if batch is None else {_INPUT: batch}

    with tempfile.TemporaryDirectory() as folder:
        before, after = str(Path(folder) / "before.onnx"), str(Path(folder) / "after.onnx")
        onnx.save(model, before)
        # It takes means over pixels apart, folds constants and notes shapes.
        quantization.quant_pre_process(before, before, skip_symbolic_shape=True)
        quantization.quantize_static(
            before,
            after,
            Images(),
            op_types_to_quantize=operations and list(operations),
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType[kernels],
        )
        return onnx.load(after)


def training_images(network: Any) -> np.ndarray:
    """`CALIBRATION` images that `network`, a `trained.Network`, was trained on: uint8 (N, 32, 32, 3).

    Raises:
        InputError: it does not say of which data set, or that is not here.
    """
    from resode.data import records

    described = network.facts.get("data")
    if not described:
        raise InputError(
            "the weights do not tell their data set, whose images int8 needs; name a folder that a training wrote"
        )
    dataset = records.load(paths.dataset(described["name"]))
    if dataset.provenance["sha256"] != described["sha256"]:
        raise InputError(f"{paths.dataset(described['name'])} holds other images than those of the training")
    chosen = np.random.default_rng(0).choice(len(dataset.train_images), CALIBRATION)
    return dataset.train_images[np.sort(chosen)]


# --- reading


class Network:
    """A network in a file of `export`, in its own runtime: ONNX Runtime or LiteRT, on the CPU.

    Attributes:
        path: of the file.
        metadata: its texts.
        class_names: one name a class.
        facts: what `publish` tells of the network, {name: value}; or empty.
        precision: float32 or int8.
        runtime: the runtime with its version.

    Raises:
        InputError: the runtime is not installed, or the file is none of `export`.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        _check_libraries(READERS[self.path.suffix])
        # What follows says which file it cannot read in many ways.
        content = files.read_bytes(self.path, 2**31)
        try:
            self._run, self.metadata, self.runtime = {ONNX: _onnx, LITERT: _litert}[self.path.suffix](content)
            self.class_names, self.precision = json.loads(self.metadata["class_names"]), self.metadata["precision"]
            self.facts = json.loads(self.metadata.get("told", "{}"))
            # Some of what is wrong with a file shows only here.
            self.predict(np.zeros((1, *IMAGE), np.uint8))
        except KeyError as error:
            raise self._refused(f"its metadata have no {error.args[0]}") from error
        except Exception as error:
            raise self._refused(quoted(str(error).split("\n")[0])) from error

    def _refused(self, why: str) -> InputError:
        return InputError(f"{self.path} is no network that `resode export` wrote: {why}")

    def predict(self, images: np.ndarray, batch_size: int = _BATCH) -> np.ndarray:
        """Class probabilities of `images`, uint8 (N, 32, 32, 3): float32 (N, classes)."""
        batches = (images[start : start + batch_size] for start in range(0, len(images), batch_size))
        return np.concatenate([self._run(batch) for batch in batches])


def _onnx(content: bytes) -> tuple[Callable[[np.ndarray], np.ndarray], dict[str, str], str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Without the fallback, which would print why it tries the same again.
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"], enable_fallback=False)
    texts = session.get_modelmeta().custom_metadata_map
    return lambda images: session.run([_OUTPUT], {_INPUT: images})[0], texts, f"ONNX Runtime {version('onnxruntime')}"


def _litert(content: bytes) -> tuple[Callable[[np.ndarray], np.ndarray], dict[str, str], str]:
    from ai_edge_litert import interpreter
    from tensorflow.lite.tools import flatbuffer_utils

    # The runtime has no way to the metadata.
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    texts = {
        entry.name.decode(): bytes(model.buffers[entry.buffer].data).decode(errors="replace")
        for entry in model.metadata
    }
    run = interpreter.Interpreter(model_content=content, num_threads=provenance.cores()).get_signature_runner()
    return lambda images: next(iter(run(**{_INPUT: images}).values())), texts, f"LiteRT {version('ai-edge-litert')}"


def _check_libraries(names: Sequence[str]) -> None:
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise InputError(f"this needs {name}, which is not installed; run: .venv/bin/pip install -e '.[export]'")
