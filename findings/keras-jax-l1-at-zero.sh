#!/bin/sh
# Keras 3.15.1 with JAX 0.10.1. A weight that is exactly 0, under keras.regularizers.L1 and with no other gradient: its penalty cannot fall.
# Expected: it stays 0, as on TensorFlow, whose derivative of |w| at 0 is 0; that is what L1 is used for.
# Seen: every update of SGD moves all zeros by rate times penalty and the next one moves them back; "mean_absolute_error" moves the bias of a
# prediction that is right already. JAX's derivative of |w| at 0 is 1. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" keras==3.15.1 jax==0.10.1 jaxlib==0.10.1 numpy==2.4.6
cat > "$folder/zero.py" <<'END'
import sys
import keras
import numpy as np


def trained(loss, updates, **options):
    layer = keras.layers.Dense(1, kernel_initializer="zeros", **options)
    network = keras.Sequential([keras.Input((2,)), layer])
    network.compile(keras.optimizers.SGD(0.1), loss)
    for _ in range(updates):
        network.train_on_batch(np.zeros((1, 2)), np.zeros((1, 1)))
    return [float(value) for weight in layer.weights for value in keras.ops.convert_to_numpy(weight).ravel()]


penalty = {"use_bias": False, "kernel_regularizer": keras.regularizers.L1(0.5)}
seen = [trained("mse", 1, **penalty), trained("mse", 2, **penalty), trained("mae", 1)]
for name, found in zip(("L1, one update", "L1, two updates", "mae, right already"), seen):
    print(name, [round(value, 4) for value in found])
right = [np.allclose(seen[0], -0.05), np.allclose(seen[1], 0), not np.allclose(seen[2], 0)]
sys.exit(not all(right))
END
PYTHONPATH="$folder" KERAS_BACKEND=jax JAX_PLATFORMS=cpu python3 "$folder/zero.py" || { echo "changed"; exit 1; }
