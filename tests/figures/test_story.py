"""The figure of the story that the reader moves, in a browser, and the picture of a trained network."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import bokeh
import numpy as np
import pytest

from resode.figures import story
from resode.ode import integrators

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
SCRIPTS = Path(bokeh.__file__).parent / "server" / "static" / "js"
# Sets the controls as a reader would, and writes what the figure then holds into the page.
MOVES = """
(function moved() {
  const document_ = window.Bokeh && Bokeh.documents[0]
  if (!document_) return setTimeout(moved, 50)
  const models = [...document_._all_models.values()]
  const control = (title) => models.find((one) => one.title === title)
  const states = models.find((one) => one.name === "states")
  const first = Array.from(states.data.x)
  control("step size h").value = "2.1"
  control("steps").value = 7
  control("integrator").value = "verlet"
  // The figure follows a moment later.
  setTimeout(() => {
    const shown = document.createElement("pre")
    shown.id = "shown"
    const verdict = models.find((one) => /radius/.test(one.text)).text
    shown.textContent = JSON.stringify({first, ...states.data, verdict})
    document.body.append(shown)
  }, 1000)
})()
"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
@pytest.mark.slow
def test_the_controls_move_the_figure(tmp_path, monkeypatch):
    monkeypatch.setenv("RESODE_STAGE", "story")
    scripts = "".join(f'<script src="{SCRIPTS / name}.min.js"></script>' for name in ("bokeh", "bokeh-widgets"))
    page = tmp_path / "page.html"
    page.write_text(
        f'<!doctype html><meta charset="utf-8"><body>{scripts}{story.moving().data}<script>{MOVES}</script>',
        encoding="utf-8",
    )
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--virtual-time-budget=20000", "--dump-dom", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = json.loads(html.unescape(re.search('<pre id="shown">(.*?)</pre>', dom)[1]))
    expected = story.paths()
    np.testing.assert_allclose(found["first"], expected["euler"][story.SIZES.index(0.15), 0], rtol=1e-6)
    chosen = expected["verlet"][story.SIZES.index(2.1), :, :8]
    np.testing.assert_allclose([found["x"], found["v"], found["energy"]], chosen, rtol=1e-6)
    assert found["verdict"].startswith("verlet bounds oscillations up to h ω = 2;")


def test_the_moving_figure_holds_the_integrators_steps():
    found = story.paths([0.5], 3)
    assert set(found) == set(integrators.INTEGRATORS)
    # x⁺ = x + h v, v⁺ = v − h x from (1, 0); each step multiplies the energy by 1 + h².
    np.testing.assert_allclose(found["euler"][0, :, :3], [[1, 1, 0.75], [0, -0.5, -1], [1, 1.25, 1.5625]])


def trained(folder: Path, title: str, updates: int) -> None:
    (folder / "training").mkdir(parents=True)
    (folder / "evaluation").mkdir()
    provenance = {"training": "a", "data": {"title": title}, "updates": updates}
    (folder / "training" / "provenance.json").write_text(json.dumps(provenance), encoding="utf-8")
    (folder / "evaluation" / "metrics.json").write_text('{"training": "a", "test_accuracy": 0.5}', encoding="utf-8")
    (folder / "evaluation" / "feature_maps.png").write_bytes(b"png")


def test_feature_maps_are_of_the_pipelines_run_or_of_the_longest(tmp_path):
    assert story.trained_feature_maps(tmp_path).startswith("No trained network is here yet")
    trained(tmp_path / "runs" / "a", "CIFAR-10", 100)
    trained(tmp_path / "runs" / "b", "CIFAR-10", 1000)
    told = story.trained_feature_maps(tmp_path)
    assert (
        "(../runs/b/evaluation/feature_maps.png)" in told
        and "CIFAR-10" in told
        and "run b; after 1,000 updates it classifies 50.00 % of" in told
    )
    trained(tmp_path, "Digits", 10)
    told = story.trained_feature_maps(tmp_path)
    assert "(../evaluation/feature_maps.png)" in told and "Digits" in told and "the pipeline's own run" in told
