"""The head of the README and accuracy over the share of the schedule: from finished runs and from a checkpoint handed over."""

import numpy as np
import pytest

from helpers import PUBLISHED, make_run, write_run
from resode.analysis import reference
from resode.base import files, paths
from resode.base.errors import InputError
from resode.config import parameters
from resode.experiments import runs
from resode.report import fast, readme_head, verdicts
from resode.training import checkpoint

FAST = {"schedule": "linear", "reference_drops": [], "optimizer": "muon"}
EIGHTH = {"reference_iterations": 8000.0, "reference_drops": [4000.0, 6000.0]}


def write_short_run(results, name="eighth", accuracy=0.885, **changes):
    """A finished run with an eighth of the schedule, and `changes` of it."""
    write_run(make_run(accuracy, **{"training": EIGHTH} | changes), results / "runs" / name)


def hand_over(results, name, history, update):
    folder = results / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    piece = {"from": 0, "to": update, "of": update, "seconds": 7200.0, "processes": 3, "hardware": "CPU: test"}
    piece |= {"backend": "tensorflow", "precision": "float32", "commit": "a" * 40, "modified": False}
    params = parameters.trained_with(parameters.validate(runs.params_of(name)))
    inputs = {"params": params, "validation_fraction": 0.0, "data": {}}
    state = {"update": update, "inputs": inputs, "history": history, "pieces": [piece]}
    checkpoint.save(folder, update, {"unit/kernel": np.zeros(1)}, state)
    (folder / f"{update:09d}.checkpoint").rename(folder / checkpoint.HANDED_OVER)


ROWS = [
    {"epoch": epoch, "updates": 1562 * epoch, "learning_rate": 0.1, "train_loss": 1.9, "test_loss": 1.6,
     "train_accuracy": train, "test_accuracy": test}
    for epoch, train, test in [(1, 0.357, 0.473), (2, 0.497, 0.571)]
]  # fmt: skip


