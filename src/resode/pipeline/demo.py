"""The whole pipeline on digits in a scratch clone of the repository: `make demo`."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from resode.base import config, files, paths, strict_yaml
from resode.base.errors import InputError
from resode.pipeline import clones, parents

SETTINGS = paths.ROOT / "demo.yaml"
BUILD = paths.ROOT / "build" / "demo"


def run(more: list[str]) -> None:
    """Run every stage with the settings of demo.yaml and put the results in build/demo.

    Args:
        more: further "key=value" settings, values in YAML.

    Raises:
        InputError: a wrong setting (before anything runs), or a stage that failed.
    """
    content = config.changed(
        config.read_settings(SETTINGS) | config.settings(more), f"{SETTINGS.name} with --set" if more else SETTINGS.name
    )
    with clones.scratch(paths.RUNS / "demo") as clone:
        # Without its hints on git, of no use in a clone that is deleted.
        (clone / ".dvc" / "config.local").write_text("[core]\n    autostage = true\n", encoding="utf-8")
        (clone / "params.yaml").write_text(strict_yaml.text(content), encoding="utf-8")
        # Unlike tasks in DVC's queue, these stages are of no use without this process.
        os.environ[parents.STARTED_BY] = parents.this()
        with _interrupted_last():
            status = clones.dvc(clone, "repro", "report").returncode
        if status:
            # The clone may have filled the disk.
            paths.check_for_dvc()
            raise InputError("the demo stopped; the message above says where. Mend that and run `make demo` again")
        with files.replaced(BUILD) as partial:
            # The clone may lie on another disk.
            shutil.copytree(clone / "results", partial, dirs_exist_ok=True)
            shutil.copytree(clone / "build" / "site", partial / "site")
    accuracy = files.read_json(BUILD / "evaluation" / "metrics.json")["test_accuracy"]
    print(f"Test accuracy on digits: {100 * accuracy:.2f} %\nSite: {BUILD / 'site' / 'index.html'}")


@contextmanager
def _interrupted_last() -> Iterator[None]:
    """Let Ctrl-C end this process only after the block: DVC, which it reaches as well, first waits for its stage."""
    told = []
    before = signal.signal(signal.SIGINT, lambda *_: told.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if told:
        raise KeyboardInterrupt
