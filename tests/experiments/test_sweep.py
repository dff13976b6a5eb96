"""Sweeps: the grid, the table, what is best; Ray losing a machine; all engines giving the same bytes."""

import contextlib
import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import helpers
from resode.analysis import sweeps
from resode.base import files, paths
from resode.base.errors import InputError
from resode.config import parameters, yaml
from resode.experiments import sweep, sweep_ray, trials
from resode.experiments.trials import Watch
from resode.figures import sweep as plots_sweep
from resode.report import readme_head
from resode.training import checkpoint

TINY = {
    "settings": {
        **helpers.DIGITS,
        "data.validation_fraction": 0.25,
        "model.channels": [4],
        "training.reference_batch_size": 4,
        "training.batch_size": 4,
        "training.reference_iterations": 6.0,
    },
    "h": [0.1, 50.0],
    "unroll_length": [1, 2],
    "seeds": [0, 1],
}


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path / ".runs")


def write(folder, **changes):
    path = folder / "sweep.yaml"
    path.write_text(yaml.text({"tiny": {**TINY, **changes}}), encoding="utf-8")
    return path


def pair(trial):
    return trial.params.model.h, trial.params.model.unroll_length


class Invented:
    """An engine that trains nothing: accuracies by (h, unroll length, seed), "diverged" or "failed"."""

    def __init__(self, results, name="invented"):
        self.results, self.name = results, name

    def run(self, trials, watch):
        for trial in trials:
            found = self.results.get((*pair(trial), trial.params.seed), 0.5)
            if isinstance(found, str):
                watch.over(trial, found, reason="no luck")
            else:
                watch.over(trial, sweeps.DONE, self.trained(trial, found))
            watch.tell(1)

    def trained(self, trial, accuracy):
        row = f"1,3,0.01,2.0,0.4,1.5,{accuracy}"
        header = "epoch,updates,learning_rate,train_loss,train_accuracy,validation_loss,validation_accuracy"
        folder = self.folder / trial.name
        files.write_text(folder / "history.csv", f"{header}\n{row}\n")
        about = {"hardware": "CPU", "backend": "none", "precision": "float32", "commit": "0" * 40, "modified": False}
        data = {"data": {"title": "Noise"}, "class_names": ["a", "b"], "wall_seconds": 1.0, "params": {}}
        files.write_json(folder / "provenance.json", about | data)
        return folder


def invented(tmp_path, results, engine="invented", **changes):
    made = Invented(results, engine)
    made.folder = tmp_path / "trained"
    sweep.run("tiny", made, write(tmp_path, **changes), tmp_path / "sweep")
    return sweeps.outcome("tiny", tmp_path / "sweep")


@pytest.mark.parametrize("name", yaml.read(sweep.FILE))
def test_the_sweeps_of_the_repository_are_accepted_and_the_committed_ones_are_these(name):
    trials, chosen = sweep.planned(name), sweep.read(name)
    assert len({trial.name for trial in trials}) == len(chosen.h) * len(chosen.unroll_length) * len(chosen.seeds)
    whole = [trial.params.seed for trial in trials]
    assert whole == sorted(whole)
    if name in sweeps.names():
        found = sweeps.outcome(name)
        assert {(one.h, one.unroll_length) for one in found.pairs} == {pair(trial) for trial in trials}
        assert found.setting["settings"] == chosen.settings


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"h": [0.1, -0.1]}, "tiny.h.1 = -0.1: input should be greater than 0"),
        ({"unroll_length": [1, "two"]}, "tiny.unroll_length.1 = 'two': input should be a valid integer"),
        ({"h": [0.15, 0.150000001]}, "tiny.h: .* names a value twice"),
        ({"settings": {**TINY["settings"], "model.h": 0.1}}, "tiny: model.h stands in the settings; it is what is compared"),
        ({"settings": {**TINY["settings"], "training": {"batch_size": 4}}}, "write the settings of training as training.NAME"),
        ({"settings": {**TINY["settings"], "seed.x": 1}}, "unknown key seed.x"),
        ({"seeds": [*range(300)]}, "tiny: 1,200 trials; at most 1,000 are taken on"),
        ({"settings": {**TINY["settings"], "data.validation_fraction": 0.0}}, "a sweep chooses on validation images"),
        ({"repeats": 3}, "unknown key tiny.repeats"),
    ],
)  # fmt: skip
def test_wrong_grids_are_refused_before_any_trial_starts(tmp_path, changes, words):
    with pytest.raises(InputError, match=words) as caught:
        invented(tmp_path, {}, **changes)
    assert "\n" not in str(caught.value) and not (tmp_path / "trained").exists()


