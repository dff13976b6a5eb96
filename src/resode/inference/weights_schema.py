"""Files of weights: the parameters of a network of units, the names of its classes, and the arrays that both determine.

They are checked before any is used, with NumPy and safetensors alone.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resode.base import paths, tensors
from resode.base.errors import InputError
from resode.base.text import quoted
from resode.ode import integrators
from resode.ode.equations import ODES

IMAGE = (32, 32, 3)
# As `nn.model` has it, which cannot be read without Keras; a test compares the two.
STEM_KERNEL_SIZE = 7


class Weights:
    """A file that `resode export` wrote.

    Args:
        path: the file, see `tensors.File`. Its texts are `model`, the section of the parameters, and `class_names`, both in JSON; and
            perhaps `data`, the title of the data set, and `told`, what `publish` tells of the network, in JSON. Its arrays are named by
            layer and weight of the Keras network, besides `mean_image.value`.

    Attributes:
        path, model, class_names, data, facts: see above; without them `data` is None, and `facts` empty.

    Raises:
        InputError: the file cannot be read, is damaged, or its arrays are not those of its parameters.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        try:
            self._file = tensors.File(path)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}; {advice(self.path)}") from error
        except ValueError as error:
            raise InputError(f"cannot read {path} as weights: {error}; {advice(self.path)}") from error
        texts = self._file.texts
        try:
            self.model: dict[str, Any] = json.loads(texts["model"])
            self.class_names: list[str] = json.loads(texts["class_names"])
            self.data, self.facts = texts.get("data"), json.loads(texts.get("told", "{}"))
            expected = shapes(self.model, len(self.class_names))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is of another version of this code; {advice(self.path)}") from error
        for name in sorted(expected.keys() | self._file.shapes.keys()):
            found = self._file.shapes.get(name)
            if found != expected.get(name):
                raise InputError(
                    f"{path} is of another network than it says: {quoted(name)} has the shape {found}, not {expected.get(name)};"
                    f" {advice(self.path)}"
                )

    def __getitem__(self, layer: str) -> dict[str, np.ndarray]:
        """The arrays of `layer` by the names of its weights, read now."""
        names = [name for name in self._file.shapes if name.startswith(f"{layer}.")]
        return {name.removeprefix(f"{layer}."): self._file[name] for name in names}


def advice(path: Path) -> str:
    """Advice on an unusable file: git has the one that it carries, any other is exported again."""
    if path.absolute() == paths.NETWORK:
        return f"restore it with: git checkout {paths.NETWORK.relative_to(paths.ROOT)}"
    return "make one with: resode export NAME.safetensors"


def shapes(model: Mapping[str, Any], classes: int) -> dict[str, tuple[int, ...]]:
    """The arrays of a network of units with the parameters `model`, {name: shape}."""
    first, last, ode = model["channels"][0], model["channels"][-1], ODES[model["block"]]
    found: dict[str, tuple[int, ...]] = {
        "mean_image.value": IMAGE,
        "stem_convolution.kernel": (STEM_KERNEL_SIZE, STEM_KERNEL_SIZE, IMAGE[2], first),
        "stem_convolution.bias": (first,),
        "head_softmax.kernel": (last, classes),
        "head_softmax.bias": (classes,),
    }
    found |= {f"stem_normalization.{name}": (first,) for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    steps = model["unroll_length"] if model["weights_in_time"] == "free" else None
    parts = 2 if ode.form == integrators.PARTITIONED else 1
    for number, channels in enumerate(model["channels"], start=1):
        for name, shape in ode.weight_shapes(model["kernel_size"], channels // parts).items():
            found[f"unit{number}.{name}"] = shape if steps is None else (steps, *shape)
        if ode.own_steps:
            found[f"unit{number}.k"] = () if steps is None else (steps - 1,)
    return found


def facts(weights: Any, published: bool = True) -> dict:
    """The `facts` of `Weights` or of an exported network: its data set and, if `release.write` wrote them, run and test accuracy.

    Args:
        published: all of them are needed.

    Raises:
        InputError: one of these is missing.
    """
    if published and not {"data", "run", "test_correct", "test_total"} <= weights.facts.keys():
        raise InputError(
            f"{weights.path} does not tell its run, data set and test accuracy; resode publish NAME writes one that does"
        )
    if "data" not in weights.facts:
        raise InputError(f"{weights.path} does not tell its data set; resode export NAME writes a file that does")
    return weights.facts


def same(one: Mapping, other: Mapping) -> bool:
    """Return whether both tell the same `run` and `training`; older files tell no training, which then counts as the same."""
    trainings = {facts["training"] for facts in (one, other) if facts.get("training")}
    return one["run"] == other["run"] and len(trainings) < 2
