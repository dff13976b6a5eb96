"""The inputs of a training: equal inputs give equal weights, byte for byte."""

import ast
import gc
import hashlib
from pathlib import Path

from resode.base import paths, provenance
from resode.config import yaml
from resode.config.parameters import trained_with
from resode.config.schema import Params
from resode.data.records import Dataset


def all_inputs(dataset: Dataset, params: Params) -> dict:
    """All that decides the weights."""
    return {
        "params": trained_with(params),
        "validation_fraction": params.data.validation_fraction,
        "data": dataset.provenance["sha256"],
        "code": _code(),
        "software": provenance.same_software(),
    }


def _code() -> dict[str, str]:
    """SHA-256 of what each module says that decides the weights: those on which dvc.yaml lets the stage training depend."""
    dependencies = yaml.read(paths.DVC_YAML)["stages"]["training"]["deps"]
    root = Path(__file__).parents[3]
    sources = [root / dependency for dependency in dependencies if dependency.startswith("src/")]
    modules = [file for source in sources for file in (paths.modules(source) if source.is_dir() else [source])]
    return {str(file.relative_to(root)): hashlib.sha256(_meaning(file.read_bytes())).hexdigest() for file in modules}


def _meaning(source: bytes) -> bytes:
    """The syntax tree of `source` as text, without docstrings; Python has left out comments and the layout."""
    # Python 3.11 cannot build a tree while a traceback is printed of an object that is collected, since that parses too.
    gc.disable()
    try:
        tree = ast.parse(source)
    finally:
        gc.enable()
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return ast.dump(tree).encode()
