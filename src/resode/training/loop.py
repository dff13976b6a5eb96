"""Training: the scheduled updates, one row an epoch, resumable after a kill."""

import hashlib
import io
import json
import os
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from resode.base import paths, provenance, stopping
from resode.base.errors import STOP_AT, Diverged, InputError, TimeOver
from resode.base.files import write_bytes, write_json, write_text
from resode.base.text import csv_table, quoted
from resode.config.schema import Params, TrainingParams
from resode.data.records import Dataset
from resode.nn import model
from resode.training import (
    augmentation,
    checkpoint,
    compiling,
    convolutions,
    engine,
    identity,
    prolongation,
    schedule,
    validation,
)
from resode.training.outputs import HISTORY, MEAN_IMAGE, METRICS, PROVENANCE, WEIGHTS, names
from resode.training.progress import Clock, Progress
from resode.training.tensorboard import Curves

CHECKPOINT_SECONDS = 60
# In provenance.json, what tells how long a piece of the training is, besides how it was done: its updates, of how many of its
# schedule, seconds, and the processes that did it one after another.
PIECE = ("of", "from", "to", "seconds", "processes")
_TEST_BATCH = 500


def train(
    dataset: Dataset, params: Params, results: Path, runs: Path = paths.RUNS, handed_over: Path | None = None
) -> None:
    """Train on `dataset` and write weights, history and provenance to `results`.

    Whole epochs of ⌊N / batch⌋ updates, as many as fit in the scheduled number of updates. Initial weights, order and
    augmentation follow from (seed, epoch, update), so a run that is killed and started again ends with the same bytes; and so
    does one that goes on from the checkpoint of a run that is equal in everything but the later part of its schedule. With an
    unroll schedule the network is built anew at each change of its steps, and goes on from the weights of the one before, see
    `prolongation`.

    Args:
        params: sections seed, data, model, augmentation, training. With a validation fraction the network is trained on what
            `validation.split` leaves, and tested on what it holds out.
        results: folder for `model.weights.h5` (weights), `mean_image.npy` (what is subtracted from an image), `history.csv` (a
            row an epoch, with columns `test_…`, or `validation_…` instead; losses include the L2 terms, and
            are of smoothed labels if training has them), `metrics.json` (its last
            row) and `provenance.json`.
        runs: folder of the run folders, in which checkpoints of other schedules are looked for too. In a run's folder the history
            grows with each epoch, as `history.csv` and as TensorBoard's events.
        handed_over: a checkpoint to go on from if it is further, made by whatever code on whatever machine; see `checkpoint`.

    Raises:
        InputError: fewer images than a batch, a schedule shorter than an epoch, another process that trains the same, a
            disk that is full, devices that are not there, a damaged checkpoint at `handed_over`.
        Diverged: the loss is not finite.
        TimeOver: SIGTERM, or the time in the environment variable `errors.STOP_AT`, came before the end; the checkpoint
            holds what is done.
    """
    tested = ("test", dataset.test_images, dataset.test_labels)
    if params.data.validation_fraction:
        dataset, *held_out = validation.split(dataset, params.data.validation_fraction, params.seed)
        tested = ("validation", *held_out)
    _epochs(dataset, params.training)
    inputs = identity.all_inputs(dataset, params)
    folder = runs / hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
    with checkpoint.locked(folder), stopping.noticed() as stop:
        _Run(dataset, tested, params, folder, stop).finish(results, handed_over)


def _epochs(dataset: Dataset, params: TrainingParams) -> tuple[int, int]:
    """The number of epochs, and of updates in each.

    Raises:
        InputError: there is not one, or the unroll length would change after the last.
    """
    per_epoch = len(dataset.train_images) // params.batch_size
    if per_epoch == 0:
        raise InputError(
            f"training.batch_size = {params.batch_size}: {dataset.name} has only {len(dataset.train_images)} images"
        )
    updates = schedule.updates(params)
    if updates < per_epoch:
        raise InputError(
            f"training.reference_iterations = {params.reference_iterations:g} make {updates}"
            f" updates, less than one epoch of {per_epoch}"
        )
    whole = updates - updates % per_epoch
    if schedule.levels(params, updates) != schedule.levels(params, whole):
        raise InputError(
            f"training.unroll_schedule: its last level begins after the last whole epoch, which ends at update {whole}"
        )
    return updates // per_epoch, per_epoch


