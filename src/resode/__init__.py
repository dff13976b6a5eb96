"""Residual-style layers as steps of an ordinary differential equation, reproduced."""

import importlib
import sys
from contextlib import suppress
from types import ModuleType

from resode.base import errors, importing, quiet

__version__ = "0.1.0"
quiet.install()


def _register(_: ModuleType | None = None) -> None:
    """Make our layers known to Keras, so that it can load files with them. With a backend that `resode.nn` refuses it cannot."""
    with suppress(errors.InputError):
        importlib.import_module("resode.nn")


if "keras" in sys.modules:
    _register()
else:
    # Not now: Keras takes seconds, and most commands do without.
    importing.after("keras", _register)
