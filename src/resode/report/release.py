"""The weights that git carries: a trained network in one file, a model card beside it, and a check of its accuracy."""

from pathlib import Path

from resode.analysis import evaluation, reference
from resode.base import files, paths
from resode.base.errors import InputError
from resode.base.text import percent, rows_table, table
from resode.data import records
from resode.experiments import runs
from resode.inference import runtimes, weights_schema
from resode.report import runs_table
from resode.training import outputs

# Test images of 10,000 that another device or backend may classify otherwise: it rounds differently.
TIPPED = 5
# Likewise with convolutions in int8: 0.3 points.
TIPPED_INT8 = 30


def write(name: str | None = None) -> None:
    """Write the weights of the finished run `name`, by default the pipeline's, to `paths.NETWORK`, a model card beside them.

    Besides what `trained.export` writes, the file names the run, its data and its test accuracy.

    Raises:
        InputError: no such run, it is not finished, its weights are not on this machine, or see `trained.encoded`.
    """
    from resode.inference import trained

    if name:
        runs.params_of(name)
    results = runs.folder(name) if name else paths.RESULTS
    run = runs_table.read_trained(results)
    if run is None:
        raise InputError(f"{results} holds no finished run; run: resode run {name or ''}".rstrip())
    network = trained.Network(results / "training")
    facts = {
        "run": name or "the pipeline's",
        "training": run["provenance"]["training"],
        "data": run["provenance"]["data"],
        "test_correct": run["metrics"]["test_correct"],
        "test_total": run["metrics"]["test_total"],
    }
    content = trained.encoded(network.keras, network.params, network.class_names, network.mean, facts, network.data)
    files.write_bytes(paths.NETWORK, content)
    files.write_text(_card_path(), card(facts["run"], run, network.keras.count_params()))


def _card_path() -> Path:
    return paths.NETWORK.with_name("README.md")


def card(name: str, run: dict, parameters: int) -> str:
    """The model card in Markdown, from what training and evaluation wrote; see `runs_table.read_trained`."""
    provenance, metrics, history = run["provenance"], run["metrics"], run["history"]
    model, training, data = provenance["params"]["model"], provenance["params"]["training"], provenance["data"]
    classes = [(label, percent(value)) for label, value in metrics["class_accuracy"].items()]
    settings = {**model, **training, "seed": provenance["params"]["seed"], **provenance["params"]["augmentation"]}
    low, high = percent(metrics["test_accuracy_low"]), percent(metrics["test_accuracy_high"])
    # Hugging Face's fields.
    return f"""---
license: mit
library_name: keras
pipeline_tag: image-classification
tags: [hamiltonian, neural-ode, residual-network, reproduction]
datasets: [{data["name"]}]
metrics: [accuracy]
model-index:
  - name: resode, run {name}
    results:
      - task: {{type: image-classification}}
        dataset: {{name: "{data["title"]}", type: {data["name"]}, split: test}}
        metrics: [{{type: accuracy, value: {metrics["test_accuracy"]:g}, name: "test accuracy, 95 % interval {low} to {high}"}}]
---

# Model card: {paths.NETWORK.name}

{parameters:,} parameters, float32, in the [safetensors](https://github.com/huggingface/safetensors) format, with the mean image that
is subtracted and the names of the classes. The network is that of S. Rome (2018), "Using Ordinary Differential Equations To Design State of
the Art Residual-Style Layers": {model["architecture"]} of {model["unroll_length"]} steps of size {model["h"]:g} of {model["integrator"]},
block {model["block"]}. {reference.setting(provenance, reference.read_published())}

    resode predict cat.png    # the likeliest classes of an image file
    resode verify             # the accuracy below, from the test images

## Training

Run {name}: {len(history)} epochs, {history[-1]["updates"]:,} updates of {training["batch_size"]} images. {runs_table.effort(provenance)}.

Data: {data["title"]}, {data["source"]}{"" if data["published"] else " (not the published files)"}. Trained on its training images alone{_looked_at(run)}

{table(("Parameter", "Value"), [(key, f"`{value}`") for key, value in settings.items()], "ll")}

## Accuracy

**{percent(metrics["test_accuracy"])}** of the {metrics["test_total"]:,} test images, {metrics["test_correct"]:,} of them; 95 % interval (Wilson's)
{percent(metrics["test_accuracy_low"])} to {percent(metrics["test_accuracy_high"])}. On the augmented training images {percent(metrics["train_accuracy"])}.

{table(("Class", "Test accuracy"), classes, "lr")}

## Intended use

To check and to study this reproduction: its accuracy, its stability, its layers; and as an example of prediction in little memory.

## Limits

- It knows the classes above and nothing else: whatever an image shows, it answers with one of them.
- It sees 32 × 32 pixels. Larger images are made as small, whatever their proportions.
- Its probabilities are not calibrated, and it was not tested on other images than the test images of {data["title"]}.
- Classes differ in accuracy by what the table says. It is not fit for decisions about people or their safety.
"""


