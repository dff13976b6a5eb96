"""Accuracy and speed of the weights in git in other runtimes, beside Keras in the same run.

`resode runtimes` writes results/runtimes/accuracy.json, and speed.json with the machine it is of.
"""

import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from resode.base import files, paths
from resode.base.errors import InputError
from resode.base.text import table

FOLDER = paths.RESULTS / "runtimes"
ACCURACY, SPEED = "accuracy", "speed"
BATCHES = (1, 32)
# Runtimes are timed in turn, so that a machine that slows down slows all of them.
ROUNDS, PASSES = 3, {1: 10, 32: 2}
# Test images, the first ones, for what takes long or differs in size alone.
FEW = 1_000
SIGNED = "ONNX Runtime, int8, convolutions, signed kernels"
KERAS, LOW_MEMORY, EVERY = "Keras `predict`", "`predict --low-memory`", "ONNX Runtime, int8, every operation"
PRODUCTS, OPENVINO = "ONNX Runtime, float32, exported with products", "OpenVINO, float32"

Predict = Callable[[np.ndarray], np.ndarray]


def run(what: str | None = None) -> Path:
    """Measure `what`, ACCURACY or SPEED, or both, and write the results.

    Raises:
        InputError: no weights in git, no images, or see `runtimes.check_writer`.
    """
    from resode.base import provenance
    from resode.inference import runtimes as exported
    from resode.inference import trained

    for suffix in exported.SUFFIXES:
        exported.check_writer(suffix)
    network = trained.Network(paths.NETWORK)
    with tempfile.TemporaryDirectory() as folder:
        runtimes = contenders(network, Path(folder))
        common = {**provenance.commit(), "run": network.facts["run"], **provenance.software()}
        common |= {"training": training} if (training := network.facts.get("training")) else {}
        if what in (None, SPEED):
            rows = speeds({name: make for name, (_, make) in runtimes.items()})
            files.write_json(FOLDER / f"{SPEED}.json", {**common, "hardware": provenance.hardware(), "rows": rows})
        if what in (None, ACCURACY):
            files.write_json(FOLDER / f"{ACCURACY}.json", {**common, "rows": accuracies(network, runtimes)})
    return FOLDER


def contenders(network: Any, folder: Path) -> dict[str, tuple[Path, Callable[[], Predict]]]:
    """The runtimes that are measured, by name: the file, and a function that makes the network. Files that are made are in `folder`."""
    from threadpoolctl import threadpool_limits

    from resode.inference import runtimes
    from resode.inference.low_memory import NumPyNetwork

    images = runtimes.training_images(network)
    made = {
        "ONNX Runtime, float32": ("float32.onnx", lambda: runtimes.of_onnx(network)),
        PRODUCTS: ("products.onnx", lambda: runtimes.of_onnx(network, convolution="auto")),
        "ONNX Runtime, int8, convolutions": ("int8.onnx", lambda: runtimes.of_onnx(network, images)),
        SIGNED: ("signed.onnx", lambda: runtimes.of_onnx(network, images, kernels="QInt8")),
        # A tenth of the images: with all operations calibration takes seven times as long.
        EVERY: ("every.onnx", lambda: runtimes.of_onnx(network, images[::10], operations=None)),
        "LiteRT, float32": ("float32.tflite", lambda: runtimes.of_litert(network)),
    }
    found = {
        KERAS: (paths.NETWORK, lambda: network.predict),
        # On one thread, as the command does.
        LOW_MEMORY: (paths.NETWORK, lambda: threadpool_limits.wrap(1, "blas")(NumPyNetwork(paths.NETWORK).predict)),
    }
    for name, (file, make) in made.items():
        (folder / file).write_bytes(make())
        print(f"{name}: written", flush=True)
        found[name] = (folder / file, lambda path=folder / file: runtimes.Network(path).predict)
    if importlib.util.find_spec("openvino"):
        found[OPENVINO] = (folder / "float32.onnx", lambda: _openvino(folder / "float32.onnx"))
    return found


def _openvino(path: Path) -> Predict:
    import openvino

    # Its default is bfloat16 on processors that have it.
    compiled = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: compiled(images)[0]


