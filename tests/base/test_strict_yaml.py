"""YAML that people write: what is read as YAML 1.2 says, and what is refused, in one line."""

import gzip
import math
import os
import time

import pytest
from dvc.utils.hydra import apply_overrides

from resode import cli
from resode.base import config, paths, strict_yaml
from resode.base.errors import InputError
from resode.base.text import quoted
from resode.studies import comparison, runs, sweep

GOOD = paths.PARAMS.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-7", -7),
        ("1e-3", 0.001),
        ("1.0e-3", 0.001),
        ("+1E-3", 0.001),
        ("1.", 1.0),
        (".5", 0.5),
        (".15e0", ".15e0"),
        (".15e+0", 0.15),
        ("1:30", "1:30"),
        ("yes", "yes"),
        ("true", True),
        ("~", None),
        ("", None),
        ("2024-13-45", "2024-13-45"),
        ("0x_", "0x_"),
        ("1_000", "1_000"),
        ("-.inf", -math.inf),
        ("[1, a]", [1, "a"]),
        ("'010'", "010"),
        ("müller", "müller"),
    ],
)
def test_values_are_those_of_yaml_1_2(text, value):
    found = strict_yaml.parse(text, "here")
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "text", ["010", "0o10", "0x1F", "1e-3", "1:30", "yes", "~", "on", "12e03", "1.5", ".15e0", "-.15e-1", "1.e3", "+.5"]
)
def test_dvc_reads_the_same_value(text):
    from ruamel.yaml import YAML

    # As dvc.utils.serialize reads params.yaml.
    theirs = YAML(typ="safe").load(text)
    assert strict_yaml.parse(text, "here") == theirs or not isinstance(theirs, int | float | str)


