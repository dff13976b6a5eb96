"""Going on from the checkpoint of a run with another schedule, or from one that was handed over."""

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from dvc.fs import LocalFileSystem
from dvc.ignore import DvcIgnorePatterns

from helpers import SMALL, files, settings, small_dataset, train
from resode import cli
from resode.base import paths
from resode.base.errors import Diverged, InputError
from resode.config import parameters
from resode.data import records
from resode.experiments import runs
from resode.nn import loops
from resode.training import checkpoint, compiling, engine, identity, loop

# 20 updates, blocks that end at the drop after 15 before they are whole; the longer ones have 40. XLA:CPU compiles blocks for
# half a minute.
SHORT = {**SMALL["training"], "block_length": 1 if loops.loops_are_slow() else 4}
LATER = SHORT | {"reference_iterations": 40.0, "reference_drops": [25.0, 30.0]}
LONGER = SHORT | {"reference_iterations": 40.0, "reference_drops": [15.0, 30.0]}
UNDROPPED = SHORT | {"reference_iterations": 40.0, "reference_drops": []}


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    folder = tmp_path_factory.mktemp("short")
    train(folder, training=SHORT)
    return folder


def provenance(folder):
    return json.loads((folder / "results" / loop.PROVENANCE).read_text())


def stretches(folder):
    return [(piece["from"], piece["to"], piece["of"], piece["processes"]) for piece in provenance(folder)["pieces"]]


def hand_over(folder, change=lambda state: None):
    """The checkpoint at the drop of the run in `folder`, as other code left it, with a `change` of what it says."""
    (path,) = folder.glob("runs/*/000000015.checkpoint")
    values, state = checkpoint.read(path)
    state["inputs"] |= {"code": {"training": "another"}, "software": {"backend": "another"}}
    state["pieces"][-1] |= {"commit": "c0ffee", "hardware": "another machine"}
    change(state)
    written = folder / "written"
    written.mkdir(exist_ok=True)
    checkpoint.save(written, 15, values, state)
    return written / "000000015.checkpoint"


@pytest.mark.slow
@pytest.mark.jax
@pytest.mark.parametrize(("schedule", "update"), [(LATER, 15), (LONGER, 20), (UNDROPPED, 15)])
def test_longer_schedule_goes_on_to_the_bytes_of_one_from_scratch(short, tmp_path, capsys, schedule, update):
    shutil.copytree(short / "runs", tmp_path / "on" / "runs")
    train(tmp_path / "on", training=schedule)
    said = capsys.readouterr().out
    assert f"{update:09d}.checkpoint, of a run whose schedule is the same up to there." in said
    assert f"Resuming after update {update} of 40." in said
    train(tmp_path / "scratch", training=schedule)
    assert files(tmp_path / "on") == files(tmp_path / "scratch")
    assert stretches(tmp_path / "on") == [(0, update, 20, 1), (update, 40, 40, 1)]
    assert provenance(tmp_path / "on")["wall_seconds"] == pytest.approx(
        sum(piece["seconds"] for piece in provenance(tmp_path / "on")["pieces"]), abs=0.2
    )


@pytest.mark.slow
def test_kill_right_after_the_adoption_resumes(short, tmp_path, monkeypatch):
    shutil.copytree(short / "runs", tmp_path / "on" / "runs")

    def killed(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop._Run, "_advance", killed)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "on", training=LATER)
    monkeypatch.undo()
    train(tmp_path / "on", training=LATER)
    train(tmp_path / "scratch", training=LATER)
    assert files(tmp_path / "on") == files(tmp_path / "scratch")


@pytest.mark.parametrize(
    "change",
    [
        {"params": {"training": {"reference_drops": [10.0, 30.0]}}},
        {"params": {"training": {"learning_rate": 0.04}}},
        {"params": {"seed": 1}},
        {"params": {"model": {"h": 0.2}}},
        {"params": {"augmentation": {"shift": 0.2}}},
        {"data": {"a": "c"}},
        {"code": {"training": "another"}},
        {"software": {"backend": "another"}},
    ],
)
def test_checkpoint_of_another_training_is_not_gone_on_from(change):
    chosen = settings(training=LONGER)
    ours = identity.all_inputs(small_dataset(), chosen)

    def changed(inputs, change):
        both = {key: changed(inputs[key], value) for key, value in change.items() if isinstance(value, dict)}
        return {**inputs, **change, **both}

    theirs = changed(json.loads(json.dumps(ours)), change)
    assert checkpoint.agree(ours, json.loads(json.dumps(ours)), 40)
    assert not checkpoint.agree(ours, theirs, 20)
    # A hand-over is by other code elsewhere, and of the same training.
    assert checkpoint.agree(ours, theirs, 20, any_code=True) == bool({"code", "software"} & set(change))


