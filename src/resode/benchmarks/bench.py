"""Time per update, compared with the machine's peak and with what a user would write without this package.

`resode bench` measures every backend that is installed, each in a process of its own, and writes
results/bench/<hardware>.json; `resode bench NAME` the setting of a run, beside that of params.yaml. The images are random bytes in CIFAR-10's shape: an update takes the same time on any.
"""

import importlib.util
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from resode.base import files, paths
from resode.base.environment import BACKENDS
from resode.base.errors import InputError
from resode.benchmarks import fresh_process
from resode.config import parameters, schema
from resode.experiments import runs
from resode.training import prolongation

FOLDER = paths.RESULTS / "bench"
IMAGES, CLASSES, SIDE = 50_000, 10, 32
# Timed in turn, so that a machine that slows down slows all of them; a contender stops after REPEATS repeats, or when it
# has had its SECONDS.
REPEATS, SECONDS = 7, 30.0
OURS, DIRECT = "resode", "resode, direct convolutions"
BARE, FIT = "train_on_batch on ready-made tensors", "fit with Keras' preprocessing layers"


def run(name: str | None, settings: list[str], folder: Path = FOLDER) -> Path:
    """Measure all installed backends and write the results.

    Args:
        name: the run of runs.yaml to measure; None: params.yaml as it stands.
        settings: further "key=value" settings.

    Raises:
        InputError: no such run, wrong settings, no backend, or one that failed.
    """
    changes = parameters.settings(settings)
    content = parameters.changed(
        (runs.changes(name) if name else {}) | changes, f"{name} with --set" if name else "--set"
    )
    found = []
    for backend in (name for name in BACKENDS if importlib.util.find_spec(name)):
        print(f"{backend}:", flush=True)
        environment = {"KERAS_BACKEND": backend}
        found.append(fresh_process.call(measure, content, parameters.read(), environment=environment))
    common = found[0].pop("common")
    for one in found[1:]:
        if one.pop("common")["hardware"] != common["hardware"]:
            raise InputError("the backends see different hardware; install both for the GPU, or bench one at a time")
    # A measurement of something else does not take the place of the post's.
    path = folder / f"{file_name(' '.join([common['hardware'], *([name] if name else []), *settings]))}.json"
    files.write_json(path, {**common, "run": name, "changed": changes, "backends": found})
    return path


def file_name(hardware: str) -> str:
    """`hardware`, the words of `provenance.hardware`, as the name of a file."""
    return re.sub(r"[^a-z0-9]+", "-", hardware.lower()).strip("-")


def beside(chosen: schema.Params, unchanged: schema.Params) -> dict[str, schema.Params]:
    """The settings measured beside `chosen`: its coarser levels, its network under SGD, and params.yaml `unchanged`; {name: parameters}."""
    found = {}
    for unroll_length, _ in chosen.training.unroll_schedule[:-1]:
        model = prolongation.coarser(chosen.model, unroll_length)
        found[f"{OURS}, unroll length {unroll_length}"] = chosen.model_copy(update={"model": model})
    if chosen.training.optimizer != "sgd":
        sgd = chosen.training.model_copy(update={"optimizer": "sgd"})
        found[f"{OURS}, sgd instead of {chosen.training.optimizer}"] = chosen.model_copy(update={"training": sgd})
    if chosen != unchanged:
        found[f"{OURS}, params.yaml as it stands (batch {unchanged.training.batch_size})"] = unchanged
    return found


