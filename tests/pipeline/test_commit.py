"""`resode commit`: results are compared with params.yaml, the data and the training before DVC takes them."""

import json

import nbformat
import pytest

from resode import cli
from resode.base import paths
from resode.config import parameters
from resode.pipeline import dvc
from resode.training import outputs


@pytest.fixture
def committed(noise, tmp_path, monkeypatch):
    """Results of stages as params.yaml has them, on a data set of noise; the list of what DVC is told to commit."""
    content = parameters.read()
    content["data"]["name"] = "digits"
    monkeypatch.setattr(parameters, "read", lambda: content)
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    monkeypatch.setattr(paths, "check_for_dvc", lambda: None)
    for stage in ("model", "training", "evaluation", "report"):
        given = {} if stage == "report" else {"seed": content["seed"], "model": content["model"]}
        page(stage, given)
    described = json.loads((paths.dataset("digits") / "dataset.json").read_text())
    params = {"seed": content["seed"], "model": content["model"]}
    write(
        "training/provenance.json",
        {"data": {"sha256": described["sha256"]}, "params": params, **outputs.names(tmp_path, {})},
    )
    training = json.loads((tmp_path / "training/provenance.json").read_text())["training"]
    write("evaluation/metrics.json", {"training": training})
    write("report/report.json", {"training": training})
    told = []
    monkeypatch.setattr(dvc, "main", lambda arguments: told.append(arguments))
    return told


def page(stage, given):
    made = nbformat.v4.new_notebook()
    made.cells = [
        nbformat.v4.new_code_cell(f"# Parameters\nparams = {given!r}\n", metadata={"tags": ["injected-parameters"]})
    ]
    (paths.RESULTS / stage).mkdir(exist_ok=True)
    nbformat.write(made, paths.RESULTS / stage / f"{stage}.ipynb")


def write(name, content):
    (paths.RESULTS / name).write_text(json.dumps(content))


def test_results_of_params_yaml_or_of_fewer_parameters_are_given_to_dvc(committed):
    # A parameter that did not exist then is no difference.
    model = dict(parameters.read()["model"])
    del model["kernel_initializer"]
    page("model", {"model": model})
    assert cli.main(["commit", "model", "training", "evaluation", "report"]) == 0
    assert committed == [["commit", "--force", "model", "training", "evaluation", "report"]]


@pytest.mark.parametrize("stage", ["model", "training", "evaluation"])
@pytest.mark.parametrize("key", ["h", "channels", "activation"])
def test_results_of_other_parameters_are_refused(stage, key, committed, refused):
    page(stage, {"model": parameters.read()["model"] | {key: "other"}})
    said = f"{stage} is of other parameters than params.yaml: model.{key} was other, is "
    assert said in refused("commit", stage) and not committed


@pytest.mark.parametrize("name", ["evaluation/metrics.json", "report/report.json"])
def test_results_of_another_training_are_refused(name, committed, refused):
    write(name, {"training": "another"})
    assert f"{name} is not of the training in" in refused("commit", name.split("/")[0]) and not committed


def test_weights_of_other_parameters_than_their_page_are_refused(committed, refused):
    made = json.loads((paths.RESULTS / "training" / "provenance.json").read_text())
    write("training/provenance.json", made | {"params": {"seed": 7}})
    assert "training is of other parameters than params.yaml: seed was 7, is 0; run:" in refused("commit", "training")
    assert not committed


def test_training_on_other_data_and_what_is_no_stage_are_refused(committed, refused):
    write("training/provenance.json", {"data": {"sha256": {}}, "params": {}})
    assert "is of other data than" in refused("commit", "training")
    assert "no stage 'cifar10' is a notebook" in refused("commit", "cifar10")
    assert "toys.ipynb is missing; run: dvc repro toys" in refused("commit", "toys") and not committed
