"""YAML that people write: what is read as DVC reads it, and what is refused, in one line."""

import math
import time

import pytest
from dvc.utils import serialize
from dvc.utils.hydra import apply_overrides

from resode.base import paths
from resode.config import yaml

GOOD = paths.PARAMS.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "value"),
    [("010", 10), ("0o10", 8), ("0x1F", 31), ("-7", -7), ("1_000", 1000), ("1e-3", 0.001), ("1e-05", 1e-5), ("+1E-3", 0.001), ("1.", 1.0),
     (".5", 0.5), (".15e0", ".15e0"), (".15e+0", 0.15), ("-.inf", -math.inf), ("1:30", "1:30"), ("yes", "yes"), ("true", True), ("~", None),
     ("", None), ("[1, a]", [1, "a"]), ("'010'", "010"), ("müller", "müller")],
)  # fmt: skip
def test_a_value_is_the_one_that_dvc_reads(text, value, tmp_path):
    (tmp_path / "params.yaml").write_text(f"value: {text}", encoding="utf-8")
    found = yaml.read(tmp_path / "params.yaml")
    assert found == {"value": value} == serialize.load_yaml(tmp_path / "params.yaml")
    assert type(found["value"]) is type(value)
    assert yaml.parse(yaml.text(found), "here") == found


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"seed: 0\nmodel: {h: 1, h: 2}", 'line 2: found duplicate key "h"'),
        (b"a: 1\nb: &x [1]\nc: *x", "line 2: the anchor or alias x is not read here; write the value itself"),
        (b"seed: !mine 1", "line 1: could not determine a constructor for the tag '!mine'"),
        (b"a: " + b"[" * 900 + b"]" * 900, "line 1: maximum depth"),
        (b"seed: " + b"9" * 5000, "has 5000 digits"),
        ("# caf\u00e9\nseed: 0".encode("latin-1"), "is no text"),
        (b"seed: 0\n# \x00", "line 2: unacceptable character #x0000"),
        (b"x" * 2_000_000, "2,000,000 bytes; at most 200,000 are read"),
        (b"- 1\n- 2", "must hold sections"),
        (b"seed: 0\n---\nseed: 1", "line 2: but found another document"),
        (GOOD.replace("  h: 0.15", '  h: "\\e[31m' + "x" * 100_000 + '"').encode(), "model.h = "),
        (GOOD.replace("seed: 0", "seed: " + "9" * 4000).encode(), "seed = 999"),
        (GOOD.replace("[16, 64", "[16384, 16384").replace("128, 256, 512, 1024]", "16384, 16384, 16384, 16384]").encode(), "weights; at most 1,000,000,000"),
    ],
    ids=range(13),
)  # fmt: skip
def test_wrong_params_are_one_short_line(content, words, tmp_path, monkeypatch, refused):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    monkeypatch.setattr(paths, "PARAMS", path)
    began = time.process_time()
    error = refused("check")
    assert words in error and "params.yaml" in error and len(error) < 2500 and "\x1b" not in error
    assert time.process_time() - began < 10


@pytest.mark.parametrize("given", ["=[", "={a: 1, a: 2}", "=" + "[" * 900, ""])
def test_wrong_settings_of_the_command_line_are_one_line(given, refused):
    error = refused("demo", "--set", "seed=1", "--set", "model.h" + given)
    assert "--set model.h" in error and len(error) < 400
    assert refused("demo", "--set", "seed=1", "--set", "seed=2") == "--set seed is given twice"
    assert "unknown key model.hh" in refused("demo", "--set", "model.hh=3")


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "valid dictionary"), ("../out: {seed: 1}", "../out = '../out': string should match pattern"), ("short: {model.hh: 1}", "unknown key model.hh"),
     ("short: {model: {h: 1.0}}", "write the settings of model as model.NAME"), ("short: {training.learning_rate: fast}", "training.learning_rate = 'fast'"),
     ("other: {seed: 1}", "has no run 'short'; it has other")],
)  # fmt: skip
def test_wrong_runs_are_one_line(text, words, tmp_path, monkeypatch, refused):
    (tmp_path / "runs.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(paths, "RUNS_YAML", tmp_path / "runs.yaml")
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    assert words in refused("run", "short") and not (tmp_path / "results").exists()


def test_comments_of_params_yaml_outlive_what_dvc_changes(tmp_path):
    """`dvc exp run -S` writes lists in block style, and the second time loses the comment behind one."""
    path = tmp_path / "params.yaml"
    path.write_text(GOOD, encoding="utf-8")

    def comments():
        lines = path.read_text(encoding="utf-8").splitlines()
        return [line.strip() for line in lines if line.lstrip().startswith("#")]

    before = comments()
    for change in ("model.h=0.05", "training.reference_drops=[1.0]", "model.pool_after=[]"):
        apply_overrides(path, [change])
        assert comments() == before
