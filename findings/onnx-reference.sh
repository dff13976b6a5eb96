#!/bin/sh
# onnx 1.23.2, onnx.reference, ONNX's own evaluator: Resize of 3 × 3 pixels by 1.5 with align_corners, and MaxPool with auto_pad SAME_LOWER.
#
# Guess: the reference gives what the specification says, and ONNX Runtime as well. Seen: Resize makes 4 × 4 pixels and places them as if there
# were 4.5, so that the last one is not the last of the image; MaxPool of 3 × 3 pixels with strides of 2 gives 1 × 1 pixel and not 2 × 2.
# Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cat > "$folder/reference.py" <<'END'
import sys
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator


def both(operation, x, constants=(), **attributes):
    constants = [numpy_helper.from_array(np.array(value, "float32"), f"c{i}") for i, value in enumerate(constants)]
    node = helper.make_node(operation, ["x", *(constant.name for constant in constants)], ["y"], **attributes)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", x.shape), ("y", None))]
    graph = helper.make_graph([node], "one", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [run(None, {"x": x})[0] for run in (session.run, ReferenceEvaluator(model).run)]


image = np.arange(1, 10, dtype="float32").reshape(1, 1, 3, 3)
corners = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
resized, poorly_resized = (y[0, 0, 0] for y in both("Resize", image, ([], [1, 1, 1.5, 1.5]), **corners))
print("first row: ONNX Runtime", resized.tolist(), "onnx.reference", poorly_resized.tolist())
pooled, poorly_pooled = both("MaxPool", image, auto_pad="SAME_LOWER", kernel_shape=[2, 2], strides=[2, 2])
print("pooled: ONNX Runtime", pooled.shape, "onnx.reference", poorly_pooled.shape)
seen = [abs(resized[-1] - 3) < 1e-5, poorly_resized[-1] < 2.8, pooled.shape == (1, 1, 2, 2), poorly_pooled.shape == (1, 1, 1, 1)]
sys.exit(not all(seen))
END
PYTHONPATH="$folder" python3 "$folder/reference.py" || { echo "changed"; exit 1; }
