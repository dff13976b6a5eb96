"""The figures of the story that the reader moves, in a browser, and the units of a trained network."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import bokeh
import numpy as np
import pytest

from resode.analysis import toys
from resode.figures import story
from resode.ode import integrators

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
SCRIPTS = Path(bokeh.__file__).parent / "server" / "static" / "js"
# Sets the controls as a reader would, and writes what the figure then holds into the page.
PAGE = """
(function moved() {
  const document_ = window.Bokeh && Bokeh.documents[0]
  if (!document_) return setTimeout(moved, 50)
  const models = [...document_._all_models.values()]
  const control = (title) => models.find((one) => one.title === title)
  const source = (name) => models.find((one) => one.name === name)
  const first = Array.from((source("states") ?? source("points") ?? source("dots")).data.x)
  MOVES
  // The figure follows a moment later.
  setTimeout(() => {
    const named = (root) => [...root.querySelectorAll("*")].flatMap((one) => [
      ...(one.matches(".noUi-handle") ? [one.ariaLabel] : []), ...(one.shadowRoot ? named(one.shadowRoot) : [])])
    const select = (root) => [...root.querySelectorAll("*")].flatMap((one) => [
      ...(one.matches("select") ? [getComputedStyle(one).color, getComputedStyle(one).backgroundColor] : []),
      ...(one.shadowRoot ? select(one.shadowRoot) : [])])
    const shown = document.createElement("pre")
    shown.id = "shown"
    const data = Object.fromEntries(models.filter((one) => one.name && one.data).map((one) => [one.name, one.data]))
    const verdict = models.find((one) => /radius|multiplies|apart/.test(one.text)).text
    shown.textContent = JSON.stringify({first, data, verdict, handles: named(document), menu: select(document)})
    document.body.append(shown)
  }, 2000)
})()
"""


@pytest.fixture
def after(tmp_path, monkeypatch):
    """What a moving figure holds in a browser that prefers dark pages after a reader's `moves`, a script."""
    monkeypatch.setenv("RESODE_STAGE", "story")
    scripts = "".join(f'<script src="{SCRIPTS / name}.min.js"></script>' for name in ("bokeh", "bokeh-widgets"))

    def found(layout, name, moves):
        page = tmp_path / "page.html"
        page.write_text(
            '<!doctype html><meta charset="utf-8"><body style="color: white; background: black">'
            f"{scripts}{story.moving(layout, name).data}<script>{PAGE.replace('MOVES', moves)}</script>",
            encoding="utf-8",
        )
        command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        command += ["--blink-settings=preferredColorScheme=0", "--virtual-time-budget=20000"]
        command += ["--dump-dom", page.as_uri()]
        dom = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return json.loads(html.unescape(re.search('<pre id="shown">(.*?)</pre>', dom, re.DOTALL)[1]))

    return found


in_a_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")


@in_a_browser
@pytest.mark.slow
def test_the_controls_move_the_figure(after):
    moves = 'control("step size h").value = "2.1"; control("steps").value = 7; control("integrator").value = "verlet"'
    found = after(story.moving_layout(), "moving-figure", moves)
    expected = story.paths()
    np.testing.assert_allclose(found["first"], expected["euler"][story.SIZES.index(0.15), 0], rtol=1e-6)
    chosen = expected["verlet"][story.SIZES.index(2.1), :, :8]
    states = found["data"]["states"]
    np.testing.assert_allclose([states["x"], states["v"], states["energy"]], chosen, rtol=1e-6)
    assert found["verdict"].startswith("verlet bounds oscillations up to h ω = 2;")
    assert found["handles"] == ["step size h", "steps"]
    assert found["menu"] == ["rgb(51, 51, 51)", "rgb(255, 255, 255)"]


@in_a_browser
@pytest.mark.slow
def test_a_dragged_eigenvalue_moves_path_and_sliders(after):
    found = after(story.eigenvalue_layout([0.9]), "eigenvalue", 'source("eigenvalue").data = {x: [-0.5], y: [1.5]}')
    dots = (0.5 + 1.5j) ** np.arange(story.DOTS + 1)
    x, y = (found["data"]["dots"][name] for name in "xy")
    np.testing.assert_allclose([x, y], [dots.real, dots.imag], atol=1e-9)
    assert found["verdict"] == "h λ = −0.50 + 1.50 i: a step of Euler multiplies by 1.581, the ODE by 0.607."
    assert found["handles"] == ["real part of h λ", "imaginary part of h λ"]