class _Run:
    """One training in its locked run folder.

    Args:
        dataset: whose training images are all trained on.
        tested: the name of the images to test with after each epoch, they and their labels.
        folder: the run folder.
        stop: set to let it save and stop.
    """

    def __init__(
        self,
        dataset: Dataset,
        tested: tuple[str, np.ndarray, np.ndarray],
        params: Params,
        folder: Path,
        stop: threading.Event,
    ):
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # Equal runs give equal bytes only if no kernel sums in the order in which threads finish.
            tf.config.experimental.enable_op_determinism()
        self.dataset, self.params, self.folder, self.stop = dataset, params, folder, stop
        self.inputs = identity.all_inputs(dataset, params)
        self.epochs, self.per_epoch = _epochs(dataset, params.training)
        self.total = self.epochs * self.per_epoch
        self.levels = schedule.levels(params.training, self.total) or [(0, params.model.unroll_length)]
        self.mean = augmentation.mean_image(dataset.train_images)
        self.convolution = convolutions.chosen(params.model, params.training, folder.parent)
        self._build(self.levels[0][1])
        self.split, images, self.test_labels = tested
        self.test_images = np.asarray(augmentation.normalise(images, self.mean))
        self.update, self.history, self.pieces = 0, [], []
        self.block = params.training.block_length or engine.block_length()
        # Updates after which a checkpoint stays.
        self.changes = [*schedule.drops(params.training), *(begin for begin, _ in self.levels[1:])]
        self.parent = os.getppid()
        self.stop_at = float(os.environ.get(STOP_AT, "inf"))
        self.clock = Clock()
        self.saved = self.clock.seconds()
        self.progress = Progress(self.epochs, self.per_epoch, self.clock.seconds)

    def _build(self, unroll_length: int) -> None:
        """Make network and engine anew, with as many steps a unit over the same time."""
        self.unroll_length = unroll_length
        params, training = prolongation.coarser(self.params.model, unroll_length), self.params.training
        with engine.distributed(training.devices):
            classes = len(self.dataset.class_names)
            self.network = compiling.compiled(params, training, self.params.seed, classes, self.total, self.convolution)
        self.engine = engine.Engine(self.network, self.dataset, self.mean, self.params.augmentation, training.devices)

    def _unroll_length(self, number: int) -> int:
        """The unroll length of update `number`, from 1."""
        return [unroll_length for begin, unroll_length in self.levels if begin < number][-1]

    def _refine(self) -> None:
        """Go on with twice the steps."""
        values, steps = self._values(), self.unroll_length
        self._build(2 * steps)
        shapes = {name: tuple(variable.shape) for name, variable in self.engine.variables().items()}
        self._assign(prolongation.prolonged(values, shapes, steps))
        self.progress.measure_anew()

    def _values(self) -> dict[str, np.ndarray]:
        return {name: keras.ops.convert_to_numpy(variable) for name, variable in self.engine.variables().items()}

    def _assign(self, values: Mapping[str, np.ndarray]) -> None:
        for name, variable in self.engine.variables().items():
            variable.assign(values[name])

    def finish(self, results: Path, handed_over: Path | None) -> None:
        """Train to the end and write the results."""
        self._restore(handed_over)
        self._announce()
        if len(self.history) < self.epochs:
            with self.clock:
                self._train()
        self._write(results)

    def _train(self) -> None:
        self._begin_piece()
        # What a killed process has written may be ahead of its checkpoint.
        if self.history:
            self._write_history(self.folder)
        else:
            (self.folder / HISTORY).unlink(missing_ok=True)
        curves = Curves(self.folder / "tensorboard", self.history)
        self.saved = self.clock.seconds()
        try:
            while len(self.history) < self.epochs:
                if reason := self._reason_to_stop():
                    self._save()
                    raise reason
                # By the history and not by the update alone: a checkpoint can lie between an epoch and its test.
                if self.update < (len(self.history) + 1) * self.per_epoch:
                    self._advance()
                elif row := self._end_epoch():
                    self.history.append(row)
                    self._write_history(self.folder)
                    curves.add(row)
                if self.update in self.changes or self.clock.seconds() - self.saved >= CHECKPOINT_SECONDS:
                    self._save()
        finally:
            self.progress.end()
        # The complete training, so that a results folder that is lost can be written again.
        self._save()

    def _restore(self, handed_over: Path | None) -> None:
        found = checkpoint.furthest(self.folder, self.inputs, self.total, handed_over, self._check)
        if not self.folder.joinpath("inputs.json").exists():
            if found is None:
                self._explain_fresh_start()
            write_json(self.folder / "inputs.json", self.inputs)
        # A check may have left the network of another level.
        self._build_for(found[1]["update"] if found else 0)
        if handed_over:
            self._name_further(found[1]["update"] if found else 0)
        if found is None:
            return
        values, state = found
        self._keep_convolutions(state["pieces"][-1])
        self._assign(values)
        self.update, self.history, self.pieces = state["update"], state["history"], state["pieces"]
        if len(self.history) < self.epochs:
            print(f"Resuming after update {self.update} of {self.total}.", flush=True)
        else:
            print("This training is already complete; writing its results.", flush=True)

    def _build_for(self, update: int) -> None:
        """Make the network anew if a checkpoint of `update` has another unroll length."""
        if (unroll_length := self._unroll_length(max(update, 1))) != self.unroll_length:
            self._build(unroll_length)

    def _keep_convolutions(self, before: Mapping) -> None:
        """Compute the units' convolutions as in the piece `before`, which rounded as they do; on another machine, as is fastest there."""
        if self.params.training.convolution != "auto" or before["hardware"] != provenance.hardware():
            return
        if before.get("units_of_products") not in (None, model.winograd_units(self.network)):
            self.convolution = before["units_of_products"]
            self._build(self.unroll_length)

    def _check(self, values: Mapping[str, np.ndarray], state: Mapping) -> None:
        """Check that a checkpoint is of this training; see `checkpoint.Check`."""
        update = state["update"]
        self._build_for(update)
        ours = self._values()
        if other := sorted(values.keys() ^ ours.keys()):
            raise ValueError(f"other variables than this network: {quoted(', '.join(other))}")
        for name, value in values.items():
            # Its integer counts updates; TensorFlow and JAX have another number of bits for it.
            counts = value.dtype.kind == ours[name].dtype.kind == "i"
            if value.shape != ours[name].shape or not (value == update if counts else value.dtype == ours[name].dtype):
                raise ValueError(
                    f"{name}, {value.dtype} {quoted(value.shape)}, does not fit this network at update {update}"
                )

    def _explain_fresh_start(self) -> None:
        others = sorted(self.folder.parent.glob("*/inputs.json"), key=lambda path: path.stat().st_mtime)
        if others and (before := checkpoint.read_inputs(others[-1])):
            differing = quoted(", ".join(checkpoint.differences(before, self.inputs)), 1000)
            print(f"Starting afresh: since the last training, {differing} changed.", flush=True)

    def _name_further(self, update: int) -> None:
        """Say so if other code or software has got further with this training than `update`, and how to go on from there."""
        further = checkpoint.furthest_of_any_code(self.folder.parent, self.inputs, self.total)
        if further and further[2]["update"] > update:
            path, _, state = further
            command = f"resode hand-over {paths.run_name() or ''}".rstrip()
            print(
                f"{path} is of this training after update {state['update']:,}, by other code or software, and is left alone. To go on"
                f" from there, stop this and run: {command}; then the same command again.",
                flush=True,
            )

    def _announce(self) -> None:
        drops = ", ".join(f"{drop:,}" for drop in schedule.drops(self.params.training)) or "none"
        rates = f"learning rate drops after updates: {drops}"
        if self.params.training.schedule == "linear":
            rates = "learning rate rises and falls linearly"
        steps = ", ".join(f"{unroll_length} from update {begin:,}" for begin, unroll_length in self.levels)
        steps = f", unroll length {steps}" if len(self.levels) > 1 else ""
        print(
            f"{self.dataset.provenance['title']}: {len(self.dataset.train_images):,} training images, {self.epochs} epochs of"
            f" {self.per_epoch:,} updates, {rates}{steps}.\n"
            f"{provenance.hardware()}; {keras.backend.backend()};"
            f" {provenance.arithmetic(self.params.training.precision)}; {self.block} update(s) a compiled call;"
            f" convolutions as matrix products in {', '.join(model.winograd_units(self.network)) or 'no unit'}.",
            flush=True,
        )

    def _reason_to_stop(self) -> Exception | None:
        if os.getppid() != self.parent:
            return InputError("the process that started this training is gone; stopped, rerun to resume")
        if self.stop.is_set() or time.time() > self.stop_at:
            return TimeOver(f"stopped after update {self.update:,} of {self.total:,}; run the same command to continue")
        return None

    def _advance(self) -> None:
        # Only now, so that a checkpoint of exactly so many updates holds the coarser network that made them.
        if self._unroll_length(self.update + 1) != self.unroll_length:
            self._refine()
        count, size = self.dataset.train_images.shape[:2]
        numbers = augmentation.block(
            self.params.augmentation,
            self.params.seed,
            self.update,
            # Up to a change at most, so that a checkpoint can be of exactly so many updates.
            min([self.block, *(change - self.update for change in self.changes if change > self.update)]),
            self.params.training.batch_size,
            count,
            size,
        )
        self.engine.run(*numbers)
        self.update += len(numbers[0])
        self.progress.begin(self.update)
        if self.progress.due():
            self.progress.show_updates(self.update, self._metrics())

    def _metrics(self) -> dict[str, float]:
        """Mean loss and accuracy of the epoch so far.

        Raises:
            Diverged: the loss is not finite.
        """
        found = self.engine.metrics()
        if self.update:
            self._check_finite(found["loss"])
        return found

    def _check_finite(self, *numbers: float | np.ndarray) -> None:
        if not all(np.isfinite(number).all() for number in numbers):
            raise Diverged(
                f"{Diverged.SAYS} in epoch {(self.update - 1) // self.per_epoch + 1} with model.h = {self.params.model.h:g};"
                f" choose a smaller h or learning rate (the last good checkpoint stays in {self.folder})"
            )

    def _end_epoch(self) -> dict[str, float] | None:
        """The row of the epoch that is done in the history; None, and all as before, if there is a reason to stop."""
        train = self._metrics()
        started = self.clock.seconds()
        test = self._test()
        if test is None:
            return None
        self.network.reset_metrics()
        epoch = self.update // self.per_epoch
        # The rate of the epoch's last update, as the optimiser applied it.
        rate = compiling.learning_rate(self.params.training, self.total)
        rate = rate if isinstance(rate, float) else float(rate(self.update - 1))
        row = {
            "epoch": epoch,
            "updates": self.update,
            # Kept as float32 by Keras: it holds about six digits.
            "learning_rate": float(f"{rate:.6g}"),
            "train_loss": round(train["loss"], 6),
            "train_accuracy": round(train["accuracy"], 6),
            f"{self.split}_loss": round(test["loss"], 6),
            f"{self.split}_accuracy": round(test["accuracy"], 6),
        }
        self.progress.add_test(row, self.split, self.clock.seconds() - started)
        if self.update == self.total or self.progress.due():
            self.progress.show_updates(self.update, train)
        return row

    def _test(self) -> dict[str, float] | None:
        """Loss and accuracy of the images to test with; None, and all as before, if there is a reason to stop before the end."""
        metrics = [keras.ops.convert_to_numpy(variable) for variable in self.network.metrics_variables]

        def look(batch: int, logs: dict | None = None) -> None:
            self.network.stop_evaluating = self._reason_to_stop() is not None
            if self.progress.due():
                self.progress.show_test(self.update, min(1, (batch + 1) * _TEST_BATCH / len(self.test_labels)))

        test = self.network.evaluate(
            self.test_images,
            self.test_labels,
            batch_size=_TEST_BATCH,
            verbose=0,
            return_dict=True,
            callbacks=[keras.callbacks.LambdaCallback(on_test_batch_end=look)],
        )
        if not self.network.stop_evaluating:
            return test
        for variable, value in zip(self.network.metrics_variables, metrics, strict=True):
            variable.assign(value)
        return None

    def _begin_piece(self) -> None:
        """Add what this process does to the pieces, or to the last of them if that was done in the same way."""
        how = {
            "of": self.total,
            "hardware": provenance.hardware(),
            "cores": provenance.cores(),
            **provenance.software(),
            "code": hashlib.sha256(json.dumps(self.inputs["code"]).encode()).hexdigest()[:16],
            "precision": provenance.arithmetic(self.params.training.precision),
            # Flags may change how XLA rounds; some only say how many devices there are.
            **({"xla_flags": flags} if (flags := os.environ.get("XLA_FLAGS")) else {}),
            "block_length": self.block,
            "units_of_products": model.winograd_units(self.network),
            **provenance.commit(),
        }
        if self.pieces and how.items() <= self.pieces[-1].items():
            self.pieces[-1]["processes"] += 1
        else:
            self.pieces.append({"from": self.update, "to": self.update, "seconds": 0.0, "processes": 1, **how})

    def _save(self) -> None:
        self._metrics()
        values = self._values()
        # The last update may have made weights of which no loss tells yet.
        self._check_finite(*values.values())
        now = self.clock.seconds()
        self.pieces[-1] |= {"to": self.update, "seconds": self.pieces[-1]["seconds"] + now - self.saved}
        self.saved = now
        state = {"inputs": self.inputs, "update": self.update, "history": self.history, "pieces": self.pieces}
        checkpoint.save(self.folder, self.update, values, state, self.changes)

    def _write(self, results: Path) -> None:
        self._check_finite(*self.history[-1].values())
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
        self._write_history(results)
        write_json(results / METRICS, self.history[-1])
        pieces = [{**piece, "seconds": round(piece["seconds"], 1)} for piece in self.pieces]
        write_json(
            results / PROVENANCE,
            {
                # How its last piece was done.
                **{name: value for name, value in pieces[-1].items() if name not in PIECE},
                "data": self.dataset.provenance,
                "class_names": self.dataset.class_names,
                "wall_seconds": round(sum(piece["seconds"] for piece in self.pieces), 1),
                "updates": self.update,
                "resumes": sum(piece["processes"] for piece in pieces) - 1,
                "pieces": pieces,
                "params": self.inputs["params"],
                **names(results, self.inputs),
            },
        )

    def _write_history(self, folder: Path) -> None:
        write_text(folder / HISTORY, csv_table(self.history))
