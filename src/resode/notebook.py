"""Running a stage's notebook and rendering it, so that two equal runs write equal bytes."""

import logging
import os
import re
import sys
import time
from pathlib import Path

import nbformat
import papermill
import yaml
from nbclient.exceptions import DeadKernelError
from nbconvert import HTMLExporter
from nbconvert.preprocessors import TagRemovePreprocessor
from papermill.exceptions import PapermillExecutionError

from . import params, paths
from .errors import Diverged, InputError, TimeOver
from .files import write_text

# Scripts that the page template loads from the network (MathJax, require.js): a page must open offline.
_REMOTE_SCRIPT = re.compile(r"<script[^>]*\ssrc=[^>]*>\s*</script>")


def run(stage: str) -> None:
    """Execute notebooks/`stage`.ipynb with the stage's sections of params.yaml, output streamed to the terminal.

    Writes results/`stage`/`stage`.ipynb and .html (a page of its own that opens offline; the report without code).

    Raises:
        InputError: wrong parameters, or wrong input that the notebook found; nothing is rendered then.
    """
    params.load()
    given = sections(stage)
    started = time.time()
    source = paths.NOTEBOOKS / f"{stage}.ipynb"
    folder = paths.results(stage)
    executed = _execute(source, given, folder)
    normalise(executed)
    write_text(folder / f"{stage}.ipynb", nbformat.writes(executed) + "\n")
    write_text(folder / f"{stage}.html", _html(executed, code=stage != "report"))
    # DVC keeps the folder when a stage runs again; what this run did not write belongs to an older one.
    for path in folder.iterdir():
        if path.is_file() and path.stat().st_mtime < started:
            path.unlink()


def sections(stage: str) -> dict:
    """The sections of params.yaml on which dvc.yaml lets `stage` depend; none, if it is no stage."""
    stages = yaml.safe_load(paths.DVC_YAML.read_text())["stages"]
    content = params.read()
    chosen: dict = {}
    for key in stages.get(stage, {}).get("params", []):
        section, _, name = key.partition(".")
        if name:
            chosen.setdefault(section, {})[name] = content[section][name]
        else:
            chosen[section] = content[section]
    return chosen


def normalise(notebook: nbformat.NotebookNode) -> None:
    """Remove what differs from run to run: times, ids, stderr, and what cells tagged "progress" print."""
    notebook.metadata = {name: notebook.metadata[name] for name in ("kernelspec",) if name in notebook.metadata}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        tags = cell.metadata.get("tags", [])
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type != "code":
            continue
        # What is printed carries speeds and remaining times; libraries write times and process ids to stderr.
        unwanted = {"stdout", "stderr"} if "progress" in tags else {"stderr"}
        cell.outputs = [output for output in cell.outputs if output.get("name") not in unwanted]
        for output in cell.outputs:
            output.metadata = {} if "metadata" in output else output.get("metadata", {})


def _execute(source: Path, given: dict, folder: Path) -> nbformat.NotebookNode:
    os.environ["PYTHONPATH"] = paths.python_path()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("papermill", "traitlets", "asyncio"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return papermill.execute_notebook(
            str(source),
            None,
            parameters={"params": given} if given else {},
            cwd=str(paths.ROOT),
            progress_bar=False,
            stdout_file=sys.stdout,
            # A kernel of this interpreter, not of whichever Jupyter has registered under the name.
            kernel_name="python3",
        )
    except PapermillExecutionError as error:
        # InputError carries one line for the user; anything else is a defect and keeps its traceback.
        for known in (InputError, Diverged, TimeOver):
            if error.ename == known.__name__:
                raise known(error.evalue) from None
        raise
    except DeadKernelError:
        raise InputError(
            "the notebook's kernel died, killed or out of memory; run it again, a training goes on from its last checkpoint"
        ) from None
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}; free space or make the folder writable") from error


def _html(notebook: nbformat.NotebookNode, code: bool) -> str:
    exporter = HTMLExporter(
        exclude_input=not code,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        embed_images=True,
    )
    exporter.register_preprocessor(
        TagRemovePreprocessor(remove_cell_tags={"injected-parameters"} if not code else set()), enabled=True
    )
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": notebook.cells[0].source[2:].split("\n")[0]}})
    return _REMOTE_SCRIPT.sub("", page)
