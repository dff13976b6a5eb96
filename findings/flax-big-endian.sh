#!/bin/bash
# flax 0.12.8 with JAX 0.10.1 and NumPy 2.4.6, flax.serialization.to_bytes and from_bytes: arrays whose numbers are stored big-endian, as those are
# that NumPy reads from IDX files (MNIST), FITS and netCDF-3.
#
# Guess: the array comes back, in either order, as from NumPy's own save, or an error. Seen, without a word: [1, 2, 3] as ">f4" comes
# back as [4.6e-41, 9.0e-44, 2.3e-41], as 1 and 2 of ">i4" do as 16777216 and 33554432: the bytes are written as they are, with the name of the type,
# "float32", which says nothing of their order. Little-endian arrays, transposed ones too, are right.
# Exit status 0: as seen; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" flax==0.12.8 jax==0.10.1 jaxlib==0.10.1 numpy==2.4.6
cat > "$folder/order.py" <<'END'
import io
import sys
import numpy as np
from flax import serialization


def back(array):
    """Whether the values come back from flax, and from NumPy's file."""
    restored = serialization.from_bytes({"x": array}, serialization.to_bytes({"x": array}))["x"]
    file = io.BytesIO()
    np.save(file, array)
    file.seek(0)
    result = bool(np.array_equal(restored, array)), bool(np.array_equal(np.load(file), array))
    print(f"{array.dtype.str} {array.tolist()}: {restored.dtype.str} {restored.tolist()}")
    return result


seen = [
    back(np.array([1, 2, 3], "<f4")),
    back(np.arange(4, dtype="<f4").reshape(2, 2).T),
    back(np.array([1, 2, 3], ">f4")),
    back(np.array([1, 2], ">i4")),
    back(np.frombuffer(b"\x00\x00\x08\x01\x00\x00\x00\x05", ">u4")),
    back(np.array([0.5], ">f8")),
]
sys.exit(seen != [(True, True)] * 2 + [(False, True)] * 4)
END
JAX_PLATFORMS=cpu PYTHONPATH="$folder" python3 "$folder/order.py" || { echo "changed"; exit 1; }
