#!/bin/sh
# ONNX Runtime 1.32.0: two pairs of QuantizeLinear and DequantizeLinear one after the other, with other scales, as where a tensor of 8 bits is
# rounded again to the coarser grid of a device, of fewer bits, or of the next layer.
#
# Guess: the numbers are rounded twice, as the model says and as onnx.reference gives, at each level of optimisation: the basic ones are
# "semantics-preserving" by ONNX Runtime's documentation. Seen, without a word: from the basic level on (so by default) the coarser rounding is
# dropped: 0.3, to steps of 0.1 and then of 1, is 0.3 and not 0. A test of fewer bits written like this tests the 8 bits once more. Where the range
# is cut off it still is. It does so on purpose (github.com/microsoft/onnxruntime/pull/14024). Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$folder/twice.py" <<'END'
import sys
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

x = np.array([0.04, 0.26, 0.5, 0.9, 1.2, -1.3, 2.6, -3.0], "float32")


def compare(*scales):
    nodes, tensors, last = [], [numpy_helper.from_array(np.int8(0), "zero")], "x"
    for n, scale in enumerate(scales):
        tensors.append(numpy_helper.from_array(np.float32(scale), f"s{n}"))
        nodes.append(helper.make_node("QuantizeLinear", [last, f"s{n}", "zero"], [f"q{n}"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"q{n}", f"s{n}", "zero"], [f"d{n}"]))
        last = f"d{n}"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [8]) for name in ("x", last)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    results = [ReferenceEvaluator(model).run(None, {"x": x})[0]]
    for level in ("DISABLE_ALL", "ENABLE_BASIC", "ENABLE_ALL"):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
        results.append(onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0])
    print(f"steps of {' and then '.join(map(str, scales))}:")
    for title, result in zip(("onnx.reference", "not optimised", "basic", "default"), results):
        print(f"  {title:14}", *(f"{number:.3g}" for number in result))
    return [bool(np.allclose(results[0], result, atol=1e-6)) for result in results[1:]]


seen = [compare(1.0), compare(0.1, 1.0), compare(1.0, 0.1), compare(0.1, 0.01)]
sys.exit(seen != [[True, True, True]] + 3 * [[True, False, False]])
END
PYTHONPATH="$folder" python3 "$folder/twice.py" || { echo "changed"; exit 1; }
