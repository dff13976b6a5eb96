"""The schedule of a training: its updates, learning rates and unroll lengths.

The post counts iterations at the reference batch size. Equal numbers of images are seen at any batch size:

    updates = iterations · reference_batch_size / batch_size

Learning rates are the post's, constant between drops, or linear: of T updates, update u = 0 … T − 1 has

    η(u) = η · min(f / w, (1 − f) / (1 − w)),    f = u / T

which rises from 0 over the share w = `warmup` of the updates to η = `learning_rate` and falls towards 0 at the end.
"""

from resode.config.schema import TrainingParams


def updates(params: TrainingParams) -> int:
    """Updates at `batch_size` that show as many images as the reference iterations do."""
    return _updates(params.reference_iterations, params)


def drops(params: TrainingParams) -> list[int]:
    """Updates after which the learning rate is multiplied by `drop_factor`."""
    return [_updates(drop, params) for drop in params.reference_drops]


def rates(params: TrainingParams, count: int) -> list[tuple[int, float]]:
    """The learning rates η·f^k of the first `count` updates: (update from which it holds, rate).

    With schedule linear every update has its own: what decides all of them, the number of updates and η.
    """
    if params.schedule == "linear":
        return [(updates(params), params.learning_rate)]
    begins = [0, *(drop for drop in drops(params) if drop < count)]
    return [(begin, params.learning_rate * params.drop_factor**k) for k, begin in enumerate(begins)]


def levels(params: TrainingParams, count: int) -> list[tuple[int, int]]:
    """The unroll lengths of the first `count` updates, (update from which it holds, unroll length); none if it is always the model's."""
    begins = [(_updates(iterations, params), unroll_length) for unroll_length, iterations in params.unroll_schedule]
    return [(begin, unroll_length) for begin, unroll_length in begins if begin < count]


def _updates(iterations: float, params: TrainingParams) -> int:
    return int(iterations * params.reference_batch_size / params.batch_size)
