#!/bin/sh
# Keras 3.15.1 with JAX 0.10.1 and NumPy 2.4.6. `keras.ops` takes a `keras.Variable` wherever it takes a tensor.
# Expected: keras.ops.zeros_like(variable) is zeros, as on TensorFlow, and as keras.ops.square(variable) and others work.
# Seen: zeros_like, ones_like and full_like raise ValueError ("Could not convert <Variable …> to a NumPy dtype"): they hand the variable
# to jax.numpy as it is, and NumPy 2.4 takes its `dtype`, a string, for no dtype; others convert it first.
# Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" keras==3.15.1 jax==0.10.1 jaxlib==0.10.1 numpy==2.4.6
cat > "$folder/like.py" <<'END'
import sys
import keras
variable = keras.Variable([1.0, 2.0])
seen = []
for name, call in (
    ("square", lambda: keras.ops.square(variable)),
    ("zeros_like", lambda: keras.ops.zeros_like(variable)),
    ("ones_like", lambda: keras.ops.ones_like(variable)),
    ("full_like", lambda: keras.ops.full_like(variable, 3.0)),
    ("zeros_like of its value", lambda: keras.ops.zeros_like(variable.value)),
):
    try:
        call()
        seen.append("works")
    except ValueError as error:
        seen.append("raises")
        print(" ", str(error)[:100])
    print(name, seen[-1])
sys.exit(seen != ["works", "raises", "raises", "raises", "works"])
END
PYTHONPATH="$folder" KERAS_BACKEND=jax JAX_PLATFORMS=cpu python3 "$folder/like.py" || { echo "changed"; exit 1; }
