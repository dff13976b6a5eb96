"""`resode commit`: tells DVC that the results here belong to the code here, after comparing them with params.yaml."""

import sys
from collections.abc import Sequence

from resode.base import files, paths
from resode.base.errors import InputError
from resode.base.text import quoted
from resode.config import parameters
from resode.data import records
from resode.pipeline import dvc, inputs
from resode.pipeline.stages import NAMING, STAGES
from resode.training import outputs


def run(stages: Sequence[str]) -> None:
    """Run `dvc commit --force` for `stages`, whose results may come from older code, but only from these params.yaml and data.

    `dvc commit` alone would record today's parameters for results that were made with others.

    Raises:
        InputError: no such stage; no results, or results of other parameters, data or another training; DVC failed.
    """
    content = parameters.read()
    checked = parameters.validate(content)
    for stage in stages:
        if stage not in STAGES:
            raise InputError(f"no stage {quoted(repr(stage))} is a notebook; there are {', '.join(STAGES)}")
        page = paths.RESULTS / stage / f"{stage}.ipynb"
        if not page.is_file():
            raise InputError(f"{page} is missing; run: dvc repro {stage}")
        if other := inputs.others(page, content):
            raise InputError(f"{page.parent} is of other parameters than params.yaml: {other}; run: dvc repro {stage}")
    training = paths.RESULTS / "training"
    if "training" in stages:
        data = records.load(paths.dataset(checked.data.name))
        made = outputs.provenance(training)
        # The page may be of another training than the weights.
        if other := inputs.differences(made["params"], content):
            raise InputError(f"{training} is of other parameters than params.yaml: {other}; run: dvc repro training")
        if made["data"]["sha256"] != data.provenance["sha256"]:
            raise InputError(f"{training} is of other data than {paths.dataset(data.name)}; run: dvc repro training")
    for stage in NAMING.keys() & set(stages):
        path = paths.RESULTS / stage / NAMING[stage]
        outputs.check_of(outputs.provenance(training), files.read_json(path), path)
    if status := dvc.main(["commit", "--force", *stages]):
        sys.exit(status)
