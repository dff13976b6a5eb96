"""Every path of the repository, in one place."""

import os
import re
import tempfile
from pathlib import Path

from resode.base.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
# The variables are for runs besides the pipeline's: `runs` hands them to the stages that it starts.
PARAMS = Path(os.environ.get("RESODE_PARAMS", ROOT / "params.yaml"))
DVC_YAML = ROOT / "dvc.yaml"
NOTEBOOKS = ROOT / "notebooks"
REFERENCE = ROOT / "reference"
RESULTS = Path(os.environ.get("RESODE_RESULTS", ROOT / "results"))
# The weights that git carries.
NETWORK = RESULTS / "network" / "network.safetensors"
RUNS_YAML = ROOT / "runs.yaml"
DATA = ROOT / "data"


def project(root: Path) -> Path:
    """The repository that `root` belongs to: itself, or the one in which DVC made it for the time of an experiment
    (`dvc exp run --temp`, `dvc queue start`) and deletes it afterwards.
    """
    for folder in root.parents:
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[2]
    return root


# Not an output of any stage: DVC deletes outputs before it runs a stage, and checkpoints must survive that.
RUNS = project(ROOT) / ".runs"
# More than DVC's databases grow by in one command.
_DVC_BYTES = 8_000_000


def python_path() -> str:
    """A PYTHONPATH that makes child processes import this copy of the package, whichever is installed."""
    return os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])


def modules(folder: Path) -> list[Path]:
    """The modules in `folder` and its packages that Python can import: no copies that editors leave beside them."""
    return [
        path
        for path in sorted(folder.rglob("*.py"))
        if all(part.isidentifier() for part in path.relative_to(folder).with_suffix("").parts)
    ]


def run_name() -> str | None:
    """The name of the run of runs.yaml whose stages this process runs; None for the pipeline's own."""
    return RESULTS.name if RESULTS.parent == ROOT / "results" / "runs" else None


def dataset(name: str) -> Path:
    """Folder of the data set `name` in the CIFAR binary record format."""
    return DATA / name


def results(stage: str) -> Path:
    """Folder of everything `stage` writes; in the stage's own notebook that of its unfinished results."""
    return staging_folder(stage) if stage == os.environ.get("RESODE_STAGE") else RESULTS / stage


def output_folder(stage: str) -> Path:
    """Folder that the notebook of `stage` writes to. Git ignores that of a notebook opened in Jupyter.

    Raises:
        InputError: the notebook lies in another repository than this code.
    """
    if "RESODE_RESULTS" in os.environ:
        return results(stage)
    if other := elsewhere():
        raise InputError(
            f"this is the code of {ROOT}, and the notebook lies in {other}; make an environment there: make setup"
        )
    return ROOT / "build" / "notebooks" / stage


def elsewhere() -> Path | None:
    """The repository in which this process stands, if it has other files than this code's."""
    try:
        here = Path.cwd()
    except OSError:
        # It was deleted.
        return None
    for folder in (here, *here.parents):
        this = folder / Path(__file__).relative_to(Path(__file__).parents[3])
        if this.is_file():
            return None if this.samefile(__file__) else folder
    return None


def staging_folder(stage: str) -> Path:
    """Folder that `stage` writes to while it runs: beside that of its last results, on the same disk even if that is a link."""
    folder = Path(os.path.realpath(RESULTS / stage))
    return folder.with_name(f".{folder.name}.partial")


def short_temporary() -> str:
    """The folder for temporary files, or /tmp if its path is too long for sockets in it: Linux takes 107 bytes for all."""
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) < 40 else "/tmp"


def check_for_dvc() -> None:
    """Check that DVC can work here: it misreads braces in a path, and keeps databases in two folders, which must be writable.

    Raises:
        InputError: the path has a brace, or a folder is full or not writable.
    """
    if found := re.search("[{}]", str(ROOT)):
        raise InputError(f"DVC cannot do this in {ROOT}, because of the {found[0]!r} in its path; move the repository")
    from dvc.dirs import site_cache_dir

    for folder in (ROOT / ".dvc" / "tmp", Path(site_cache_dir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(_DVC_BYTES))
        except OSError as error:
            raise InputError(
                f"DVC cannot write in {folder}: {error.strerror}; free space, make the folder writable, or lift a limit of ulimit -f"
            ) from error
