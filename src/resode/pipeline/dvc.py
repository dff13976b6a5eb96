"""`python -m resode.pipeline.dvc` instead of `dvc`: it does not report a failed stage again, since the stage has said why."""

import logging
import sys

from dvc import cli
from dvc.stage.exceptions import StageCmdFailedError


def main(arguments: list[str]) -> int:
    """Run DVC with `arguments` and return its exit status."""
    for handler in logging.getLogger("dvc").handlers:
        handler.addFilter(_is_news)
    return cli.main(arguments)


def _is_news(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error and error.__cause__, StageCmdFailedError)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
