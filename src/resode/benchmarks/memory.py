"""Cost of training in memory and time as units get longer, for each way of going backwards.

`resode memory` measures each combination in a process of its own and writes results/memory/<hardware>.json. The network is that
of params.yaml with the changes in `SETTING` and what the command line adds; the images are random.
"""

import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from resode.base import files, paths, text
from resode.base.environment import BACKENDS
from resode.benchmarks import fresh_process
from resode.benchmarks.bench import file_name
from resode.benchmarks.inference_memory import forget_peak, measure_inference, resident
from resode.config import parameters, schema
from resode.figures import memory as plots_memory
from resode.figures import style

FOLDER = paths.RESULTS / "memory"
BACKWARD = ("store", "recompute", "reversible")
# Written out, 256 steps take XLA long to compile: JAX is measured up to 64.
LENGTHS = {"tensorflow": (4, 16, 64, 256), "jax": (4, 16, 64)}
BATCH, SIDE, CLASSES = 32, 32, 10
# Three units on 16 to 64 channels, by the post's equations with a step that can be taken back.
SETTING = {
    "model.channels": [16, 32, 64],
    "model.pool_after": [1, 2],
    "model.integrator": "symplectic_euler",
    # Short steps: 256 of the post's would leave the range of float32.
    "model.h": 0.01,
}
# A network of six units of a thousand steps, which has to train in the memory of one with four.
DEEP = {
    "model.channels": [8, 8, 8, 8, 16, 16],
    "model.pool_after": [1, 2, 3, 4],
    "model.integrator": "symplectic_euler",
    "model.backward": "reversible",
    "model.activation": "tanh",
}
DEEP_FILE = "deep.json"
CONVOLUTION_FILE = "convolution.json"
REPEATS = 7
# The resident memory of equal processes differs by some 5 %.
CONVOLUTION_REPEATS = 3
MEASURED = ("activations_mib", "total_mib")
MEBIBYTE = 2**20


def run(settings: list[str], folder: Path = FOLDER) -> Path:
    """Measure every backend that is installed, and inference, and write the results.

    Args:
        settings: "key=value" changes of params.yaml besides `SETTING`.

    Raises:
        InputError: wrong settings, no backend, or a measurement that failed.
    """
    changes = {**SETTING, **parameters.settings(settings)}
    backends = [name for name in BACKENDS if importlib.util.find_spec(name)]
    rows, common = [], {}
    for backend in backends:
        for length in LENGTHS[backend]:
            by_backward = {
                backward: parameters.changed(
                    {**changes, "model.backward": backward, "model.unroll_length": length}, "--set"
                )
                for backward in BACKWARD
            }
            seconds = _apart(backend, times, by_backward)
            for backward, content in by_backward.items():
                found = _apart(backend, measure, content)
                # Of the first: what is committed meanwhile is another code.
                first = found.pop("common")
                common = common or first
                rows.append(
                    {"backend": backend, "backward": backward, "unroll_length": length, **found, **seconds[backward]}
                )
                print(f"  {rows[-1]}", flush=True)
    path = folder / f"{file_name(' '.join([common['hardware'], *settings]))}.json"
    content = {**common, "batch_size": BATCH, "changed": changes, "rows": rows, "inference": measure_inference()}
    files.write_json(path, content)
    files.write_bytes(path.with_suffix(".png"), style.png(plots_memory.growth(content)))
    convolution(backends, folder)
    deep(folder)
    return path


def convolution(backends: list[str], folder: Path = FOLDER) -> Path:
    """Memory of the network of params.yaml, direct convolutions against matrix products, medians, to convolution.json."""
    rows, commons = [], []
    for backend in backends:
        for repeats in zip(*(ways_of_convolution(backend) for _ in range(CONVOLUTION_REPEATS)), strict=True):
            commons += [one.pop("common") for one in repeats]
            rows.append(repeats[0] | {key: statistics.median(one[key] for one in repeats) for key in MEASURED})
    common = commons[0]
    files.write_json(folder / CONVOLUTION_FILE, {**common, "batch_size": BATCH, "rows": rows})
    return folder / CONVOLUTION_FILE


def ways_of_convolution(backend: str) -> list[dict]:
    """Memory by `measure`, of direct convolutions and of those that `auto` takes."""
    ways = {way: parameters.changed({"training.convolution": way}, "--set") for way in ("direct", "auto")}
    return [
        {"backend": backend, "convolution": way, **_apart(backend, measure, content)} for way, content in ways.items()
    ]


def deep(folder: Path = FOLDER) -> Path:
    """One epoch on the digits with 6 × 1,000 steps and with 6 × 4, over the same time h · n = 1: memory, and the loss of each
    tenth of the epoch, to deep.json."""
    found, common = {}, {}
    for length in (4, 1000):
        steps = {"model.unroll_length": length, "model.h": 1 / length}
        found[str(length)] = _apart("tensorflow", epoch, parameters.changed({**DEEP, "data.name": "digits", **steps}))
        first = found[str(length)].pop("common")
        common = common or first
        print(f"  digits, 6 × {length} steps: {found[str(length)]}", flush=True)
    files.write_json(folder / DEEP_FILE, {**common, "changed": DEEP, "by_unroll_length": found})
    return folder / DEEP_FILE