@in_a_browser
@pytest.mark.slow
def test_spirals_move_with_time_steps_and_method(after):
    moments = np.arange(2 * 5 * 2.0).reshape(5, 2, 2)
    numbers = {4: np.arange(5.0), 16: np.arange(5.0)}
    both = {"euler": numbers, "symplectic_euler": numbers}
    paths = {"euler": {4: -moments, 16: moments}, "symplectic_euler": {4: moments, 16: moments}}
    flow = toys.Flow(np.zeros((2, 2)), np.array([0, 1]), (0, 1), paths, both, both)
    moves = 'control("method").value = "euler"; control("steps over this time").value = "4"; control("time, of 16").value = 8'
    found = after(story.flow_layout(flow), "spirals", moves)
    assert found["data"]["points"]["x"] == [-8, -10] and found["data"]["points"]["y"] == [-9, -11]
    assert found["verdict"].startswith("After 2 of 4 steps of euler: 200.0 % of the points on their side; two")


def test_the_moving_figure_holds_the_integrators_steps():
    # x⁺ = x + h v, v⁺ = v − h x⁺ from (1, 0).
    np.testing.assert_allclose(story.oscillation("symplectic_euler", 0.5, 2), [[1, 0], [1, -0.5], [0.75, -0.875]])
    found = story.paths([0.5], 3)
    assert set(found) == set(integrators.INTEGRATORS)
    # x⁺ = x + h v, v⁺ = v − h x from (1, 0); each step multiplies the energy by 1 + h².
    np.testing.assert_allclose(found["euler"][0, :, :3], [[1, 1, 0.75], [0, -0.5, -1], [1, 1.25, 1.5625]])


def trained(folder: Path, updates: int, h_omega: float) -> None:
    (folder / "training").mkdir(parents=True)
    (folder / "stability").mkdir()
    provenance = {"training": "a", "updates": updates}
    (folder / "training" / "provenance.json").write_text(json.dumps(provenance), encoding="utf-8")
    unit = {"unit": 1, "h_omega": h_omega, "unit_amplification": 3.2, "measured": 1.1}
    told = {"training": "a", "integrator": "euler", "units": [unit]}
    (folder / "stability" / "stability.json").write_text(json.dumps(told), encoding="utf-8")


def test_trained_units_are_of_the_pipelines_run_or_of_the_longest(tmp_path):
    assert story.trained_units(tmp_path) is None
    trained(tmp_path / "runs" / "a", 100, 0.5)
    trained(tmp_path / "runs" / "b", 1000, 0.9)
    path = tmp_path / "runs" / "b" / "stability" / "refinement.json"
    steps = [("euler", 1, 0.5), ("euler", 4, 0.9), ("euler", 16, 0.89), ("rk4", 1, 0.8), ("rk4", 4, 0.87)]
    names = ("integrator", "unroll_length", "accuracy", "low", "total")
    rows = [dict(zip(names, (*step, step[-1], 1000), strict=True)) for step in steps]
    told = {"training": "a", "integrator": "euler", "unroll_length": 4, "classes": 10, "rows": rows}
    path.write_text(json.dumps(told), encoding="utf-8")
    name, units, refined = story.trained_units(tmp_path)
    told = story.refined_text(name, refined)
    assert "The weights of run b, over the same time in other steps, on 1,000 test images" in told
    assert "with finer steps 89.00 % (euler, n = 16) and 87.00 % (rk4, n = 4). **So it is not quite an ODE**" in told
    assert name == "run b" and units[0]["h_omega"] == 0.9
    assert "stretch most, 3- to 3-fold" in story.trained_text(name, units)
    trained(tmp_path, 10, 0.7)
    assert story.trained_units(tmp_path)[0] == "the pipeline's own run"
