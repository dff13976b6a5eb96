"""Variants of a short training: their file, their trials, their table."""

import json

import pytest

from helpers import DIGITS
from resode.base.errors import InputError
from resode.config import parameters
from resode.experiments import ablation

TINY = {
    "like": "fast",
    "settings": {
        **DIGITS,
        "data.validation_fraction": 0.5,
        "model.channels": [4],
        "training.reference_batch_size": 8,
        "training.batch_size": 8,
        "training.reference_iterations": 4.0,
        "training.unroll_schedule": [],
    },
    "seeds": [0],
    "variants": {"the recipe": {}, "SGD": {"training.optimizer": "sgd"}, "too far": {"model.h": 1e30}},
}


def write(folder, **changes):
    path = folder / "ablation.yaml"
    path.write_text(json.dumps(TINY | changes), encoding="utf-8")
    return path


def test_the_file_varies_the_fast_run_on_validation_images():
    plan = ablation.planned(parameters.read_as(ablation.FILE, ablation.Ablation))
    first = {name: trials[0].params for name, trials in plan.items()}
    recipe, sgd = first["the recipe"].training, first["SGD for all weights"].training
    assert (recipe.optimizer, sgd.optimizer) == ("muon", "sgd")
    assert recipe.model_copy(update={"optimizer": "sgd"}) == sgd
    assert all(params.data.validation_fraction == 0.1 for params in first.values())
    # Solved in other steps, all go through the same time.
    assert {round(params.model.h * params.model.unroll_length, 9) for params in first.values()} == {0.6}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"like": "nobody"}, "runs.yaml has no run 'nobody'"),
        ({"variants": {}}, "variants = {}: dictionary should have at least 1 item"),
        ({"variants": {"a": {"data.name": "digits"}}}, r"data\.name"),
        ({"variants": {"a": {"model.hh": 1}}}, r"ablation.yaml, a: unknown key model\.hh"),
        ({"variants": {"a": {}, "b": {}}}, "ablation.yaml: b trains what a trains; delete one"),
        ({"settings": {}}, "data.validation_fraction = 0: variants are compared on validation images"),
    ],
)
def test_wrong_files_are_refused_before_anything_is_trained(tmp_path, changes, said):
    with pytest.raises(InputError, match=said):
        ablation.planned(parameters.read_as(write(tmp_path, **changes), ablation.Ablation))


def test_table_has_a_row_for_each_variant_with_a_trial(tmp_path):
    assert ablation.text(tmp_path) == ""
    steps = dict(zip(("euler 2", "euler 4", "euler 8", "euler 16", "rk4 4"), (0.7, 0.78, 0.75, 0.7, 0.6), strict=True))
    done = {"variant": "the recipe", "status": "done", "validation_accuracy": 0.78, "seconds": 1200.0}
    rows = [done | {"seed": 0, "h_omega": [0.2, 1.74], "steps": steps}]
    rows += [done | {"seed": 1, "validation_accuracy": 0.76, "h_omega": [], "steps": {}}]
    rows += [{"variant": "SGD", "seed": 0, "status": "diverged"}]
    exact = dict(zip(("rk4 2", "rk4 4", "rk4 8", "rk4 16"), (0.7, 0.71, 0.72, 0.73), strict=True))
    rows += [done | {"variant": "rk4", "seed": 0, "h_omega": [0.5], "steps": exact}]
    variants = TINY["variants"] | {"rk4": {"model.integrator": "rk4"}}
    made = {"hardware": "CPU", "backend": "jax", "commit": "a" * 40, "modified": False, "data": {"title": "Noise"}}
    (tmp_path / "trials.json").write_text(
        json.dumps(made | TINY | {"rows": rows, "seeds": [0, 1], "variants": variants})
    )
    assert ablation.text(tmp_path).splitlines()[-3:] == [
        "| the recipe | — | 77.00 % ± 1.41 | 20 min | 0.2, 1.7 | 70.0 | 78.0 | 75.0 | 70.0 | 60.0 |",
        "| SGD | training.optimizer: sgd | diverged | — | — | — | — | — | — | — |",
        "| rk4 | model.integrator: rk4 | 78.00 % | 20 min | 0.5 | 70.0 | 71.0 | 72.0 | 73.0 | 71.0 |",
    ]


@pytest.mark.slow
def test_trials_are_trained_once_and_solved_in_other_steps(noise, tmp_path, capsys):
    def run():
        return json.loads(ablation.run(write(tmp_path), tmp_path / "runs", tmp_path / "results").read_text())

    found = run()
    recipe, sgd, far = found["rows"]
    assert list(recipe["steps"]) == ["euler 2", "euler 4", "euler 8", "euler 16", "rk4 4"]
    # As it was trained.
    assert recipe["steps"]["euler 4"] == pytest.approx(recipe["validation_accuracy"])
    assert len(recipe["h_omega"]) == 1 and recipe["h_omega"] != sgd["h_omega"]
    assert far == {"variant": "too far", "seed": 0, "status": "diverged"}
    assert run() == found
    assert "already complete" in capsys.readouterr().out
