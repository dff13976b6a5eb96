"""A measurement in a process of its own, which has imported and allocated nothing else."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from resode.base import files, paths
from resode.base.errors import InputError

# Nothing else is imported before the function's module: the memory of what is would be measured, too.
_PROGRAM = """
import importlib, json, sys
module, name, given, result = sys.argv[1:]
function = getattr(importlib.import_module(module), name)
with open(given, encoding="utf-8") as file:
    arguments = json.load(file)
found = function(*arguments)
with open(result, "w", encoding="utf-8") as file:
    json.dump(found, file)
"""


def call(function: Callable[..., Any], *arguments: Any, environment: Mapping[str, str]) -> Any:
    """The result of `function` for `arguments`; both are handed over as JSON.

    Args:
        function: of a module, by whose name the process imports it.
        environment: variables of the process besides those of this one.

    Raises:
        InputError: it failed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        given, result = Path(scratch) / "given.json", Path(scratch) / "result.json"
        files.write_json(given, arguments)
        command = [sys.executable, "-c", _PROGRAM, function.__module__, function.__name__, given, result]
        # An installed package is found without PYTHONPATH.
        if subprocess.run(command, env={**os.environ, "PYTHONPATH": paths.python_path(), **environment}).returncode:
            raise InputError(f"measuring {' '.join(environment.values())} failed; the message above says why")
        return files.read_json(result)
