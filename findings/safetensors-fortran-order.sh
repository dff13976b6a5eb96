#!/bin/sh
# safetensors 0.8.0, `safetensors.numpy.save`: arrays that do not lie in memory row by row, such as a transposed one or one with every second
# column.
# Expected: the array comes back, as with 0.7.0, or an error, as safetensors.torch raises. Seen: no error, the right shape, other values.
# (Reported: github.com/safetensors/safetensors/issues/825.) Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" safetensors==0.8.0 numpy==2.4.6
cat > "$folder/order.py" <<'END'
import sys
import numpy as np
from safetensors.numpy import load, save
x = np.arange(12, dtype="float32").reshape(3, 4)
seen = []
for name, array in (
    ("rows", x),
    ("transposed", x.T),
    ("columns (Fortran order)", np.asfortranarray(x)),
    ("every second column", x[:, ::2]),
    ("rows in reverse", x[::-1]),
    ("rows, big-endian", x.astype(">f4")),
):
    found = load(save({"x": array}))["x"]
    assert found.shape == array.shape
    seen.append(np.array_equal(found, array))
    print(name, "comes back" if seen[-1] else f"comes back as {found.ravel()[:4]}…")
sys.exit(seen != [True, False, False, False, False, True])
END
PYTHONPATH="$folder" python3 "$folder/order.py" || { echo "changed"; exit 1; }