def measure(content: dict, unchanged: dict) -> dict:
    """Measure this process's backend: its matrix multiplication, and each precision and block length.

    Besides the setting of params.yaml's `content`, it measures what `beside` names. No update is measured in a precision whose matrix multiplication is slower than float32's.

    Returns:
        Milliseconds an update as median, lowest and highest of the repeats; images and floating-point operations a second;
        `direct_floor_ms`, the operations of direct convolutions at the speed of the matrix multiplication of the same
        precision. Operations a second are of direct convolutions too; `winograd` needs fewer, and can be faster than that floor.
    """
    import keras
    import numpy as np

    from resode.analysis import summary
    from resode.base import provenance
    from resode.data.records import Dataset
    from resode.nn import model
    from resode.training import augmentation

    commit = provenance.commit()
    chosen, unchanged = parameters.validate(content), parameters.validate(unchanged)
    training = chosen.training
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (IMAGES, SIDE, SIDE, 3), dtype="uint8")
    labels = random.integers(0, CLASSES, IMAGES).astype("int32")
    dataset = Dataset("random", images, labels, images[:1], labels[:1], [str(i) for i in range(CLASSES)], {})
    mean = augmentation.mean_image(images)

    def flop_per_update(one: schema.Params) -> int:
        # Forward, and twice that backward: with respect to the states and with respect to the weights.
        return 3 * sum(summary.flops(model.build(one.model, CLASSES)).values()) * one.training.batch_size

    accelerator = not provenance.hardware().startswith("CPU")
    lengths = [1, 10]
    if keras.backend.backend() == "jax":
        # See engine.block_length: on XLA:CPU a loop of convolutions this wide takes a minute an update.
        lengths = [1, 10, 100, IMAGES // training.batch_size] if accelerator else [1]
    peaks, rows = {}, []
    for precision in ("float32", "mixed_bfloat16"):
        peaks[precision] = _matmul("float32" if precision == "float32" else "bfloat16", 8192 if accelerator else 4096)
        print(f"  matrix multiplication, {precision}: {peaks[precision] / 1e12:.2f} TFLOP/s", flush=True)
        if peaks[precision] < peaks["float32"]:
            # A processor without instructions for it takes half a minute an update.
            print(f"  {precision}: slower than float32 here, so no update is measured", flush=True)
            continue
        measured = {(OURS, length): chosen for length in lengths}
        measured |= {(what, lengths[-1]): one for what, one in beside(chosen, unchanged).items()}
        if precision == "float32" and not accelerator:
            # Elsewhere the above are direct already.
            measured[DIRECT, lengths[-1]] = _direct(chosen)
        contenders = {key: _ours(one, precision, dataset, mean, key[1]) for key, one in measured.items()}
        contenders[BARE, 1] = _bare(chosen, precision, images, labels, mean)
        contenders[FIT, 1] = _fit(chosen, precision, images, labels, mean, 100 if accelerator else 10)
        for (what, length), times in _in_turn(contenders).items():
            one = measured.get((what, length), chosen)
            flop, batch_size = flop_per_update(one), one.training.batch_size
            median = statistics.median(times)
            rows.append(
                {
                    "what": what,
                    "precision": precision,
                    "block_length": length,
                    "batch_size": batch_size,
                    "ms_per_update": round(median, 3),
                    "ms_lowest": round(min(times), 3),
                    "ms_highest": round(max(times), 3),
                    "repeats": len(times),
                    "images_per_second": round(1000 * batch_size / median, 1),
                    "flop_per_second": flop / median * 1000,
                    "direct_floor_ms": round(1000 * flop / peaks[precision], 3),
                    "fraction_of_matmul": round(1000 * flop / median / peaks[precision], 4),
                }
            )
            print(f"  {precision}, {what}, block {length}: {median:.2f} ms an update", flush=True)
    return {
        "common": {
            "hardware": provenance.hardware(),
            **commit,
            "data": f"{IMAGES:,} random images of CIFAR-10's shape",
            "batch_size": training.batch_size,
            "flop_per_update": flop_per_update(chosen),
            "matmul_size": 8192 if accelerator else 4096,
        },
        **provenance.software(),
        "arithmetic": {precision: provenance.arithmetic(precision) for precision in peaks},
        "matmul_flop_per_second": peaks,
        "rows": rows,
    }


def _in_turn(contenders: dict) -> dict:
    """Milliseconds an update of each repeat; a contender is a function that does some updates and says how many."""
    times = {name: [] for name in contenders}
    spent = dict.fromkeys(contenders, 0.0)
    for work in contenders.values():
        # Compiling, and the first call after it.
        start = time.perf_counter()
        work()
        if time.perf_counter() - start < SECONDS:
            work()
    for _ in range(REPEATS):
        for name, work in contenders.items():
            if spent[name] > SECONDS:
                continue
            start = time.perf_counter()
            updates = work()
            seconds = time.perf_counter() - start
            spent[name] += seconds
            times[name].append(1000 * seconds / updates)
    return times


def _direct(chosen: schema.Params) -> schema.Params:
    return chosen.model_copy(update={"training": chosen.training.model_copy(update={"convolution": "direct"})})


def _compiled(chosen: schema.Params, precision: str):
    from resode.training import compiling

    changed = chosen.training.model_copy(update={"precision": precision})
    return compiling.compiled(chosen.model, changed, chosen.seed, CLASSES)


def _ours(chosen: schema.Params, precision: str, dataset, mean, length: int) -> Callable[[], int]:
    """The work of `loop.train` between two epochs' ends: order, random numbers, a block of updates, the loss."""
    from resode.training import augmentation, engine

    updates = engine.Engine(_compiled(chosen, precision), dataset, mean, chosen.augmentation)
    done = 0

    def work() -> int:
        nonlocal done
        numbers = augmentation.block(
            chosen.augmentation, chosen.seed, done, length, chosen.training.batch_size, IMAGES, SIDE
        )
        updates.run(*numbers)
        updates.metrics()
        # A whole epoch is one block; a shorter one at its end would be compiled in the middle of the measurement.
        done = (done + length) % (IMAGES // chosen.training.batch_size // length * length)
        return len(numbers[0])

    return work


def _bare(chosen: schema.Params, precision: str, images, labels, mean) -> Callable[[], int]:
    import keras

    from resode.training import augmentation

    network = _compiled(_direct(chosen), precision)
    count = chosen.training.batch_size
    batch = keras.ops.convert_to_tensor(augmentation.normalise(images[:count], mean))
    truth = keras.ops.convert_to_tensor(labels[:count])

    def work() -> int:
        network.train_on_batch(batch, truth)
        return 1

    return work


def _fit(chosen: schema.Params, precision: str, images, labels, mean, updates: int) -> Callable[[], int]:
    """The same network and optimiser the way Keras' guides write it."""
    import keras

    network = _compiled(_direct(chosen), precision)
    size = images.shape[1]
    shift = chosen.augmentation.shift or chosen.augmentation.crop / size
    whole = keras.Sequential(
        [
            keras.Input(images.shape[1:], dtype="uint8"),
            keras.layers.Rescaling(1 / 128, offset=-mean / 128, dtype="float32"),
            keras.layers.RandomFlip("horizontal", dtype="float32"),
            keras.layers.RandomTranslation(shift, shift, fill_mode="nearest", dtype="float32"),
            network,
        ]
    )
    whole.compile(optimizer=network.optimizer, loss=network.loss, metrics=["accuracy"])
    count = updates * chosen.training.batch_size

    def work() -> int:
        whole.fit(images[:count], labels[:count], batch_size=chosen.training.batch_size, verbose=0)
        return updates

    return work


def _matmul(dtype: str, size: int) -> float:
    """Floating-point operations a second of a product of two random (size, size) matrices, median of seven."""
    import keras
    import numpy as np

    a, b = (keras.ops.cast(np.random.default_rng(i).normal(size=(size, size)), dtype) for i in (0, 1))
    multiply = keras.ops.matmul
    if keras.backend.backend() == "jax":
        import jax

        multiply = jax.jit(multiply)
    times = []
    for _ in range(9):
        start = time.perf_counter()
        # Reading one element back waits for the product.
        float(multiply(a, b)[0, 0])
        times.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(times[2:])


def table(folder: Path = FOLDER) -> str:
    """The files in results/bench as Markdown: their chart; below it for each machine a sentence and, folded, a table."""
    parts = [
        "![images a second by machine, backend and precision](results/readme/speed.png)\n\n"
        "*Images a second in training, the faster block length of each; further to the right is faster.*"
    ]
    for path in sorted(folder.glob("*.json")):
        found = files.read_json(path)
        fastest = []
        rows = ["| backend | precision | | updates a call | ms an update | speed against train_on_batch | against fit | images/s |"
                " TFLOP/s of direct convolutions | of the matrix product's |",
                "| :-- | :-- | :-- | --: | --: | --: | --: | --: | --: | --: |"]  # fmt: skip
        for backend in found["backends"]:
            for row in backend["rows"]:
                # Bare updates and Keras' own way with the same backend and precision; by the image.
                images = row.get("batch_size", found["batch_size"]) / found["batch_size"]
                bare, fit = (
                    next(
                        images * other["ms_per_update"] / row["ms_per_update"]
                        for other in backend["rows"]
                        if (other["what"], other["precision"]) == (what, row["precision"])
                    )
                    for what in (BARE, FIT)
                )
                if row["what"] == OURS and row["precision"] == "float32":
                    text = (
                        f"{backend['backend']} {row['images_per_second']:,.0f} images a second, {bare:.2f} × the speed of"
                        f" `train_on_batch` and {fit:.2f} × that of `fit`"
                    )
                    fastest.append((backend["backend"], row["images_per_second"], text))
                rows.append(
                    f"| {backend['backend']} | {row['precision']} | {row['what']} | {row['block_length']} | {row['ms_per_update']:.2f} |"
                    f" {bare:.2f} × | {fit:.2f} × | {row['images_per_second']:,.0f} | {row['flop_per_second'] / 1e12:.3f} | {100 * row['fraction_of_matmul']:.0f} % |"
                )
        setting = f", run {found['run']}" if found.get("run") else ""
        changed = setting + "".join(f", {key} = {value}" for key, value in found["changed"].items())
        commit = (found["commit"] or "no commit")[:7]
        best = {name: text for name, _, text in sorted(fastest, key=lambda one: one[1])}
        parts.append(
            f"{found['hardware']}{setting}: in float32 {'; '.join(best.values())}.\n\n"
            f"<details>\n<summary>All measurements (batch {found['batch_size']}{changed}; {found['data']}; commit {commit})</summary>\n\n"
            + "\n".join(rows)
            + "\n\n</details>"
        )
    return "\n\n".join(parts) if len(parts) > 1 else "Not measured yet: `resode bench`."
