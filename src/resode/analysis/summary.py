"""The built network: its layers, its cost, and a comparison with the network that the post printed."""

import csv
import math
from itertools import zip_longest
from pathlib import Path
from typing import Any

import keras

from resode.base import files, paths
from resode.base.text import csv_table
from resode.config import yaml
from resode.nn.blocks import ODEConv2D

PUBLISHED = paths.REFERENCE / "published_model.csv"
PUBLISHED_FIGURES = paths.REFERENCE / "published.yaml"
# As the post states them; 168 is the depth that the model table of Keras' documentation listed at the time.
PUBLISHED_RESNET50 = {"parameters": 25_636_712, "layers": 168}
_COLUMNS = ("type", "output_shape", "parameters")


def layer_table(model: keras.Model) -> list[dict[str, Any]]:
    """One row a layer, from input to output: name, type, output_shape (None is the batch), parameters, flops."""
    operations = flops(model)
    return [
        {
            "name": layer.name,
            "type": type(layer).__name__,
            "output_shape": tuple(layer.output.shape),
            "parameters": layer.count_params(),
            "flops": operations[layer.name],
        }
        for layer in model.layers
    ]


def parameter_counts(model: keras.Model) -> dict[str, int]:
    """Numbers of parameters: total, trainable, non_trainable (moving averages of the batch normalization)."""
    trainable, non_trainable = (
        sum(math.prod(weight.shape) for weight in weights)
        for weights in (model.trainable_weights, model.non_trainable_weights)
    )
    return {"total": trainable + non_trainable, "trainable": trainable, "non_trainable": non_trainable}


def flops(model: keras.Model) -> dict[str, int]:
    """Floating-point operations of the forward pass for one image, by layer name.

    Counted are the multiplications and additions of convolutions and dense layers, 2 to a multiply-add; borders as
    if the image went on. A transposed convolution costs what the convolution does:

        Conv2D     2 k² c_in c_out · height · width
        ODEConv2D  the same for each convolution of its steps; a Hamiltonian unit has two in a step of Euler
        Dense      2 in · out

    Everything else (biases, activations, pooling, normalization) counts as 0; it is below one per cent.
    """
    return {layer.name: _flops(layer) for layer in model.layers}


def _flops(layer: keras.Layer) -> int:
    if isinstance(layer, ODEConv2D):
        kernel = next(shape for shape in layer.weight_shapes(layer.output.shape[-1]).values() if len(shape) == 4)
        return 2 * math.prod(kernel) * math.prod(layer.output.shape[1:3]) * layer.convolutions_of_a_pass()
    if isinstance(layer, keras.layers.Conv2D):
        return 2 * math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:3])
    if isinstance(layer, keras.layers.Dense):
        return 2 * math.prod(layer.kernel.shape)
    return 0


def published_table() -> list[dict[str, Any]]:
    """The rows of the post's model summary: type, output_shape, parameters."""
    with PUBLISHED.open(newline="", encoding="utf-8") as file:
        return [
            {
                "type": row["layer_type"],
                "output_shape": tuple(
                    None if size == "None" else int(size) for size in row["output_shape"].strip("()").split(", ")
                ),
                "parameters": int(row["parameters"]),
            }
            for row in csv.DictReader(file)
        ]


def published_counts() -> dict[str, int]:
    """Numbers of parameters below the post's model summary; keys as in `parameter_counts`."""
    figures = yaml.read(PUBLISHED_FIGURES)["figures"]
    values = {figure["id"]: figure["value"] for figure in figures}
    total, trainable = values["parameters"], values["trainable_parameters"]
    return {"total": total, "trainable": trainable, "non_trainable": total - trainable}


def compare_with_published(model: keras.Model) -> list[dict[str, Any]]:
    """The layers of `model` beside those of the post, row by row.

    Returns:
        One row a layer: row (from 1), name, then type, output_shape and parameters of the model and, prefixed with
        `published_`, of the post, and match. Where one network has fewer layers its columns are None.
    """
    rows = []
    for number, (ours, theirs) in enumerate(zip_longest(layer_table(model), published_table()), start=1):
        row = {"row": number, "name": ours and ours["name"]}
        for column in _COLUMNS:
            row[column] = ours and ours[column]
            row[f"published_{column}"] = theirs and theirs[column]
        row["match"] = all(row[column] == row[f"published_{column}"] for column in _COLUMNS)
        rows.append(row)
    return rows


def verdict(comparison: list[dict[str, Any]]) -> str:
    """One sentence: whether all rows of `compare_with_published` match."""
    matching = sum(row["match"] for row in comparison)
    if matching == len(comparison):
        return f"All {matching} layers match the post's summary: type, output shape and parameters."
    return f"This is not the post's network: {matching} of {len(comparison)} layers match its summary."


def resnet50_counts() -> dict[str, int]:
    """Parameters and layers (input included) of ResNet-50 for ImageNet as Keras builds it today, without weights."""
    resnet = keras.applications.ResNet50(weights=None)
    return {"parameters": resnet.count_params(), "layers": len(resnet.layers)}


def overview(model: keras.Model, resnet50: dict[str, int] | None = None) -> dict[str, Any]:
    """Every number of the comparison as one JSON-ready object: parameters, FLOPs, the post's, ResNet-50's.

    Args:
        model: the built network.
        resnet50: result of `resnet50_counts`, to be counted here if it is not given.
    """
    comparison = compare_with_published(model)
    operations = flops(model)
    return {
        "parameters": parameter_counts(model),
        "flops_per_image": sum(operations.values()),
        "flops_by_layer": {name: count for name, count in operations.items() if count},
        "published_parameters": published_counts(),
        "matches_published": all(row["match"] for row in comparison),
        "verdict": verdict(comparison),
        "resnet50": resnet50 or resnet50_counts(),
        "published_resnet50": PUBLISHED_RESNET50,
    }


def counts_table(overview: dict[str, Any]) -> list[dict[str, Any]]:
    """The counts of `overview` beside those the post states: what, here, post."""
    pairs = [
        (f"{kind.replace('_', '-')} parameters", count, overview["published_parameters"][kind])
        for kind, count in overview["parameters"].items()
    ]
    pairs += [
        (f"ResNet-50 {kind}", count, overview["published_resnet50"][kind])
        for kind, count in overview["resnet50"].items()
    ]
    return [{"what": what, "here": here, "post": post} for what, here, post in pairs]


def flops_table(model: keras.Model) -> list[dict[str, Any]]:
    """MFLOP of the forward pass for one image: each layer that has any, its share in per cent, and the sum."""
    operations = flops(model)
    total = sum(operations.values())
    counted = [(name, count) for name, count in operations.items() if count] + [("all layers", total)]
    return [
        {"layer": name, "MFLOP": round(count / 1e6, 3), "share in %": round(100 * count / total, 2)}
        for name, count in counted
    ]


def write(model: keras.Model, folder: Path, resnet50: dict[str, int] | None = None) -> None:
    """Write `summary.csv`, `comparison.csv` and `model.json` to `folder`; equal models give equal bytes.

    Raises:
        InputError: `folder` cannot be written.
    """
    folder = Path(folder)
    files.write_text(folder / "summary.csv", csv_table(layer_table(model)))
    files.write_text(folder / "comparison.csv", csv_table(compare_with_published(model)))
    files.write_json(folder / "model.json", overview(model, resnet50))