def test_the_table_has_a_row_a_trial_and_the_best_is_the_best_mean(tmp_path, capsys):
    results = {(0.1, 1, 0): 0.7, (0.1, 1, 1): 0.8, (0.1, 2, 0): 0.75, (0.1, 2, 1): 0.77,
               (50.0, 1, 0): 0.99, (50.0, 1, 1): "diverged", (50.0, 2, 0): "diverged", (50.0, 2, 1): "diverged"}  # fmt: skip
    found = invented(tmp_path, results)
    table = list(csv.DictReader(io.StringIO((tmp_path / "sweep" / "tiny" / "trials.csv").read_text(encoding="utf-8"))))
    assert len(table) == 8 and [row["status"] for row in table].count("diverged") == 3
    assert table[0] == {"h": "0.1", "unroll_length": "1", "seed": "0", "status": "done", "updates": "3", "train_loss": "2.0",
                        "train_accuracy": "0.4", "validation_loss": "1.5", "validation_accuracy": "0.7"}  # fmt: skip
    # A pair that diverges with one seed is not chosen, however good the other.
    assert (found.best.h, found.best.unroll_length) == (0.1, 2)
    assert found.best.spread == pytest.approx(0.0141421, rel=1e-5)
    summary = sweeps.summary(found)
    assert "Best: **$h = 0.1$, unroll length 2**, 76.00 % ± 1.41" in summary
    assert "no worse as far as 2 seeds can tell: $h = 0.1$, unroll length 1" in summary
    shown = [row["validation accuracy"] for row in sweeps.rows(found)]
    assert shown[2:] == ["99.00 %, 1 of 2 diverged", "2 of 2 diverged"]
    said = "5 done, 1 running, 3 diverged, 0 failed of 8 trials; best 99.00 % (h = 50.0, unroll length 1, seed 0)"
    assert said in capsys.readouterr().out


def test_failed_trials_are_recorded_and_reported_at_the_end(tmp_path):
    said = "1 of 8 trials failed, the first with h = 0.1, unroll length 1, seed 0: no luck"
    with pytest.raises(InputError, match=said):
        invented(tmp_path, {(0.1, 1, 0): "failed"})
    found = sweeps.outcome("tiny", tmp_path / "sweep")
    assert len(found.pairs[0].accuracies) == 1 and found.pairs[0].spread is None


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_a_sweep_of_which_nothing_is_done_has_a_page(tmp_path, status):
    assert "make sweep" in sweeps.tables(tmp_path)
    grid = {"h": [50.0], "unroll_length": [1], "seeds": [0]}
    with pytest.raises(InputError) if status == "failed" else contextlib.nullcontext():
        invented(tmp_path, {(50.0, 1, 0): status}, **grid)
    found = sweeps.outcome("tiny", tmp_path / "sweep")
    assert found.best is None and "none of which trained to its end" in sweeps.summary(found)
    assert status in sweeps.tables(tmp_path / "sweep")
    readme_head.draw(tmp_path, tmp_path / "figures")
    assert (tmp_path / "figures" / "sweep_tiny.png").is_file()
    assert any(status in text.get_text() for text in plots_sweep.heat_map(found).axes[0].texts)


def test_a_second_sweep_of_a_name_is_refused_while_the_first_runs(tmp_path):
    refused = pytest.raises(InputError, match=f"already runs as process {os.getpid()}; wait for it")
    with checkpoint.locked(paths.RUNS / "sweeps" / "tiny"), refused:
        invented(tmp_path, {})
    assert not (tmp_path / "trained").exists()


