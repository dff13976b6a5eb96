"""Figures: legible on a phone, none hidden behind another, drawn from the committed results where there are any."""

import functools
import io
import json

import numpy as np
import PIL.Image
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from resode.analysis import evaluation, sweeps, toys
from resode.analysis.reference import read_published_curve
from resode.analysis.stability import UnitStability
from resode.base import paths
from resode.config import parameters
from resode.figures import augmentation, comparison, integrators, memory, results, stability, style, sweep
from resode.figures import model as drawings
from resode.figures import toys as regions
from resode.nn import blocks, model
from resode.ode import problems
from resode.ode.integrators import INTEGRATORS
from resode.report import runs_table

RUN = paths.RESULTS / "runs" / "cpu-quarter"
# Of a phone's screen, in CSS pixels: what a page leaves for a figure, and the smallest letters.
SCREEN, LETTERS = 360, 9.49
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
ERRORS = {
    one.name: dict.fromkeys(INTEGRATORS, np.array([0.1, 0.01])) for one in (problems.OSCILLATOR, problems.NETWORK)
}
OSCILLATORS = [problems.OSCILLATOR, problems.TANH_OSCILLATOR]
UNITS = [UnitStability(n, f"unit{n}", 16, 32, 3.0, 0.45, {"euler": False}, 1.1, 1.4, 0.9, 1.0, 0.8) for n in (1, 2)]

STEPS = [
    {"integrator": name, "unroll_length": n, "accuracy": 0.9, "low": 0.89, "high": 0.91}
    for name in ("euler", "symplectic_euler", "midpoint", "rk4")
    for n in (1, 2, 3, 4, 5, 6, 8, 16)
]
BINS = [{"confidence": confidence, "accuracy": 0.7, "images": 5000} for confidence in (0.6, 0.9)]


def read(path):
    return json.loads((paths.RESULTS / path).read_text(encoding="utf-8"))


def history():
    return evaluation.read_history(RUN / "training" / "history.csv")


def metrics():
    return runs_table.read_trained(RUN)["metrics"]


def mistakes():
    images, numbers = np.zeros((7, 32, 32, 3), np.uint8), np.arange(7)
    return results.mistakes(images, numbers, np.eye(10)[numbers + 1], numbers, NAMES)


def boundaries():
    points, halves = toys.problem("spirals", 20, 0)[1], np.full((toys.SIDE, toys.SIDE, 2), 0.5)
    outcome = toys.Classifier("spirals", "two_layer_hamiltonian", "symplectic_euler", 1, 0.5, 0.5, np.arange(9), halves)
    return regions.boundaries(points, [outcome] * 4)


def drawn(block, integrator):
    chosen = {"block": block, "integrator": integrator, "channels": [16], "pool_after": []}
    return drawings.draw_unit(model.units(model.build(parameters.load({"model": chosen}).model))[0])


FIGURES = {
    "phase portraits": lambda: integrators.phase_portraits(0.1, 2),
    "orbits": lambda: integrators.orbits(OSCILLATORS, 0.1, 5),
    "energy errors": lambda: integrators.energy_errors(OSCILLATORS, 0.1, 5),
    "amplification": integrators.amplification,
    "convergence": lambda: integrators.convergence(np.array([0.1, 0.01]), ERRORS),
    "eigenvalues": lambda: integrators.eigenvalues({block: np.array([1j, -1j]) for block in blocks.BLOCKS}, 0.5),
    "reconstruction": lambda: integrators.reconstruction(0.15),
    "growth of units": lambda: stability.unit_growth(UNITS),
    "accuracy over steps": lambda: stability.accuracy_over_steps(STEPS, 4),
    "amplification over h": lambda: stability.amplification_over_h(UNITS, "euler", 0.15),
    "toys": boundaries,
    "training curve": lambda: results.training_curve(history(), read_published_curve()),
    "runs": lambda: results.runs({"cpu-quarter": history()}, read_published_curve()),
    "shares": lambda: results.shares(
        [("cpu-quarter", 0.25, metrics())], read_published_curve()[-1], [("half", 0.3, history()[-1])]
    ),
    "speed": lambda: results.speed([read("bench/cpu-amd-epyc-2-cores.json")]),
    "reliability": lambda: results.reliability(BINS, BINS),
    "confusion": lambda: results.confusion(np.full((10, 10), 1000), NAMES),
    "class accuracy": lambda: results.class_accuracy(metrics()["class_accuracy"], metrics()["test_accuracy"]),
    "mistakes": mistakes,
    "mean image": lambda: augmentation.mean_image(np.zeros((32, 32, 3))),
    "augmented": lambda: augmentation.augmented(np.zeros((6, 32, 32, 3)), np.zeros((4, 6, 32, 32, 3))),
    "shifts": lambda: augmentation.shift_distribution(np.zeros((9, 2)), 3.2),
    "memory": lambda: memory.growth(read("memory/cpu-amd-epyc-avx2-2-cores.json")),
    "comparison": lambda: comparison.accuracies(read("comparison/digits.json")),
    "sweep": lambda: sweep.heat_map(sweeps.outcome("digits")),
    "network": lambda: drawings.draw_network(model.build(parameters.load().model)),
    "the post's unit": lambda: drawn("hamiltonian", "euler"),
    "a unit's equations": lambda: drawn("two_layer_hamiltonian", "rk4"),
    "a unit's own steps": lambda: drawn("linear_multistep", "euler"),
}


