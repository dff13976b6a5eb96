"""Training: the post's schedule, one line and one row an epoch, resumable after a kill."""

import csv
import hashlib
import io
import json
import math
import os
import tempfile
import time
import warnings
from pathlib import Path

import keras
import numpy as np

from . import augmentation, checkpoint, engine, model, paths, provenance, validation
from .errors import STOP_AT, Diverged, InputError, TimeOver
from .files import write_bytes, write_json, write_text
from .params import ModelParams, Params, TrainingParams
from .progress import duration
from .records import Dataset

CHECKPOINT_SECONDS = 60
WEIGHTS = "model.weights.h5"
HISTORY = "history.csv"
METRICS = "metrics.json"
PROVENANCE = "provenance.json"
MEAN_IMAGE = "mean_image.npy"
_TEST_BATCH = 500
# Timed before the expected duration is told; the first updates compile.
_WARM_UP, _TIMED = 3, 10
# The modules that decide the weights; a checkpoint made by other versions of them is not resumed.
_CODE = [
    "augmentation",
    "checkpoint",
    "engine",
    "integrators",
    "layers",
    "loops",
    "model",
    "odes",
    "resnet",
    "reversible",
    "training",
    "units",
    "validation",
]


def learning_rate(params: TrainingParams) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """Learning rate η·f^k after k drops: the update that follows `drops[k-1]` updates is the first at the lower rate."""
    values = [params.learning_rate * params.drop_factor**k for k in range(len(params.drops) + 1)]
    if not params.drops:
        return params.learning_rate
    # Keras compares the number of finished updates with `step <= boundary`.
    return keras.optimizers.schedules.PiecewiseConstantDecay([drop - 1 for drop in params.drops], values)


