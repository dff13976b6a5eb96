#!/bin/sh
# OpenVINO 2026.4.1, CPU plugin: what activations and comparisons make of NaN, which is what a network that diverged computes.
#
# Guess: NaN stays NaN, as in NumPy, ONNX Runtime, TensorFlow and JAX, so that a broken network is seen.
# Seen: ReLU(NaN) = 0 and clamp(NaN, 0, 6) = 0, maximum(1, NaN) is NaN and maximum(NaN, 1) is 1: after the first ReLU a network with weights
# that are NaN gives finite, plausible numbers. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" openvino==2026.4.1 numpy==2.4.6
cat > "$folder/nan.py" <<'END'
import sys
import numpy as np
import openvino
from openvino import opset13 as op

nan = float("nan")


def computed(function, *values):
    inputs = [op.parameter([1], np.float32) for _ in values]
    precise = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(openvino.Model([function(*inputs)], inputs), "CPU", precise)
    return float(compiled([np.array([value], "float32") for value in values])[0][0])


seen = {
    "tanh(NaN)": computed(op.tanh, nan),
    "NaN + 1": computed(op.add, nan, 1),
    "relu(NaN)": computed(op.relu, nan),
    "clamp(NaN, 0, 6)": computed(lambda x: op.clamp(x, 0.0, 6.0), nan),
    "maximum(NaN, 1)": computed(op.maximum, nan, 1),
}
for name, found in seen.items():
    print(name, "=", found)
sys.exit([str(found) for found in seen.values()] != ["nan", "nan", "0.0", "0.0", "1.0"])
END
PYTHONPATH="$folder" python3 "$folder/nan.py" || { echo "changed"; exit 1; }
