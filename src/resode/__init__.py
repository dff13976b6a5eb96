"""Residual-style layers as steps of an ordinary differential equation, reproduced."""

from resode.base import quiet

__version__ = "0.1.0"
quiet.install()
