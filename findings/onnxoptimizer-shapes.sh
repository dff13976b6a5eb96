#!/bin/bash
# onnxoptimizer 0.4.2, optimize(model) with the passes that it takes by itself, of three networks of two layers each.
#
# Guess: the optimised model computes the same numbers in the same shape, or is left as it is.
# Seen, without a word: Pad with zeros before MaxPool becomes the padding of the pool, which is minus infinity, so that the border of negative numbers
# changes; before AveragePool that does not count its own padding it becomes padding that counts, for both; two Reshapes, to (2, 5, 6) and then to
# (0, -1), become the second alone, whose 0 now takes its size from the input of the first: (1, 60) and not (2, 30).
# (The first: github.com/onnx/optimizer/pull/318.) Padding as a layer of its own is usual in networks converted from other frameworks.
# Exit status 0: as seen; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" onnxoptimizer==0.4.2 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cat > "$folder/shapes.py" <<'END'
import sys
import numpy as np
import onnx
import onnxoptimizer
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

x = -np.arange(1, 61, dtype="float32").reshape(1, 2, 5, 6)
around = np.array([0, 0, 1, 1, 0, 0, 1, 1], "int64")


def result(model):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def same(name, first, second, constants):
    nodes = [helper.make_node(first, ["x", "c0"], ["a"])]
    operation, attributes = second
    nodes.append(helper.make_node(operation, ["a", *(["c1"] if len(constants) > 1 else [])], ["y"], **attributes))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", x.shape), ("y", None))]
    weights = [numpy_helper.from_array(np.array(value, "int64"), f"c{i}") for i, value in enumerate(constants)]
    graph = helper.make_graph(nodes, "two", ends[:1], ends[1:], weights)
    model = onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    before, after = result(model), result(onnxoptimizer.optimize(model))
    print(f"{name}: before {before.shape} {before.ravel()[:3]}, after {after.shape} {after.ravel()[:3]}")
    return before.shape == after.shape and bool(np.allclose(before, after))


seen = [
    same("Pad, AveragePool", "Pad", ("AveragePool", {"kernel_shape": [3, 3]}), [around]),
    same("Pad, MaxPool", "Pad", ("MaxPool", {"kernel_shape": [3, 3]}), [around]),
    same("Pad, padded AveragePool", "Pad", ("AveragePool", {"kernel_shape": [3, 3], "pads": [1] * 4}), [around]),
    same("Reshape, Reshape", "Reshape", ("Reshape", {}), [[2, 5, 6], [0, -1]]),
]
sys.exit(seen != [True, False, False, False])
END
PYTHONPATH="$folder" python3 "$folder/shapes.py" || { echo "changed"; exit 1; }