def twice(section, line):
    return GOOD.replace(section, f"{section}{line}", 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (twice("model:\n", "  h: 0.5\n").encode(), "the key h stands twice, in lines"),
        ((GOOD + "\nmodel: {h: 0.5}\n").encode(), "the key model stands twice, in lines"),
        ((GOOD + '\n"seed": 1\n').encode(), "the key seed stands twice, in lines"),
        (b"a: &x [1]\nb: *x", "line 1: an anchor (&) is not read here"),
        (("a: &a [x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9))).encode(), "an anchor"),
        (b"seed: !!int abc", "a tag (!) is not read here"),
        (b"seed: !!bool perhaps", "a tag (!)"),
        (b"%YAML 1.1\n---\nseed: 010", "a directive (%)"),
        (b"a: " + b"[" * 900 + b"]" * 900, "more than 20 levels"),
        (b"seed: [", "is not YAML, line"),
        (b"seed: " + b"9" * 5000, "a number of 5000 digits"),
        ("# caf\u00e9\nseed: 0".encode("latin-1"), "is not UTF-8"),
        (GOOD.encode("utf-16"), "is not UTF-8"),
        (gzip.compress(GOOD.encode()), "is not UTF-8"),
        (os.urandom(3) + b"\xff\xfe\x00", "is not"),
        (b"\x00\x01", "is not YAML"),
        (b"seed: 0\n# \x00", "is not YAML, line 2: it holds the character '\\x00'"),
        (GOOD.replace("  architecture: units", "  architecture: resnet\uff12\uff10").encode(), "input should be units"),
        (GOOD.replace("  channels: [16,", "  channels: [16384, 16384, 16384, 16384, 16384, 16384] #").encode(), "weights; at most 1,000,000,000"),
        (b"x" * 2_000_000, "2,000,000 bytes; at most"),
        (b"- 1\n- 2", "must hold sections"),
        (b"", "must hold sections"),
        (b"? [1, 2]\n: 3", "a key must be a word"),
        (b"seed: 0\n---\nseed: 1", "is not YAML"),
        (GOOD.replace("  h: 0.15", "  h: 010").encode(), ""),
        (GOOD.replace("  h: 0.15", '  h: "\\e[31m' + "x" * 100_000 + '"').encode(), "model.h = "),
        ((GOOD + '"\\e[2J\\n' + "k" * 900 + '": 1\n').encode(), "unknown key "),
        ((GOOD + "".join(f"key{i}: 1\n" for i in range(1000))).encode(), "and 995 more"),
        (GOOD.replace("  h: 0.15", "  h: 1.0e+300").encode(), "model.h = 1e+300: input should be less than"),
        (GOOD.replace("  kernel_size: 3", "  kernel_size: 1000000").encode(), "model.kernel_size = 1000000"),
        (GOOD.replace("  unroll_length: 4", "  unroll_length: 10000000000").encode(), "model.unroll_length = 10000000000"),
        (GOOD.replace("  h: 0.15", "  h: " + "9" * 39 + ".0").encode(), "model.h = "),
    ],
    ids=range(32),
)  # fmt: skip
def test_wrong_params_are_one_short_line(content, words, tmp_path, monkeypatch, capsys):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    monkeypatch.setattr(paths, "PARAMS", path)
    began = time.process_time()
    status = cli.main(["check"])
    error = capsys.readouterr().err
    if not words:
        # Ten, as DVC reads it.
        assert (status, error) == (0, "") and config.load().model.h == 10.0
        return
    assert status == 1 and words in error, error
    assert error.startswith("error: ") and error.count("\n") == 1 and len(error) < 2500 and "\x1b" not in error
    assert time.process_time() - began < 10


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path, words in (("fifo", "not an ordinary file"), (".", "not an ordinary file"), ("none", "No such file")):
        with pytest.raises(InputError, match=words):
            strict_yaml.read(tmp_path / path)


@pytest.mark.parametrize(
    "given", ["model.h=[", "model.h=*a", "model.h={a: 1, a: 2}", "model.h=" + "[" * 900, "no equals sign"]
)
def test_wrong_settings_of_the_command_line_are_one_line(given, capsys):
    assert cli.main(["demo", "--set", given]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: --set ") and error.count("\n") == 1 and len(error) < 400


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must hold runs"),
        ("7", "must hold runs"),
        ("short: [1, 2]", "short must hold settings"),
        ("short: {seed: 1}\nshort: {seed: 2}", "the key short stands twice"),
        ("../out: {seed: 1}", "a run's name is of letters"),
        ("a/b: {seed: 1}", "a run's name is of letters"),
        ("1: {seed: 1}", "a run's name is of letters"),
        ("short: {model.hh: 1}", "unknown key model.hh"),
        ("short: {model: {h: 1.0}}", "write the settings of model as model.NAME"),
        ("short: {training.learning_rate: fast}", "training.learning_rate = 'fast'"),
        ("other: {seed: 1}", "has no run 'short'; it has other"),
    ],
)
def test_wrong_runs_are_one_line(text, words, tmp_path, monkeypatch, capsys):
    (tmp_path / "runs.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(paths, "RUNS_YAML", tmp_path / "runs.yaml")
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    assert cli.main(["run", "short"]) == 1
    error = capsys.readouterr().err
    assert words in error and error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_powers_of_ten_are_numbers_in_every_file(tmp_path, monkeypatch):
    (tmp_path / "runs.yaml").write_text("short: {training.learning_rate: 1e-3}", encoding="utf-8")
    monkeypatch.setattr(paths, "RUNS_YAML", tmp_path / "runs.yaml")
    assert runs.read() == {"short": {"training.learning_rate": 0.001}}
    assert config.settings(["model.h=1e-3"]) == {"model.h": 0.001}


def test_the_repositorys_own_files_are_read():
    for path in (paths.PARAMS, paths.DVC_YAML, paths.RUNS_YAML, sweep.FILE, comparison.FILE, paths.ROOT / "demo.yaml"):
        assert strict_yaml.read(path)


@pytest.mark.parametrize("odd", ["\x85", "\u2028", "\u2029"])
def test_line_breaks_that_dvc_does_not_know_are_refused(odd):
    with pytest.raises(InputError, match="^here, line 2: it holds the line break .*, which DVC reads as none"):
        strict_yaml.parse(f"a: 1\n# note{odd}b: 2", "here")


@pytest.mark.parametrize("text", ['"\\U00110000"', '"\\UFFFFFFFF": 1', "a: !!int abc"])
def test_escape_of_no_character_is_one_line(text):
    with pytest.raises(InputError, match="^here is not YAML|^here, line 1"):
        strict_yaml.parse(text, "here")


def test_key_twice_on_the_command_line_is_refused():
    with pytest.raises(InputError, match="--set model.h is given twice"):
        config.settings(["model.h=0.1", "seed=1", "model.h=0.5"])


def test_quoted_text_is_short_and_on_one_line():
    assert quoted("a\n\x1b[31mb") == "a\\n\\x1b[31mb"
    assert len(quoted("x" * 10**7)) == 121


def test_comments_of_params_yaml_outlive_what_dvc_changes(tmp_path):
    """`dvc exp run -S` writes lists in block style, and the second time loses the comment behind one."""
    path = tmp_path / "params.yaml"
    path.write_bytes((paths.ROOT / "params.yaml").read_bytes())

    def comments():
        lines = path.read_text(encoding="utf-8").splitlines()
        return [line.strip() for line in lines if line.lstrip().startswith("#")]

    before = comments()
    for change in ("model.h=0.05", "training.reference_drops=[1.0]", "model.pool_after=[]"):
        apply_overrides(path, [change])
        assert comments() == before
