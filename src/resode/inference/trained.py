"""Trained networks: a training's folder or a file of weights as a Keras network that predicts, and its export for `low_memory`."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from resode.analysis import evaluation
from resode.base import files
from resode.base.config import ARCHITECTURE, ModelParams
from resode.base.errors import InputError
from resode.inference import contents, low_memory, safetensors
from resode.nn import model
from resode.training import augmentation, loop, outputs

# Of a provenance.json; that of a training with thousands of pieces is smaller.
_MOST_BYTES = 10_000_000
_TRAIN = "run: dvc repro training"


class Network:
    """The network that a training left.

    Built from the parameters it was trained with, which may not be those that params.yaml has now.

    Args:
        source: the folder that `loop.train` wrote, or a file that `export` or `publish.write` did.
        unroll_length: steps a unit, if other than trained with; only where they share their weights.

    Attributes:
        params: section `model` of the parameters, {name: value}.
        class_names: one name a class.
        mean: the mean image (H, W, C).
        keras: the Keras model.
        data: title of the data set it was trained on, or None in files that do not say.
        told: what `publish.write` tells of the network, {name: value}; empty for any other.
        provenance: what training wrote of itself, {name: value}; empty for a file.

    Raises:
        InputError: there are no trained weights, or files beside them are missing, of another version or of another training.
    """

    def __init__(self, source: Path, unroll_length: int | None = None):
        self.told: dict = {}
        self.provenance: dict = {}
        if source.is_file():
            self._read_file(source, unroll_length)
        else:
            self._read_folder(source, unroll_length)

    def _read_file(self, path: Path, unroll_length: int | None) -> None:
        file = safetensors.File(path)
        model, self.class_names = contents.read(file, low_memory.ACTIVATIONS)
        self.data = file.metadata.get("data")
        # A copy: the file may be written anew while the network is in use.
        self.mean = np.array(file.tensors("mean_image")["value"])
        try:
            params = ModelParams.model_validate(model)
            self.told = files.parse_json(file.metadata.get("told", "{}"))
        except ValueError as error:
            raise InputError(f"{path} was written by another version of this code; write it again") from error
        self._build(params, unroll_length)
        for layer in self.keras.layers:
            values = file.tensors(layer.name) if layer.weights else {}
            for weight in layer.weights:
                weight.assign(values[weight.name])

    def _build(self, params: ModelParams, unroll_length: int | None) -> None:
        self.params = low_memory.with_unroll_length(params.model_dump(), unroll_length)
        self.keras = model.build(ModelParams(**self.params), len(self.class_names), self.mean.shape)

    def _read_folder(self, folder: Path, unroll_length: int | None) -> None:
        outputs.weights_file(folder)
        try:
            self.provenance = provenance = files.parse_json(files.read_bytes(folder / outputs.PROVENANCE, _MOST_BYTES))
            self.class_names: list[str] = provenance["class_names"]
            self.data = provenance["data"]["title"]
            self.mean = outputs.mean_image(folder)
            params = ModelParams.model_validate(provenance["params"]["model"])
        except InputError as error:
            raise InputError(f"{error}; {_TRAIN}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{folder / outputs.PROVENANCE} was written by another version of this code, or is damaged; {_TRAIN}"
            ) from error
        contents.check_class_names(self.class_names, str(folder / outputs.PROVENANCE), _TRAIN)
        contents.check_title(self.data, str(folder / outputs.PROVENANCE), _TRAIN)
        contents.check_mean_image(self.mean, str(folder / outputs.MEAN_IMAGE), _TRAIN)
        # Before the network is built, which takes gigabytes or minutes where the parameters say so.
        found = loop.stored_shapes(folder)
        if params.architecture == "units":
            expected = contents.shapes(params.model_dump(), len(self.class_names))
            del expected["mean_image.value"]
            fits = sorted(found.values()) == sorted(expected.values())
        else:
            fits = _may_fit(params, len(self.class_names), found)
        if not fits:
            raise loop.foreign(folder)
        self._build(params, unroll_length)
        loop.load_weights(self.keras, folder)
        outputs.check_files(folder, provenance)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities of `images`, uint8 (N, H, W, C): float64 (N, classes). See `evaluation.predict`."""
        return evaluation.predict(self.keras, self.inputs(images))

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """`images`, uint8 (N, H, W, C), as the network takes them: less the mean image, float32."""
        return np.asarray(augmentation.normalise(images, self.mean))


def _may_fit(params: ModelParams, classes: int, found: Mapping[str, tuple[int, ...]]) -> bool:
    """Return whether the arrays `found`, {path: shape}, may be the weights of a papers' network, before it is built.

    Up to 110 layers the network is built in seconds, and `loop.load_weights` compares all of it: here only the number of arrays
    is checked. Deeper ones need as many arrays of each layer class and shape as the network has.
    """
    family, depth, stochastic = ARCHITECTURE.fullmatch(params.architecture).groups()
    depth = int(depth)
    if depth <= 110 or len(found) < depth:
        # Each layer has a kernel at least.
        return len(found) >= depth

    def kinds(shapes: Mapping[str, tuple[int, ...]]) -> Counter[tuple[str, tuple[int, ...]]]:
        # Keras numbers the layers of each class.
        return Counter((re.sub(r"_\d+/vars/", "/vars/", path), shape) for path, shape in shapes.items())

    def of_layers(count: int) -> Counter[tuple[str, tuple[int, ...]]]:
        small = params.model_copy(update={"architecture": f"{family}{count}{stochastic or ''}"})
        return kinds(loop.expected_shapes(model.build(small, classes, contents.IMAGE)))

    # Six layers more are a block more in each stage, whatever the depth.
    fewer, more = of_layers(14), of_layers(20)
    blocks = (depth - 14) // 6
    return kinds(found) == Counter({kind: fewer[kind] + blocks * (more[kind] - fewer[kind]) for kind in more})


def export(folder: Path, path: Path) -> None:
    """Write the network that a training left in `folder` to the file `path`, as `low_memory.NumPyNetwork` reads it.

    Raises:
        InputError: see `Network` and `encoded`; or the file cannot be written.
    """
    network = Network(folder)
    content = encoded(network.keras, network.params, network.class_names, network.mean, data=network.data)
    files.write_bytes(path, content)


def encoded(
    network: keras.Model,
    params: dict,
    class_names: list[str],
    mean: np.ndarray,
    told: dict | None = None,
    data: str | None = None,
) -> bytes:
    """The bytes of the file that `low_memory.NumPyNetwork` reads.

    Args:
        network: of `model.build`.
        params: section `model` of the parameters that it was built with, {name: value}.
        class_names: one name a class.
        mean: the mean image (H, W, C).
        told: what else is to be told of it, {name: value}.
        data: title of the data set it was trained on.

    Raises:
        InputError: the network is not of units, so that nothing could read the file.
    """
    if params["architecture"] != "units":
        raise InputError(
            f"the network is a {params['architecture']}; a file of weights, for low-memory inference, is of units"
        )
    tensors = {
        f"{layer.name}.{weight.name}": keras.ops.convert_to_numpy(weight)
        for layer in network.layers
        for weight in layer.weights
    }
    metadata = {"model": json.dumps(params), "class_names": json.dumps(class_names, ensure_ascii=False)}
    if told:
        metadata["told"] = json.dumps(told, ensure_ascii=False)
    if data:
        metadata["data"] = data
    return safetensors.encode({"mean_image.value": mean, **tensors}, metadata)
