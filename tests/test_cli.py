"""The command's own options, without a stage."""

import subprocess

import pytest

import resode
from resode import cli
from resode.base import paths

pytestmark = pytest.mark.once


def test_bare_command_prints_its_help(capsys):
    assert cli.main([]) == 0
    assert capsys.readouterr().out.startswith("usage: resode [-h] [--version] COMMAND")


def test_version(capsys):
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
