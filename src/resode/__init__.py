"""Residual-style layers as steps of an ordinary differential equation, reproduced."""

from resode.base import quiet

quiet.install()
