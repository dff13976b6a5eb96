#!/bin/sh
# safetensors 0.8.0, `safe_open(path, "numpy").get_slice(name)`, which reads a part of a tensor with the brackets of NumPy.
# Expected: x[-2:] is the last two rows and x[0:100] of three rows all of them, as in NumPy, since x[-1] is the last row.
# Seen: a negative bound of a slice raises OverflowError, one behind the end SafetensorError; so does x[3:] of three rows, which is empty.
# Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" safetensors==0.8.0 numpy==2.4.6
cat > "$folder/slices.py" <<'END'
import sys
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file
x = np.arange(12, dtype="float32").reshape(3, 4)
path = f"{sys.path[0]}/x.safetensors"
save_file({"x": x}, path)
seen = {}
with safe_open(path, "numpy") as file:
    part = file.get_slice("x")
    for name in ("-1", "0:2", "::2", "-2:", "0:100", "3:"):
        key = int(name) if ":" not in name else slice(*(int(one) if one else None for one in name.split(":")))
        try:
            seen[name] = "as NumPy" if np.array_equal(part[key], x[key]) else "other values"
        except Exception as error:
            seen[name] = f"raises {type(error).__name__}"
        print(f"x[{name}]", seen[name])
expected = ["as NumPy"] * 3 + ["raises OverflowError", "raises SafetensorError", "raises SafetensorError"]
sys.exit(list(seen.values()) != expected)
END
PYTHONPATH="$folder" python3 "$folder/slices.py" || { echo "changed"; exit 1; }
