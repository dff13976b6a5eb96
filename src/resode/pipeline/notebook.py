"""Running a stage's notebook, so that two equal runs write equal bytes."""

import hashlib
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from resode.base import paths
from resode.base.errors import Diverged, InputError, TimeOver
from resode.base.files import write_text
from resode.config import parameters
from resode.pipeline import inputs
from resode.pipeline.stages import OF_A_RUN
from resode.training import checkpoint, progress


def run(stage: str) -> None:
    """Execute notebooks/`stage`.ipynb with the stage's sections of params.yaml, output streamed to the terminal.

    Writes results/`stage`/`stage`.ipynb. What the stage writes lies beside its last results until it has succeeded.

    Raises:
        InputError: wrong parameters, wrong input that the notebook found, or inputs that changed meanwhile; the last results
            stay as they are then.
    """
    content = parameters.read()
    parameters.validate(content)
    folder, staging = paths.RESULTS / stage, paths.staging_folder(stage)
    # Runs of runs.yaml have results of their own.
    lock = hashlib.sha256(bytes(staging)).hexdigest()[:16]
    with checkpoint.locked(paths.RUNS / "stages" / lock):
        try:
            # What a killed run left.
            shutil.rmtree(staging, ignore_errors=True)
            with inputs.unchanged(stage, content), _written(folder):
                folder.mkdir(parents=True, exist_ok=True)
                staging.mkdir()
                last = _identities(folder)
                executed = _execute(stage, content)
                normalise(executed)
                write_text(staging / f"{stage}.ipynb", nbformat.writes(executed) + "\n")
            with _written(folder):
                _replace(last, staging, folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _identities(folder: Path) -> dict[Path, tuple[int, int]]:
    """Inode and time of each file in `folder`: another file, or one written again, differs in one of them."""
    found = {path: path.stat() for path in folder.iterdir() if path.is_file()}
    return {path: (status.st_ino, status.st_mtime_ns) for path, status in found.items()}


def _replace(last: dict[Path, tuple[int, int]], staging: Path, folder: Path) -> None:
    """Move the files in `staging` to `folder` and delete those of the `last` run that none of them took the place of."""
    for path in staging.iterdir():
        os.replace(path, folder / path.name)
    for path, identity in _identities(folder).items():
        if last.get(path) == identity:
            path.unlink()


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}; free space or make the folder writable") from error


def normalise(notebook: nbformat.NotebookNode) -> None:
    """Remove what differs from run to run: times, ids, stderr, and what cells tagged "progress" print. Links to other notebooks
    become links to their pages: of the same run, else of the pipeline.
    """
    notebook.metadata = {name: notebook.metadata[name] for name in ("kernelspec",) if name in notebook.metadata}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        tags = cell.metadata.get("tags", [])
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type != "code":
            # A notebook lies beside the others, a page in a folder of its own.
            cell.source = re.sub(r"\]\((\w+)\.ipynb\)", lambda link: f"]({_page(link[1])})", cell.source)
            continue
        # What is printed carries speeds and remaining times; libraries write times and process ids to stderr.
        unwanted = {"stdout", "stderr"} if "progress" in tags else {"stderr"}
        cell.outputs = [output for output in cell.outputs if output.get("name") not in unwanted]
        for output in cell.outputs:
            if "metadata" in output:
                # What an image shows, and its width.
                output.metadata = {kind: value for kind, value in output.metadata.items() if kind == "image/png"}


def _page(stage: str) -> str:
    """The way from a page to that of `stage`."""
    shared = paths.run_name() and stage not in OF_A_RUN
    results = paths.ROOT / "results" if shared else paths.RESULTS
    return os.path.relpath(results / stage / f"{stage}.ipynb", paths.RESULTS / "from")


def _execute(stage: str, content: dict) -> nbformat.NotebookNode:
    given = inputs.sections(stage, content)
    source = nbformat.read(paths.NOTEBOOKS / f"{stage}.ipynb", as_version=4)
    os.environ["PYTHONPATH"] = paths.python_path()
    for name in ("papermill", "traitlets", "asyncio"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(dir=paths.short_temporary()) as scratch:
        # What the cell of the notebook is not given is filled in from there.
        variables = {"RESODE_PARAMS": str(paths.PARAMS.absolute())}
        variables |= {"RESODE_RESULTS": str(paths.RESULTS), "RESODE_STAGE": stage}
        variables[progress.COLUMNS] = str(progress.columns())
        kernel = _kernel(Path(scratch), variables)
        try:
            return papermill.execute_notebook(
                source,
                None,
                parameters={"params": given} if given else {},
                cwd=str(paths.ROOT),
                progress_bar=False,
                stdout_file=sys.stdout,
                kernel_name="python3",
                kernel_manager_class=kernel,
                on_cell_execute=lambda **_: setattr(kernel, "busy", True),
                on_cell_executed=lambda **_: setattr(kernel, "busy", False),
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


def _kernel(scratch: Path, environment: dict[str, str]) -> type[AsyncKernelManager]:
    """The manager of a kernel that is this interpreter, whatever Jupyter has registered, with its sockets in the folder `scratch`.

    Args:
        environment: variables for the kernel besides this process's.
    """

    class Kernel(AsyncKernelManager):
        busy = False

        def __init__(self, **options):
            super().__init__(transport="ipc", connection_file=str(scratch / "kernel.json"), **options)

        @property
        def kernel_spec(self) -> KernelSpec:
            # Jupyter takes a $ for the beginning of a variable's name, and two for one.
            quoted = {name: value.replace("$", "$$") for name, value in environment.items()}
            # This package before all others, since it keeps them quiet.
            start = "import resode; from ipykernel import kernelapp; kernelapp.launch_new_instance()"
            argv = [sys.executable, "-c", start, "-f", "{connection_file}"]
            return KernelSpec(argv=argv, display_name="Python 3", language="python", env=quoted)

        async def _async_interrupt_kernel(self) -> None:
            # Jupyter interrupts a kernel before it shuts it down; one that waits for the next cell may call that an error.
            if self.busy:
                await super()._async_interrupt_kernel()

    return Kernel
