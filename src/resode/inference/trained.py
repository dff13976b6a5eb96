"""Trained networks: a training's folder or a file of weights as a Keras network that predicts, and its export for `low_memory`."""

import json
from pathlib import Path

import keras
import numpy as np

from resode.analysis import evaluation
from resode.base import files, tensors
from resode.base.errors import InputError
from resode.config.schema import ModelParams
from resode.inference import low_memory
from resode.inference.weights_schema import Weights
from resode.nn import model
from resode.training import augmentation, compiling, outputs


class Network:
    """The network that a training left.

    Built from the parameters it was trained with, which may not be those that params.yaml has now.

    Args:
        source: the folder that `loop.train` wrote, or a file that `export` or `release.write` did.
        unroll_length: steps a unit, if other than trained with; only where they share their weights.

    Attributes:
        params: section `model` of the parameters, {name: value}.
        class_names: one name a class.
        mean: the mean image (H, W, C).
        keras: the Keras model.
        data: title of the data set it was trained on, or None in files that do not say.
        facts: what the file tells of the network, {name: value}; of a folder its data set and training.
        provenance: what training wrote of itself, {name: value}; empty for a file.

    Raises:
        InputError: there are no trained weights, or files beside them are missing, of another version or of another training.
    """

    def __init__(self, source: Path, unroll_length: int | None = None):
        self.facts: dict = {}
        self.provenance: dict = {}
        if source.is_file():
            self._read_file(source, unroll_length)
        else:
            self._read_folder(source, unroll_length)

    def _read_file(self, path: Path, unroll_length: int | None) -> None:
        weights = Weights(path)
        self.class_names, self.data, self.facts = weights.class_names, weights.data, weights.facts
        self.mean = weights["mean_image"]["value"]
        try:
            params = ModelParams.model_validate(weights.model)
        except ValueError as error:
            raise InputError(f"{path} was written by another version of this code; write it again") from error
        self._build(params, unroll_length)
        for layer in self.keras.layers:
            values = weights[layer.name]
            for weight in layer.weights:
                weight.assign(values[weight.name])

    def _build(self, params: ModelParams, unroll_length: int | None) -> None:
        self.params = low_memory.with_unroll_length(params.model_dump(), unroll_length)
        self.keras = model.build(ModelParams(**self.params), len(self.class_names), self.mean.shape)

    def _read_folder(self, folder: Path, unroll_length: int | None) -> None:
        outputs.weights_file(folder)
        advice = outputs.advice(folder)
        try:
            self.provenance = provenance = outputs.provenance(folder)
            self.class_names: list[str] = provenance["class_names"]
            self.data = provenance["data"]["title"]
            self.mean = outputs.mean_image(folder)
            params = ModelParams.model_validate(provenance["params"]["model"])
        except InputError as error:
            said = str(error).removesuffix(f"; {advice}")
            raise InputError(f"{said}; {advice}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{folder / outputs.PROVENANCE} was written by another version of this code, or is damaged; {advice}"
            ) from error
        self._build(params, unroll_length)
        compiling.load_weights(self.keras, folder)
        self.facts = {"data": provenance["data"], "training": provenance.get("training")}

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities of `images`, uint8 (N, H, W, C): float64 (N, classes). See `evaluation.predict`."""
        return evaluation.predict(self.keras, self.inputs(images))

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """`images`, uint8 (N, H, W, C), as the network takes them: less the mean image, float32."""
        return np.asarray(augmentation.normalise(images, self.mean))


def export(folder: Path, path: Path) -> None:
    """Write the network that a training left in `folder` to the file `path`, as `low_memory.NumPyNetwork` reads it.

    Raises:
        InputError: see `Network` and `encoded`; or the file cannot be written.
    """
    network = Network(folder)
    content = encoded(network.keras, network.params, network.class_names, network.mean, network.facts, network.data)
    files.write_bytes(path, content)


def encoded(
    network: keras.Model,
    params: dict,
    class_names: list[str],
    mean: np.ndarray,
    facts: dict | None = None,
    data: str | None = None,
) -> bytes:
    """The bytes of the file that `low_memory.NumPyNetwork` reads.

    Args:
        network: of `model.build`.
        params: section `model` of the parameters that it was built with, {name: value}.
        class_names: one name a class.
        mean: the mean image (H, W, C).
        facts: what else is to be said of it, {name: value}.
        data: title of the data set it was trained on.

    Raises:
        InputError: the network is not of units, so that nothing could read the file.
    """
    if params["architecture"] != "units":
        raise InputError(
            f"the network is a {params['architecture']}; a file of weights, for low-memory inference, is of units"
        )
    arrays = {
        f"{layer.name}.{weight.name}": keras.ops.convert_to_numpy(weight)
        for layer in network.layers
        for weight in layer.weights
    }
    texts = {"model": json.dumps(params), "class_names": json.dumps(class_names, ensure_ascii=False)}
    if facts:
        texts["told"] = json.dumps(facts, ensure_ascii=False)
    if data:
        texts["data"] = data
    return tensors.encode({"mean_image.value": mean, **arrays}, texts)