def accuracies(network: Any, runtimes: dict) -> list[dict]:
    """Test images that are classified correctly, and the largest difference of a probability to Keras'."""
    from resode.data import records

    dataset = records.load(paths.dataset(network.facts["data"]["name"]))
    expected, rows = None, []
    for name, (path, make) in runtimes.items():
        count = FEW if name in (LOW_MEMORY, PRODUCTS, SIGNED, EVERY) else len(dataset.test_images)
        predict, images = make(), dataset.test_images[:count]
        found = np.concatenate([predict(images[start : start + 50]) for start in range(0, count, 50)])
        expected = found if expected is None else expected
        right = found.argmax(axis=1) == dataset.test_labels[:count]
        rows.append(
            {
                "what": name,
                "bytes": path.stat().st_size,
                "images": count,
                "right": int(right.sum()),
                "right_of_keras": int((expected[:count].argmax(axis=1) == dataset.test_labels[:count]).sum()),
                "largest_difference": float(abs(found - expected[:count]).max()),
            }
        )
        print(f"{name}: {rows[-1]['right']:,} of {count:,}", flush=True)
    return rows


def speeds(makers: dict[str, Callable[[], Predict]]) -> list[dict]:
    """Milliseconds an image at each of BATCHES: median, lowest and highest pass of all rounds."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (max(BATCHES), 32, 32, 3), dtype=np.uint8)
    times: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for name, make in makers.items():
            # Anew in each round: the threads of a session that waits take time from the next one.
            predict = make()
            for size in BATCHES:
                if size > 1 and name == LOW_MEMORY:
                    # Images go through one after the other.
                    continue
                predict(images[:size])
                for _ in range(PASSES[size]):
                    start = time.perf_counter()
                    predict(images[:size])
                    times.setdefault((name, size), []).append(1000 * (time.perf_counter() - start) / size)
    return [
        {
            "what": name,
            "batch_size": size,
            "ms_per_image": round(statistics.median(found), 3),
            "ms_lowest": round(min(found), 3),
            "ms_highest": round(max(found), 3),
        }
        for (name, size), found in times.items()
    ]


def text() -> str:
    """docs/predict.md: what was measured, as a Markdown table.

    Raises:
        InputError: accuracy and speed are of different weights, or of another training of the run in git than its.
    """
    if not all((FOLDER / f"{name}.json").is_file() for name in (ACCURACY, SPEED)):
        return "Not measured yet: `resode runtimes`."
    from resode.inference import weights_schema

    accuracy, speed = (files.read_json(FOLDER / f"{name}.json") for name in (ACCURACY, SPEED))
    network = weights_schema.Weights(paths.NETWORK).facts if paths.NETWORK.is_file() else {}
    # Of another run than the one in git the text below says so.
    now = network if network.get("run") == accuracy["run"] else accuracy
    if not (weights_schema.same(accuracy, speed) and weights_schema.same(accuracy, now)):
        raise InputError(
            f"{FOLDER} is of different weights, or of older ones than {paths.NETWORK}; run: resode runtimes"
        )
    ms = {(row["what"], row["batch_size"]): row["ms_per_image"] for row in speed["rows"]}
    rows = []
    for row in accuracy["rows"]:
        times = [ms.get((row["what"], size)) for size in BATCHES]
        ratios = [
            found and f"{found:.0f} ({ms[KERAS, size] / found:.1f} ×)"
            for size, found in zip(BATCHES, times, strict=True)
        ]
        right = f"{row['right']:,} of {row['images']:,}"
        if row["images"] == FEW:
            right += f" (Keras {row['right_of_keras']:,})"
        difference = "—" if row["what"] == KERAS else f"{row['largest_difference']:.1e}"
        rows.append((row["what"], f"{row['bytes'] / 1e6:.1f}", difference, right, *(ratio or "—" for ratio in ratios)))
    header = (
        "",
        "MB",
        "largest difference of a probability",
        "test images right",
        *(f"ms an image, batch {size}" for size in BATCHES),
    )
    return (
        f"The weights of run {accuracy['run']} on {speed['hardware']}, medians; in brackets how many times as fast as Keras"
        f" in the same run:\n\n{table(header, rows, 'lrrrrr')}"
    )
