"""Report: every branch of the verdict, and the README's generated table."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import nbformat
import numpy as np
import pytest

from helpers import PUBLISHED, make_run, write_run
from resode.analysis import predictions, reference
from resode.base import paths
from resode.base.errors import InputError
from resode.config import parameters
from resode.figures import results as plots_results
from resode.report import readme, runs_table, verdicts
from resode.training import outputs


def by_figure(run: verdicts.Run) -> dict[str, str | None]:
    return {line["id"]: line["verdict"] for line in verdicts.build(run, PUBLISHED)["lines"]}


def test_published_figures_are_those_of_the_published_curve():
    rows = reference.read_published_curve()
    figures = {figure["id"]: figure["value"] for figure in PUBLISHED["figures"]}
    accuracies = [row["test_accuracy"] for row in rows]
    assert len(rows) == 327
    assert figures["test_accuracy"] == accuracies[-1]
    assert (figures["best_test_accuracy"], 246) == (max(accuracies), 1 + accuracies.index(max(accuracies)))
    assert figures["last_ten_test_accuracy"] == pytest.approx(sum(accuracies[-10:]) / 10, abs=5e-5)
    assert figures["train_accuracy"] == rows[-1]["train_accuracy"]
    assert figures["first_epoch_90"] == next(row["epoch"] for row in rows if row["test_accuracy"] >= 0.9)
    assert figures["hours"] == pytest.approx(sum(row["seconds"] for row in rows) / 3600, abs=0.05)


def test_reproduction():
    # Any seed is the claim's.
    run = make_run(seed=7)
    built = verdicts.build(run, PUBLISHED)
    assert built["kind"] == "reproduction"
    assert built["differences"] == {}
    assert built["schedule"] == "text of the post"
    assert by_figure(run) == {
        "parameters": "reproduced",
        "trainable_parameters": "reproduced",
        "test_accuracy": "reproduced",
        "best_test_accuracy": "reproduced",
        "last_ten_test_accuracy": "reproduced",
        "train_accuracy": "reproduced",
        "first_epoch_90": None,
        "hours": None,
    }
    lines = {line["id"]: line for line in built["lines"]}
    assert lines["first_epoch_90"]["reproduced"] == 2
    assert lines["hours"]["reproduced"] == 2
    assert lines["test_accuracy"]["interval"] == pytest.approx([0.898, 0.91])
    assert "6 of 6 figures" in verdicts.headline(built)
    assert verdicts.banner(built) == ""


@pytest.mark.parametrize(
    "accuracy, verdict",
    [(0.8937, "reproduced"), (0.8936, "not reproduced"), (0.9137, "reproduced"), (0.9138, "not reproduced")],
)
def test_tolerance_is_inclusive_on_both_sides(accuracy, verdict):
    assert by_figure(make_run(accuracy))["test_accuracy"] == verdict


def test_one_parameter_off_is_not_reproduced():
    run = make_run()
    run.model["parameters"]["total"] += 1
    assert by_figure(run)["parameters"] == "not reproduced"
    assert by_figure(run)["trainable_parameters"] == "reproduced"


def test_headline_names_a_failure():
    run = make_run(0.88)
    run.provenance["data"]["title"] = "<script>"
    text = verdicts.headline(verdicts.build(run, PUBLISHED))
    assert "<script>" not in text
    assert "−2.37 points: **not reproduced**" in text
    assert "4 of 6 figures" in text


def test_demo_gets_no_verdict():
    run = make_run(0.99, data="digits", model={"channels": [8, 16]})
    built = verdicts.build(run, PUBLISHED)
    assert built["kind"] == "demo"
    assert set(by_figure(run).values()) == {"demo", None}
    assert "This is a demo, not a reproduction" in verdicts.banner(built)
    assert "This run" in verdicts.comparison_table(built)
    assert "reproduced" not in verdicts.headline(built)


@pytest.mark.parametrize(
    ("total", "iterations", "data", "said"),
    [
        (1000, 200.0, "digits", "CIFAR-10, with a smaller network and a shorter schedule, so that it takes minutes"),
        (1000, 64000.0, "digits", "CIFAR-10, with a smaller network. It shows"),
        (3157914, 200.0, "letters", "CIFAR-10, with a shorter schedule. It shows"),
        (3157914, 64000.0, "letters", "instead of CIFAR-10. It shows"),
    ],
)
def test_demo_says_what_is_smaller_and_no_more(total, iterations, data, said):
    run = make_run(data=data, training={"reference_iterations": iterations})
    run.model["parameters"]["total"] = total
    banner = verdicts.banner(verdicts.build(run, PUBLISHED))
    assert said in banner
    assert ("far easier" in banner) is (data == "digits")


@pytest.mark.parametrize(
    "changes, named, parameters",
    [
        ({"model": {"h": 0.3}}, "model.h is 0.3 instead of 0.15", "different setting"),
        ({"model": {"activation": None}}, "model.activation is None instead of relu", "different setting"),
        ({"augmentation": {"shift": 0}}, "augmentation.shift is 0 instead of 0.1", "reproduced"),
        ({"training": {"batch_size": 64}}, "training.batch_size is 64 instead of 32", "reproduced"),
        ({"training": {"reference_drops": [1.0]}}, "drops is [1] instead of [32000, 48000] or [21282", "reproduced"),
        ({"training": {"label_smoothing": 0.1}}, "training.label_smoothing is 0.1 instead of 0", "reproduced"),
        ({"training": {"unroll_schedule": [[4, 0.0]]}}, "unroll_schedule is [[4, 0]] instead of none", "reproduced"),
    ],
)
def test_different_setting_is_named_and_gets_no_verdict(changes, named, parameters):
    run = make_run(**changes)
    built = verdicts.build(run, PUBLISHED)
    assert built["kind"] == "different setting"
    assert named in verdicts.banner(built)
    assert by_figure(run)["test_accuracy"] == "different setting"
    # The number of parameters follows from the model section alone.
    assert by_figure(run)["parameters"] == parameters


def test_drops_are_of_a_published_schedule_to_within_an_epoch():
    given = ([32000, 48000], [21282.25, 42564.5], [21333, 42667], [21000, 42564.5], [32000], None)
    names = ["text of the post", "author's notebook", "author's notebook", None, None, None]
    assert [reference.schedule(drops, PUBLISHED) for drops in given] == names


def test_altered_data_get_no_verdict_and_are_named():
    run = make_run(published=False, training={"reference_iterations": 100.0})
    built = verdicts.build(run, PUBLISHED)
    assert built["kind"] == "altered data"
    assert by_figure(run)["test_accuracy"] == "altered data"
    assert "not the published CIFAR-10" in verdicts.banner(built)
    assert "training.reference_iterations is 100 instead of 64000" in verdicts.banner(built)


def test_tables_are_markdown():
    run = make_run(0.5)
    run.history[1]["test_accuracy"] = 0.6
    built = verdicts.build(run, PUBLISHED)
    assert {line["id"]: line for line in built["lines"]}["first_epoch_90"]["reproduced"] is None
    assert "| never |" in verdicts.comparison_table(built)
    run = make_run()
    built = verdicts.build(run, PUBLISHED)
    rows = verdicts.comparison_table(built).splitlines()
    assert rows[4] == "| Test accuracy, last epoch | 90.37 % | 90.40 % | ± 1.0 points | ✓ reproduced |"
    assert rows[5].split("|")[3].strip() == "91.00 % (epoch 2)"
    assert rows[9] == "| Wall time | 25.0 h | 2.0 h | — | — |"
    assert "| hardware | `CPU` |" in verdicts.provenance_table(run)
    assert "| wall time in seconds | `7200` |" in verdicts.provenance_table(run)
    assert "commit" not in verdicts.provenance_table(run)
    assert "| training · momentum | `0.9` |" in verdicts.params_table(run)
    assert verdicts.stability_table(run).splitlines()[-2:] == [
        "| 1 | 0.300 | outside | 1.188 | 1.100 |",
        "| 2 | 0.300 | — | — | 1.250 |",
    ]
    run.stability["units"] = []
    assert verdicts.stability_table(run) == "This network has no unit that solves an ODE."
    text = verdicts.schedule_text(built, run)
    assert text == "3 epochs, 4,686 updates; the learning rate drops from epoch 2 on, as in the text of the post."
    assert len(verdicts.sources_list(built).splitlines()) == len(PUBLISHED["figures"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is not JSON.*; run the evaluation stage again"),
        ("[]", "holds no results; run the evaluation stage again"),
        ('{"training": "another"}', "is not of the training in .*; run: resode run"),
        (None, "is missing; run the evaluation stage first"),
    ],
)
def test_missing_broken_and_foreign_results_are_refused(tmp_path, text, why):
    write_run(make_run(), tmp_path)
    assert verdicts.read_run(tmp_path) == make_run()
    path = tmp_path / "evaluation" / "metrics.json"
    path.write_text(text, encoding="utf-8") if text else path.unlink()
    with pytest.raises(InputError, match=f"metrics.json {why}"):
        verdicts.read_run(tmp_path)


def test_results_of_another_training_or_of_none_are_refused(tmp_path):
    run = make_run()
    write_run(dataclasses.replace(run, stability=run.stability | {"training": "another"}), tmp_path)
    with pytest.raises(InputError, match="stability.json is not of the training"):
        verdicts.read_run(tmp_path)
    (tmp_path / "evaluation" / "class_accuracy.json").write_text('{"training": "another", "class_accuracy": {}}')
    with pytest.raises(InputError, match="class_accuracy.json is not of the training"):
        runs_table.read_trained(tmp_path)
    # Two names that are missing are not equal.
    del run.provenance["training"], run.metrics["training"]
    write_run(run, tmp_path)
    with pytest.raises(InputError, match="metrics.json is not of the training"):
        verdicts.read_run(tmp_path)


def test_tables_go_between_their_markers_and_nowhere_else():
    begin, end = readme.markers("result")
    table = {"result": "[new](results/new), [why](docs/why.md), [post](https://a.org/docs/)"}
    text = readme.filled("docs/page.md", f"# Title\n\n{begin}\nold\n{end}\n\nmore\n", table)
    new = "[new](../results/new), [why](../docs/why.md), [post](https://a.org/docs/)"
    assert text == f"# Title\n\n{begin}\n{new}\n{end}\n\nmore\n"
    for wrong in ("", end + begin, begin):
        with pytest.raises(InputError, match="README.md needs the lines"):
            readme.filled("README.md", wrong, table)


def test_tables_of_the_repository_are_current():
    for path, text in readme.pages().items():
        assert path.read_text(encoding="utf-8") == text, "run: python -m resode readme"


def write_other_run(results: Path, name: str | None, accuracy: float, made: Mapping = {}, **changes) -> None:
    run = make_run(accuracy, **changes)
    run.provenance.update(made)
    write_run(run, results / "runs" / name if name else results)


def test_changes_of_other_runs_are_those_of_their_training_from_the_claim(tmp_path, monkeypatch):
    assert "No other run yet" in runs_table.runs_table(tmp_path)
    write_other_run(tmp_path, "seed-1", 0.91, seed=1)
    # Whatever runs.yaml says of this name, and params.yaml of h.
    write_other_run(tmp_path, "bilinear", 0.5, model={"h": 0.05}, augmentation={"interpolation": "bilinear"})
    content = parameters.read()
    monkeypatch.setattr(parameters, "read", lambda: content | {"model": content["model"] | {"h": 0.05}, "seed": 7})
    table = runs_table.runs_table(tmp_path)
    assert "| seed-1 | 91.00 %" in table and "| seed: 1 |\n" in table
    # The seed is make_run's.
    assert "| seed: 3; model.h: 0.05; augmentation.interpolation: bilinear |\n" in table


def test_statistics_over_seeds_are_of_runs_in_which_all_but_the_seed_is_equal(tmp_path):
    said = "Over {} seeds the test accuracy after the last epoch is {} %"
    write_other_run(tmp_path, None, 0.90, seed=0)
    write_other_run(tmp_path, "seed-1", 0.91, seed=1)
    assert said.format(2, "90.50") + " ± 0.71 points" in runs_table.runs_table(tmp_path)
    write_other_run(tmp_path, "seed-2", 0.95, seed=2, model={"h": 0.1})
    write_other_run(tmp_path, "seed-3", 0.95, seed=1)
    table = runs_table.runs_table(tmp_path)
    assert said.format(2, "90.50") in table and table.count("Over ") == 1
    # Runs whose names say nothing of seeds.
    write_other_run(tmp_path, "verlet", 0.97, seed=8, model={"h": 0.1})
    table = runs_table.runs_table(tmp_path)
    assert said.format(2, "90.50") in table and said.format(2, "96.00") in table
    write_other_run(tmp_path, "seed-1", 0.91, made={"code": "other"}, seed=1)
    assert said.format(2, "90.50") in runs_table.runs_table(tmp_path)
    write_other_run(tmp_path, "seed-1", 0.91, made={"backend": "tensorflow"}, seed=1)
    assert said.format(2, "90.50") not in runs_table.runs_table(tmp_path)


def test_history_of_another_training_is_refused(tmp_path):
    run = make_run()
    write_run(run, tmp_path)
    write_run(dataclasses.replace(run, provenance=outputs.names(tmp_path / "training", run.provenance)), tmp_path)
    with (tmp_path / "training" / "history.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(InputError, match="history.csv is not of the training that provenance.json beside it names"):
        verdicts.read_run(tmp_path)


def test_model_of_other_parameters_than_the_training_is_refused(tmp_path):
    write_run(make_run(), tmp_path)
    page = nbformat.v4.new_notebook()
    page.cells = [nbformat.v4.new_code_cell('# Parameters\nparams = {"model": {"h": 0.3, "kernel_size": 3}}\n')]
    page.cells[0].metadata["tags"] = ["injected-parameters"]
    nbformat.write(page, tmp_path / "model" / "model.ipynb")
    with pytest.raises(InputError, match="model is of other parameters than .*: model.h was 0.3, is 0.15; run: resode"):
        verdicts.read_run(tmp_path)


def test_effort_tells_machines_and_commits_once_and_the_time_of_all():
    how = {"hardware": "CPU", "backend": "tensorflow", "precision": "float32", "commit": "a" * 40, "modified": False}
    there = how | {"hardware": "GPU", "backend": "jax", "commit": "b" * 40}
    pieces = [how, how, there, how | {"commit": "c" * 40}]
    whole = {**there, "wall_seconds": 5400.0, "resumes": 1}
    assert runs_table.effort(whole | {"pieces": pieces}) == (
        "CPU, tensorflow, float32, and GPU, jax, float32, commits aaaaaaa, bbbbbbb, ccccccc; 1.50 h, resumed once"
    )
    assert runs_table.effort(whole) == "GPU, jax, float32, commit bbbbbbb; 1.50 h, resumed once"
    changed = whole | {"resumes": 12, "modified": True}
    assert runs_table.effort(changed).endswith("bbbbbbb (modified); 1.50 h, resumed 12 times")
    table = verdicts.provenance_table(dataclasses.replace(make_run(), provenance=whole | {"pieces": pieces}))
    assert "| piece 3 · hardware | `GPU` |" in table


@pytest.mark.slow
def test_report_needs_no_deep_learning_framework():
    code = "import sys, resode.report.verdicts, resode.figures.results; sys.exit('keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": str(paths.ROOT / "src")})


def test_report_gives_no_verdict_and_no_test_accuracy_of_an_epoch():
    run = make_run()
    run.provenance["data"]["validation_fraction"] = 0.1
    for row in run.history:
        row["validation_accuracy"] = row.pop("test_accuracy")
        row["validation_loss"] = row.pop("test_loss")
    for key in ("best_test_accuracy", "last_ten_test_accuracy"):
        run.metrics[key.replace("test", "validation")] = run.metrics.pop(key)
    found = verdicts.build(run, PUBLISHED)
    lines = {line["id"]: line for line in found["lines"]}
    assert found["kind"] == verdicts.OTHER_SETTING
    assert "validation_fraction is 0.1 instead of 0" in verdicts.banner(found)
    assert lines["test_accuracy"]["reproduced"] == 0.904 and lines["best_test_accuracy"]["reproduced"] is None
    assert "never" not in verdicts.comparison_table(found)
    plots_results.training_curve(run.history)


def test_linear_schedule_is_named_and_drops_nowhere():
    run = make_run(training={"schedule": "linear", "reference_drops": []})
    built = verdicts.build(run, PUBLISHED)
    assert "training.schedule is linear instead of drops" in verdicts.banner(built)
    text = verdicts.schedule_text(built, run)
    assert text == "3 epochs, 4,686 updates; the learning rate rises and falls linearly."


def test_runs_with_predictions_are_compared_in_pairs(tmp_path):
    labels = np.zeros(12, int)

    def predict(folder, right, training="a training"):
        write_run(make_run(), folder)
        probabilities = np.eye(2)[1 - np.array(right)]
        predictions.write(folder / "evaluation", probabilities, labels[: len(right)], training)

    predict(tmp_path / "runs" / "quarter", [1] * 8 + [0] * 2 + [1, 0])
    assert runs_table.paired_table(tmp_path) == ""
    predict(tmp_path / "runs" / "eighth", [0] * 8 + [1] * 2 + [1, 0])
    # Tested on other images.
    predict(tmp_path / "runs" / "verlet", [1, 0])
    text = runs_table.paired_table(tmp_path)
    # 9 and 3 of 12 are right; 2 (1 + 10 + 45) / 2^10 by hand.
    assert text.splitlines()[-1] == "| eighth | quarter | −50.00 | 2 | 8 | 0.11 |"
    assert "verlet" not in text and "pipeline" not in text
    predict(tmp_path, [1] * 12)
    assert "| the pipeline's | quarter | +25.00 | 3 | 0 | 0.25 |" in runs_table.paired_table(tmp_path)
    predict(tmp_path / "runs" / "eighth", [1] * 12, "another")
    with pytest.raises(InputError, match="predictions.npz is not of the training"):
        runs_table.paired_table(tmp_path)
