"""Validate a weights file before using any of it, with NumPy alone.

The metadata are texts that anyone may have written. The parameters in them determine the name and shape of every tensor.
"""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from resode.base.errors import InputError
from resode.base.files import parse_json
from resode.base.text import quoted, refused_names, refused_title
from resode.inference.safetensors import File
from resode.ode import integrators
from resode.ode.equations import ODES
from resode.ode.unit import LARGEST_H, MOST_STEPS

IMAGE = (32, 32, 3)
# As `nn.model` has it, which cannot be read without Keras; a test compares the two.
STEM_KERNEL_SIZE = 7
_WEIGHTS_IN_TIME = ("shared", "free")
_EXPORT = "make one with: resode export NAME.safetensors"


def read(file: File, activations: Any) -> tuple[dict[str, Any], list[str]]:
    """The section `model` of the parameters and the names of the classes in `file`, whose tensors are those that they build.

    Args:
        activations: the names that `model.activation` may have.

    Raises:
        InputError: something is missing, too much, or not possible; the message names it.
    """
    model = _json(file, "model")
    check_model(model, activations, str(file.path))
    names = _json(file, "class_names")
    check_class_names(names, str(file.path))
    if "data" in file.metadata:
        check_title(file.metadata["data"], str(file.path))
    if not isinstance(_json(file, "told") if "told" in file.metadata else {}, dict):
        _refuse(file.path, f"what it tells of itself is {quoted(file.metadata['told'])}")
    expected = shapes(model, len(names))
    for name in sorted(expected.keys() | file.shapes.keys()):
        if name not in expected:
            _refuse(file.path, f"it holds {quoted(name)}, which this network has not")
        if name not in file.shapes:
            _refuse(file.path, f"{name} is missing")
        if file.shapes[name] != expected[name]:
            _refuse(file.path, f"{name} has the shape {quoted(file.shapes[name])} instead of {expected[name]}")
    check_mean_image(file.tensors("mean_image")["value"], str(file.path))
    if (file.tensors("stem_normalization")["moving_variance"] < 0).any():
        _refuse(file.path, "a variance in it is negative")
    return model, names


def shapes(model: dict[str, Any], classes: int) -> dict[str, tuple[int, ...]]:
    """The tensors of a network of units with the parameters `model`, {name: shape}."""
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


def check_model(model: Any, activations: Any, where: str) -> None:
    """Check the parameters of a network of units, as the schema does, which cannot be read where only NumPy is.

    Raises:
        InputError: one is missing or not possible; the message begins with `where`.
    """
    if not isinstance(model, dict):
        _refuse(where, f"its parameters are {quoted(model)}")
    possible: dict[str, Callable[[Any], bool]] = {
        "architecture": lambda value: value == "units",
        "block": lambda value: value in ODES,
        "integrator": lambda value: value in integrators.INTEGRATORS,
        "weights_in_time": lambda value: value in _WEIGHTS_IN_TIME,
        "activation": lambda value: value in activations,
        "channels": lambda value: isinstance(value, list) and 0 < len(value) <= 100 and all(map(_count, value)),
        "pool_after": lambda value: isinstance(value, list) and len(value) <= 5 and all(map(_count, value)),
        "h": lambda value: _number(value) and 0 < value <= LARGEST_H,
        "gamma": lambda value: _number(value) and 0 <= value <= 1e9,
        "unroll_length": lambda value: _count(value) and value <= MOST_STEPS,
        "kernel_size": lambda value: _count(value) and value <= 63,
        "backward": lambda value: value in ("store", "recompute", "reversible"),
        "kernel_initializer": lambda value: value in ("keras2_he_normal", "he_normal"),
        "l2": lambda value: _number(value) and 0 <= value <= 1e9,
        "smoothness": lambda value: _number(value) and 0 <= value <= 1e9,
    }
    if unknown := sorted(model.keys() - possible):
        _refuse(where, f"it has a parameter model.{quoted(unknown[0])}")
    for name, check in possible.items():
        value = model.get(name)
        # What JSON has for a list or a mapping is in no set of names.
        try:
            good = name in model and check(value)
        except TypeError:
            good = False
        if not good:
            _refuse(where, f"model.{name} is {quoted(value)}")
    channels, ode = model["channels"], ODES[model["block"]]
    if any(after % before for before, after in zip(channels, channels[1:], strict=False)):
        _refuse(where, f"model.channels are {quoted(channels)}")
    if ode.form == integrators.PARTITIONED and any(count % 2 for count in channels):
        _refuse(where, f"model.channels are {quoted(channels)}, some of them odd")
    if model["pool_after"] != sorted(set(model["pool_after"]) & set(range(1, len(channels)))):
        _refuse(where, f"model.pool_after is {quoted(model['pool_after'])}")
    if refused := integrators.refusal(model["integrator"], ode.form):
        _refuse(where, refused)
    if model["backward"] == "reversible" and (ode.own_steps or integrators.irreversible(model["integrator"], ode.form)):
        _refuse(where, f"model.backward is reversible, which block {model['block']} with {model['integrator']} is not")
    if ode.own_steps and (model["integrator"] != "euler" or model["unroll_length"] < 2):
        _refuse(where, f"block {model['block']} with {model['integrator']} and {model['unroll_length']} steps")


def check_class_names(names: Any, where: str, advice: str = _EXPORT) -> None:
    """Check the names of the classes; see `text.refused_names`.

    Raises:
        InputError: they cannot be; the message begins with `where`.
    """
    if refused := refused_names(names):
        _refuse(where, refused, advice)


def check_title(title: Any, where: str, advice: str = _EXPORT) -> None:
    """Check the title of the data set; see `text.refused_title`.

    Raises:
        InputError: it cannot be; the message begins with `where`.
    """
    if refused := refused_title(title):
        _refuse(where, refused, advice)


def told(file: File) -> dict[str, Any]:
    """The facts that `publish.write` tells of the network in `file`: run, data, test_correct and test_total.

    Raises:
        InputError: it does not tell that.
    """
    found = _json(file, "told") if "told" in file.metadata else None
    data = found.get("data") if isinstance(found, dict) else None
    good = isinstance(data, dict) and "sha256" in data and isinstance(data.get("name"), str)
    # A folder is named after the data set.
    good = good and data["name"].isidentifier() and isinstance(found.get("run"), str) and found["run"].isprintable()
    if not good or not all(type(found.get(name)) is int for name in ("test_correct", "test_total")):
        raise InputError(
            f"{file.path} does not tell its run, data set and test accuracy; resode publish NAME writes one that does"
        )
    return found


def check_mean_image(mean: Any, where: str, advice: str = _EXPORT) -> None:
    """Check that `mean` is a float array of an image's shape, each number from 0 to 255.

    Raises:
        InputError: it is not; the message begins with `where`.
    """
    if not isinstance(mean, np.ndarray) or mean.dtype not in (np.float32, np.float64) or mean.shape != IMAGE:
        _refuse(where, "it is no mean image, floats (32, 32, 3)", advice)
    if not ((mean >= 0) & (mean <= 255)).all():
        _refuse(where, "the mean image has a number that is not from 0 to 255", advice)


def _json(file: File, name: str) -> Any:
    try:
        return parse_json(file.metadata[name])
    except (KeyError, ValueError):
        return _refuse(file.path, f"its metadata have no {name} in JSON")


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 16_384


def _number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and abs(value) < 1e300 and math.isfinite(value)


def _refuse(where: Any, what: str, advice: str = _EXPORT) -> None:
    raise InputError(f"{where} holds no network of this version: {what}; {advice}")
