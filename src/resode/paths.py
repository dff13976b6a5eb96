"""Every path of the repository, in one place."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
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
ARCHIVE = DATA / "cifar-10-binary.tar.gz"
# Not an output of any stage: DVC deletes outputs before it runs a stage, and checkpoints must survive that.
RUNS = ROOT / ".runs"


def python_path() -> str:
    """A PYTHONPATH that makes child processes import this copy of the package, whichever is installed."""
    return os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])


def dataset(name: str) -> Path:
    """Folder of the data set `name` in the CIFAR binary record format."""
    return DATA / name


def results(stage: str) -> Path:
    """Folder of everything `stage` writes."""
    return RESULTS / stage
