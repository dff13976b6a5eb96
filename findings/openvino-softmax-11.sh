#!/bin/sh
# OpenVINO 2026.4.1 and ONNX Runtime 1.32.0: Softmax of an ONNX model of opset 11 (axis=1, input 1 × 2 × 2 × 2).
#
# Up to opset 12 the axis divides the shape: all from it on is one row, and its 8 numbers sum to 1. From 13 on it is the axis that is summed over.
# Guess: runtimes go by the opset that the model names. Seen: ONNX Runtime does; OpenVINO, and onnx.reference of onnx 1.23.2, take the newer
# meaning: each pair along the axis sums to 1. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" openvino==2026.4.1 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cat > "$folder/softmax.py" <<'END'
import sys
import numpy as np
import onnxruntime
import openvino
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

x = np.arange(8, dtype="float32").reshape(1, 2, 2, 2)
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name in "xy"]
seen = {}
for opset in (11, 13):
    node = helper.make_node("Softmax", ["x"], ["y"], axis=1)
    graph = helper.make_graph([node], "softmax", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    core = openvino.Core()
    found = {
        "ONNX Runtime": session.run(None, {"x": x})[0],
        "OpenVINO": core.compile_model(core.read_model(content), "CPU")([x])[0],
        "onnx.reference": ReferenceEvaluator(model).run(None, {"x": x})[0],
    }
    for name, y in found.items():
        seen[opset, name] = round(float(y.sum()))
        print(f"opset {opset}, {name}: all 8 numbers sum to {y.sum():.3f}")
sys.exit(list(seen.values()) != [1, 4, 4, 4, 4, 4])
END
PYTHONPATH="$folder" python3 "$folder/softmax.py" || { echo "changed"; exit 1; }
