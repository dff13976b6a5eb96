"""Repeating a step on the backend: as a compiled loop, or written out."""

from collections.abc import Callable
from typing import Any

import keras


def on_cpu() -> bool:
    """Return whether the backend computes on a CPU."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.default_backend() == "cpu"
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def loops_are_slow() -> bool:
    """Return whether a convolution in a compiled loop is many times slower than outside of one, as it is on XLA:CPU.

    Matrix products are not; but the first units have too few channels for them (see `winograd`) and stay direct.
    """
    return keras.backend.backend() == "jax" and on_cpu()


def repeat(steps: int, step: Callable[[Any, Any], Any], carry: Any, written_out: bool = False) -> Any:
    """The `carry` after `carry = step(i, carry)` for i = 0 … steps − 1.

    Args:
        carry: tensors, nested; each keeps its shape and dtype.
        written_out: no loop, so that i is a Python number.
    """
    if written_out:
        for i in range(steps):
            carry = step(i, carry)
        return carry
    if keras.backend.backend() == "jax":
        import jax

        return jax.lax.fori_loop(0, steps, step, carry)
    import tensorflow as tf

    # One iteration at a time: otherwise TensorFlow starts the next while the last one's tensors are still there.
    _, carry = tf.while_loop(
        lambda i, _: i < steps, lambda i, carry: (i + 1, step(i, carry)), (0, carry), parallel_iterations=1
    )
    return carry
