"""Training from few steps to many: the network of n steps of size h goes on as that of 2 n steps of size h / 2.

Both integrate the same ODE over the same time T = n h, so that their outputs differ by O(h), and what few steps have learnt is a good start
for many. Shared weights, which all steps have, stay as they are. Free weights are values θ_j of a function of time, step j at its beginning,
t_j = j h; the finer steps begin at t = i h / 2 and have what is interpolated linearly there, and behind the last t_j its value:

    θ⁺_{2j} = θ_j,    θ⁺_{2j+1} = (θ_j + θ_{j+1}) / 2,    θ⁺_{2n−1} = θ_{n−1}

Momentum is the velocity of the weights from update to update, v = Δθ, and linear in them: it is treated as they are. The penalty of
smoothness takes differences by h; the one of l2 counts each free step's kernel and grows with their number.

Sources: E. Haber and L. Ruthotto (2017), "Stable Architectures for Deep Neural Networks", arXiv:1705.03341 (multi-level learning), and their
code, Meganet (prolongateWeights), which interpolates in the same points. B. Chang et al. (2018), "Multi-level Residual Networks from
Dynamical Systems View", arXiv:1710.10348, copy θ_j to θ⁺_{2j+1} instead.
"""

from collections.abc import Mapping

import numpy as np

from resode.config.schema import ModelParams


def coarser(model: ModelParams, unroll_length: int) -> ModelParams:
    """The parameters of the network that integrates over the same time in `unroll_length` steps: h' = h · n / n'."""
    return model.model_copy(
        update={"unroll_length": unroll_length, "h": model.h * model.unroll_length / unroll_length},
    )


def prolonged(values: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], steps: int) -> dict:
    """The variables of the network of 2 · `steps` steps that goes on from the one of `steps` steps.

    Args:
        values: its variables by name, momentum included.
        shapes: the shapes that they have in the finer network: (count, …) becomes (count + steps, …) where there is a value a step.
        steps: n.

    Returns:
        The values by name, of those `shapes`; what keeps its shape is kept.

    Example:
        >>> prolonged({"k": np.array([0.0, 1.0])}, {"k": (4,)}, 2)
        {'k': array([0. , 0.5, 1. , 1. ])}
    """
    return {name: value if value.shape == shapes[name] else _in_time(value, steps) for name, value in values.items()}


def _in_time(value: np.ndarray, steps: int) -> np.ndarray:
    """The values (count, …) of the last `count` of `steps` steps, interpolated to (count + steps, …)."""
    # In steps from the first value: a linear multistep block has none for its first step.
    times = np.arange(steps - len(value), 2 * steps) / 2 - (steps - len(value))
    times = np.clip(times, 0, len(value) - 1)
    before = times.astype(int)
    after = np.minimum(before + 1, len(value) - 1)
    weight = (times - before).reshape(-1, *[1] * (value.ndim - 1)).astype(value.dtype)
    return (1 - weight) * value[before] + weight * value[after]