def test_nothing_is_shown_where_nothing_was_run(tmp_path):
    assert readme_head.head(tmp_path) == ""
    assert readme_head.share_table(readme_head.points(tmp_path)) == ""
    readme_head.draw(tmp_path, tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


def test_head_tells_the_longest_run_beside_the_published_figure(tmp_path):
    write_short_run(tmp_path)
    longer = {"reference_iterations": 32000.0, "reference_drops": [16000.0, 24000.0]}
    write_short_run(tmp_path, "notebook", 0.897, training=longer)
    head = readme_head.head(tmp_path)
    assert head.startswith("**Not settled yet:** ")
    assert "**89.70 % with 1/2 of the schedule** (run notebook; 8,970 of 10,000 test images, 95 % interval 89" in head
    assert "to 90.30 %), published 90.37 % with all of it. With 1/8 of it: 88.50 %. Only the whole schedule" in head
    write_run(make_run(0.904), tmp_path)
    head = readme_head.head(tmp_path)
    assert head.startswith("**90.40 % with the whole schedule**")


def test_result_table_has_no_row_and_no_column_of_what_is_not_known(tmp_path):
    assert readme_head.result_table(tmp_path) == ""
    files.write_json(tmp_path / "model" / "model.json", make_run().model)
    assert readme_head.result_table(tmp_path).splitlines() == [
        "|  | Published | Here |",
        "| :-- | --: | --: |",
        "| Parameters | 3,157,914 | 3,157,914 ✓ reproduced |",
        "| Trainable parameters | 3,157,882 | 3,157,882 ✓ reproduced |",
    ]
    files.write_json(tmp_path / "model" / "model.json", make_run().model | {"matches_published": False})
    assert "reproduced" not in readme_head.result_table(tmp_path)


def test_result_table_has_the_post_s_training_and_the_fast_one(tmp_path):
    write_short_run(tmp_path)
    for name, seed, accuracy in (("fast", 0, 0.90), ("fast-1", 1, 0.91)):
        run = make_run(accuracy, seed=seed, training=FAST)
        # As after fewer than twenty epochs.
        del run.metrics["last_ten_test_accuracy"]
        write_run(run, tmp_path / "runs" / name)
    assert readme_head.result_table(tmp_path).splitlines() == [
        "|  | Published | The post's training here | A fast training here |",
        "| :-- | --: | --: | --: |",
        "| Test accuracy, last epoch | 90.37 % | 88.50 % (−1.87) | 90.50 % ± 0.71 (+0.13) |",
        "| Test accuracy, best epoch | 91.22 % | 91.00 % (−0.22) | 91.00 % ± 0.00 (−0.22) |",
        "| Test accuracy, mean of the last ten epochs | 90.54 % | 88.50 % (−2.04) | — |",
        "| Train accuracy, last epoch | 99.63 % | 99.70 % (+0.07) | 99.70 % ± 0.00 (+0.07) |",
        "| First epoch with at least 90 % test accuracy | 219 | 2 | 2 |",
        "| Wall time | 25.0 h | 2.0 h | 2.0 h |",
        "| Epochs | 327 | 3 | 3 |",
        "| Machine | a GPU | CPU | CPU |",
        "| Seeds | 1 | 1 | 2 |",
        "| Status |  | partial: 1/8 of the schedule | another training |",
    ]


@pytest.mark.parametrize(("accuracy", "verdict"), [(0.904, "✓ reproduced"), (0.88, "✗ **not reproduced**")])
def test_result_table_judges_the_whole_schedule(tmp_path, accuracy, verdict):
    write_run(make_run(accuracy), tmp_path)
    row = readme_head.result_table(tmp_path).splitlines()[4]
    assert row.endswith(f") {verdict} |") and row.startswith("| Test accuracy, last epoch | 90.37 % | ")


def test_fast_training_is_told_with_what_finer_steps_make_of_it(tmp_path):
    assert fast.results_table(tmp_path) == "Not trained yet: `resode run fast`."
    assert (fast.sentences(tmp_path), fast.steps_table(tmp_path), fast.trainings(tmp_path)) == ([], "", {})
    # Neither a demo, nor another network, nor one that chose by validation images.
    write_run(make_run(training=FAST, data="digits"), tmp_path / "runs" / "seed-1")
    write_run(make_run(training=FAST, model={"h": 0.3}), tmp_path / "runs" / "seed-2")
    assert fast.short(tmp_path) == {}
    write_short_run(tmp_path)
    run = make_run(0.90, training=FAST)
    write_run(run, tmp_path / "runs" / "fast")
    told = fast.sentences(tmp_path)[0]
    assert "3 epochs instead of 327, reaches **90.00 %**: `resode run fast`. It decides nothing" in told
    assert "steps a unit" not in told
    rows = [("euler", 2, 0.7), ("euler", 4, 0.9), ("euler", 8, 0.85), ("euler", 16, 0.8), ("rk4", 4, 0.75)]
    rows = [dict(zip(("integrator", "unroll_length", "accuracy"), row, strict=True)) for row in rows]
    measured = {"training": "a training", "integrator": "euler", "rows": rows}
    folder = tmp_path / "runs" / "fast" / "stability"
    files.write_json(folder / "refinement.json", measured)
    assert "in 16 steps a unit, the same weights reach 80.00 %, and by rk4 75.00 %." in fast.sentences(tmp_path)[0]
    assert fast.steps_table(tmp_path).splitlines()[2:] == [
        "| fast | muon | 0.3, 0.3 | 70.00 | 90.00 | 85.00 | 80.00 | 75.00 |"
    ]
    readme_head.draw(tmp_path, tmp_path / "figures")
    assert (tmp_path / "figures" / "fast.png").is_file()
    # Of several seeds, the means of all or nothing.
    write_run(make_run(0.92, training=FAST, seed=1), tmp_path / "runs" / "fast-1")
    told = fast.sentences(tmp_path)[0]
    assert "reaches **91.00 %** ± 1.41 points over 2 seeds" in told and "steps a unit" not in told
    other = [row | {"accuracy": row["accuracy"] + 0.02} for row in rows]
    files.write_json(tmp_path / "runs" / "fast-1" / "stability" / "refinement.json", measured | {"rows": other})
    assert "in 16 steps a unit, the same weights reach 81.00 %, and by rk4 76.00 %." in fast.sentences(tmp_path)[0]
    files.write_json(folder / "refinement.json", measured | {"training": "another"})
    with pytest.raises(InputError, match="refinement.json is not of the training"):
        fast.sentences(tmp_path)


def test_hours_of_an_epoch_are_those_of_its_pieces():
    history = [{"updates": 10}, {"updates": 20}, {"updates": 30}]
    pieces = [{"to": 20, "seconds": 7200.0}, {"to": 30, "seconds": 7200.0}]
    assert fast.hours(history, {"pieces": pieces}) == pytest.approx([1, 2, 4])
    assert fast.hours(history, {"wall_seconds": 10800.0}) == pytest.approx([1, 2, 3])


def test_head_tells_where_the_trained_steps_lie(tmp_path):
    write_short_run(tmp_path)
    folder = tmp_path / "runs" / "eighth" / "stability"
    units = [{"h_omega": h_omega, "inside": {"euler": False}} for h_omega in (0.88, 1.62)]
    found = {"training": "a training", "units": units}
    files.write_json(folder / "stability.json", found)
    assert "which is 0.9 to 1.6 in the trained units. The network still classifies well" in readme_head.head(tmp_path)
    units[0]["inside"] = {}
    files.write_json(folder / "stability.json", found)
    assert "h ω" not in readme_head.head(tmp_path)
    files.write_json(folder / "stability.json", found | {"training": "another"})
    with pytest.raises(InputError, match="stability.json is not of the training in .*; run: resode run eighth"):
        readme_head.head(tmp_path)


def test_shares_stand_in_a_table_with_the_published_one(tmp_path):
    write_short_run(tmp_path)
    rows = readme_head.share_table(readme_head.points(tmp_path)).splitlines()
    assert rows[2] == "| 1/8 | eighth | 3 | 88.50 % (87.90 to 89.10 %) | 99.70 % |"
    assert rows[3] == "| the whole | published | 327 | 90.37 % | 99.63 % |"
    readme_head.draw(tmp_path, tmp_path / "figures")
    drawn = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert drawn == ["curve.png", "resampling.png", "share.png"]


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({}, 1),
        ({"training": EIGHTH}, 1 / 8),
        ({"training": {"reference_iterations": 8000.0, "reference_drops": [21282.25 / 8, 42564.5 / 8]}}, 1 / 8),
        ({"training": {"reference_iterations": 8000.0, "reference_drops": [2000.0, 6000.0]}}, None),
        ({"training": EIGHTH, "model": {"channels": [4, 16, 32, 64, 128, 256]}}, None),
        ({"training": EIGHTH, "data": "digits"}, None),
        ({"training": EIGHTH, "published": False}, None),
    ],
)
def test_share_is_of_runs_that_differ_in_nothing_else(changes, share):
    assert reference.share(make_run(**changes).provenance, PUBLISHED) == share