def _apart(backend: str, function: Callable[[dict], dict], content: dict) -> dict:
    """The result of `function`, of this module, for `content`, from a fresh process."""
    # glibc otherwise keeps what is freed, by thread, and reports a peak that no two runs share.
    glibc = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    return fresh_process.call(function, content, environment={"KERAS_BACKEND": backend, **glibc})


def measure(content: dict) -> dict:
    """Memory of an update of the network of params.yaml's `content`, in this process.

    Returns:
        `activations_mib`: what an update needs besides weights, data and program. JAX: the temporary buffers of the compiled
        program, by its own analysis. TensorFlow: how far the resident memory rises in updates.
        `total_mib`: JAX: arguments, results and temporary buffers. TensorFlow: the peak of the process's resident memory.
    """
    chosen = parameters.validate(content)
    update, analysis = _update(chosen)
    if not analysis:
        start = resident("VmRSS") / MEBIBYTE
        forget_peak()
        for _ in range(3):
            update()
        peak = resident("VmHWM") / MEBIBYTE
        analysis = {"activations_mib": peak - start, "total_mib": peak}
    return {**{name: round(value, 1) for name, value in analysis.items()}, "common": _common()}


def times(by_backward: dict) -> dict:
    """Milliseconds an update, median, for each way of going backwards in turn, and its ratio to "store".

    None where an update takes too long: on XLA:CPU, whose loops are slow, with more than 16 steps.
    """
    from resode.nn.loops import loops_are_slow

    chosen = {backward: parameters.validate(content) for backward, content in by_backward.items()}
    if loops_are_slow() and chosen["store"].model.unroll_length > 16:
        return {backward: {"ms_per_update": None, "time_ratio": None} for backward in chosen}
    updates = {backward: _update(one)[0] for backward, one in chosen.items()}
    found = {backward: [] for backward in updates}
    for _ in range(REPEATS + 1):
        for backward, update in updates.items():
            begin = time.perf_counter()
            update()
            found[backward].append(1000 * (time.perf_counter() - begin))
    medians = {backward: statistics.median(values[1:]) for backward, values in found.items()}
    return {
        backward: {"ms_per_update": round(median, 2), "time_ratio": round(median / medians["store"], 3)}
        for backward, median in medians.items()
    }


def epoch(content: dict) -> dict:
    """One epoch on the digits: memory of the updates, and the mean loss of each tenth of them."""
    import keras
    import numpy as np

    from resode.data import digits, records
    from resode.training import augmentation, engine

    with tempfile.TemporaryDirectory() as folder:
        digits.write(Path(folder) / "digits")
        dataset = records.load(Path(folder) / "digits")
    chosen = parameters.validate(content)
    network = _compiled(chosen)
    updates = engine.Engine(network, dataset, augmentation.mean_image(dataset.train_images), chosen.augmentation)
    count = len(dataset.train_images) // BATCH
    losses = []
    start, started = resident("VmRSS") / MEBIBYTE, time.perf_counter()
    forget_peak()
    for number in range(count):
        numbers = augmentation.block(
            chosen.augmentation, chosen.seed, number, 1, BATCH, len(dataset.train_images), SIDE
        )
        network.reset_metrics()
        updates.run(*numbers)
        losses.append(updates.metrics()["loss"])
    return {
        "updates": count,
        "mean_loss_of_tenths": [round(float(np.mean(part)), 4) for part in np.array_split(losses, 10)],
        # The program, compiled in the first update, included.
        "updates_mib": round(resident("VmHWM") / MEBIBYTE - start, 1),
        "total_mib": round(resident("VmHWM") / MEBIBYTE, 1),
        "seconds_per_update": round((time.perf_counter() - started) / count, 3),
        "parameters": network.count_params(),
        "backend": keras.backend.backend(),
        "common": _common(),
    }


def _compiled(chosen: schema.Params):
    from resode.training import compiling

    # Without timing the ways, which would count as memory of training.
    return compiling.compiled(
        chosen.model, chosen.training, chosen.seed, CLASSES, convolution=chosen.training.convolution
    )


def _update(chosen: schema.Params) -> tuple[Callable[[], None], dict | None]:
    """An update of the network, compiled, on one batch of noise, and the backend's analysis of its memory."""
    import keras
    import numpy as np

    random = np.random.default_rng(0)
    images = keras.ops.convert_to_tensor(random.normal(size=(BATCH, SIDE, SIDE, 3)).astype("float32"))
    labels = keras.ops.convert_to_tensor(random.integers(0, CLASSES, BATCH).astype("int32"))
    return (_jax if keras.backend.backend() == "jax" else _tensorflow)(_compiled(chosen), images, labels)


def _common() -> dict:
    from resode.base import provenance

    software = provenance.software()
    return {
        "hardware": provenance.hardware(),
        **provenance.commit(),
        "python": software["python"],
        "keras": software["keras"],
    }


