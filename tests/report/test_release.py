"""The weights in git: published from a finished run, checked against its accuracy, and used where there are no others."""

import json
import shutil

import pytest
from PIL import Image

from helpers import make_run, settings
from resode import cli
from resode.analysis import evaluation
from resode.base import files, paths
from resode.base.errors import InputError
from resode.config import parameters, yaml
from resode.data import digits, records
from resode.inference import predict, trained, weights_schema
from resode.report import release
from resode.training import loop


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folder of data sets, of which there is one."""
    folder = tmp_path_factory.mktemp("data")
    digits.write(folder / "digits")
    return folder


@pytest.fixture(scope="module")
def results(data, tmp_path_factory):
    """Results of a finished run, on a few of the images and tested on all that test."""
    folder = tmp_path_factory.mktemp("results")
    whole = records.load(data / "digits")
    short = records.Dataset(
        **{**vars(whole), "train_images": whole.train_images[:81], "train_labels": whole.train_labels[:81]}
    )
    loop.train(short, settings(), folder / "training", folder / "runs")
    network = trained.Network(folder / "training")
    history = evaluation.read_history(folder / "training" / "history.csv")
    probabilities = network.predict(whole.test_images)
    found = evaluation.metrics(history, probabilities, whole.test_labels, whole.class_names)
    found["training"] = network.provenance["training"]
    evaluation.write(folder / "evaluation", found, whole.test_labels, probabilities, whole.class_names)
    return folder


@pytest.fixture
def published(results, data, tmp_path, monkeypatch):
    """The file that was published, in the place where git carries it; without a training in results/."""
    monkeypatch.setattr(paths, "DATA", data)
    monkeypatch.setattr(paths, "RESULTS", results)
    monkeypatch.setattr(paths, "NETWORK", tmp_path / "network" / "network.safetensors")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    release.write()
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    return paths.NETWORK


def test_published_weights_have_the_accuracy_of_their_run(published, results, capsys):
    assert cli.main(["verify"]) == 0
    correct = json.loads((results / "evaluation" / "metrics.json").read_text())["test_correct"]
    said = capsys.readouterr().out
    assert (
        f": {correct} of 360, 95 % interval" in said
        and f"{correct} of 360 when they were published here (run the pipeline's)." in said
    )


def test_files_of_ones_own_training_have_its_accuracy(published, results, tmp_path, refused, capsys):
    path = tmp_path / "own.safetensors"
    assert cli.main(["export", str(path), "--weights", str(results / "training")]) == 0
    assert cli.main(["verify", "--weights", str(path)]) == 0
    correct = json.loads((results / "evaluation" / "metrics.json").read_text())["test_correct"]
    said = capsys.readouterr().out
    assert f": {correct} of 360, 95 % interval" in said and "published" not in said
    network = trained.Network(path)
    path.write_bytes(trained.encoded(network.keras, network.params, network.class_names, network.mean))
    said = f"{path} does not tell its data set; resode export NAME writes a file that does"
    assert refused("verify", "--weights", path) == said


def test_other_accuracy_and_other_images_are_named(published, refused):
    network = trained.Network(published)

    def told(**changes):
        facts = network.facts | changes
        content = trained.encoded(network.keras, network.params, network.class_names, network.mean, facts)
        published.write_bytes(content)

    told(test_correct=network.facts["test_correct"] + 1)
    assert "differs by more than 5 of 10,000 images" in refused("verify")
    told(data=network.facts["data"] | {"sha256": {}})
    assert "holds other images than those" in refused("verify")


def test_file_that_does_not_tell_its_accuracy_is_one_line(published, refused):
    network, told = trained.Network(published), {"data": {"name": "digits", "sha256": {}}}
    content = trained.encoded(network.keras, network.params, network.class_names, network.mean, told, network.data)
    published.write_bytes(content)
    said = f"{published} does not tell its run, data set and test accuracy; resode publish"
    assert refused("verify").startswith(said)
    with pytest.raises(InputError, match="does not tell its run"):
        release.text()


def test_prediction_without_a_training_uses_them(published, results, tmp_path, capsys):
    image = tmp_path / "image.png"
    Image.fromarray(records.load(paths.dataset("digits")).test_images[0]).save(image)
    assert cli.main(["predict", str(image)]) == 0
    by_file = capsys.readouterr().out
    predict.run([image], results / "training", low_memory=False, unroll_length=None)
    assert capsys.readouterr().out == by_file
    predict.run([image], published, low_memory=False, unroll_length=2)
    assert capsys.readouterr().out == by_file


def test_model_card_tells_what_the_files_tell(published, results):
    card = published.with_name("README.md").read_text(encoding="utf-8")
    provenance = json.loads((results / "training" / "provenance.json").read_text())
    metrics = json.loads((results / "evaluation" / "metrics.json").read_text())
    assert "Another setting than the post's: data.name is digits instead of cifar10; model.channels is" in card
    assert f"commit {provenance['commit'][:7]}" in card
    by_class = json.loads((results / "evaluation" / "class_accuracy.json").read_text())
    for label, accuracy in by_class["class_accuracy"].items():
        assert f"| {label} | {100 * accuracy:.2f} % |" in card
    assert "| learning_rate | `0.05` |" in card and "Handwritten digits" in card
    (result,) = yaml.parse(card.split("---\n")[1], "card")["model-index"][0]["results"]
    assert result["dataset"]["type"] == "digits"
    assert result["metrics"][0]["value"] == pytest.approx(metrics["test_accuracy"], abs=1e-6)


def test_card_tells_which_images_were_looked_at_after_each_epoch():
    run = vars(make_run())
    run["provenance"]["params"] = parameters.trained_with(parameters.load())
    run["provenance"]["data"]["source"] = "made here"
    run["metrics"]["class_accuracy"] = {"cat": 0.9}
    said = "The\ntest images were looked at after each epoch, as in the post, and decided"
    assert said in release.card("first", run, 1)
    run["provenance"]["data"]["validation_fraction"] = 0.1
    for row in run["history"]:
        row |= {f"validation_{name}": row.pop(f"test_{name}") for name in ("loss", "accuracy")}
    card = release.card("first", run, 1)
    assert "without a fraction of 0.1 that was held out.\nThe held-out images were looked at after each" in card
    assert said not in card


def test_evaluation_of_another_training_is_not_published(published, results, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", shutil.copytree(results, tmp_path / "mixed"))
    path = tmp_path / "mixed" / "evaluation" / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"training": "another"}))
    good = published.read_bytes()
    with pytest.raises(InputError, match="metrics.json is not of the training in"):
        release.write()
    assert published.read_bytes() == good


def test_readme_text_tells_the_run(published):
    told = weights_schema.Weights(published).facts
    said = f"run the pipeline's, {told['test_correct']} of 360 test images, [model card](network/README.md)"
    assert said in release.text()
    published.unlink()
    assert "No weights are in git yet" in release.text()


def test_damaged_or_missing_weights_of_git_are_restored_from_git(published, refused):
    restore = "restore it with: git checkout network/network.safetensors"
    content = bytearray(published.read_bytes())
    content[-1] ^= 1
    published.write_bytes(content)
    assert refused("verify") == f"cannot read {published} as weights: its checksum is another; {restore}"
    published.unlink()
    said = f"no weights at {published}; {restore}, or bring those of a finished run there with: resode publish"
    assert refused("verify").startswith(said)


def test_run_that_is_not_finished_or_whose_weights_are_elsewhere_names_its_training(published, results, tmp_path):
    with pytest.raises(InputError, match="holds no finished run; run: resode run eighth"):
        release.write("eighth")
    shutil.copytree(results, tmp_path / "runs" / "eighth")
    (tmp_path / "runs" / "eighth" / "training" / "model.weights.h5").unlink()
    with pytest.raises(InputError, match="no trained weights at .*model.weights.h5; run: resode run eighth"):
        release.write("eighth")


def test_cost_and_accuracy_of_other_unroll_lengths_of_the_published_weights(published, results):
    assert release.unroll_lengths(results) == ""
    training = json.loads((results / "training" / "provenance.json").read_text())["training"]
    same = {"low": 0.8, "high": 0.95, "total": 360}
    rows = [
        {"integrator": name, "unroll_length": n, "h": 0.6 / n, "cost": n / 4, "accuracy": accuracy} | same
        for name, n, accuracy in (("euler", 2, 0.85), ("euler", 4, 0.9), ("rk4", 1, 0.5))
    ]
    content = {"training": training, "data": "digits", "integrator": "euler", "unroll_length": 4, "rows": rows}
    path = results / "stability" / "refinement.json"
    try:
        files.write_json(path, content)
        text = release.unroll_lengths(results)
        assert "| 2 | 0.3 | 50 % | 85.00 % (80.00 to 95.00) |\n| 4 (training) | 0.15 | 100 % | 90.00 %" in text
        assert "50.00 %" not in text and "360 test images of digits" in text
        files.write_json(path, content | {"training": "another"})
        with pytest.raises(InputError, match="is not of the training"):
            release.unroll_lengths(results)
        # The run was trained again since it was published.
        made = weights_schema.Weights(published)
        telling = made.facts | {"training": "before"}
        network = trained.Network(results / "training")
        published.write_bytes(
            trained.encoded(network.keras, network.params, network.class_names, network.mean, telling)
        )
        files.write_json(path, content)
        with pytest.raises(InputError, match="refinement.json is of another training than .*network.safetensors"):
            release.unroll_lengths(results)
    finally:
        path.unlink()