def test_after_one_drop_its_factor_has_to_be_equal():
    ours = identity.all_inputs(small_dataset(), settings(training=LONGER))
    theirs = identity.all_inputs(small_dataset(), settings(training=LONGER | {"drop_factor": 0.2}))
    assert checkpoint.agree(ours, theirs, 15) and not checkpoint.agree(ours, theirs, 16)


@pytest.mark.jax("slow")
def test_handed_over_checkpoint_is_gone_on_from_and_told(short, tmp_path, capsys):
    given = hand_over(short)
    loop.train(small_dataset(), settings(training=SHORT), tmp_path / "results", tmp_path / "runs", given)
    assert f"Going on from {given}, which was handed over." in capsys.readouterr().out
    assert files(tmp_path) == files(short)
    assert stretches(tmp_path) == [(0, 15, 20, 1), (15, 20, 20, 1)]
    found = provenance(tmp_path)
    assert [piece["hardware"] for piece in found["pieces"]] == ["another machine", found["hardware"]]
    assert found["pieces"][0]["commit"] == "c0ffee" and found["resumes"] == 1


@pytest.mark.slow
def test_handed_over_checkpoint_of_another_training_is_left_alone(short, tmp_path, capsys):
    given = hand_over(short, lambda state: state["inputs"]["params"]["model"].update(h=0.2))
    loop.train(small_dataset(), settings(training=SHORT), tmp_path / "results", tmp_path / "runs", given)
    assert f"{given} is left alone: it is of a training with other params.model.h." in capsys.readouterr().out
    assert files(tmp_path) == files(short)
    assert stretches(tmp_path) == [(0, 20, 20, 1)]


def test_own_checkpoint_that_is_further_than_the_one_handed_over_is_used(short, tmp_path, capsys):
    shutil.copytree(short / "runs", tmp_path / "runs")
    loop.train(small_dataset(), settings(training=SHORT), tmp_path / "results", tmp_path / "runs", hand_over(short))
    assert "already complete" in capsys.readouterr().out
    assert files(tmp_path) == files(short)
    assert stretches(tmp_path) == stretches(short) == [(0, 20, 20, 1)]


def weights(change):
    return lambda state, values: values.update({"stem_convolution/kernel": change(values["stem_convolution/kernel"])})


WRONG = {
    "double": (weights(lambda value: value.astype("float64")), "kernel, float64 .* does not fit this network"),
    "shape": (weights(lambda value: value[0]), "kernel, float32 .* does not fit this network"),
    "another update": (lambda state, values: values.update({"sgd/iteration": np.int64(3)}), "iteration, .* update 15"),
    "one more": (lambda state, values: values.update(more=np.zeros(2)), "other variables than this network: more"),
    "no history": (lambda state, values: state.pop("history"), "it is of another version of this code"),
}


@pytest.fixture(scope="module")
def run(short):
    """The training of `short` before it looks for checkpoints, in a folder of its own."""
    chosen, dataset = settings(training=SHORT), small_dataset()
    (short / "own" / "run").mkdir(parents=True)
    told = ("test", dataset.test_images, dataset.test_labels)
    return loop._Run(dataset, told, chosen, short / "own" / "run", threading.Event())


@pytest.mark.parametrize(("change", "words"), WRONG.values(), ids=WRONG)
def test_wrong_checkpoint_with_a_right_checksum_is_refused(change, words, short, run, tmp_path, capsys):
    (path,) = short.glob("runs/*/000000015.checkpoint")
    values, state = checkpoint.read(path, run._check)
    change(state, values)
    checkpoint.save(tmp_path, 15, values, state)
    path = tmp_path / "000000015.checkpoint"
    said = rf"is damaged or no checkpoint \(.*{words}.*\); restore it with git"
    with pytest.raises(InputError, match=said) as raised:
        run._restore(path)
    assert "\n" not in str(raised.value) and run.update == 0 and not list(run.folder.iterdir())
    # In a run's own folder.
    assert checkpoint.restore(tmp_path, run._check) is None
    said = capsys.readouterr().out
    assert said.startswith("Checkpoint 000000015.checkpoint is damaged (") and said.count("\n") == 1


@pytest.mark.parametrize("where", ["own", "beside"])
def test_checkpoint_of_another_training_in_a_folder_of_this_one_is_refused(where, short, tmp_path):
    inputs = json.loads(json.dumps(identity.all_inputs(small_dataset(), settings(training=SHORT))))
    (path,) = short.glob("runs/*/000000015.checkpoint")
    values, state = checkpoint.read(path)
    folder = tmp_path / where
    folder.mkdir()
    (folder / "inputs.json").write_text(json.dumps(inputs), encoding="utf-8")
    checkpoint.save(folder, 15, values, state)
    assert checkpoint.furthest(tmp_path / "own", inputs, 20)[1]["update"] == 15
    state["inputs"]["params"]["seed"] = 5
    checkpoint.save(folder, 15, values, state)
    assert checkpoint.furthest(tmp_path / "own", inputs, 20) is None
    assert checkpoint.furthest_of_any_code(tmp_path, inputs, 20) is None


