"""Acts when another package is imported, whichever module imports it."""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType


def after(
    name: str, action: Callable[[ModuleType], None], within: Callable[[], AbstractContextManager] = nullcontext
) -> None:
    """Call `action` with the package `name` once it is imported, which happens in a context that `within` makes."""

    class Loader(importlib.machinery.SourceFileLoader):
        def exec_module(self, module: ModuleType) -> None:
            with within():
                super().exec_module(module)
            action(module)

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, fullname, path=None, target=None):
            if fullname != name:
                return None
            spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
            if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
                spec.loader = Loader(spec.loader.name, spec.loader.path)
            return spec

    sys.meta_path.insert(0, Finder())
