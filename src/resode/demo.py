"""The whole pipeline on digits in a scratch copy of the repository: `make demo`."""

import json

import yaml

from . import experiments, params, paths
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
    experiments.dvc("exp", "remove", EXPERIMENT, capture_output=True)
    flags = experiments.flags(settings)
    try:
        if experiments.dvc("exp", "run", "--temp", "--name", EXPERIMENT, *flags, "report").returncode:
            raise InputError("the demo stopped; the message above says where. Mend that and run `make demo` again")
        experiments.extract(experiments.commits()[EXPERIMENT], "results", BUILD)
    finally:
        experiments.dvc("exp", "remove", EXPERIMENT, capture_output=True)
    accuracy = json.loads((BUILD / "evaluation" / "metrics.json").read_text())["test_accuracy"]
    print(f"Test accuracy on digits: {100 * accuracy:.2f} %\nReport: {BUILD / 'report' / 'report.html'}")
