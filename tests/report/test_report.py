"""Report: every branch of the verdict, and the README's generated table."""

import dataclasses
import json
import os
import subprocess
import sys
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


def test_claim_is_what_params_yaml_starts_from():
    # The file itself may be edited; what decides is that the schema's keys are the claim's keys.

    sections = parameters.load()
    for section, keys in PUBLISHED["claim"].items():
        assert set(keys) <= set(getattr(sections, section).model_dump())


def test_reproduction():
    run = make_run()
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
    [
        (0.8937, "reproduced"),
        (0.8936, "not reproduced"),
        (0.9137, "reproduced"),
        (0.9138, "not reproduced"),
    ],
)
def test_tolerance_is_inclusive_on_both_sides(accuracy, verdict):
    assert by_figure(make_run(accuracy))["test_accuracy"] == verdict


def test_one_parameter_off_is_not_reproduced():
    run = make_run()
    run.model["parameters"]["total"] += 1
    assert by_figure(run)["parameters"] == "not reproduced"
    assert by_figure(run)["trainable_parameters"] == "reproduced"


def test_headline_names_a_failure():
    text = verdicts.headline(verdicts.build(make_run(0.88), PUBLISHED))
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
        (
            1000,
            200.0,
            "digits",
            "CIFAR-10, with a smaller network and a shorter schedule, so that it takes minutes on any",
        ),
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
        (
            {"training": {"reference_drops": [32000.0]}},
            "training.reference_drops is [32000] instead of [32000, 48000] or [21282.25, 42564.5]",
            "reproduced",
        ),
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


def test_any_seed_is_the_claims():
    assert verdicts.build(make_run(seed=7), PUBLISHED)["kind"] == "reproduction"


@pytest.mark.parametrize(
    "drops, name",
    [
        ([32000, 48000], "text of the post"),
        ([21282.25, 42564.5], "author's notebook"),
        ([21333, 42667], "author's notebook"),
        ([21000, 42564.5], None),
        ([32000], None),
        ([], None),
        (None, None),
    ],
)
def test_schedule(drops, name):
    assert reference.schedule(drops, PUBLISHED) == name


def test_altered_data_get_no_verdict_and_are_named():
    run = make_run(published=False, training={"reference_iterations": 100.0})
    built = verdicts.build(run, PUBLISHED)
    assert built["kind"] == "altered data"
    assert by_figure(run)["test_accuracy"] == "altered data"
    assert "not the published CIFAR-10" in verdicts.banner(built)
    assert "training.reference_iterations is 100 instead of 64000" in verdicts.banner(built)


def test_run_that_never_reaches_ninety_per_cent():
    run = make_run(0.5)
    run.history[1]["test_accuracy"] = 0.6
    line = {line["id"]: line for line in verdicts.build(run, PUBLISHED)["lines"]}["first_epoch_90"]
    assert line["reproduced"] is None
    assert "| never |" in verdicts.comparison_table(verdicts.build(run, PUBLISHED))


def test_title_of_the_data_is_escaped():
    run = make_run()
    run.provenance["data"]["title"] = "<script>"
    assert "<script>" not in verdicts.headline(verdicts.build(run, PUBLISHED))


def test_tables_are_markdown():
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


def test_run_is_read_and_report_written(tmp_path):
    write_run(make_run(), tmp_path)
    run = verdicts.read_run(tmp_path)
    assert run == make_run()
    built = verdicts.build(run, PUBLISHED)
    verdicts.write(tmp_path / "report", built)
    assert json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8")) == built


@pytest.mark.parametrize("name", ["model/model.json", "training/history.csv", "evaluation/metrics.json"])
def test_missing_results_are_named(tmp_path, name):
    write_run(make_run(), tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing; run the {name.split('/')[0]} stage first"):
        verdicts.read_run(tmp_path)


def test_broken_and_foreign_results_are_refused(tmp_path):
    write_run(make_run(), tmp_path)
    path = tmp_path / "evaluation" / "metrics.json"
    for text, why in {"{": "is not JSON", "[" * 100_000: "nested too deep", "[]": "holds no results"}.items():
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=f"{why}.*; run the evaluation stage again"):
            verdicts.read_run(tmp_path)