def test_engines_that_gave_the_same_table_are_told_and_others_left_out(tmp_path):
    invented(tmp_path, {}, "one")
    both = invented(tmp_path, {}, "two")
    assert set(both.about) == {"one", "two"} and "the same table byte for byte" in sweeps.summary(both)
    other = invented(tmp_path, {(0.1, 1, 0): 0.9}, "two")
    assert set(other.about) == {"two"}
    (tmp_path / "sweep" / "tiny" / "two.json").unlink()
    with pytest.raises(InputError, match="of another sweep"):
        sweeps.outcome("tiny", tmp_path / "sweep")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "No $h$ keeps oscillations bounded under euler"),
        ({"model.integrator": "symplectic_euler"}, "bounded up to $h = "),
        ({"model.block": "residual"}, "no limit of stability to draw"),
    ],
)
def test_the_heat_map_draws_every_kind_of_limit(tmp_path, settings, words):
    found = invented(tmp_path, {(50.0, 2, 0): "diverged"}, settings={**TINY["settings"], **settings})
    assert words in sweeps.limit_text(found)
    figure = plots_sweep.heat_map(found)
    assert any("diverged" in text.get_text() for text in figure.axes[0].texts)
    dashed = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert len(dashed) == (settings.get("model.integrator") == "symplectic_euler")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cpus", "0"], "--cpus 0"),
        pytest.param(["--address", "127.0.0.1:1"], "no Ray cluster at 127.0.0.1:1: ", marks=pytest.mark.slow),
        (["huge"], "has no sweep 'huge'"),
    ],
)
def test_the_command_line_refuses_in_one_line(noise, arguments, words, refused, monkeypatch):
    # Of no cluster; without one nothing else is looked at.
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    assert words in refused("sweep", *arguments)


@pytest.mark.slow
def test_a_machine_is_lost_and_every_trial_is_there_once(noise, tmp_path, monkeypatch):
    # Before Ray is imported, which reads them once.
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    monkeypatch.setattr(sweep_ray, "_WATCH_SECONDS", 1)
    grid = {"h": [0.1, 1e30], "unroll_length": [2, 3], "seeds": [0]}
    trials = sweep.planned("tiny", write(tmp_path, **grid))
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    lost = cluster.add_node(num_cpus=1)

    class Losing(Watch):
        def over(self, *arguments):
            super().over(*arguments)
            if len(self.rows) == 2:
                cluster.remove_node(lost, allow_graceful=False)

    watch = Losing(trials)
    try:
        # A stranger is turned away.
        program = f"import ray; ray.init({cluster.address!r}, logging_level='error'); print('in')"
        stranger = {**os.environ, "RAY_AUTH_TOKEN": "b" * 64}
        done = subprocess.run(
            [sys.executable, "-c", program], env=stranger, capture_output=True, text=True, timeout=120
        )
        assert done.returncode and "in" not in done.stdout.split() and "uthentic" in done.stderr
        sweep_ray.Cluster(cluster.address, runs=tmp_path / "runs").run(trials, watch)
    finally:
        cluster.shutdown()
    statuses = [watch.rows[trial]["status"] for trial in trials]
    assert statuses.count(sweeps.FAILED) == 0 and len(watch.rows) == 4
    assert {trial.params.model.h for trial in trials if watch.rows[trial]["status"] == sweeps.DIVERGED} == {1e30}
    for trial in trials:
        log = (tmp_path / "runs" / trial.name / "log").read_text(encoding="utf-8")
        # Two epochs; a trial that was lost with the machine may have begun twice, none ended twice.
        assert log.count("after epoch 2") == (watch.rows[trial]["status"] == sweeps.DONE), log
        assert len(list((tmp_path / "runs" / trial.name / "runs").iterdir())) == 1


