"""Kill training at random moments and compare what it ends with: `PYTHONPATH=src python tests/kills.py 20`.

Every training is killed once by SIGKILL, every other one in the middle of writing a checkpoint, and started again. Weights,
history and metrics must be those of a training that was never killed, byte for byte. The convolutions are matrix products.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from helpers import ENVIRONMENT, SMALL, settings, small_dataset
from resode.analysis import evaluation
from resode.base import files
from resode.training import augmentation, compiling, loop

EPOCHS = 10
TEN_EPOCHS = {
    **SMALL["training"],
    "reference_iterations": 10.0 * EPOCHS,
    "reference_drops": [75.0],
    "unroll_schedule": [[1, 0.0], [2, 80.0]],
    # What the post's network has on a CPU. The other tests of interrupted trainings have direct convolutions.
    "convolution": "winograd",
}
FILES = ("results/model.weights.h5", "results/history.csv", "results/metrics.json", "evaluation/metrics.json")


def train_and_evaluate(folder: Path) -> None:
    """One small training into `folder`, with a checkpoint after every update that takes 20 ms to write."""
    synchronise = os.fsync

    def slowly(descriptor: int) -> None:
        time.sleep(0.02)
        synchronise(descriptor)

    files.os.fsync = slowly
    loop.CHECKPOINT_SECONDS = 0
    dataset, chosen = small_dataset(), settings(training=TEN_EPOCHS)
    loop.train(dataset, chosen, folder / "results", folder / "runs")
    network = loop.model.build(chosen.model, 2)
    compiling.load_weights(network, folder / "results")
    mean = augmentation.mean_image(dataset.train_images)
    probabilities = evaluation.predict(network, augmentation.normalise(dataset.test_images, mean))
    history = evaluation.read_history(folder / "results" / loop.HISTORY)
    found = evaluation.metrics(history, probabilities, dataset.test_labels, dataset.class_names)
    files.write_json(folder / "evaluation" / "metrics.json", found)


def start(folder: Path) -> subprocess.Popen:
    """`train_and_evaluate` in a process of its own."""
    with (folder / "log").open("a", encoding="utf-8") as log:
        command = [sys.executable, __file__, "--train", folder]
        return subprocess.Popen(command, env=ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT)


def kill_once(folder: Path, moment: float, writing: bool) -> tuple[int, bool]:
    """Start a training in `folder` and kill it.

    Args:
        moment: updates it has done then, as a fraction of all.
        writing: wait for a checkpoint's unfinished file.

    Returns:
        The update of the last checkpoint, and whether an unfinished file was there.
    """
    process = start(folder)
    while _last(folder) < moment * 10 * EPOCHS or writing and not _unfinished(folder):
        if process.poll() is not None:
            raise RuntimeError((folder / "log").read_text(encoding="utf-8"))
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return _last(folder), _unfinished(folder)


def _last(folder: Path) -> int:
    return max((int(path.stem) for path in folder.glob("runs/*/*.checkpoint")), default=0)


def _unfinished(folder: Path) -> bool:
    return any(folder.glob("runs/*/.*.checkpoint.*"))


def finish(folder: Path) -> dict[str, bytes]:
    """Train to the end and return what was written."""
    if start(folder).wait():
        raise RuntimeError((folder / "log").read_text(encoding="utf-8"))
    assert not _unfinished(folder)
    (history,) = folder.glob("runs/*/history.csv")
    assert history.read_bytes() == (folder / "results" / loop.HISTORY).read_bytes()
    return {name: (folder / name).read_bytes() for name in FILES}


def compare(kills: int, scratch: Path, seed: int = 0) -> list[dict]:
    """Kill `kills` trainings, each once; for each what happened and whether it ended with the same bytes."""
    moments = random.Random(seed)
    folders = [scratch / str(i) for i in range(kills + 1)]
    for folder in folders:
        folder.mkdir()
    expected = finish(folders[-1])
    found = []
    for i, folder in enumerate(folders[:-1]):
        update, writing = kill_once(folder, moments.uniform(0.01, 0.97), writing=i % 2 == 1)
        equal = finish(folder) == expected
        resumes = json.loads((folder / "results" / loop.PROVENANCE).read_text(encoding="utf-8"))["resumes"]
        found.append({"update": update, "writing": writing, "equal": equal, "resumes": resumes})
        print(f"killed after update {update}{', writing' * writing}: {'equal' if equal else 'DIFFERENT'}", flush=True)
    return found


if __name__ == "__main__":
    if sys.argv[1] == "--train":
        train_and_evaluate(Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as scratch_folder:
            outcomes = compare(int(sys.argv[1]), Path(scratch_folder))
        print(f"{sum(one['equal'] for one in outcomes)} of {len(outcomes)} equal, "
              f"{sum(one['writing'] for one in outcomes)} killed while a checkpoint was written")  # fmt: skip
        sys.exit(not all(one["equal"] for one in outcomes))
