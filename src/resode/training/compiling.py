"""The network as it is trained: with its initial weights, its loss and its optimiser."""

import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import keras
import numpy as np

from resode.base.errors import InputError
from resode.config.schema import ModelParams, TrainingParams
from resode.nn import model
from resode.training import convolutions, schedule
from resode.training.losses import cross_entropy, smoothed_cross_entropy
from resode.training.muon import Muon
from resode.training.outputs import advice, weights_file


class Linear(keras.optimizers.schedules.LearningRateSchedule):
    """The linear schedule of `updates` updates, see `schedule`: it rises to `peak` over the share `warmup` of them and falls to 0."""

    def __init__(self, peak: float, warmup: float, updates: int):
        self.peak, self.warmup, self.updates = peak, warmup, updates

    def __call__(self, step: Any) -> Any:
        """The rate of the update that follows `step` updates."""
        done = keras.ops.cast(step, "float32") / self.updates
        return self.peak * keras.ops.minimum(done / self.warmup, (1 - done) / (1 - self.warmup))

    def get_config(self) -> dict[str, Any]:
        """Arguments that build an equal schedule."""
        return {"peak": self.peak, "warmup": self.warmup, "updates": self.updates}


def learning_rate(params: TrainingParams, updates: int) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """The learning rates of a training of `updates` updates for Keras' optimisers.

    The update that follows the drop after n updates is the first at the lower rate.
    """
    if params.schedule == "linear":
        return Linear(params.learning_rate, params.warmup, updates)
    if not params.reference_drops:
        return params.learning_rate
    values = [rate for _, rate in schedule.rates(params, schedule.updates(params))]
    # Keras compares the number of finished updates with `step <= boundary`.
    return keras.optimizers.schedules.PiecewiseConstantDecay([drop - 1 for drop in schedule.drops(params)], values)


def compiled(
    params: ModelParams,
    training: TrainingParams,
    seed: int,
    classes: int,
    updates: int | None = None,
    convolution: str | Collection[str] | None = None,
) -> keras.Model:
    """The network with its initial weights, its loss and its optimiser.

    Args:
        updates: of the whole training; None: as many as are scheduled, though they may end within an epoch.
        convolution: see `model.build`; None: what `convolutions.chosen` says.
    """
    if convolution is None:
        convolution = convolutions.chosen(params, training)
    keras.utils.set_random_seed(seed)
    default = keras.config.dtype_policy()
    keras.config.set_dtype_policy(training.precision)
    try:
        # The kernels that Muon trains have its decay instead: a penalty's gradient would enter their momentum.
        sgd = training.optimizer == "sgd"
        network = model.build(params, classes, convolution=convolution, penalize_units=sgd)
    finally:
        keras.config.set_dtype_policy(default)
    network.compile(
        optimizer=_optimizer(network, training, updates or schedule.updates(training)),
        loss=smoothed_cross_entropy(training.label_smoothing) if training.label_smoothing else cross_entropy,
        metrics=["accuracy"],
    )
    network.optimizer.build(network.trainable_variables)
    # Keras makes the accuracy's variables at the first batch; a checkpoint needs them before.
    network.compute_metrics(None, np.zeros(1, "int32"), np.ones((1, classes), "float32"), None)
    network.reset_metrics()
    return network


def _optimizer(network: keras.Model, training: TrainingParams, updates: int) -> keras.optimizers.Optimizer:
    rate = learning_rate(training, updates)
    # Named, lest Keras number it: checkpoints hold variables by name.
    sgd = {"momentum": training.momentum, "nesterov": training.nesterov, "name": training.optimizer}
    if training.optimizer == "sgd":
        return keras.optimizers.SGD(rate, **sgd)
    return Muon(
        rate,
        # Biases, and the factors of linear multistep units, have fewer axes.
        kernels=[one.path for unit in model.units(network) for one in unit.weights if len(one.shape) >= 4],
        kernel_rate=training.muon_learning_rate / training.learning_rate,
        kernel_momentum=training.muon_momentum,
        kernel_decay=training.muon_decay,
        **sgd,
    )


def load_weights(network: keras.Model, folder: Path) -> None:
    """Give `network` the weights that training left in `folder`.

    Raises:
        InputError: there are none, they are damaged, or they belong to other parameters.
    """
    path = weights_file(folder)
    try:
        with warnings.catch_warnings():
            # Keras also warns of what it then raises.
            warnings.simplefilter("ignore")
            network.load_weights(path)
    except Exception as error:
        # HDF5 and Keras raise many kinds for a damaged file.
        raise InputError(f"{path} is damaged, or of another network; {advice(folder)}") from error