def _looked_at(run: dict) -> str:
    """The card's words on the images that were looked at while the network was trained, from after "training images alone"."""
    decided = "decided nothing: the weights are those after the last epoch."
    if evaluation.tested_on(run["history"]) == "test":
        return f". The\ntest images were looked at after each epoch, as in the post, and {decided}"
    fraction = run["provenance"]["data"]["validation_fraction"]
    return (
        f", without a fraction of {fraction:g} that was held out.\nThe held-out images were looked at after each epoch, and {decided}"
        " The test images were looked at once, at the end."
    )


def verify(path: Path | None = None) -> None:
    """Print the accuracy of a network on its test images.

    Args:
        path: a file of export, whose own runtime predicts; by default the one in git.

    Raises:
        InputError: it differs from the one that was published with the weights, if one was, by more than `TIPPED` of 10,000 images, in int8 by
            more than `TIPPED_INT8`; there are no weights or no test images, or the images are others; see `weights_schema.facts`,
            `trained.Network` and `runtimes.Network`.
    """
    path = path or paths.NETWORK
    if path == paths.NETWORK and not path.is_file():
        raise InputError(
            f"no weights at {paths.NETWORK}; {weights_schema.advice(paths.NETWORK)}, or bring those of a finished run there with: resode publish NAME"
        )
    exported = runtimes.Network(path) if path.suffix in runtimes.SUFFIXES else None
    facts = weights_schema.facts(exported or weights_schema.Weights(path), published=path == paths.NETWORK)
    if exported is None:
        # Keras takes seconds to load.
        from resode.inference import trained
    network = exported or trained.Network(path)
    folder = paths.dataset(facts["data"]["name"])
    dataset = records.load(folder)
    if dataset.provenance["sha256"] != facts["data"]["sha256"]:
        raise InputError(f"{folder} holds other images than those with which {path} was trained and tested")
    predicted = network.predict(dataset.test_images).argmax(axis=1)
    correct, total = int((predicted == dataset.test_labels).sum()), len(predicted)
    low, high = evaluation.wilson_interval(correct, total)
    runtime = f"{exported.runtime}, {exported.precision}: " if exported else ""
    published = ""
    if "run" in facts:
        published = (
            f"; {facts['test_correct']:,} of {facts['test_total']:,} when they were published here (run {facts['run']})"
        )
    print(
        f"{runtime}{percent(correct / total)} of the test images of {dataset.provenance['title']}: {correct:,} of {total:,},"
        f" 95 % interval {percent(low)} to {percent(high)}{published}."
    )
    most = TIPPED_INT8 if exported and exported.precision == "int8" else TIPPED
    if published and abs(correct - facts["test_correct"]) > most * total / 10_000:
        raise InputError(
            f"that differs by more than {most} of 10,000 images, which is more than rounding; please report it"
        )


def text() -> str:
    """docs/predict.md: what can be done with the weights in git, or how to get some."""
    if not paths.NETWORK.is_file():
        return (
            "No weights are in git yet: train (`resode run NAME`), or name others with `--weights`."
            " `resode publish NAME` puts those of a finished run there."
        )
    facts = weights_schema.facts(weights_schema.Weights(paths.NETWORK))
    file, about = (path.relative_to(paths.ROOT) for path in (paths.NETWORK, _card_path()))
    return (
        f"The weights in git, [{file}]({file}) (run {facts['run']}, {facts['test_correct']:,} of {facts['test_total']:,} test images,"
        f" [model card]({about})), need no training. `predict` takes them unless results/training has its own; `verify` counts again, on TensorFlow or JAX:"
    )


def unroll_lengths(results: Path = paths.RESULTS) -> str:
    """docs/predict.md: cost and accuracy of the weights in git with other unroll lengths, as a section; "" where nothing was measured.

    Raises:
        InputError: what was measured is of another training than the run's, or than that of the weights in git.
    """
    if not paths.NETWORK.is_file():
        return ""
    facts = weights_schema.facts(weights_schema.Weights(paths.NETWORK))
    run = facts["run"]
    folder = results / "runs" / run if run in runs.read() else results
    path = folder / "stability" / "refinement.json"
    if not path.is_file():
        return ""
    found = files.read_json(path)
    outputs.check_of(outputs.provenance(folder / "training"), found, path)
    if not weights_schema.same(facts, found | {"run": run}):
        raise InputError(f"{path} is of another training than {paths.NETWORK}; publish the run again")
    own = [row for row in found["rows"] if row["integrator"] == found["integrator"]]
    rows = [
        {
            "`--unroll-length`": f"{row['unroll_length']}{' (training)' * (row['unroll_length'] == found['unroll_length'])}",
            "h": f"{row['h']:.3g}",
            "Convolutions in units": f"{100 * row['cost']:.0f} %",
            "Test accuracy (95 % interval)": f"{percent(row['accuracy'])} ({100 * row['low']:.2f} to {100 * row['high']:.2f})",
        }
        for row in own
    ]
    return (
        "## In fewer steps\n\n    resode predict cat.png --unroll-length 2\n\n"
        "The same weights can be unrolled over the same time in other steps than in training, and most of the cost is that of the steps. Run"
        f" {run}, {own[0]['total']:,} test images of {found['data']}, {found['integrator']}:\n\n"
        f"{rows_table(rows)}"
    )