REACHED = {"status": "partial", "figures": {"test_accuracy": 0.88, "parameters": 1}}


def test_readme_has_no_row_of_what_is_not_known(tmp_path):
    assert verdicts.readme_table(None, tmp_path) == ""
    rows = verdicts.readme_table(REACHED, tmp_path).splitlines()
    assert rows[2:] == [
        "| Parameters | 3,157,914 | 1 | -3,157,913 | partial |",
        "| Test accuracy, last epoch | 90.37 % | 88.00 % | −2.37 | partial |",
    ]


def test_readme_with_the_model_only(tmp_path):
    (tmp_path / "model").mkdir()
    model = make_run().model
    (tmp_path / "model" / "model.json").write_text(json.dumps(model), encoding="utf-8")
    rows = verdicts.readme_table(None, tmp_path).splitlines()
    assert rows[2] == "| Parameters | 3,157,914 | 3,157,914 | 0 | settled: ✓ reproduced |"
    assert len(rows) == 4
    model["matches_published"] = False
    (tmp_path / "model" / "model.json").write_text(json.dumps(model), encoding="utf-8")
    assert "no verdict: different setting" in verdicts.readme_table(None, tmp_path).splitlines()[2]


@pytest.mark.parametrize("changes, shown", [({}, True), ({"data": "digits"}, False)])
def test_readme_shows_a_reproduction_and_no_demo(tmp_path, changes, shown):
    run = make_run(**changes)
    write_run(run, tmp_path)
    verdicts.write(tmp_path / "report", verdicts.build(run, PUBLISHED))
    assert ("90.40 %" in verdicts.readme_table(None, tmp_path)) is shown


def test_tables_go_between_their_markers():
    begin, end = readme.markers("result")
    table = {"result": "[new](results/new), [why](docs/why.md), [post](https://a.org/docs/)"}
    text = readme.filled("docs/page.md", f"# Title\n\n{begin}\nold\n{end}\n\nmore\n", table)
    new = "[new](../results/new), [why](../docs/why.md), [post](https://a.org/docs/)"
    assert text == f"# Title\n\n{begin}\n{new}\n{end}\n\nmore\n"


@pytest.mark.parametrize("order", [(), (1, 0), (0,)])
def test_readme_without_markers_is_refused(order):
    text = " ".join(readme.markers("speed")[i] for i in order)
    with pytest.raises(InputError, match="README.md needs the lines"):
        readme.filled("README.md", text, {"speed": "table"})


def test_tables_of_the_repository_are_current():
    for path, text in readme.pages().items():
        assert path.read_text(encoding="utf-8") == text, "run: python -m resode readme"


def write_other_run(results: Path, name: str | None, accuracy: float, **changes) -> None:
    folder = results / "runs" / name if name else results
    write_run(make_run(accuracy), folder)
    path = folder / "training" / "provenance.json"
    provenance = json.loads(path.read_text(encoding="utf-8"))
    provenance |= {"backend": "jax", "precision": "float32", "resumes": 2}
    for key, value in changes.items():
        section, _, name = key.rpartition(".")
        (provenance["params"][section] if section else provenance["params"])[name] = value
    path.write_text(json.dumps(provenance), encoding="utf-8")