def compiled(params: ModelParams, training: TrainingParams, seed: int, classes: int) -> keras.Model:
    """The network with its initial weights, cross-entropy loss and SGD with momentum (not Nesterov's)."""
    keras.utils.set_random_seed(seed)
    default = keras.config.dtype_policy()
    keras.config.set_dtype_policy(training.precision)
    try:
        network = model.build(params, classes)
    finally:
        keras.config.set_dtype_policy(default)
    network.compile(
        optimizer=keras.optimizers.SGD(learning_rate(training), momentum=training.momentum),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    network.optimizer.build(network.trainable_variables)
    # Keras makes the accuracy's variables at the first batch; a checkpoint needs them before.
    network.compute_metrics(None, np.zeros(1, "int32"), np.ones((1, classes), "float32"), None)
    network.reset_metrics()
    return network


def weights_file(folder: Path) -> Path:
    """The weights that training left in `folder`.

    Raises:
        InputError: there are none.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise InputError(f"no trained weights at {path}; run: dvc repro training")
    return path


def load_weights(network: keras.Model, folder: Path) -> None:
    """Give `network` the weights that training left in `folder`.

    Raises:
        InputError: there are none, or they belong to other parameters.
    """
    path = weights_file(folder)
    try:
        with warnings.catch_warnings():
            # Keras also warns of what it then raises.
            warnings.simplefilter("ignore")
            network.load_weights(path)
    except (ValueError, OSError) as error:
        raise InputError(f"{path} does not fit this network; run: dvc repro training") from error


def mean_image(folder: Path) -> np.ndarray:
    """The mean image (H, W, C) that the training in `folder` subtracted.

    Raises:
        InputError: there is none.
    """
    path = folder / MEAN_IMAGE
    try:
        return np.load(path)
    except (OSError, ValueError) as error:
        raise InputError(f"no mean image at {path}; run: dvc repro training") from error


def trained_on(folder: Path) -> str:
    """Title of the data set that the training in `folder` used; it says so if the data are not the published ones."""
    return json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))["data"]["title"]


def train(dataset: Dataset, params: Params, results: Path, runs: Path = paths.RUNS) -> None:
    """Train on `dataset` and write weights, history and provenance to `results`.

    Whole epochs of ⌊N / batch⌋ updates, as many as fit in the scheduled number of updates. Initial weights, order and
    augmentation follow from (seed, epoch, update), so a run that is killed and started again ends with the same bytes.

    Args:
        params: sections seed, data, model, augmentation, training. With a validation fraction the network is trained on what
            `validation.split` leaves, and tested on what it holds out.
        results: folder for `model.weights.h5` (weights), `mean_image.npy` (what is subtracted from an image), `history.csv` (a
            row an epoch, with columns `test_…`, or `validation_…` instead; losses include the L2 terms), `metrics.json` (its last
            row) and `provenance.json`.
        runs: folder of the checkpoints.

    Raises:
        InputError: fewer images than a batch, a schedule shorter than an epoch, another process that trains the same, a
            disk that is full, devices that are not there.
        Diverged: the loss is not finite.
        TimeOver: the time in the environment variable `errors.STOP_AT` came before the end; the checkpoint holds what is done.
    """
    tested = ("test", dataset.test_images, dataset.test_labels)
    if params.data.validation_fraction:
        dataset, *held_out = validation.split(dataset, params.data.validation_fraction, params.seed)
        tested = ("validation", *held_out)
    per_epoch = len(dataset.train_images) // params.training.batch_size
    if per_epoch == 0:
        raise InputError(
            f"training.batch_size = {params.training.batch_size}: {dataset.name} has only {len(dataset.train_images)} images"
        )
    epochs = params.training.updates // per_epoch
    if epochs == 0:
        raise InputError(
            f"training.reference_iterations = {params.training.reference_iterations:g} make {params.training.updates}"
            f" updates, less than one epoch of {per_epoch}"
        )
    inputs = _inputs(dataset, params)
    folder = runs / hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
    with checkpoint.locked(folder):
        _Run(dataset, tested, params, inputs, folder, epochs, per_epoch).finish(results)


class _Run:
    """One training in its locked run folder."""

    def __init__(
        self,
        dataset: Dataset,
        tested: tuple[str, np.ndarray, np.ndarray],
        params: Params,
        inputs: dict,
        folder: Path,
        epochs: int,
        per_epoch: int,
    ):
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # Equal runs give equal bytes only if no kernel sums in the order in which threads finish.
            tf.config.experimental.enable_op_determinism()
        self.dataset, self.params, self.inputs, self.folder = dataset, params, inputs, folder
        self.epochs, self.per_epoch, self.total = epochs, per_epoch, epochs * per_epoch
        with engine.distributed(params.training.devices):
            self.network = compiled(params.model, params.training, params.seed, len(dataset.class_names))
        self.mean = augmentation.mean_image(dataset.train_images)
        self.engine = engine.Engine(
            self.network, dataset, self.mean, params.augmentation.interpolation, params.training.devices
        )
        self.split, images, self.test_labels = tested
        self.test_images = np.asarray(augmentation.normalise(images, self.mean))
        self.update, self.history, self.seconds, self.resumes = 0, [], 0.0, 0
        self.block = params.training.block_length or engine.block_length()
        self.parent = os.getppid()
        # The code that runs: what is committed meanwhile is another.
        self.commit = provenance.commit()
        self.stop_at = float(os.environ.get(STOP_AT, "inf"))

    def finish(self, results: Path) -> None:
        """Train to the end and write the results."""
        self._restore()
        self._announce()
        self.started = self.saved = self.epoch_started = time.monotonic()
        self.first = self.update
        self.timer = None
        while len(self.history) < self.epochs:
            self._stop_if_told()
            # By the history and not by the update alone: a checkpoint can lie between an epoch and its test.
            if self.update == (len(self.history) + 1) * self.per_epoch:
                self._end_epoch()
            else:
                self._advance()
            if time.monotonic() - self.saved >= CHECKPOINT_SECONDS:
                self._save()
        # The complete training, so that a results folder that is lost can be written again.
        self._save()
        self._write(results)

    def _restore(self) -> None:
        found = checkpoint.restore(self.folder)
        variables = self.engine.variables()
        if found is None:
            if self.folder.joinpath("inputs.json").exists() is False:
                self._explain_fresh_start()
            write_json(self.folder / "inputs.json", self.inputs)
            return
        values, state = found
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        self.update, self.history = state["update"], state["history"]
        self.seconds = state["seconds"]
        if len(self.history) < self.epochs:
            self.resumes = state["resumes"] + 1
            print(f"Resuming after update {self.update} of {self.total}.", flush=True)
        else:
            self.resumes = state["resumes"]
            print("This training is already complete; writing its results.", flush=True)

    def _explain_fresh_start(self) -> None:
        others = sorted(self.folder.parent.glob("*/inputs.json"), key=lambda path: path.stat().st_mtime)
        if others:
            try:
                differing = _differences(json.loads(others[-1].read_text(encoding="utf-8")), self.inputs)
            except ValueError:
                # Torn by a crash of the machine; it only serves this message.
                return
            print(f"Starting afresh: since the last training, {', '.join(differing)} changed.", flush=True)

    def _announce(self) -> None:
        drops = ", ".join(f"{drop:,}" for drop in self.params.training.drops) or "none"
        print(
            f"{self.dataset.provenance['title']}: {len(self.dataset.train_images):,} training images, {self.epochs} epochs of"
            f" {self.per_epoch:,} updates, learning rate drops after updates: {drops}.\n"
            f"{provenance.hardware()}; {keras.backend.backend()};"
            f" {provenance.arithmetic(self.params.training.precision)}; {self.block} update(s) a compiled call.",
            flush=True,
        )

    def _stop_if_told(self) -> None:
        if os.getppid() != self.parent:
            self._save()
            raise InputError("the process that started this training is gone; stopped, rerun to resume")
        if time.time() > self.stop_at:
            self._save()
            raise TimeOver(f"the time is over after update {self.update:,} of {self.total:,}; run it again to go on")

    def _advance(self) -> None:
        count, size = self.dataset.train_images.shape[:2]
        numbers = augmentation.block(
            self.params.augmentation,
            self.params.seed,
            self.update,
            self.block,
            self.params.training.batch_size,
            count,
            size,
        )
        self.engine.run(*numbers)
        self.update += len(numbers[0])
        self._check_loss((self.update - 1) // self.per_epoch + 1)
        self._tell_expected()

    def _check_loss(self, epoch: int) -> None:
        if not math.isfinite(self.engine.metrics()["loss"]):
            raise Diverged(
                f"{Diverged.SAYS} in epoch {epoch} with model.h = {self.params.model.h:g}; choose a smaller h or"
                f" learning rate (the last good checkpoint stays in {self.folder})"
            )

    def _tell_expected(self) -> None:
        done = (self.update - self.first) // self.block
        if done == _WARM_UP:
            self.timer = (self.update, time.monotonic())
        elif done == _WARM_UP + _TIMED and self.timer:
            update, then = self.timer
            each = (time.monotonic() - then) / (self.update - update)
            left = each * (self.total - self.update)
            print(
                f"{1000 * each:.1f} ms an update: expect {duration(left)} and the tests after each epoch.", flush=True
            )

    def _end_epoch(self) -> None:
        train = self.engine.metrics()
        test = self.network.evaluate(
            self.test_images, self.test_labels, batch_size=_TEST_BATCH, verbose=0, return_dict=True
        )
        self.network.reset_metrics()
        epoch = self.update // self.per_epoch
        # The rate of the epoch's last update, as the optimiser applied it.
        rate = learning_rate(self.params.training)
        rate = rate if isinstance(rate, float) else float(rate(self.update - 1))
        row = {
            "epoch": epoch,
            "updates": self.update,
            # Kept as float32 by Keras: six digits are what it knows.
            "learning_rate": float(f"{rate:.6g}"),
            "train_loss": round(train["loss"], 6),
            "train_accuracy": round(train["accuracy"], 6),
            f"{self.split}_loss": round(test["loss"], 6),
            f"{self.split}_accuracy": round(test["accuracy"], 6),
        }
        self.history.append(row)
        now = time.monotonic()
        # None, if a checkpoint lay between the epoch and its test.
        done = max(self.update - self.first, 1)
        left = (now - self.started) / done * (self.total - self.update)
        each = (now - self.epoch_started) / min(done, self.per_epoch)
        self.epoch_started = now
        print(
            f"epoch {epoch}/{self.epochs}  loss {row['train_loss']:.4f}  accuracy {row['train_accuracy']:.4f}"
            f"  {self.split} loss {test['loss']:.4f}  {self.split} accuracy {test['accuracy']:.4f}"
            f"  rate {row['learning_rate']:g}  {1000 * each:.1f} ms/update  {duration(left)} left",
            flush=True,
        )

    def _save(self) -> None:
        now = time.monotonic()
        state = {
            "update": self.update,
            "history": self.history,
            "seconds": self.seconds + now - self.started,
            "resumes": self.resumes,
        }
        values = [np.asarray(keras.ops.convert_to_numpy(variable)) for variable in self.engine.variables()]
        checkpoint.save(self.folder, self.update, values, state)
        self.saved = now

    def _write(self, results: Path) -> None:
        # A model without optimiser: its file holds the weights alone.
        bare = model.build(self.params.model, len(self.dataset.class_names))
        bare.set_weights(self.network.get_weights())
        with tempfile.TemporaryDirectory() as scratch:
            # Not next to the results: HDF5 has no clean way out of a disk that is full.
            path = Path(scratch) / WEIGHTS
            try:
                bare.save_weights(path)
            except (OSError, RuntimeError) as error:
                raise InputError(f"cannot write {path}: {' '.join(str(error).split())}; free space") from error
            write_bytes(results / WEIGHTS, path.read_bytes())
        # With the names of the classes below, all that a prediction needs of the data set.
        mean = io.BytesIO()
        np.save(mean, self.mean)
        write_bytes(results / MEAN_IMAGE, mean.getvalue())
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, list(self.history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.history)
        write_text(results / HISTORY, table.getvalue())
        write_json(results / METRICS, self.history[-1])
        seconds = self.seconds + time.monotonic() - self.started
        write_json(
            results / PROVENANCE,
            {
                "hardware": provenance.hardware(),
                "cores": provenance.cores(),
                **provenance.software(),
                "precision": provenance.arithmetic(self.params.training.precision),
                "block_length": self.block,
                **self.commit,
                "data": self.dataset.provenance,
                "class_names": self.dataset.class_names,
                "wall_seconds": round(seconds, 1),
                "updates": self.update,
                "resumes": self.resumes,
                "params": self.inputs["params"],
            },
        )


def _inputs(dataset: Dataset, params: Params) -> dict:
    """All that decides the weights."""
    source = Path(__file__).parent
    return {
        "params": {
            name: value if isinstance(value := getattr(params, name), int) else value.model_dump()
            for name in ("seed", "model", "augmentation", "training")
        },
        "validation_fraction": params.data.validation_fraction,
        "data": dataset.provenance["sha256"],
        "code": {name: hashlib.sha256((source / f"{name}.py").read_bytes()).hexdigest() for name in _CODE},
        "software": provenance.software(),
    }


def _differences(before: dict, after: dict, prefix: str = "") -> list[str]:
    found = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key}")
    return found
