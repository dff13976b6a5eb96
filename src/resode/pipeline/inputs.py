"""Inputs of a stage, which must not change while it runs: otherwise nobody could say which of them its results come from."""

import ast
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

from resode.base import paths
from resode.base.errors import InputError
from resode.config import parameters, yaml
from resode.pipeline import stages


@contextmanager
def unchanged(stage: str, content: dict[str, Any]) -> Iterator[None]:
    """Fail at the end of the block if something that dvc.yaml lets `stage` depend on is no longer what it was at its start.

    DVC writes to dvc.lock what it finds when the stage has ended, and would take new parameters for those of the results.

    Args:
        content: of params.yaml, as the stage has read it.

    Raises:
        InputError: parameters, sources, the notebook or data changed; the message names them.
    """
    before = _of(stage, content)
    yield
    after = _of(stage, parameters.read())
    changed = [name for name in before if before[name] != after[name]]
    if changed:
        # Data sets are in place already; they do not come from stages that are notebooks.
        kept = "its last results are kept, " if stage in stages.STAGES else ""
        raise InputError(f"{', '.join(changed)} changed while {stage} ran; {kept}run it again")


def sections(stage: str, content: dict[str, Any]) -> dict[str, Any]:
    """The sections of `content`, params.yaml's, on which dvc.yaml lets `stage` depend; none, if it is no stage."""
    chosen: dict = {}
    for key in _declared(stage, "params"):
        section, _, name = key.partition(".")
        if name:
            chosen.setdefault(section, {})[name] = content[section][name]
        else:
            chosen[section] = content[section]
    return chosen


def others(page: Path, content: dict[str, Any]) -> str:
    """The parameters that the executed notebook `page` was given and that have another value in `content`, in words; "" if there are none.

    A parameter that did not exist when the page was made is not among them.
    """
    if not page.is_file():
        return ""
    given: dict[str, Any] = {}
    for cell in nbformat.read(page, as_version=4).cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            given = ast.literal_eval(cell.source.partition("params = ")[2])
    return differences(given, content)


def differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The parameters of `before` that have another value in `now`, in words; "" if there are none."""
    new = parameters.flat(now)
    return "; ".join(
        f"{key} was {old}, is {new.get(key)}" for key, old in parameters.flat(before).items() if new.get(key) != old
    )


def _declared(stage: str, kind: str) -> list[str]:
    return yaml.read(paths.DVC_YAML)["stages"].get(stage, {}).get(kind, [])


def _of(stage: str, content: dict[str, Any]) -> dict[str, Any]:
    """The parameters of `stage`, and a digest of each file and folder that it depends on, by name."""
    found: dict[str, Any] = {f"{name} of params.yaml": value for name, value in sections(stage, content).items()}
    for name in _declared(stage, "deps"):
        # The only value that dvc.yaml takes from params.yaml.
        name = name.replace("${data.name}", content["data"]["name"])
        top, _, rest = name.partition("/")
        found[name] = _digest(paths.RESULTS / rest if top == "results" else paths.ROOT / name)
    return found


def _digest(path: Path) -> str | None:
    if path.is_dir():
        # What begins with a dot is on its way: results of a run that is not finished.
        inside = (
            paths.modules(path)
            if path.is_relative_to(paths.ROOT / "src")
            else [
                one for one in sorted(path.rglob("*")) if not one.is_dir() and "/." not in f"/{one.relative_to(path)}"
            ]
        )
        return hashlib.sha256(repr([(str(one.relative_to(path)), _digest(one)) for one in inside]).encode()).hexdigest()
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        # Whether it has to be there is for the stage to say.
        return None