def test_changes_of_other_runs_are_those_of_their_training(tmp_path):
    assert "No other run yet" in runs_table.runs_table(tmp_path)
    write_other_run(tmp_path, "seed-1", 0.91, **{"seed": 1, "augmentation.interpolation": "nearest"})
    # Whatever runs.yaml says of this name.
    write_other_run(tmp_path, "bilinear", 0.5, **{"model.h": 0.05, "augmentation.interpolation": "bilinear"})
    usual = runs_table.published_setting()["augmentation.interpolation"]
    rows = {row.split(" |")[0]: row for row in runs_table.runs_table(tmp_path).splitlines()}
    other = {"nearest": "", "bilinear": ""} | {
        name: f"; augmentation.interpolation: {name}" for name in ("nearest", "bilinear") if name != usual
    }
    assert f"| seed: 1{other['nearest']} | 91.00 %" in rows["| seed-1"]
    # The seed is make_run's.
    assert f"| seed: 3; model.h: 0.05{other['bilinear']} |" in rows["| bilinear"]
    assert "initial weights" not in runs_table.runs_table(tmp_path)


def test_claims_values_are_the_usual_ones_whatever_params_yaml_says(monkeypatch):
    content = parameters.read()
    monkeypatch.setattr(parameters, "read", lambda: content | {"model": content["model"] | {"h": 0.3}, "seed": 7})
    usual = runs_table.published_setting()
    assert (usual["model.h"], usual["seed"], usual["training.reference_drops"]) == (0.15, 7, [32000, 48000])


def test_statistics_over_seeds_are_of_runs_in_which_all_but_the_seed_is_equal(tmp_path):
    said = "Over {} seeds the test accuracy after the last epoch is {} %"
    write_other_run(tmp_path, None, 0.90, seed=0)
    write_other_run(tmp_path, "seed-1", 0.91, seed=1)
    assert said.format(2, "90.50") + " ± 0.71 points" in runs_table.runs_table(tmp_path)
    write_other_run(tmp_path, "seed-2", 0.95, **{"seed": 2, "model.h": 0.1})
    write_other_run(tmp_path, "seed-3", 0.95, seed=1)
    table = runs_table.runs_table(tmp_path)
    assert said.format(2, "90.50") in table and table.count("Over ") == 1
    # Runs whose names say nothing of seeds.
    write_other_run(tmp_path, "verlet", 0.97, **{"seed": 8, "model.h": 0.1})
    table = runs_table.runs_table(tmp_path)
    assert said.format(2, "90.50") in table and said.format(2, "96.00") in table
    path = tmp_path / "runs" / "seed-1" / "training" / "provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"code": "other"}))
    assert said.format(2, "90.50") not in runs_table.runs_table(tmp_path)


@pytest.mark.parametrize("name", ["evaluation/metrics.json", "stability/stability.json"])
@pytest.mark.parametrize("training", ["another", None])
def test_results_of_another_training_are_refused(tmp_path, name, training):
    write_run(make_run(), tmp_path)
    path = tmp_path / name
    path.write_text(json.dumps(json.loads(path.read_text()) | {"training": training}))
    with pytest.raises(InputError, match=f"{name} is not of the training in .*; run: resode run"):
        verdicts.read_run(tmp_path)
    if name.startswith("evaluation"):
        with pytest.raises(InputError, match="is not of the training"):
            runs_table.read_trained(tmp_path)


def test_results_of_no_training_at_all_are_not_one(tmp_path):
    run = make_run()
    del run.provenance["training"], run.metrics["training"]
    write_run(run, tmp_path)
    with pytest.raises(InputError, match="is not of the training in"):
        verdicts.read_run(tmp_path)


@pytest.mark.parametrize("name", ["history.csv", "metrics.json"])
def test_files_of_another_training_are_refused(tmp_path, name):
    write_run(make_run(), tmp_path)
    path = tmp_path / "training" / "provenance.json"
    (tmp_path / "training" / "metrics.json").write_text("{}")
    path.write_text(json.dumps(json.loads(path.read_text()) | outputs.names(path.parent, {})))
    with (path.parent / name).open("a") as file:
        file.write("\n")
    with pytest.raises(InputError, match=f"{name} is not of the training that provenance.json beside it names"):
        verdicts.read_run(tmp_path)


