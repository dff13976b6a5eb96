"""The one reader of YAML that people wrote: params.yaml and its like, and values on a command line.

It is ruamel.yaml, with which DVC reads, so that both see the same value. It also refuses files that are larger or deeper than anyone
writes, and anchors and aliases: a value is written where it is used.
"""

import copy
import io
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError

from resode.base import files
from resode.base.errors import InputError
from resode.base.text import quoted

_BYTES, _DEPTH = 200_000, 20


def read(path: Path) -> Any:
    """The content of the YAML file `path`.

    Raises:
        InputError: as `files.read_text` or `parse`.
    """
    # A grid of trainings asks for params.yaml once for each of them.
    return copy.deepcopy(_parsed(files.read_text(path, _BYTES), str(path)))


def parse(text: str, where: str) -> Any:
    """The content of the YAML document `text`.

    Raises:
        InputError: it is no YAML or holds something refused; the message names `where` and the line.
    """
    reader = YAML(typ="safe", pure=True)
    reader.Composer, reader.max_depth = _Composer, _DEPTH
    try:
        return reader.load(text)
    # Python's own errors, of a date or a number that is none, have no line.
    except Exception as error:
        if mark := getattr(error, "problem_mark", None):
            where += f", line {mark.line + 1}"
        elif (position := getattr(error, "position", None)) is not None:
            where += f", line {text.count(chr(10), 0, position) + 1}"
        said = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise InputError(f"cannot read {where}: {quoted(said)}") from error


_parsed = lru_cache(maxsize=4)(parse)


class _Composer(Composer):
    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        if event.anchor:
            problem = f"the anchor or alias {event.anchor} is not read here; write the value itself"
            raise ComposerError(problem=problem, problem_mark=event.start_mark)
        return super().compose_node(parent, index)


def text(content: Any) -> str:
    """`content` as YAML, which `parse` and DVC read as the same again."""
    stream = io.StringIO()
    YAML().dump(content, stream)
    return stream.getvalue()
