"""The one reader of YAML that people wrote: params.yaml and its like, and values on a command line.

Plain values mean what the core schema of YAML 1.2 says, so that this package and DVC see the same number. What can be misread
is refused: a key twice, anchors and aliases, tags, and what is no text. Source: YAML 1.2.2, section 10.3.2, yaml.org/spec/1.2.2.
"""

import copy
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from resode.base import files
from resode.base.errors import InputError
from resode.base.text import quoted

# A file that people write is smaller and flatter by far.
_BYTES, _DEPTH, _DIGITS = 200_000, 20, 40
# Line breaks of YAML 1.1 alone: what follows one in a comment would be a key here.
_ODD_BREAKS = re.compile("[\x85\u2028\u2029]")
_REFUSED = {
    yaml.AnchorToken: "an anchor (&)",
    yaml.AliasToken: "an alias (*)",
    yaml.TagToken: "a tag (!)",
    yaml.DirectiveToken: "a directive (%)",
}
_BEGINS = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_ENDS = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


def read(path: Path) -> Any:
    """The content of the YAML file `path`.

    Raises:
        InputError: as `files.read_bytes` or `parse`.
    """
    content = files.read_bytes(path, _BYTES)
    try:
        # A grid of trainings asks for params.yaml once for each of them.
        return copy.deepcopy(_parsed(content, str(path)))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not YAML: byte {error.start} is not UTF-8; save it as UTF-8 text") from error


@lru_cache(maxsize=1)
def _parsed(content: bytes, where: str) -> Any:
    return parse(content.decode("utf-8"), where)


def parse(text: str, where: str) -> Any:
    """The content of the YAML document `text`.

    Raises:
        InputError: it is no YAML or holds something refused; the message begins with `where` and tells the line.
    """
    try:
        _check_tokens(text, where)
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{where} is not YAML{line}: {quoted(error.problem or error.context)}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InputError(
            f"{where} is not YAML, line {line}: it holds the character {ascii(chr(error.character))}"
        ) from error
    except yaml.YAMLError as error:
        raise InputError(f"{where} is not YAML: {quoted(error)}") from error
    except InputError:
        raise
    except (ValueError, OverflowError) as error:
        # PyYAML asks Python for the character of an escape.
        raise InputError(f"{where} is not YAML: {quoted(str(error))}") from error


def _check_tokens(text: str, where: str) -> None:
    if odd := _ODD_BREAKS.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        raise InputError(
            f"{where}, line {line}: it holds the line break {ascii(odd[0])}, which DVC reads as none; delete it"
        )
    depth = 0
    for token in yaml.scan(text, _Loader):
        depth += isinstance(token, _BEGINS) - isinstance(token, _ENDS)
        refused = next((said for kind, said in _REFUSED.items() if isinstance(token, kind)), None)
        if depth > _DEPTH:
            refused = f"more than {_DEPTH} levels"
        if refused:
            raise InputError(
                f"{where}, line {token.start_mark.line + 1}: {refused} is not read here; write the value itself"
            )


class _Loader(yaml.SafeLoader):
    """PyYAML's, with the plain values of YAML 1.2 and each key once."""

    # PyYAML's own are YAML 1.1's, in which 010 is 8, 1:30 is 90, and 1e-3 a text.
    yaml_implicit_resolvers: dict = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        lines: dict = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str | int | float | bool | None):
                raise yaml.constructor.ConstructorError(
                    problem="a key must be a word", problem_mark=key_node.start_mark
                )
            if key in lines:
                problem = f"the key {key} stands twice, in lines {lines[key]} and {line}; leave one"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key_node.start_mark)
            lines[key] = line
        return super().construct_mapping(node, deep)

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        text = node.value
        if len(text) > _DIGITS:
            raise yaml.constructor.ConstructorError(
                problem=f"a number of {len(text)} digits", problem_mark=node.start_mark
            )
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))

    def construct_number(self, node: yaml.ScalarNode) -> float:
        text = node.value.lower()
        return float(text.replace(".inf", "inf").replace(".nan", "nan"))


for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        # .15e0, without a sign in its exponent, is a text for DVC's reader.
        r"[-+]?(\.[0-9]+([eE][-+][0-9]+)?|[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?)|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"(?:{_pattern})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)
