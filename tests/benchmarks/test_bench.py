"""What is measured beside a run's setting."""

from resode.benchmarks import bench
from resode.config import parameters
from resode.experiments import runs


def test_a_run_is_measured_beside_its_levels_the_plain_optimizer_and_params_yaml():
    unchanged = parameters.load()
    chosen = parameters.validate(parameters.changed(runs.changes("fast")))
    found = bench.beside(chosen, unchanged)
    names = ["unroll length 2", "sgd instead of muon", "params.yaml as it stands (batch 32)"]
    assert list(found) == [f"resode, {name}" for name in names]
    coarse, sgd, plain = found.values()
    assert (coarse.model.unroll_length, coarse.model.h, coarse.training) == (2, 0.3, chosen.training)
    assert sgd.training.optimizer == "sgd" and sgd.training.batch_size == 128 and sgd.model == chosen.model
    assert plain == unchanged
    assert bench.beside(unchanged, unchanged) == {}
