"""The schedule of a training: its updates and learning rates.

The post counts iterations at the reference batch size. Equal numbers of images are seen at any batch size:

    updates = iterations · reference_batch_size / batch_size
"""

import keras

from resode.base.config import TrainingParams


def updates(params: TrainingParams) -> int:
    """Updates at `batch_size` that show as many images as the reference iterations do."""
    return _updates(params.reference_iterations, params)


def drops(params: TrainingParams) -> list[int]:
    """Updates after which the learning rate is multiplied by `drop_factor`."""
    return [_updates(drop, params) for drop in params.reference_drops]


def rates(params: TrainingParams, count: int) -> list[tuple[int, float]]:
    """The learning rates η·f^k of the first `count` updates: (update from which it holds, rate)."""
    begins = [0, *(drop for drop in drops(params) if drop < count)]
    return [(begin, params.learning_rate * params.drop_factor**k) for k, begin in enumerate(begins)]


def learning_rate(params: TrainingParams) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """`rates` for Keras' optimisers: the update that follows the drop after n updates is the first at the lower rate."""
    if not params.reference_drops:
        return params.learning_rate
    values = [rate for _, rate in rates(params, updates(params))]
    # Keras compares the number of finished updates with `step <= boundary`.
    return keras.optimizers.schedules.PiecewiseConstantDecay([drop - 1 for drop in drops(params)], values)


def _updates(iterations: float, params: TrainingParams) -> int:
    return int(iterations * params.reference_batch_size / params.batch_size)