def test_weights_that_are_not_finite_are_not_kept(run, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "folder", tmp_path)
    monkeypatch.setattr(run, "_values", lambda: {"kernel": np.array([1.0, np.inf])})
    with pytest.raises(Diverged, match="the loss is not finite"):
        run._save()
    assert not list(tmp_path.iterdir())


def test_damaged_hand_over_is_one_line_and_trains_nothing(short, tmp_path):
    given = hand_over(short)
    given.write_bytes(given.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"no checkpoint \(cut short, or .*\); restore it with git, or delete it"):
        loop.train(small_dataset(), settings(training=SHORT), tmp_path / "results", tmp_path / "runs", given)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("text", ["{}", "[" * 200_000, '{"params": [1]}'], ids=["these inputs", "too deep", "a list"])
def test_odd_folders_beside_are_passed_over(text, tmp_path):
    beside = tmp_path / "beside"
    (beside / "folder" / "inputs.json").mkdir(parents=True)
    for name in ("foo.checkpoint", "000000005.checkpoint"):
        (beside / name).write_bytes(b"no checkpoint")
    inputs = identity.all_inputs(small_dataset(), settings())
    (beside / "inputs.json").write_text(json.dumps(inputs) if text == "{}" else text, encoding="utf-8")
    assert checkpoint.furthest(tmp_path / "own", inputs, 20) is None


@pytest.fixture
def tiny(short, tmp_path, monkeypatch):
    """The run `tiny` of another runs.yaml, whose checkpoints are those of `short` made by other code; its results folder."""
    flat = {"seed": 0} | {
        f"{section}.{key}": value
        for section, values in (SMALL | {"training": SHORT}).items()
        if section != "seed"
        for key, value in values.items()
    }
    shutil.copytree(short / "runs", tmp_path / "runs")
    (described,) = tmp_path.glob("runs/*/inputs.json")
    described.write_text(described.read_text().replace('"code": {', '"code": {"new": "1",'))
    monkeypatch.setattr(runs, "read", lambda: {"tiny": flat, "other": flat | {"model.h": 0.2}})
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(records, "load", lambda folder: small_dataset())
    return tmp_path / "results" / "runs" / "tiny"


def test_hand_over_writes_the_checkpoint_with_most_updates(tiny, tmp_path, capsys):
    _, last = sorted(tmp_path.glob("runs/*/*.checkpoint"))
    assert cli.main(["hand-over", "tiny"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Written: results/runs/tiny/handed_over.checkpoint; commit it"
    assert (tiny / checkpoint.HANDED_OVER).read_bytes() == last.read_bytes()
    # Copied from another machine, say, which leaves it any time.
    os.utime(last, (0, 0))
    assert cli.main(["hand-over", "tiny"]) == 0
    assert (tiny / checkpoint.HANDED_OVER).read_bytes() == last.read_bytes()


@pytest.mark.parametrize(
    ("name", "message"),
    [("other", "has no checkpoint of this run yet; run: resode run other"), ("no", "has no run 'no'")],
)
def test_nothing_to_hand_over_is_one_line(tiny, name, message, refused):
    assert message in refused("hand-over", name)


@pytest.mark.parametrize("key", ["", "model.h", "params.seed", "data.validation_fraction"])
def test_a_finished_run_deletes_the_handed_over_checkpoint_of_its_training_alone(key, tiny, short, monkeypatch, capsys):
    assert cli.main(["hand-over", "tiny"]) == 0
    shutil.copytree(short / "results", tiny / "training")
    path = tiny / "training" / loop.PROVENANCE
    done = json.loads(path.read_text())
    section, _, name = key.partition(".")
    if key:
        (done["params"]["model"] if section == "model" else done[section])[name] = 0.5
    path.write_text(json.dumps(done))
    monkeypatch.setattr(runs.subprocess, "run", lambda command, env: subprocess.CompletedProcess(command, 0))
    assert cli.main(["run", "tiny"]) == 0
    assert (tiny / checkpoint.HANDED_OVER).exists() == bool(key)
    assert ("is of no more use and deleted" in capsys.readouterr().out) != bool(key)


def test_start_from_zero_beside_a_finished_checkpoint_of_other_code_names_the_way_there(
    tiny, short, run, monkeypatch, capsys
):
    monkeypatch.setattr(run, "folder", paths.RUNS / "own")
    run.folder.mkdir()
    (last,) = paths.RUNS.glob("*/000000020.checkpoint")
    monkeypatch.setattr(paths, "RESULTS", tiny)
    run._restore(tiny / checkpoint.HANDED_OVER)
    assert (
        f"{last} is of this training after update 20, by other code or software, and is left alone. To go on from there, stop"
        " this and run: resode hand-over tiny; then the same command again."
    ) in capsys.readouterr().out
    # And there is nothing to say where it is used.
    run._restore(last)
    said = capsys.readouterr().out
    assert "Going on from" in said and "is left alone" not in said and run.update == 20
    # As for the other tests of the module.
    run.update, run.history, run.pieces = 0, [], []


SOURCE = '"""What it is."""\n\nRATE = 0.1\n\n\ndef f(x):\n    """One."""\n    return x + 1  # why\n'


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("One.", "Another.", True),
        ("# why", "# because", True),
        ("x + 1", "(x\n        + 1)", True),
        ('"""One."""\n    ', "", True),
        ("0.1", "0.2", False),
        ("def f(x)", "def f(x, y=1)", False),
        ("return", '"""no docstring"""\n    return "" or', False),
    ],
)
def test_code_is_what_the_sources_say_without_comments_and_docstrings(before, after, same):
    assert before in SOURCE
    changed = SOURCE.replace(before, after)
    assert (identity._meaning(changed.encode()) == identity._meaning(SOURCE.encode())) is same


