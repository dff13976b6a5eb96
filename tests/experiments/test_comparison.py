"""The comparison of blocks and integrators: its file, its trials, its table."""

import json
import math

import pytest

from helpers import DIGITS
from resode.base.errors import InputError
from resode.config import parameters
from resode.experiments import comparison
from resode.nn.blocks import BLOCKS
from units import PAIRS

EULER = {"model.block": "hamiltonian", "model.integrator": "euler", "model.channels": [4]}
FEW_TO_MANY = {**EULER, "training.reference_iterations": 6.0, "training.unroll_schedule": [[1, 0.0], [2, 4.0]]}
TINY = {
    "settings": {
        **DIGITS,
        "model.unroll_length": 2,
        "training.reference_batch_size": 8,
        "training.batch_size": 8,
        "training.reference_iterations": 4.0,
    },
    "seeds": [0],
    "variants": [EULER, {**EULER, "model.h": 1e30}, FEW_TO_MANY],
}


def write(folder, **changes):
    path = folder / "comparison.yaml"
    path.write_text(json.dumps({**TINY, **changes}), encoding="utf-8")
    return path


def _parameters(block: str, integrator: str, channels: int) -> int:
    return sum(math.prod(shape) for shape in BLOCKS[block](integrator=integrator).weight_shapes(channels).values())


def test_the_file_compares_all_pairs_that_the_schema_accepts_at_equal_parameters():
    content = parameters.read_as(comparison.FILE, comparison.Comparison)
    plan = comparison.planned(content, {})
    first = [trials[0].params for trials in plan]
    units = [one.model for one in first if one.model.architecture == "units" and not one.training.unroll_schedule]
    pairs = [(one.block, one.integrator) for one in units]
    assert sorted(pairs) == sorted(PAIRS)
    sizes = [sum(_parameters(one.block, one.integrator, channels) for channels in one.channels) for one in units]
    assert max(sizes) / min(sizes) < 1.03
    assert all([trial.params.seed for trial in trials] == content.seeds for trials in plan)


@pytest.mark.slow
def test_trials_are_trained_once_and_divergence_is_recorded(noise, tmp_path, capsys):
    def run():
        settings = ["training.learning_rate=0.02"]
        return comparison.run(settings, write(tmp_path), tmp_path / "runs", tmp_path / "results")

    assert "resode compare" in comparison.table(tmp_path)
    path = run()
    found = json.loads(path.read_text(encoding="utf-8"))
    # Settings of the command line come last.
    assert found["settings"]["training.learning_rate"] == 0.02
    assert path == tmp_path / "results" / "digits.json"
    good, bad, few_to_many = found["variants"]
    assert good["diverged"] == 0 and good["trials"][0]["updates"] == 4 and good["test_sd"] is None
    assert good["test_mean"] == good["trials"][0]["test_accuracy"]
    assert bad["diverged"] == 1 and bad["trials"] == [{"seed": 0, "diverged": True}] and bad["test_mean"] is None
    assert "diverged: the loss is not finite" in capsys.readouterr().out
    run()
    assert "already complete" in capsys.readouterr().out
    again = json.loads(path.read_text(encoding="utf-8"))
    for one in (found, again):
        for trained in (0, 2):
            del one["variants"][trained]["trials"][0]["seconds"]
    assert again == found
    assert path.with_suffix(".png").is_file()
    text = comparison.table(path.parent)
    assert few_to_many["trials"][0]["updates"] == 6 and few_to_many["test_mean"] is not None
    assert "hamiltonian, unroll length 1, 2: 6 updates, 8 steps" in text and "of the other rows took 8 in all" in text
    assert "1 of 1 diverged" in text and "What this does not show" in text and "one test image is 12.50 points" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"variants": [EULER, {**EULER, "model.integrator": "leapfrog"}]}, r"variant 2 \(.*leapfrog.*\): model: block hamiltonian, integrator"),
        ({"variants": [EULER, {"training.learning_rate": 1.0}]}, "variants.1.training.learning_rate = .*should match pattern"),
        ({"seeds": [0, -1]}, "seeds.1 = -1"),
        ({"settings": {**TINY["settings"], "data.validation_fraction": 0.1}}, "fraction must be 0: test accuracies are compared"),
        ({"variants": [EULER, {"model.block": "hamiltonian", "model.channels": [4]}]}, "variant .*euler.* trains what variant 1 .* trains; delete one"),
        ({"seeds": [*range(900)]}, "2,700 trials; at most 1,000 are taken on"),
        ({"settings": {**TINY["settings"], "seed": 5}}, "seed stands in the settings; it is what is compared"),
        ({"variants": [{"model.block": "a\nb" + "c" * 500}]}, r"unknown block a\\nbc{100,120}…"),
    ],
)  # fmt: skip
def test_wrong_files_are_refused_before_anything_is_trained(noise, tmp_path, changes, words):
    with pytest.raises(InputError, match=words) as caught:
        comparison.run([], write(tmp_path, **changes), tmp_path / "runs", tmp_path / "results")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_mean_and_deviation_leave_out_what_diverged():
    trials = [{"diverged": False, "test_accuracy": a, "train_accuracy": 1.0} for a in (0.8, 0.9)]
    found = comparison.aggregated([*trials, {"diverged": True}])
    assert found["diverged"] == 1 and found["test_mean"] == pytest.approx(0.85)
    assert found["test_sd"] == pytest.approx(0.070711) and found["train_sd"] == 0


@pytest.mark.parametrize(
    ("accuracies", "told"),
    [([0.9, 0.88, 0.92], "| 90.0\u00a0±\u00a02.0 |"), ([0.9, 0.1, 0.94], "| 10.0; 90.0; 94.0 |")],
)
def test_accuracies_far_apart_are_told_one_by_one(accuracies, told, tmp_path):
    content = json.loads((comparison.FOLDER / "digits.json").read_text(encoding="utf-8"))
    variant = content["variants"][0]
    trials = [{**trial, "test_accuracy": one} for trial, one in zip(variant["trials"], accuracies, strict=True)]
    content["variants"] = [{**variant, **comparison.aggregated(trials), "trials": trials}]
    (tmp_path / "digits.json").write_text(json.dumps(content), encoding="utf-8")
    assert told in comparison.table(tmp_path)
