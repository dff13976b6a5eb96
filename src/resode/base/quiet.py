"""TensorFlow's messages: exceptions, fatal errors and errors of its Python code are shown; notes and warnings are not."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from resode.base import importing

# Written while TensorFlow is imported, before it looks at TF_CPP_MIN_LOG_LEVEL.
_NOTES = r"^WARNING: All log messages before absl::InitializeLog\(\) is called|^[IW][0-9]{4} "


def install() -> None:
    """Make the import of TensorFlow quiet, whichever module imports it."""
    # Of what it logs as errors, it raises those that matter; others come with every call of `evaluate`, or without a GPU.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" not in sys.modules:
        # Its warnings would stand in pages, with addresses that differ from run to run.
        importing.after(
            "tensorflow", lambda module: module.get_logger().setLevel("ERROR"), lambda: _stderr_without(_NOTES)
        )


@contextmanager
def _stderr_without(pattern: str) -> Iterator[None]:
    """Leave out the lines that match `pattern` of what this process writes to file descriptor 2.

    A process of its own passes the others on, so that they are seen even if this one crashes.
    """
    sys.stderr.flush()
    with open(os.dup(2), "wb") as stderr:
        try:
            command = ["grep", "--line-buffered", "-v", "-E", pattern]
            grep = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stderr)
        except OSError:
            # Without grep the notes are shown.
            yield
            return
        os.dup2(grep.stdin.fileno(), 2)
        grep.stdin.close()
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr.fileno(), 2)
            # Not for ever: what was started meanwhile may hold its input open.
            with suppress(subprocess.TimeoutExpired):
                grep.wait(1)
