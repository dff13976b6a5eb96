#!/bin/sh
# OpenVINO 2026.4.1, CPU plugin: sums, differences and products of 8-bit integers that do not fit into 8 bits.
#
# Guess: they wrap around, 127 + 1 = −128, as in NumPy, ONNX Runtime and ONNX's own reference; 16 and 32 bits do on OpenVINO too.
# Seen: they saturate: 127 + 1 = 127, 0 − 1 = 0 of uint8, 100 · 3 = 127, −(−128) = 127. A hash, or a count modulo 256, comes out different.
# Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" openvino==2026.4.1 numpy==2.4.6
cat > "$folder/eight.py" <<'END'
import sys
import numpy as np
import openvino
from openvino import opset13 as op


def computed(function, kind, *values):
    inputs = [op.parameter([1], kind) for _ in values]
    compiled = openvino.compile_model(openvino.Model([function(*inputs)], inputs), "CPU")
    return int(compiled([np.array([value], kind) for value in values])[0][0])


seen = []
for name, function, numpys, kind, *values in (
    ("127 + 1, int8", op.add, np.add, np.int8, 127, 1),
    ("0 - 1, uint8", op.subtract, np.subtract, np.uint8, 0, 1),
    ("100 * 3, int8", op.multiply, np.multiply, np.int8, 100, 3),
    ("-(-128), int8", op.negative, np.negative, np.int8, -128),
    ("32767 + 1, int16", op.add, np.add, np.int16, 32767, 1),
    ("2147483647 + 1, int32", op.add, np.add, np.int32, 2147483647, 1),
):
    with np.errstate(over="ignore"):
        expected = int(numpys(*(np.array([value], kind) for value in values))[0])
    found = computed(function, kind, *values)
    seen.append(found == expected)
    print(f"{name}: OpenVINO {found}, NumPy {expected}")
sys.exit(seen[:4] != [False] * 4 or not seen[5])
END
PYTHONPATH="$folder" python3 "$folder/eight.py" || { echo "changed"; exit 1; }