@functools.cache
def figure_of(name):
    return FIGURES[name]()


@pytest.mark.parametrize("name", FIGURES)
def test_figures_can_be_read_on_a_phone(name):
    figure = figure_of(name)
    shown = min(SCREEN, style.SHOWN * figure.get_figwidth())
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    small = [text.get_text() for text in texts if text.get_fontsize() / 72 * shown / figure.get_figwidth() < LETTERS]
    assert not small
    # What sticks out is cut off.
    figure.draw_without_rendering()
    texts = [text for legend in figure.legends for text in legend.get_texts()]
    for axes in (one for one in figure.axes if one.axison):
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
    whole = figure.bbox.padded(1)
    boxes = {text.get_text(): text.get_window_extent() for text in texts if text.get_text()}
    inside = lambda box: whole.x0 <= box.x0 <= box.x1 <= whole.x1 and whole.y0 <= box.y0 <= box.y1 <= whole.y1
    assert not [text for text, box in boxes.items() if not inside(box)]


def test_where_methods_agree_the_narrower_line_is_on_the_wider_one():
    names = ("convergence", "energy errors", "reconstruction", "memory")
    for axes in (one for name in names for one in figure_of(name).axes):
        lines = [line for line in axes.lines if not line.get_label().startswith("_")]
        order = sorted(lines, key=lambda line: line.get_zorder())
        widths = [line.get_linewidth() for line in order]
        assert len(lines) > 2 and widths == sorted(widths, reverse=True)


def test_convolution_and_pooling_differ_in_more_than_colour():
    axes = figure_of("network").axes[0]
    hatches = {}
    for patch in axes.patches:
        hatches.setdefault(to_hex(patch.get_facecolor()), set()).add(patch.get_hatch())
    assert hatches[to_hex(drawings.POOL)].isdisjoint(hatches[to_hex(drawings.WEIGHTS)])


def test_what_reconstruction_cuts_off_is_said_on_its_axis():
    for axes in figure_of("reconstruction").axes:
        lowest = min(line.get_ydata().min() for line in axes.lines if not line.get_label().startswith("_"))
        labels = dict(zip(axes.get_yticks(), (text.get_text() for text in axes.get_yticklabels()), strict=True))
        assert lowest == integrators.LEAST and labels[integrators.LEAST].startswith("≤")


def test_figures_can_be_drawn_without_mistakes():
    images, labels = np.zeros((5, 32, 32, 3), np.uint8), np.array([0, 0, 1, 1, 2])
    for chosen in ([], [3], [1, 3]):
        assert style.png(results.mistakes(images, labels, np.eye(3)[[0, 1, 1, 2, 2]], chosen, ["cat", "dog", "ship"]))


def test_shown_figure_is_the_written_one(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(style, "display", lambda content, **options: shown.append((content, options)))
    figure = results.class_accuracy({"cat": 0.5, "dog": 1.0, "truck": None}, 0.75)
    style.show(figure, tmp_path / "figure.png", "two classes", "Two classes.")
    (image, options), (caption, _) = shown
    written = (tmp_path / "figure.png").read_bytes()
    assert image == {"image/png": written, "text/plain": "two classes"}
    # On the screen it has two thirds of its pixels.
    width = PIL.Image.open(io.BytesIO(written)).width
    assert options["metadata"] == {"image/png": {"alt": "two classes", "width": width * 2 // 3}}
    assert caption.data == "*Two classes.*"