def test_report_of_a_shorter_schedule_says_so():
    built = verdicts.build(make_run(training=EIGHTH), PUBLISHED)
    assert "It is the post's setting with 1/8 of its schedule." in verdicts.banner(built)
    assert {line["id"]: line["verdict"] for line in built["lines"]}["parameters"] == "reproduced"


def test_run_in_progress_is_told_from_the_checkpoint_handed_over(tmp_path):
    hand_over(tmp_path, "quarter", ROWS, 3200)
    head = readme_head.head(tmp_path)
    assert head.startswith("**In progress:** run `quarter`, 2 of 81 epochs. After epoch 2: train accuracy 49.70 %")
    assert "(CIFAR-10; CPU: test, tensorflow, float32, commit aaaaaaa; 2.00 h, resumed 2 times)" in head
    assert "`resode run quarter` starts from its [checkpoint]" in head
    # 35.57 and 49.48 % published.
    said = "2 of 2 epochs above it, on average by 0.17 points, standard deviation 0.06"
    assert str(readme_head.curves(tmp_path)["bilinear shifts"]["train"]) == said
    readme_head.draw(tmp_path, tmp_path / "figures")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["resampling.png"]


def test_run_in_progress_before_its_first_epoch(tmp_path):
    hand_over(tmp_path, "quarter", [], 100)
    assert "run `quarter`, 100 of 128,000 updates" in readme_head.head(tmp_path)


def test_a_run_with_other_shifts_is_labelled_and_gets_no_verdict(tmp_path):
    other = {"interpolation": "bilinear"}
    write_short_run(tmp_path, augmentation=other)
    assert "(run eighth, bilinear shifts; 8,850 of 10,000" in readme_head.head(tmp_path)
    assert "| 1/8 | eighth, bilinear shifts | 3 |" in readme_head.share_table(readme_head.points(tmp_path))
    built = verdicts.build(make_run(augmentation=other), PUBLISHED)
    assert built["kind"] == "different setting"
    assert "the post's setting with the whole of its schedule and bilinear shifts." in verdicts.banner(built)
    assert reference.setting(make_run(augmentation=other).provenance, PUBLISHED).endswith("but for bilinear shifts.")


CURVE = [{"epoch": float(i), "learning_rate": 0.1 if i < 4 else 0.01, "train_accuracy": 0.5} for i in range(1, 6)]


def test_curves_are_compared_over_all_epochs_with_equal_rates():
    mine = [{"learning_rate": 0.1, "train_accuracy": one} for one in (0.49, 0.47, 0.52, 0.9)]
    found = reference.distance(mine, CURVE, "train_accuracy")
    assert found.by_epoch == pytest.approx({1: -1, 2: -3, 3: 2})
    assert (found.mean, found.same_sign) == (pytest.approx(-2 / 3), 2)
    assert found.deviation == pytest.approx(2.5166, abs=1e-4)
    assert str(found) == "2 of 3 epochs below it, on average by 0.67 points, standard deviation 2.52"
    assert reference.distance(mine, CURVE, "test_accuracy") is None
    assert reference.distance([{"learning_rate": 0.05, "train_accuracy": 1}], CURVE, "train_accuracy") is None


def test_of_runs_with_the_same_shifts_the_longer_is_compared(tmp_path):
    hand_over(tmp_path, "notebook", ROWS, 3200)
    write_short_run(tmp_path, augmentation={"interpolation": "bilinear"})
    found = readme_head.curves(tmp_path)
    assert list(found["nearest shifts"]["train"].by_epoch) == [1, 2]
    assert "bilinear shifts" in found


def test_checkpoint_of_another_setting_or_of_another_training_than_its_run_is_not_told(tmp_path, monkeypatch):
    hand_over(tmp_path, "quarter", ROWS, 3200)
    monkeypatch.setattr(runs, "read", lambda: {"quarter": {"training.reference_iterations": 64000.0, "seed": 7}})
    assert readme_head.head(tmp_path) == ""
    monkeypatch.setattr(runs, "read", lambda: {"quarter": {"model.h": 0.2}})
    hand_over(tmp_path, "quarter", ROWS, 3200)
    assert readme_head.head(tmp_path) == ""


def test_the_readme_is_short():
    assert len((paths.ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900
