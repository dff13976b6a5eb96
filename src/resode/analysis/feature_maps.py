"""Feature maps of a network over the steps of its first unit."""

import keras
import numpy as np
from keras import ops

from resode.nn import model
from resode.ode.integrators import PARTITIONED


def feature_maps(network: keras.Model, image: np.ndarray, channels: int = 4, rows: int = 5) -> dict[int, np.ndarray]:
    """The channels of the first unit's state that its steps change most, of y where the state has halves.

    Args:
        network: of `model.build`.
        image: (height, width, colours), as the network takes it.
        channels: at most so many channels.
        rows: at most so many states, evenly spread over the steps.

    Returns:
        {number of steps: (height, width, channels)}, from 0 to all of them; empty if no layer of `network` solves an ODE.
    """
    if not (units := model.units(network)):
        return {}
    # A unit of its own with the same weights, whose states are plain images.
    unit = type(units[0]).from_config(units[0].get_config() | {"convolution": "direct"})
    x = keras.Model(network.input, units[0].input)(image[None])
    unit.build(x.shape)
    unit.set_weights(units[0].get_weights())
    chosen = set(np.linspace(0, unit.unroll_length, min(rows, unit.unroll_length + 1)).round().astype(int).tolist())
    state = unit.initial_state(x)
    found = {0: x}
    for step in range(unit.unroll_length):
        state = unit.advance(state, step, unit.weights_of_step(step))
        if step + 1 in chosen:
            found[step + 1] = unit.solution(state)
    maps = {step: ops.convert_to_numpy(ops.cast(one[0], "float32")) for step, one in found.items()}
    shown = x.shape[-1] // 2 if unit.form == PARTITIONED else x.shape[-1]
    change = np.abs(maps[unit.unroll_length] - maps[0])[..., :shown].mean(axis=(0, 1))
    moved = np.sort(np.argsort(-change, kind="stable")[:channels])
    return {step: one[..., moved] for step, one in maps.items()}
