"""The trained network with other steps: which are tried, what they give, and what is said of it."""

import json

import keras
import numpy as np
import pytest

from resode.analysis import refinement
from resode.config import parameters, schema
from resode.figures import stability as plots_stability
from resode.nn import model
from resode.nn.blocks import BLOCKS
from resode.ode.equations import ODES
from resode.ode.integrators import refusal

pytestmark = pytest.mark.jax("slow")


def params(**changes) -> schema.ModelParams:
    small = {"channels": [4, 8], "pool_after": [1], **changes}
    return parameters.load({"model": small}).model


def network(activation: str | None = None) -> tuple[keras.Model, schema.ModelParams]:
    """A fresh network of two units, and what it is built from."""
    keras.utils.set_random_seed(0)
    chosen = params(activation=activation)
    return model.build(chosen, 3, (8, 8, 1)), chosen


IMAGES = np.random.default_rng(0).standard_normal((40, 8, 8, 1)).astype("float32")


def test_steps_are_relative_to_those_of_training_and_include_those_it_began_with():
    assert refinement.steps(params()) == [
        *(("euler", n) for n in (1, 2, 3, 4, 5, 6, 8, 16)),
        *(("symplectic_euler", n) for n in (2, 4, 8)),
        *(("midpoint", n) for n in (2, 4, 8)),
        *(("rk4", n) for n in (1, 2, 4)),
    ]
    found = refinement.steps(params(integrator="verlet", unroll_length=8), [[1, 0.0], [2, 10.0], [8, 20.0]])
    assert found[:9] == [("verlet", n) for n in (1, 2, 4, 6, 8, 10, 12, 16, 32)]
    assert ("rk4", 8) in found and ("midpoint", 16) in found


@pytest.mark.parametrize("block", [block for block in BLOCKS if not ODES[block].own_steps])
@pytest.mark.parametrize("unroll_length", [1, 3])
def test_only_integrators_that_solve_the_block_are_tried_once_each(block, unroll_length):
    chosen = params(block=block, unroll_length=unroll_length)
    found = refinement.steps(chosen)
    assert len(found) == len(set(found)) and ("euler", unroll_length) in found
    assert all(refusal(name, ODES[block].form) is None and n >= 1 for name, n in found)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"weights_in_time": "free"}, "weights of its own"),
        ({"block": "linear_multistep"}, "steps of its own"),
        ({"architecture": "resnet20"}, "is a resnet20"),
    ],
)
def test_the_reason_why_a_network_has_no_other_steps(changes, expected):
    found = refinement.reason(params(**changes))
    assert found is None if expected is None else expected in found


def test_the_steps_of_training_give_the_network_back_and_others_take_the_same_time():
    trained, chosen = network("relu")
    units = model.units(refinement.refined(trained, chosen, "midpoint", 8))
    assert [(unit.h, unit.unroll_length, unit.integrator) for unit in units] == [(0.075, 8, "midpoint")] * 2
    again = refinement.refined(trained, chosen, "euler", 4)
    np.testing.assert_array_equal(again(IMAGES[:3]), trained(IMAGES[:3]))


def test_rk4s_many_steps_are_the_solution_of_a_linear_unit():
    # y' = K z, z' = -K^T y with a kernel of one pixel: each pixel turns by the angle T K where K is a number.
    trained, chosen = network()
    kernel, b1, b2 = (np.zeros(weight.shape) for weight in model.units(trained)[0].get_weights())
    kernel[1, 1] = 0.7 * np.eye(2)
    model.units(trained)[0].set_weights([kernel, b1, b2])
    exact = refinement.refined(trained, chosen, "rk4", 16)
    probe = keras.Model(exact.input, [model.units(exact)[0].input, model.units(exact)[0].output])
    before, after = (np.asarray(x) for x in probe(IMAGES[:3]))
    turned = before[..., :2] * np.cos(0.42) + before[..., 2:] * np.sin(0.42)
    np.testing.assert_allclose(after[..., :2], turned, atol=1e-5)


def test_a_row_has_accuracy_cost_and_distances(monkeypatch):
    pairs = [("euler", 2), ("euler", 4), ("euler", 8), ("rk4", 1), ("rk4", 4)]
    monkeypatch.setattr(refinement, "steps", lambda params, schedule: pairs)
    trained, chosen = network("relu")
    labels = np.asarray(trained(IMAGES)).argmax(axis=1)
    labels[:10] = (labels[:10] + 1) % 3
    rows = refinement.table(trained, chosen, IMAGES, labels)
    assert [(row["integrator"], row["unroll_length"]) for row in rows] == pairs
    found = dict(zip(pairs, rows, strict=True))
    own = found["euler", 4]
    # 30 of 40; Wilson's interval of it by hand: (0.75 + z²/80 ± z √(0.75 · 0.25 / 40 + z²/6400)) / (1 + z²/40) with z = 1.96.
    assert (own["correct"], own["total"], own["accuracy"], own["cost"], own["h"]) == (30, 40, 0.75, 1, 0.15)
    assert (own["low"], own["high"]) == pytest.approx((0.5981, 0.8581), abs=1e-4)
    # rk4 evaluates four times a step.
    assert [found["rk4", n]["cost"] for n in (1, 4)] == [1, 4]
    distances = [found["euler", n]["distance"] for n in (2, 4, 8)]
    assert all(finer[0] < coarser[0] for coarser, finer in zip(distances, distances[1:], strict=False))
    assert found["rk4", 4]["distance"][0] < 0.01 * own["distance"][0]