@pytest.mark.slow
def test_a_cluster_without_its_token_is_refused(tmp_path, monkeypatch, noise):
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("HOME", str(tmp_path))
    trials = sweep.planned("tiny", write(tmp_path))
    with pytest.raises(InputError, match="no token of this cluster here"):
        sweep_ray.Cluster("localhost:6379").run(trials, Watch(trials))


def test_without_ray_trials_run_in_this_process(tmp_path, noise):
    grid = {"h": [0.1, 1e30], "unroll_length": [2], "seeds": [0]}
    file = write(tmp_path, **grid)
    full = TINY["settings"] | {"training.batch_size": 24}
    sweep.run("tiny", trials.Here(tmp_path / "runs"), file, tmp_path / "sweep")
    found = sweeps.outcome("tiny", tmp_path / "sweep")
    assert set(found.about) == {"here"} and found.pairs[0].accuracies and not found.pairs[1].accuracies
    # No images are left for a batch.
    with pytest.raises(InputError, match="2 of 2 trials failed, the first with .*training.batch_size = 24"):
        sweep.run("tiny", trials.Here(tmp_path / "runs"), write(tmp_path, **grid, settings=full), tmp_path / "sweep")


@pytest.mark.slow
def test_ray_and_this_process_give_the_same_bytes(clone):
    pytest.importorskip("ray")
    # 50 would do no harm: the loss is bounded.
    grid = {"h": [0.1, 1e30], "unroll_length": [2], "seeds": [0]}
    # Two epochs of 33 updates.
    settings = {**TINY["settings"], "training.reference_iterations": 66.0}
    settings |= {"training.reference_batch_size": 32, "training.batch_size": 32}
    (clone / "sweep.yaml").write_text(yaml.text({"digits": {**TINY, **grid, "settings": settings}}), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(clone / "src")}
    # Without Ray: what sys.modules holds as None is not to be found.
    here = "import sys; sys.modules['ray'] = None; from resode import cli; sys.exit(cli.main(['sweep']))"
    table = clone / "results" / "sweep" / "digits" / "trials.csv"
    tables = []
    for command in (["-m", "resode", "digits"], ["-m", "resode", "sweep"], ["-c", here]):
        done = subprocess.run([sys.executable, *command], cwd=clone, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        tables += [] if "digits" in command else [table.read_bytes()]
    assert tables[0] == tables[1]
    rows = list(csv.DictReader(io.StringIO(tables[0].decode())))
    assert [row["status"] for row in rows] == ["done", "diverged"]
    assert np.isfinite(float(rows[0]["validation_accuracy"]))
    assert {path.stem for path in table.parent.glob("*.json")} >= {"here", "ray"}
    about = json.loads((table.parent / "here.json").read_text(encoding="utf-8"))
    assert about["data"]["name"] == "digits" and about["data"]["validation_fraction"] == 0.25


@pytest.mark.slow
def test_dvcs_own_queue_runs_a_grid_as_the_page_on_choosing_says(clone):
    page = (paths.ROOT / "docs" / "choosing.md").read_text(encoding="utf-8")
    commands = [
        line.strip() for line in page.splitlines() if line.startswith(("    dvc exp run --queue", "    dvc queue"))
    ]
    assert [command.split()[1] for command in commands] == ["exp", "queue", "queue"]
    changed = parameters.changed({**TINY["settings"], "model.unroll_length": 1, "seed": 0}, "here")
    (clone / "params.yaml").write_text(yaml.text(changed), encoding="utf-8")
    environment = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}
    # As on a fresh machine: no git identity.
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    environment.pop("PYTHONPATH", None)

    def run(command):
        done = subprocess.run(command, cwd=clone, env=environment, shell=True, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    run("git -c user.name=a -c user.email=a@localhost commit --all --quiet --message settings; python -m resode digits")
    for command in commands:
        run(command)
    helpers.wait_for(lambda: not {"Queued", "Running"} & set(run("dvc queue status").split()), seconds=4)
    shown = [row for row in csv.DictReader(io.StringIO(run("dvc exp show --csv"))) if row["typ"] != "baseline"]
    assert sorted(row["model.h"] for row in shown if row["Experiment"]) == ["0.05", "0.1"]