def _tensorflow(network, images, labels) -> tuple[Callable[[], None], dict | None]:
    import tensorflow as tf

    step = tf.function(lambda: network.train_step((images, labels))["loss"])
    # The graph is memory, too, and no activation.
    step.get_concrete_function()
    return lambda: float(step()), None


def _jax(network, images, labels) -> tuple[Callable[[], None], dict | None]:
    import jax

    state = tuple(
        [variable.value for variable in group]
        for group in (
            network.trainable_variables,
            network.non_trainable_variables,
            network.optimizer.variables,
            network.metrics_variables,
        )
    )
    program = jax.jit(lambda state, data: network.train_step(state, data)[1]).lower(state, (images, labels)).compile()
    found = program.memory_analysis()
    total = found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes
    analysis = {"activations_mib": found.temp_size_in_bytes / MEBIBYTE, "total_mib": total / MEBIBYTE}
    return lambda: jax.block_until_ready(program(state, (images, labels))), analysis


# --- wording


def table(folder: Path = FOLDER) -> str:
    """The files in results/memory as Markdown."""
    others = {CONVOLUTION_FILE: _convolution_section, DEEP_FILE: _deep_section}
    parts = [_section(path) for path in sorted(folder.glob("*.json")) if path.name not in others]
    parts += [section(folder / name) for name, section in others.items() if (folder / name).exists()]
    return "\n\n".join(parts) or "Not measured yet: `resode memory`."


def _section(path: Path) -> str:
    found = files.read_json(path)
    rows = [
        {
            "backend": row["backend"],
            "backward": row["backward"],
            "steps a unit": str(row["unroll_length"]),
            "activations, MiB": f"{row['activations_mib']:,.1f}",
            "total, MiB": f"{row['total_mib']:,.0f}",
            "ms an update": "—" if row["ms_per_update"] is None else f"{row['ms_per_update']:,.0f}",
            "time against store": "—" if row["time_ratio"] is None else f"{row['time_ratio']:.2f} ×",
        }
        for row in sorted(
            found["rows"], key=lambda row: (row["backend"] != BACKENDS[0], BACKWARD.index(row["backward"]))
        )
    ]
    inference = found["inference"]
    few, many = inference["runs"]
    channels = ", ".join(str(count) for count in found["changed"]["model.channels"])
    return (
        f"{found['hardware']}; units of {channels} channels, {found['changed']['model.integrator']}, batch {found['batch_size']}; commit"
        f" {(found['commit'] or 'unknown')[:7]}{' with changes' if found['modified'] else ''}:\n\n"
        f"{text.rows_table(rows)}\n\n"
        f"![activations of an update over the unroll length](results/memory/{path.stem}.png)\n\n"
        "*A level line needs no more memory for more steps. Both axes are logarithmic. Where curves coincide, the dashed one is drawn on top.*\n\n"
        f"Inference of the post's network with NumPy, a unit at a time, peaks {few['above_interpreter_bytes'] / 1e6:.1f} MB above the"
        f" {few['interpreter_bytes'] / 1e6:.0f} MB of Python with NumPy, Pillow and safetensors, {many['above_interpreter_bytes'] / 1e6:.1f} MB with"
        f" 1,000 steps a unit; its largest unit has {inference['largest_unit_bytes'] / 1e6:.1f} MB of weights."
    )


def _convolution_section(path: Path) -> str:
    found = files.read_json(path)
    named = {"direct": "direct", "auto": "matrix products (auto)"}
    least = {row["backend"]: row for row in found["rows"] if row["convolution"] == "direct"}
    rows = [
        {
            "backend": row["backend"],
            "convolutions": named[row["convolution"]],
            **{f"{key.partition('_')[0]}, MiB": f"{row[key]:,.0f}" for key in MEASURED},
            **{
                f"{key.partition('_')[0]} against direct": f"{row[key] / least[row['backend']][key]:.2f} ×"
                for key in MEASURED
            },
        }
        for row in found["rows"]
    ]
    return (
        f"The post's network by `training.convolution`; {found['hardware']}; batch {found['batch_size']}; commit"
        f" {(found['commit'] or 'unknown')[:7]}{' with changes' if found['modified'] else ''}:\n\n"
        f"{text.rows_table(rows)}"
    )


def _deep_section(path: Path) -> str:
    found = files.read_json(path)
    few, many = (found["by_unroll_length"][length] for length in ("4", "1000"))
    channels = found["changed"]["model.channels"]
    return (
        f"Six units of {min(channels)} to {max(channels)} channels and 1,000 steps each, reversible, train an epoch on the digits in {many['updates_mib']:.0f} MiB besides the process"
        f" before its first update, six of 4 steps in {few['updates_mib']:.0f} MiB; the mean loss falls from"
        f" {many['mean_loss_of_tenths'][0]:.2f} in the first tenth of the epoch to {many['mean_loss_of_tenths'][-1]:.2f} in the last"
        f" ({many['seconds_per_update']:.1f} s an update; {found['hardware']}, {many['backend']}, commit"
        f" {(found['commit'] or 'unknown')[:7]})."
    )
