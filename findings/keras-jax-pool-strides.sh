#!/bin/sh
# Keras 3.15.1 with JAX 0.10.1. `keras.ops.max_pool(x, 2)` and `average_pool(x, 2)`: by their documentation strides are pool_size where none
# are given.
# Expected: (1, 4, 4, 1) becomes (1, 2, 2, 1), as with strides=2, as on TensorFlow, and as Keras' own symbolic shape says.
# Seen: TypeError on JAX: the strides of the whole window, batch and channels included, are put between those of batch and channels again.
# Keras' layers give strides and work. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" keras==3.15.1 jax==0.10.1 jaxlib==0.10.1 numpy==2.4.6
cat > "$folder/pool.py" <<'END'
import sys
import keras
import numpy as np
x = np.zeros((1, 4, 4, 1), "float32")
seen = []
for name, call in (
    ("max_pool, strides given", lambda: keras.ops.max_pool(x, 2, strides=2)),
    ("max_pool", lambda: keras.ops.max_pool(x, 2)),
    ("average_pool", lambda: keras.ops.average_pool(x, 2)),
    ("max_pool of a symbolic tensor", lambda: keras.ops.max_pool(keras.Input((4, 4, 1), batch_size=1), 2)),
    ("MaxPooling2D", lambda: keras.layers.MaxPooling2D(2)(x)),
):
    try:
        seen.append(tuple(call().shape))
    except TypeError as error:
        seen.append("raises")
        print(" ", str(error)[:110])
    print(name, seen[-1])
right = (1, 2, 2, 1)
sys.exit(seen != [right, "raises", "raises", right, right])
END
PYTHONPATH="$folder" KERAS_BACKEND=jax JAX_PLATFORMS=cpu python3 "$folder/pool.py" || { echo "changed"; exit 1; }
