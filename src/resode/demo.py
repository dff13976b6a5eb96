"""The whole pipeline on digits in a scratch copy of the repository: `make demo`."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

import yaml

from . import params, paths
from .errors import InputError

EXPERIMENT = "demo"
SETTINGS = paths.ROOT / "demo.yaml"
BUILD = paths.ROOT / "build" / "demo"


def run(more: list[str]) -> None:
    """Run every stage with the settings of demo.yaml and put the results in build/demo.

    Args:
        more: further "key=value" settings, values in YAML.

    Raises:
        InputError: a wrong setting (before anything runs), or a stage that failed.
    """
    settings = yaml.safe_load(SETTINGS.read_text()) | params.settings(more)
    params.changed(settings)
    # What an interrupted demo left; DVC refuses a second experiment of the same name.
    _dvc("exp", "remove", EXPERIMENT, quiet=True)
    flags = [part for key, value in settings.items() for part in ("-S", f"{key}={json.dumps(value)}")]
    try:
        if _dvc("exp", "run", "--temp", "--name", EXPERIMENT, *flags, "report"):
            raise InputError("the demo stopped; the message above says where. Mend that and run `make demo` again")
        _export()
    finally:
        _dvc("exp", "remove", EXPERIMENT, quiet=True)
    accuracy = json.loads((BUILD / "evaluation" / "metrics.json").read_text())["test_accuracy"]
    print(f"Test accuracy on digits: {100 * accuracy:.2f} %\nReport: {BUILD / 'report' / 'report.html'}")


def _dvc(*arguments: str, quiet: bool = False) -> int:
    environment = {**os.environ}
    # Committing the experiment needs an author; on a fresh machine git has none.
    for role in ("AUTHOR", "COMMITTER"):
        environment.setdefault(f"GIT_{role}_NAME", "resode")
        environment.setdefault(f"GIT_{role}_EMAIL", "resode@localhost")
    output = subprocess.DEVNULL if quiet else None
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=paths.ROOT, env=environment, stdout=output, stderr=output).returncode


def _export() -> None:
    """Put the experiment's results/ at build/demo, whole or not at all."""
    listed = subprocess.run(
        ["git", "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps"],
        cwd=paths.ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\n")  # fmt: skip
    commits = [line.split()[0] for line in listed if line.endswith(f"/{EXPERIMENT}")]
    BUILD.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD.parent) as scratch:
        packed = os.path.join(scratch, "results.zip")
        subprocess.run(["git", "archive", "--output", packed, commits[0], "results"], cwd=paths.ROOT, check=True)
        shutil.unpack_archive(packed, scratch)
        shutil.rmtree(BUILD, ignore_errors=True)
        os.replace(os.path.join(scratch, "results"), BUILD)
