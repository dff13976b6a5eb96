"""Files that say what is to be trained, comparison.yaml and sweep.yaml: read and checked as a whole before anything is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from . import params
from .errors import InputError


def read(path: Path) -> Any:
    """The content of the YAML file `path`.

    Raises:
        InputError: it is missing or is not YAML.
    """
    try:
        return params.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def check(content: Any, parts: Mapping[str, type], where: str) -> None:
    """Check that `content` is a mapping of exactly `parts`, {name: dict or list}, none of them empty.

    Raises:
        InputError: it is not; the message begins with `where`.
    """
    if not isinstance(content, dict) or set(content) != set(parts):
        given = set(content) if isinstance(content, dict) else set()
        wrong = [f"{part} is missing" for part in parts if part not in given]
        wrong += [f"{part} is unknown" for part in sorted(map(str, given - set(parts)))]
        raise InputError(f"{where} must hold {', '.join(parts)} and nothing else: {', '.join(wrong)}")
    for part, kind in parts.items():
        if not isinstance(content[part], kind) or not content[part]:
            raise InputError(f"{where}: {part} must be a {'mapping' if kind is dict else 'list'} that is not empty")


def changed(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`params.changed`; the message of its InputError begins with `where` instead of params.yaml."""
    for key, value in settings.items():
        if isinstance(value, dict):
            raise InputError(f"{where}: write the settings of {key} as {key}.NAME: VALUE")
    try:
        return params.changed(dict(settings))
    except InputError as error:
        raise InputError(f"{where}: {str(error).removeprefix('params.yaml: ')}") from error
