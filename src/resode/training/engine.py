"""Compiled updates: gather, augment, differentiate and step, on the device.

Keras owns model, loss, optimiser and metrics; `model.train_step` is its own. What is added is that the data set lies on
the device as bytes, and that a block of updates is one compiled call: one dispatch, and metrics once a block.
"""

import contextlib
from collections.abc import Callable

import keras
import numpy as np

from resode.base.errors import InputError
from resode.config.schema import AugmentationParams
from resode.data.records import Dataset
from resode.nn.loops import loops_are_slow
from resode.training.augmentation import augment, normalise


def block_length() -> int:
    """The fastest number of updates in one compiled call: 100 on a JAX accelerator, where a dispatch costs more than an
    update; 1 on XLA:CPU, where loops are slow; 10 on TensorFlow, which gains two per cent by it.
    """
    if loops_are_slow():
        return 1
    return 100 if keras.backend.backend() == "jax" else 10


def distributed(devices: int) -> contextlib.AbstractContextManager:
    """A context: networks built in it have their weights on each of `devices` devices, which an `Engine` then lets share its batches.

    Raises:
        InputError: there are fewer devices, or the backend is TensorFlow.
    """
    return _data_parallel(devices).scope() if devices > 1 else contextlib.nullcontext()


def _data_parallel(devices: int) -> keras.distribution.DataParallel:
    if keras.backend.backend() != "jax":
        raise InputError(
            f"training.devices = {devices}: Keras distributes with compiled calls on JAX alone; set KERAS_BACKEND=jax"
        )
    there = keras.distribution.list_devices()
    if len(there) < devices:
        raise InputError(f"training.devices = {devices}: JAX has {len(there)}: {', '.join(there)}")
    return keras.distribution.DataParallel(devices=there[:devices], auto_shard_dataset=False)


class Engine:
    """Updates of a compiled `model` on the training images of `dataset`.

    Args:
        model: compiled Keras model with built optimiser.
        mean: mean image (H, W, C) that is subtracted; see `augmentation.normalise`.
        augmentation: section augmentation of the parameters.
        devices: among which each batch is divided, of a model built under `distributed`. The global batch is
            unchanged: the images' part of the work is shared, means and gradients are of the whole batch.
    """

    def __init__(
        self, model: keras.Model, dataset: Dataset, mean: np.ndarray, augmentation: AugmentationParams, devices: int = 1
    ):
        self.model = model
        divided = _division(devices)
        images = keras.ops.convert_to_tensor(dataset.train_images)
        labels = keras.ops.convert_to_tensor(dataset.train_labels.astype("int32"))

        def batch(data, samples, flips, shifts):
            images, labels = data
            samples, flips, shifts = divided((samples, flips, shifts))
            chosen = normalise(keras.ops.take(images, samples, axis=0), mean)
            return augment(chosen, flips, shifts, augmentation), keras.ops.take(labels, samples, axis=0)

        self._run = {"tensorflow": _tensorflow, "jax": _jax}[keras.backend.backend()](model, batch, (images, labels))

    def run(self, samples: np.ndarray, flips: np.ndarray, shifts: np.ndarray) -> None:
        """Do a block of updates; the model's weights, optimiser and metrics hold the result.

        Args:
            samples: (updates, batch) int32, indices of training images.
            flips, shifts: (updates, batch) and (updates, batch, 2); see `augmentation.draw`.
        """
        self._run(samples, flips, shifts)

    def metrics(self) -> dict[str, float]:
        """Mean loss and accuracy since the last `reset_metrics`."""
        return {name: float(value) for name, value in self.model.get_metrics_result().items()}

    def variables(self) -> dict[str, keras.Variable]:
        """All that changes in training by name: weights, optimiser and the epoch's partial metrics."""
        optimizer = self.model.optimizer
        # Without a schedule the learning rate is one of them, and constant.
        moving = [variable for variable in optimizer.variables if variable is not optimizer.learning_rate]
        return {variable.path: variable for variable in [*self.model.variables, *moving, *self.model.metrics_variables]}


def _division(devices: int) -> Callable:
    """Divides the first axis of arrays among the devices, inside a compiled call."""
    if devices == 1:
        return lambda arrays: arrays
    import jax

    mesh = _data_parallel(devices).device_mesh.backend_mesh
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(mesh.axis_names[0]))
    return lambda arrays: jax.lax.with_sharding_constraint(arrays, sharding)


def _tensorflow(model: keras.Model, batch: Callable, data: tuple) -> Callable:
    import tensorflow as tf

    @tf.function
    def block(samples, flips, shifts):
        for i in tf.range(tf.shape(samples)[0]):
            model.train_step(batch(data, samples[i], flips[i], shifts[i]))

    program = None

    def run(*numbers):
        nonlocal program
        if program is None:
            # One program for any number of updates: an epoch's last block is a shorter one.
            program = block.get_concrete_function(*(tf.TensorSpec([None, *n.shape[1:]], n.dtype) for n in numbers))
        program(*map(tf.convert_to_tensor, numbers))

    return run


def _jax(model: keras.Model, batch: Callable, data: tuple) -> Callable:
    import jax

    def groups():
        return (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )

    # The data are an argument: what a program closes over becomes part of it, 150 MB of constants.
    @jax.jit
    def block(data, state, numbers):
        def update(state, numbers):
            _, state = model.train_step(state, batch(data, *numbers))
            return state, None

        if len(numbers[0]) == 1:
            return update(state, [one[0] for one in numbers])[0]
        return jax.lax.scan(update, state, numbers)[0]

    def run(*numbers):
        state = block(data, tuple([variable.value for variable in group] for group in groups()), numbers)
        for variables, values in zip(groups(), state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    return run
