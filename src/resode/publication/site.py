"""The site: the pages of docs/ and the executed notebooks of results/, by Sphinx."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from resode.base import files, paths
from resode.base.errors import InputError

FOLDER = paths.ROOT / "build" / "site"


def build(folder: Path = FOLDER) -> Path:
    """Write the site to `folder` and return its first page, which opens from the file system, without a network.

    Raises:
        InputError: Sphinx refused a page; its message says which.
    """
    with files.replaced(folder) as partial, tempfile.TemporaryDirectory() as doctrees:
        options = ["-q", "-W", "--keep-going", "-c", "docs", "-d", doctrees]
        command = [sys.executable, "-m", "sphinx", *options, ".", str(partial)]
        done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)
        # MyST-NB leaves it beside the site, whether it executes pages or not.
        shutil.rmtree(partial.parent / "jupyter_execute", ignore_errors=True)
        if done.returncode:
            raise InputError(f"the site could not be built:\n{done.stderr.strip()}")
    return folder / "index.html"
