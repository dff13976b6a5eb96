"""The site: the pages of docs/ and the executed notebooks of results/, by Sphinx."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from resode.base import files, paths
from resode.base.errors import InputError
from resode.pipeline import stages
from resode.training import outputs

FOLDER = paths.ROOT / "build" / "site"


def build(folder: Path = FOLDER, results: Path = paths.RESULTS) -> Path:
    """Write the site to `folder` and return its first page, which opens from the file system, without a network.

    Args:
        results: whose pages are shown.

    Raises:
        InputError: pages of one run are of different trainings; Sphinx refused a page; the message says which.
    """
    for one in (results, *sorted(results.glob("runs/*"))):
        _check(one)
    with files.replaced(folder) as partial, tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "source"
        _gather(source, results)
        options = ["-q", "-W", "--keep-going", "-c", "docs", "-d", str(Path(scratch) / "doctrees")]
        command = [sys.executable, "-m", "sphinx", *options, str(source), str(partial)]
        done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)
        # MyST-NB leaves it beside the site, whether it executes pages or not.
        shutil.rmtree(partial.parent / "jupyter_execute", ignore_errors=True)
        if done.returncode:
            raise InputError(f"the site could not be built:\n{done.stderr.strip()}")
    return folder / "index.html"


def _check(results: Path) -> None:
    """Check that what stages wrote in `results` is of the training there."""
    for path in (results / stage / name for stage, name in stages.NAMING.items()):
        if path.is_file():
            outputs.check_of(outputs.provenance(results / "training"), files.read_json(path), path)


def _gather(source: Path, results: Path) -> None:
    """Copy the pages to `source`, with `results` as its results, and link the rest of the repository, to which pages link."""
    source.mkdir()
    for path in paths.ROOT.iterdir():
        if path.name in ("docs", "README.md"):
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, source / path.name)
        elif path.name not in ("results", "build", "data") and not path.name.startswith("."):
            (source / path.name).symlink_to(path)
    shutil.copytree(results, source / "results", ignore=shutil.ignore_patterns("site"))
