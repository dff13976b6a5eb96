"""The network: the post's rows, its cost, its initial weights, its drawing."""

import json

import keras
import numpy as np
import pytest

from resode.analysis import summary
from resode.base import paths
from resode.config import parameters, yaml
from resode.figures import model as plots_model
from resode.nn import model


def small(**changes):
    chosen = {"channels": [4, 16], "pool_after": [1], "h": 0.2, "unroll_length": 2, **changes}
    return parameters.load({"model": chosen}).model


@pytest.fixture(scope="module")
def published():
    """The network of the run that was published."""
    claim = yaml.read(paths.REFERENCE / "published.yaml")["claim"]
    return model.build(parameters.load({"model": claim["model"]}).model)


def test_every_layer_and_the_parameter_counts_match_the_post(published):
    comparison = summary.compare_with_published(published)
    assert len(comparison) == 22
    assert [row for row in comparison if not row["match"]] == []
    assert summary.verdict(comparison).startswith("All 22 layers match")
    counts = {"total": 3_157_914, "trainable": 3_157_882, "non_trainable": 32}
    assert summary.parameter_counts(published) == summary.published_counts() == counts
    assert published.count_params() == counts["total"] == sum(row["parameters"] for row in summary.published_table())


def test_units_have_the_posts_step(published):
    units = [layer for layer in published.layers if type(layer).__name__ == "HamiltonianConv2D"]
    found = {(unit.h, unit.unroll_length, unit.kernel_size, unit.activation.__name__) for unit in units}
    assert found == {(0.15, 4, 3, "relu")}
    # L2 on every kernel of stem, units and head, and on nothing else.
    assert len(published.losses) == 8
    assert float(units[0].kernel_regularizer.l2) == pytest.approx(1e-4)


def test_forward_pass_costs_two_gigaflop(published):
    operations = summary.flops(published)
    assert sum(operations.values()) == pytest.approx(2.02e9, rel=0.01)
    assert summary.flops_table(published)[-1] == {"layer": "all layers", "MFLOP": 2014.958, "share in %": 100}
    # A unit of 256 channels on 16 x 16 pixels: 4 steps, K and its transpose, 3 x 3 x 128 x 128, 2 to a multiply-add.
    assert operations["unit4"] == 4 * 2 * 2 * 9 * 128 * 128 * 16 * 16


def test_another_network_is_called_another():
    comparison = summary.compare_with_published(model.build(small()))
    assert len(comparison) == 22
    assert comparison[-1]["type"] is None and comparison[-1]["published_type"] == "Dense"
    assert summary.verdict(comparison) == "This is not the post's network: 2 of 22 layers match its summary."
    longer = summary.compare_with_published(model.build(small(channels=[4] * 20, pool_after=[])))
    assert len(longer) == 28 and longer[-1]["published_type"] is None and not longer[-1]["match"]


@pytest.mark.parametrize("size", [8, 32])
def test_predictions_are_probabilities(size):
    network = model.build(small(), classes=7, input_shape=(size, size, 1))
    x = np.random.default_rng(0).normal(size=(3, size, size, 1)).astype("float32")
    result = keras.ops.convert_to_numpy(network(x))
    assert result.shape == (3, 7) and result.dtype == "float32"
    np.testing.assert_allclose(result.sum(axis=1), 1, rtol=1e-5)


def test_results_are_the_same_bytes_every_time(tmp_path):
    for folder in (tmp_path / "a", tmp_path / "b"):
        network = model.build(small(activation=None))
        summary.write(network, folder, resnet50={"parameters": 1, "layers": 1})
        plots_model.save_svg(plots_model.draw_network(network), folder / "network.svg", "the network")
        plots_model.save_svg(plots_model.draw_unit(network.get_layer("unit1")), folder / "unit.svg", "a unit")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["comparison.csv", "model.json", "network.svg", "summary.csv", "unit.svg"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    written = json.loads((tmp_path / "a" / "model.json").read_text(encoding="utf-8"))
    assert written["parameters"]["total"] == network.count_params() and written["matches_published"] is False
    assert written["flops_per_image"] == sum(written["flops_by_layer"].values())
    assert "<title>the network</title>" in (tmp_path / "a" / "network.svg").read_text(encoding="utf-8")


def test_drawing_names_every_layer():
    network = model.build(small())
    texts = [text.get_text() for text in plots_model.draw_network(network).axes[0].texts]
    assert {layer.name for layer in network.layers} <= set(texts)
    assert "32 × 32 × 4" in texts


def test_resnet50_has_the_parameters_the_post_states():
    assert summary.resnet50_counts()["parameters"] == summary.PUBLISHED_RESNET50["parameters"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["unit1: 2 steps of size h = 0.2, one kernel K", "$K$"]),
        ({"integrator": "rk4"}, ["unit1: 2 steps of size h = 0.2, rk4, weights shared", "x⁺ = x + h/6 (k₁ + 2 k₂ + 2 k₃ + k₄)"]),
        ({"block": "second_order", "integrator": "leapfrog"}, ["x'' = −Kᵀ σ(K x + b)", "x'(0) = 0"]),
        ({"block": "linear_multistep"}, ["Block linear_multistep", "x_{n+1} = (1 − k) x_n + k x_{n−1} + h F(x_n)"]),
    ],
)  # fmt: skip
def test_unit_is_drawn_or_written_down(changes, words):
    unit = model.units(model.build(small(**changes)))[0]
    texts = " ".join(text.get_text() for text in plots_model.draw_unit(unit).axes[0].texts)
    assert all(" ".join(one.split()) in texts for one in words)


def test_the_published_network_starts_as_the_original():
    keras.utils.set_random_seed(0)
    network = model.build(parameters.load().model)
    # With Keras' own he_normal it is 0.2052.
    assert float(sum(network.losses)) == pytest.approx(0.159, rel=0.01)
    other = model.build(parameters.load({"model": {"kernel_initializer": "he_normal"}}).model)
    for layer in ("stem_convolution", "unit6"):
        deviations = [one.get_layer(layer).get_weights()[0].std() for one in (network, other)]
        assert deviations[0] / deviations[1] == pytest.approx(0.8796, rel=0.01 if layer == "unit6" else 0.05)
