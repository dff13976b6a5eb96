"""Reads params.yaml, applies changes to it, and checks the outcome by the schema."""

from collections.abc import Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from resode.base import paths
from resode.base.errors import InputError
from resode.base.text import quoted
from resode.config import yaml
from resode.config.schema import Params, Section, Settings

# So many messages are shown for one wrong file.
_MESSAGES = 5


def read(path: Path | None = None) -> dict[str, Any]:
    """The content of params.yaml as it stands, unchecked.

    Raises:
        InputError: the file is missing or not a YAML mapping.
    """
    path = path or paths.PARAMS
    if not path.exists():
        raise InputError(f"{path} is missing; restore it with: git checkout params.yaml")
    content = yaml.read(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold sections such as `model:`; it holds {type(content).__name__}")
    return content


def load(given: dict[str, Any] | None = None) -> Params | SimpleNamespace:
    """The checked parameters.

    Args:
        given: some of the sections, as the runner hands them to a notebook. Keys that a given section leaves out are
            taken from params.yaml. Empty or None: everything from params.yaml.

    Returns:
        All of params.yaml, or an object with just the given sections, so that a notebook cannot depend on a section
        that its pipeline stage does not declare.

    Raises:
        InputError: an unknown key, a wrong type or a value out of range; the message names key, value and what is
            allowed.
    """
    content = read()
    for name, value in (given or {}).items():
        both = isinstance(value, dict) and isinstance(content.get(name), dict)
        content[name] = {**content[name], **value} if both else value
    checked = validate(content)
    return SimpleNamespace(**{name: getattr(checked, name) for name in given}) if given else checked


def flat(content: Mapping[str, Any], separator: str = ".", prefix: str = "") -> dict[str, Any]:
    """Nested mappings as {"section.key": value}."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        found |= flat(value, separator, f"{name}{separator}") if isinstance(value, Mapping) else {name: value}
    return found


def with_defaults(content: Mapping[str, Any]) -> dict[str, Any]:
    """The sections `content`, as a file of an earlier version has them, with the keys that have a default; nothing is checked."""
    found = dict(content)
    for name, section in Params.model_fields.items():
        if isinstance(found.get(name), dict) and issubclass(section.annotation, Section):
            fields = section.annotation.model_fields.items()
            found[name] = {key: one.default for key, one in fields if not one.is_required()} | found[name]
    return found


def trained_with(params: Params | SimpleNamespace) -> dict[str, Any]:
    """The sections that decide the weights, as JSON has them, so that they equal what a file says."""
    return {
        name: value if isinstance(value := getattr(params, name), int) else value.model_dump(mode="json")
        for name in ("seed", "model", "augmentation", "training")
    }


def settings(given: list[str]) -> dict[str, Any]:
    """ "key=value" texts as they are given on a command line, values in YAML, as {key: value}.

    Raises:
        InputError: one has no equals sign, its value is not YAML, or a key is given twice.
    """
    found = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals:
            raise InputError(f"--set {quoted(one)}: give KEY=VALUE, for example training.reference_iterations=20.0")
        if key in found:
            raise InputError(f"--set {quoted(key)} is given twice")
        found[key] = yaml.parse(value, f"--set {quoted(key)}")
    return found


def read_as(path: Path, kind: Any = Settings) -> Any:
    """The YAML file `path` as an object of the schema `kind`, by default settings {"section.key": value}.

    Raises:
        InputError: it cannot be read or holds something else.
    """
    return validate(yaml.read(path), path.name, kind=kind)


def changed(settings: Mapping[str, Any], where: str = "params.yaml") -> dict[str, Any]:
    """The content of params.yaml, changed by `settings` ("section.key" or "key": value) and checked.

    Args:
        where: what an error's message begins with if `settings` are wrong: the file, or the part of it, that they stand in.

    Raises:
        InputError: as `load`.
    """
    content = read()
    for key, value in settings.items():
        section, dot, name = str(key).partition(".")
        if isinstance(value, dict):
            raise InputError(f"{where}: write the settings of {quoted(key)} as {quoted(key)}.NAME: VALUE")
        if dot and (not name or not isinstance(content.get(section, {}), dict)):
            raise InputError(f"{where}: unknown key {quoted(key)}")
        if name:
            content.setdefault(section, {})[name] = value
        else:
            content[section] = value
    validate(content, where, settings)
    return content


def validate(
    content: Any, where: str = "params.yaml", settings: Collection[str] | None = None, kind: Any = Params
) -> Any:
    """`content` as an object of the schema `kind`; messages call it `where`, a file or a part of one. See `load` for what is raised.

    Args:
        settings: the keys of params.yaml that `where` changes; None: all of `content` is its own.
    """
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        messages = [_message(one, where, settings) for one in error.errors()]
        more = [f"and {len(messages) - _MESSAGES} more"] if len(messages) > _MESSAGES else []
        raise InputError("; ".join(messages[:_MESSAGES] + more)) from error


def _message(error: dict[str, Any], where: str, settings: Collection[str] | None) -> str:
    # What is said of a key stands there too.
    key = ".".join(str(part) for part in error["loc"]).removesuffix(".[key]")
    # What is said of a section, or of all of them, may be due to any of its keys.
    if settings is not None and not any(
        f"{key}.".startswith(f"{one}.") or not key or f"{one}.".startswith(f"{key}.") for one in settings
    ):
        where = "params.yaml"
    # The members of a union ("… or null") are no keys of the file.
    key = quoted(key.removesuffix(".literal['relu','tanh','sigmoid','softplus','elu','gelu','silu']"))
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key {key}"
    if error["type"] == "missing":
        return f"{where}: {key} is missing"
    said = error["msg"].removeprefix("Value error, ")
    if not key:
        return f"{where}: {quoted(said, 400)}"
    shown = "" if error["type"] == "value_error" else f" = {quoted(repr(error['input']))}"
    return f"{where}: {key}{shown}: {quoted(said[:1].lower() + said[1:], 400)}"