def test_copies_that_editors_leave_are_no_code_for_dvc_either(tmp_path):
    good = ["__init__.py", "a.py", "more/b.py"]
    odd = [
        ".ipynb_checkpoints/a-checkpoint.py", ".#a.py", "a.py~", "a (copy).py", "old files/a.py", "a.py.orig", "a&b.py", "a;b/c.py",
    ]  # fmt: skip
    for name in (*good, *odd):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert sorted(paths.modules(tmp_path)) == [tmp_path / name for name in good]
    # DVC looks at folders first.
    patterns = DvcIgnorePatterns.from_file(str(paths.ROOT / ".dvcignore"), LocalFileSystem(), ".dvcignore")

    def ignored(name: str) -> bool:
        path = paths.ROOT / "src" / "resode" / name
        folder = path.parent
        return patterns.matches(str(folder), path.name) or patterns.matches(str(folder.parent), folder.name, True)

    assert [name for name in (*good, *odd) if ignored(name)] == odd


def test_a_patch_of_python_is_the_same_software(monkeypatch):
    def software(version):
        monkeypatch.setattr(loop.provenance.platform, "python_version", lambda: version)
        return identity.all_inputs(small_dataset(), settings())["software"]

    assert software("3.11.7") == software("3.11.12") != software("3.12.7")


def test_parameters_beside_results_are_those_of_the_last_training_that_ended(tiny, monkeypatch, refused):
    path = tiny / "params.yaml"
    tiny.mkdir(parents=True)
    path.write_text("of the last", encoding="utf-8")
    statuses = {"training": 1}

    def stage(command, env):
        # The parameters of the run reach the stage, whatever lies beside the results.
        assert parameters.read(Path(env["RESODE_PARAMS"])) == runs.params_of("tiny")
        return subprocess.CompletedProcess(command, statuses.get(command[-1], 0))

    monkeypatch.setattr(runs.subprocess, "run", stage)
    assert cli.main(["hand-over", "tiny"]) == 0
    refused("run", "tiny")
    assert path.read_text(encoding="utf-8") == "of the last"
    statuses.update(training=0, evaluation=1)
    assert "the stage evaluation stopped" in refused("run", "tiny")
    assert parameters.read(path) == runs.params_of("tiny")


def test_a_run_that_already_runs_is_refused_and_not_disturbed(tiny, monkeypatch, refused):
    said = f"the same already runs as process {os.getpid()}; wait for it or stop it"

    def stage(command, env):
        before = Path(env["RESODE_PARAMS"]).stat()
        assert refused("run", "tiny") == said
        assert Path(env["RESODE_PARAMS"]).stat() == before
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(runs.subprocess, "run", stage)
    assert cli.main(["run", "tiny"]) == 0


@pytest.mark.parametrize(
    "network",
    [
        {"architecture": "resnet20"},
        {"block": "two_layer_hamiltonian", "weights_in_time": "free"},
        {"block": "linear_multistep"},
    ],
)
def test_variables_have_names_of_their_own(network):
    chosen = parameters.load({**SMALL, "model": SMALL["model"] | network})
    made = compiling.compiled(chosen.model, chosen.training, 0, 2)
    named = engine.Engine(made, small_dataset(), 0.0, chosen.augmentation).variables()
    assert len(named) == len(made.variables) + len(made.optimizer.variables) + len(made.metrics_variables)
