#!/bin/sh
# ONNX Runtime 1.32.0, CPU: MeanVarianceNormalization of an image with equal pixels, and ReduceMax of numbers with NaN among them.
#
# Guess: the first is 0, since ONNX defines it with 1e-9 added to the deviation; the second is NaN, as NumPy's, and as ONNX Runtime's own Max.
# Seen: the first is NaN: nothing is added. The second leaves NaN out, ReduceMax(1, NaN, 2) = 2. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cat > "$folder/nan.py" <<'END'
import sys
import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator


def both(operation, x, **attributes):
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", x.shape), ("y", None))]
    graph = helper.make_graph([helper.make_node(operation, ["x"], ["y"], **attributes)], "one", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [run(None, {"x": x})[0].ravel().tolist() for run in (session.run, ReferenceEvaluator(model).run)]


seen = [
    both("MeanVarianceNormalization", np.ones((1, 1, 2, 2), "float32")),
    both("ReduceMax", np.array([1, np.nan, 2], "float32"), keepdims=0),
]
for name, (runtime, reference) in zip(("normalised", "largest"), seen):
    print(f"{name}: ONNX Runtime {runtime}, onnx.reference {reference}")
sys.exit(str(seen) != "[[[nan, nan, nan, nan], [0.0, 0.0, 0.0, 0.0]], [[2.0], [nan]]]")
END
PYTHONPATH="$folder" python3 "$folder/nan.py" || { echo "changed"; exit 1; }
