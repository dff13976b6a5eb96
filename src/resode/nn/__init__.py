"""Blocks and networks, as Keras layers and models. Keras can load files with them as soon as this package is imported.

Raises:
    InputError: Keras has another backend than TensorFlow or JAX, on which nobody has compared what these layers compute: on OpenVINO
        it is wrong.
"""

import keras

from resode.base import environment
from resode.base.errors import InputError

if keras.backend.backend() not in environment.BACKENDS:
    raise InputError(
        f"Keras has the backend {keras.backend.backend()}; set the environment variable KERAS_BACKEND to {' or '.join(environment.BACKENDS)}"
    )

# They register their layers.
from resode.nn import blocks, lm_resnet  # noqa: E402, F401
