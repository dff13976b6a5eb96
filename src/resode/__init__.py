"""Residual-style layers as steps of an ordinary differential equation, reproduced."""