def test_class_accuracies_and_report_of_another_training_are_refused(tmp_path):
    run = make_run()
    write_run(run, tmp_path)
    (tmp_path / "evaluation" / "class_accuracy.json").write_text('{"training": "another", "class_accuracy": {}}')
    with pytest.raises(InputError, match="class_accuracy.json is not of the training"):
        runs_table.read_trained(tmp_path)
    verdicts.write(tmp_path / "report", verdicts.build(run, PUBLISHED) | {"training": "another"})
    with pytest.raises(InputError, match="report.json is not of the training"):
        verdicts.readme_table(None, tmp_path)


def test_model_of_other_parameters_than_the_training_is_refused(tmp_path):
    write_run(make_run(), tmp_path)
    page = nbformat.v4.new_notebook()
    page.cells = [nbformat.v4.new_code_cell('# Parameters\nparams = {"model": {"h": 0.3, "kernel_size": 3}}\n')]
    page.cells[0].metadata["tags"] = ["injected-parameters"]
    nbformat.write(page, tmp_path / "model" / "model.ipynb")
    with pytest.raises(InputError, match="model is of other parameters than .*: model.h was 0.3, is 0.15; run: resode"):
        verdicts.read_run(tmp_path)


def test_results_made_before_the_initial_weights_were_a_parameter_say_so(tmp_path):
    write_run(make_run(0.90), tmp_path)
    write_other_run(tmp_path, "seed-1", 0.91)
    path = tmp_path / "runs" / "seed-1" / "training" / "provenance.json"
    provenance = json.loads(path.read_text())
    del provenance["params"]["model"]["kernel_initializer"]
    path.write_text(json.dumps(provenance))
    assert "with the initial weights and the loss of Keras 3." in runs_table.runs_table(tmp_path)


def test_effort_tells_machines_and_commits_once_and_the_time_of_all():
    how = {"hardware": "CPU", "backend": "tensorflow", "precision": "float32", "commit": "a" * 40, "modified": False}
    there = how | {"hardware": "GPU", "backend": "jax", "commit": "b" * 40}
    pieces = [how, how, there, how | {"commit": "c" * 40}]
    whole = {**there, "wall_seconds": 5400.0, "resumes": 1}
    assert runs_table.effort(whole | {"pieces": pieces}) == (
        "CPU, tensorflow, float32, and GPU, jax, float32, commits aaaaaaa, bbbbbbb, ccccccc; 1.50 h, resumed once"
    )
    assert runs_table.effort(whole) == "GPU, jax, float32, commit bbbbbbb; 1.50 h, resumed once"
    assert (
        runs_table.effort(whole | {"resumes": 0, "pieces": pieces[2:3]}) == "GPU, jax, float32, commit bbbbbbb; 1.50 h"
    )
    assert runs_table.effort(whole | {"resumes": 12, "modified": True}).endswith(
        "bbbbbbb (modified); 1.50 h, resumed 12 times"
    )
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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizer": "muon"}, "training.optimizer is muon instead of sgd"),
        ({"nesterov": True}, "training.nesterov is True instead of False"),
        ({"label_smoothing": 0.1}, "training.label_smoothing is 0.1 instead of 0"),
    ],
)
def test_another_optimizer_or_loss_is_another_setting(change, words):
    found = verdicts.build(make_run(training=change), PUBLISHED)
    assert found["kind"] == verdicts.OTHER_SETTING and words in verdicts.banner(found)


def test_linear_schedule_is_named_and_drops_nowhere():
    run = make_run(training={"schedule": "linear", "reference_drops": []})
    built = verdicts.build(run, PUBLISHED)
    assert "training.schedule is linear instead of drops" in verdicts.banner(built)
    text = verdicts.schedule_text(built, run)
    assert text == "3 epochs, 4,686 updates; the learning rate rises and falls linearly."


def test_training_from_few_steps_to_many_is_another_setting():
    found = verdicts.build(make_run(training={"unroll_schedule": [[2, 0.0], [4, 32000.0]]}), PUBLISHED)
    assert found["kind"] == verdicts.OTHER_SETTING
    assert "unroll_schedule is [[2, 0], [4, 32000]] instead of none" in verdicts.banner(found)


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
