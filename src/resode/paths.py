"""Every path of the repository, in one place."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARAMS = ROOT / "params.yaml"
DVC_YAML = ROOT / "dvc.yaml"
NOTEBOOKS = ROOT / "notebooks"
REFERENCE = ROOT / "reference"
RESULTS = ROOT / "results"
DATA = ROOT / "data"
ARCHIVE = DATA / "cifar-10-binary.tar.gz"
# Not an output of any stage: DVC deletes outputs before it runs a stage, and checkpoints must survive that.
RUNS = ROOT / ".runs"


def dataset(name: str) -> Path:
    """Folder of the data set `name` in the CIFAR binary record format."""
    return DATA / name


def results(stage: str) -> Path:
    """Folder of everything `stage` writes."""
    return RESULTS / stage
