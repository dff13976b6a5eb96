"""The command's own options, without a stage."""

import os
import subprocess
import sys

import pytest
from PIL import Image

import resode
from resode import cli
from resode.base import paths
from resode.base.errors import InputError


def test_help_and_version(capsys):
    assert cli.main([]) == 0
    assert capsys.readouterr().out.startswith("usage: resode [-h] [--version] COMMAND")
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"resode {resode.__version__}\n"
    assert f"version: {resode.__version__}\n" in (paths.ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_completion_is_a_script_that_bash_reads(capsys):
    assert cli.main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    ask = "COMP_WORDS=(resode pred) COMP_CWORD=1 COMPREPLY=(); _shtab_resode; echo ${COMPREPLY[@]}"
    done = subprocess.run(["bash", "-c", script + ask], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("predict\n", "")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/tmp/" + "x" * 300, "File name too long"),
        ("~nosuchuser/archive.tar.gz", "cannot read ~nosuchuser"),
        ("a/../a\nb", "a\\nb"),
        ("\x1b[31m" + "x" * 100_000, "\\x1b[31mxxx"),
    ],
    ids=["too long", "a home of nobody", "a newline", "control characters"],
)
def test_odd_names_are_told_in_one_short_line(name, said, refused):
    told = refused("cifar10", name)
    assert said in told and len(told) < 2100 and "\x1b" not in told


def test_output_that_nobody_takes_is_no_error():
    done = subprocess.run(["sh", "-c", f"{sys.executable} -m resode check >&-"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("platforms", [pytest.param("cpu,abacus", marks=pytest.mark.slow), ","])
def test_platforms_that_jax_does_not_find_are_refused(platforms, monkeypatch, refused):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    assert refused("check").startswith(f"JAX_PLATFORMS={platforms}: JAX finds no such device (")


@pytest.mark.parametrize("minutes", ["nan", "0", "soon"])
def test_minutes_are_positive(minutes, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", "eighth", f"--minutes={minutes}"])
    assert ended.value.code == 2
    assert f"argument --minutes: {minutes!r} is no positive number" in capsys.readouterr().err


def test_prediction_from_a_wrong_folder_says_so_before_keras_is_loaded(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "image.png")
    code = "import sys; from resode import cli; status = cli.main(sys.argv[1:]); assert 'keras' not in sys.modules; sys.exit(status)"
    arguments = ["predict", str(tmp_path / "image.png"), "--weights", str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1) and "no trained weights" in done.stderr


@pytest.fixture
def other(tmp_path):
    """Another clone: enough of one to say which folder it is."""
    folder = tmp_path / "other"
    for name in ("cli.py", "base/paths.py"):
        (folder / "src" / "resode" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "src" / "resode" / name).write_text("")
    for name in ("__init__.py", "base/__init__.py"):
        (folder / "src" / "resode" / name).touch()
    (folder / "src" / "resode" / "__main__.py").write_text("import sys; print(__file__, *sys.argv[1:])")
    (folder / "docs").mkdir()
    return folder


@pytest.mark.parametrize("where", [".", "docs"])
def test_the_repository_one_stands_in_is_meant_whichever_is_installed(where, other):
    code = "import sys; from resode import cli; sys.argv = ['resode', 'predict', 'a b']; cli.main()"
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=other / where, env=environment, capture_output=True, text=True
    )
    assert done.stdout == f"{other}/src/resode/__main__.py predict a b\n"


def test_where_no_repository_is_or_this_one_the_installed_one_is_meant(other, tmp_path, monkeypatch):
    for folder in (tmp_path, paths.ROOT, paths.ROOT / "docs"):
        monkeypatch.chdir(folder)
        assert paths.elsewhere() is None
    monkeypatch.chdir(other / "docs")
    assert paths.elsewhere() == other
    monkeypatch.delenv("RESODE_RESULTS", raising=False)
    with pytest.raises(InputError, match=f"this is the code of {paths.ROOT}, and the notebook lies in {other}"):
        paths.output_folder("model")
    (other / "link").symlink_to(paths.ROOT)
    monkeypatch.chdir(other / "link")
    assert paths.elsewhere() is None