def test_the_distance_is_relative_and_a_median():
    exact = np.array([[3.0, 4.0], [0.0, 1.0], [1.0, 0.0]])
    state = exact + [[0.5, 0.0], [0.0, 0.3], [0.2, 0.0]]
    assert refinement._distance(state, exact) == pytest.approx(0.2)
    assert refinement._distance(np.full_like(state, np.inf), exact) is None


def test_images_without_finite_probabilities_count_as_wrong():
    inputs = keras.Input((1,))
    passing = keras.Model(inputs, keras.layers.Concatenate()([inputs, -inputs]))
    images = np.array([[1.0], [-1.0], [np.nan], [np.inf]], "float32")
    assert refinement.correct(passing, images, np.array([0, 0, 0, 0])) == 1


def rows_of(finer: float, solved: float) -> list[dict]:
    numbers = [("euler", 1, 0.5), ("euler", 4, 0.9), ("euler", 16, finer), ("rk4", 1, 0.1), ("rk4", 4, solved)]
    return [
        {"integrator": name, "unroll_length": n, "accuracy": value, "low": value - 0.01, "high": value + 0.01}
        | {"distance": [0.1, None], "cost": n / 4, "correct": 10 * value, "total": 10}
        for name, n, value in numbers
    ]


@pytest.mark.parametrize(
    ("finer", "solved", "expected"),
    [
        (0.895, 0.89, "it is an ODE** in this sense: finer steps lose at most 1 point."),
        (0.895, 0.88, "not quite an ODE** in this sense: some finer steps lose at most 1 point, others more."),
        (0.88, 0.88, "their error included: finer ones lose more than 1 point."),
        (0.95, 0.95, "it is an ODE** in this sense"),
    ],
)
def test_the_verdict_allows_a_loss_of_a_point(finer, solved, expected):
    text = refinement.verdict(rows_of(finer, solved), "euler", 4, 10)
    assert expected in text and "90.00 % of the test images" in text
    assert f"{100 * finer:.2f} % (euler, n = 16) and {100 * solved:.2f} % (rk4, n = 4)" in text


def test_a_network_that_guesses_has_no_verdict_and_one_that_rk4_solves_is_judged_by_its_own_steps():
    rows = rows_of(0.9, 0.9)
    text = refinement.verdict(rows, "euler", 4, 1)
    assert "may be a guess among 1 classes" in text and "ODE" not in text
    rows = [row for row in rows if row["integrator"] == "rk4"]
    assert "10.00 % (rk4, n = 1)" not in refinement.verdict(rows, "rk4", 4, 10)


def test_tables_mark_the_steps_of_training_and_leave_out_what_was_not_tried():
    rows = rows_of(0.895, 0.88)
    assert refinement.accuracy_rows(rows, 4) == [
        {"integrator": "euler", "1": "50.00", "4 (training)": "90.00", "16": "89.50"},
        {"integrator": "rk4", "1": "10.00", "4 (training)": "88.00", "16": "—"},
    ]
    assert refinement.distance_rows(rows)[0] == {"integrator": "euler", "n": "1", "unit 1": "10.0", "unit 2": "—"}


def test_the_file_names_its_training(tmp_path):
    refinement.write(tmp_path, rows_of(0.9, 0.9), params(), 10, "a", "digits")
    found = json.loads((tmp_path / "refinement.json").read_text(encoding="utf-8"))
    told = {"training": "a", "data": "digits", "classes": 10, "integrator": "euler", "unroll_length": 4, "h": 0.15}
    assert {name: found[name] for name in told} == told
    assert len(found["rows"]) == 5


def test_the_figure_has_a_line_for_each_integrator_and_leaves_out_what_is_over_ten_points_below_the_best():
    figure = plots_stability.accuracy_over_steps(rows_of(0.81, 0.79), 4)
    assert sorted(text.get_text() for text in figure.legends[0].get_texts()) == ["euler", "rk4", "training, n = 4"]
    # Of 50, 90, 81, 10 and 79 % the frame has 81 and 90, with a point around each; a twentieth of that is margin.
    assert figure.axes[0].get_ylim() == pytest.approx((0.80 - 0.0055, 0.91 + 0.0055))
