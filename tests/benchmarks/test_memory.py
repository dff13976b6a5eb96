"""Memory of training: what the command measures, that reversible units do not grow, and its table."""

from functools import partial

import keras
import numpy as np
import pytest

from resode.base.errors import InputError
from resode.benchmarks import memory
from resode.config import parameters
from units import array, built, gradients, images

pytestmark = pytest.mark.jax("slow")

BACKEND = keras.backend.backend()
SMALL = {**memory.SETTING, "model.channels": [8, 8], "model.pool_after": [1]}


def content(backward: str, length: int) -> dict:
    return parameters.changed({**SMALL, "model.backward": backward, "model.unroll_length": length})


@pytest.fixture(scope="module")
def measured():
    """Activations in MiB; those of TensorFlow, which measures a process's memory, each from a process of its own."""
    # Written out, 64 steps take XLA:CPU long to compile; its own analysis needs no more than 16 to show a line.
    long = 64 if BACKEND == "tensorflow" else 16
    apart = partial(memory._apart, BACKEND, memory.measure)
    measure = apart if BACKEND == "tensorflow" else memory.measure
    return {
        (backward, length): measure(content(backward, length))
        for backward in ("store", "reversible")
        for length in (4, long)
    }, long


@pytest.mark.slow
def test_reversible_units_need_no_more_memory_for_more_steps(measured):
    found, long = measured
    activations = {key: one["activations_mib"] for key, one in found.items()}
    assert activations["reversible", long] <= 1.15 * activations["reversible", 4]
    assert activations["store", long] > 3 * activations["store", 4]
    for one in found.values():
        assert one["total_mib"] > one["activations_mib"] > 0
        assert one["common"]["hardware"]


@pytest.mark.slow
def test_products_need_at_most_half_as_much_memory_again():
    direct, products = memory.ways_of_convolution(BACKEND)
    # XLA's own analysis is exact; the resident memory of equal TensorFlow processes scatters.
    most = 1.8 if BACKEND == "tensorflow" else 1.5
    assert products["activations_mib"] < most * direct["activations_mib"]
    assert products["total_mib"] < 1.5 * direct["total_mib"]


@pytest.mark.skipif(BACKEND == "jax", reason="compiled loops are slow on XLA:CPU")
@pytest.mark.slow
def test_ways_are_timed_in_turn():
    times = memory.times({backward: content(backward, 4) for backward in memory.BACKWARD})
    assert times["store"]["time_ratio"] == 1
    assert all(0 < one["ms_per_update"] < 5000 for one in times.values())


@pytest.mark.skipif(BACKEND == "jax", reason="compiled loops are slow on XLA:CPU")
@pytest.mark.slow
def test_an_epoch_on_the_digits_learns_without_stored_states():
    few = {"model.unroll_length": 8, "model.h": 0.1}
    found = memory.epoch(parameters.changed({**memory.DEEP, **few}))
    losses = found["mean_loss_of_tenths"]
    assert found["updates"] == 44 and len(losses) == 10
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize(
    ("block", "integrator"),
    [("hamiltonian", "symplectic_euler"), ("two_layer_hamiltonian", "verlet"), ("second_order", "leapfrog"),
     ("antisymmetric", "midpoint")],
)  # fmt: skip
@pytest.mark.slow
def test_gradients_through_64_reversible_steps_are_the_stored_ones(block, integrator):
    x = images(1, 4, 3, 4)
    stored, back = (
        built(block, size=(4, 3), integrator=integrator, unroll_length=64, h=0.02, backward=backward)
        for backward in ("store", "reversible")
    )
    np.testing.assert_allclose(array(back(x)), array(stored(x)), rtol=1e-4, atol=1e-5)
    for mine, theirs in zip(gradients(back, x), gradients(stored, x), strict=True):
        assert np.linalg.norm(mine - theirs) <= 1e-4 * np.linalg.norm(theirs)


def test_wrong_setting_is_refused_before_anything_is_measured(tmp_path):
    with pytest.raises(InputError, match="a step of euler has no inverse"):
        memory.run(["model.integrator=euler"], tmp_path)
    assert not list(tmp_path.iterdir())
