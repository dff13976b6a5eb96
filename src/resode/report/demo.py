"""The whole pipeline on digits, beside the user's own parameters and results: `make demo`."""

import os
import shutil

from resode.base import files, paths
from resode.base.errors import InputError, TimeOver
from resode.config import parameters, yaml
from resode.data import digits
from resode.experiments import runs
from resode.pipeline import stages
from resode.report import site
from resode.training import checkpoint

SETTINGS = paths.ROOT / "demo.yaml"
BUILD = paths.ROOT / "build" / "demo"
# Stages, and those beside them that need none of their results: most of a stage's time one core is idle.
PLAN = (
    (("training",), ("model", "integrators", "augmentation", "toys")),
    (("stability", "story"), ("evaluation",)),
    (("report",), ()),
)


def run(more: list[str]) -> None:
    """Run every stage with the settings of demo.yaml and put the results, and a site of them, in build/demo.

    Training goes on from the checkpoints of a demo with the same settings.

    Args:
        more: further "key=value" settings, values in YAML.

    Raises:
        InputError: a wrong setting (before anything runs), a demo that already runs, or a stage that failed.
    """
    content = parameters.changed(
        parameters.read_as(SETTINGS) | parameters.settings(more),
        f"{SETTINGS.name} with --set" if more else SETTINGS.name,
    )
    # The toys take minutes and know nothing of digits: unless they are changed, they are those of results/.
    chosen = [stage for stage in stages.STAGES if stage != "toys" or content["toys"] != parameters.read()["toys"]]
    own = paths.RUNS / "demo"
    with checkpoint.locked(own), files.replaced(BUILD) as partial:
        files.write_text(own / "params.yaml", yaml.text(content))
        # What other runs left, which the pages link to.
        for folder in (paths.ROOT / "results").iterdir():
            if folder.name not in chosen:
                shutil.copytree(folder, partial / folder.name)
        digits.write(paths.dataset(digits.NAME))
        environment = {**os.environ, "PYTHONPATH": paths.python_path()}
        environment |= {"RESODE_PARAMS": str(own / "params.yaml"), "RESODE_RESULTS": str(partial)}
        try:
            for lane, beside in PLAN:
                runs.run_stages(lane, environment, [stage for stage in beside if stage in chosen])
        except TimeOver as error:
            raise InputError("the demo stopped; run it again") from error
        site.build(partial / "site", partial)
        accuracy = files.read_json(partial / "evaluation" / "metrics.json")["test_accuracy"]
    print(f"Test accuracy on digits: {100 * accuracy:.2f} %\nSite: {BUILD / 'site' / 'index.html'}")
