"""Memory of training: what the command measures, that reversible units do not grow, and its table."""

import json
from functools import partial

import keras
import numpy as np
import pytest

from resode.base.errors import InputError
from resode.benchmarks import memory
from resode.config import parameters
from resode.figures import memory as plots_memory
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


def test_table_and_figure_say_what_was_measured(tmp_path):
    assert memory.table(tmp_path) == "Not measured yet: `resode memory`."
    row = {"backend": "jax", "activations_mib": 12.25, "total_mib": 1000.0, "ms_per_update": None, "time_ratio": None}
    lengths = memory.LENGTHS["jax"]
    rows = [{**row, "backward": way, "unroll_length": length} for way in memory.BACKWARD for length in lengths]
    deep = {"updates_mib": 30.2, "mean_loss_of_tenths": [2.5, 1.25], "seconds_per_update": 3.0}
    run = {"above_interpreter_bytes": 11_850_000, "interpreter_bytes": 31_770_000}
    found = {
        "hardware": "Abacus", "commit": "0123456789", "modified": False, "batch_size": 32, "changed": SMALL, "rows": rows,
        "inference": {"runs": [run, run], "largest_unit_bytes": 9_441_280},
    }  # fmt: skip
    (tmp_path / "abacus.json").write_text(json.dumps(found), encoding="utf-8")
    by_length = {"4": deep, "1000": {**deep, "backend": "tensorflow"}}
    deeper = {"hardware": "Abacus", "commit": None, "by_unroll_length": by_length}
    (tmp_path / memory.DEEP_FILE).write_text(json.dumps(deeper), encoding="utf-8")
    need = {"backend": "jax", "activations_mib": 200.0, "total_mib": 300.0}
    rows = [{**need, "convolution": "direct"}, {**need, "convolution": "auto", "total_mib": 375.0}]
    ways = {"hardware": "Abacus", "commit": None, "modified": False, "batch_size": 32, "rows": rows}
    (tmp_path / memory.CONVOLUTION_FILE).write_text(json.dumps(ways), encoding="utf-8")
    table = memory.table(tmp_path)
    assert "| jax | reversible | 64 | 12.2 | 1,000 | — | — |" in table
    assert "| jax | matrix products (auto) | 200 | 375 | 1.00 × | 1.25 × |" in table
    assert "Abacus; units of 8, 8 channels, symplectic_euler, batch 32; commit 0123456:" in table
    assert "falls from 2.50 in the first tenth of the epoch to 1.25" in table
    assert "peaks 11.8 MB above the 32 MB" in table
    (axes,) = plots_memory.growth(found).axes
    assert [line.get_label() for line in axes.lines] == list(memory.BACKWARD)
