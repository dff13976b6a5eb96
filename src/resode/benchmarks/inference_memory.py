"""The memory that low-memory inference of the post's network needs, each figure from a fresh process. Linux: it reads /proc."""

from pathlib import Path

# With these alone imported a process is measured before it starts: whatever else this module needs is imported where it is.
import numpy as np
import safetensors  # noqa: F401
from PIL import Image

UNROLL_LENGTHS = (4, 1000)


def measure_inference() -> dict:
    """Peak resident memory of predicting one image file with the post's network, untrained, on one thread.

    More steps are smaller steps here, so that their time h · unroll length, and with it the size of the states, is the post's.

    Returns:
        largest_unit_bytes: weights of the largest unit.
        activation_bytes: the largest activations of one image.
        bound_bytes: 1.3 × (largest unit + two buffers of activations).
        runs: for each of UNROLL_LENGTHS unroll_length, seconds, interpreter_bytes and above_interpreter_bytes, the peak above
            what Python with NumPy, Pillow and safetensors has after a small matrix product and with Pillow's readers loaded.
    """
    import tempfile

    import keras

    from resode.base import files
    from resode.benchmarks import fresh_process
    from resode.config import parameters
    from resode.inference import trained
    from resode.nn import model

    keras.utils.set_random_seed(0)
    chosen = parameters.load().model
    network = model.build(chosen)
    unit = max(4 * layer.count_params() for layer in model.units(network))
    activation = max(4 * int(np.prod(layer.output.shape[1:])) for layer in network.layers)
    mean = np.full((32, 32, 3), 128, "float32")
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        file, image = Path(folder) / "model.safetensors", Path(folder) / "image.png"
        noise = np.random.default_rng(0).integers(0, 256, size=(48, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(image)
        for steps in UNROLL_LENGTHS:
            deeper = {**chosen.model_dump(), "unroll_length": steps, "h": chosen.h * chosen.unroll_length / steps}
            files.write_bytes(file, trained.encoded(network, deeper, [str(i) for i in range(10)], mean))
            # One thread's BLAS buffers.
            one_thread = {"OPENBLAS_NUM_THREADS": "1"}
            runs.append(
                {"unroll_length": steps, **fresh_process.call(predict, str(file), str(image), environment=one_thread)}
            )
    bound = round(1.3 * (unit + 2 * activation))
    return {"largest_unit_bytes": unit, "activation_bytes": activation, "bound_bytes": bound, "runs": runs}


def predict(file: str, image: str) -> dict:
    """Seconds and memory of predicting the file `image` with the weights in `file`, in this process; see `measure_inference`."""
    np.ones((4, 4), "float32") @ np.ones((4, 4), "float32")
    Image.preinit()
    interpreter = resident("VmRSS")
    forget_peak()
    import time

    from resode.inference import images, low_memory

    started = time.perf_counter()
    low_memory.NumPyNetwork(Path(file)).predict(images.decoded(Path(image))[None])
    seconds = time.perf_counter() - started
    above = resident("VmHWM") - interpreter
    return {"seconds": round(seconds, 3), "interpreter_bytes": interpreter, "above_interpreter_bytes": above}


def resident(kind: str) -> int:
    """VmRSS, the resident memory of this process, or VmHWM, its peak, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(kind))


def forget_peak() -> None:
    """Let VmHWM start again from the present."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
