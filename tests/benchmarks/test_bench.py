"""What is measured beside a run's setting, and the table."""

import json

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


def test_table_compares_rows_of_other_batches_by_the_image(tmp_path):
    row = {"precision": "float32", "block_length": 1, "images_per_second": 1}
    row |= {"flop_per_second": 1e9, "fraction_of_matmul": 0.5}
    rows = [
        row | {"what": bench.OURS, "batch_size": 128, "ms_per_update": 500.0},
        row | {"what": "resode, other", "batch_size": 32, "ms_per_update": 250.0},
        row | {"what": bench.DIRECT, "batch_size": 128, "ms_per_update": 700.0},
        row | {"what": bench.BARE, "batch_size": 128, "ms_per_update": 1000.0},
        row | {"what": bench.FIT, "batch_size": 128, "ms_per_update": 1500.0},
    ]
    told = {"hardware": "CPU", "batch_size": 128, "run": "fast", "changed": {"seed": 1}, "data": "noise"}
    told |= {"commit": "1234567", "backends": [{"backend": "jax", "rows": rows}]}
    (tmp_path / "cpu.json").write_text(json.dumps(told), encoding="utf-8")
    found = bench.table(tmp_path)
    said = "CPU: in float32 jax 1 images a second, 2.00 × the speed of `train_on_batch` and 3.00 × that of `fit`."
    assert found.startswith(said)
    assert "(batch 128, run fast, seed = 1; noise; commit 1234567)" in found
    assert "| resode | 1 | 500.00 | 2.00 × | 3.00 × |" in found
    assert "| resode, other | 1 | 250.00 | 1.00 × | 1.50 × |" in found
