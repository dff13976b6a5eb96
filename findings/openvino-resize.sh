#!/bin/sh
# OpenVINO 2026.4.1: ONNX's Resize with the attributes exclude_outside (cubic) and antialias (linear, to smaller images).
#
# Guess: what the CPU plugin cannot do is refused, as coordinate_transformation_mode half_pixel_symmetric is; else the numbers are ONNX's.
# Seen: exclude_outside changes nothing, without a word; antialiasing gives 2.333 where ONNX Runtime and onnx.reference give 2.5.
# Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" openvino==2026.4.1 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cat > "$folder/resize.py" <<'END'
import sys
import numpy as np
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper

x = np.arange(1, 10, dtype="float32").reshape(1, 1, 3, 3)


def resized(scale, **attributes):
    constants = [np.array([], "float32"), np.array([1, 1, scale, scale], "float32")]
    constants = [numpy_helper.from_array(value, name) for value, name in zip(constants, ("roi", "scales"))]
    node = helper.make_node("Resize", ["x", "roi", "scales"], ["y"], **attributes)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", x.shape), ("y", None))]
    graph = helper.make_graph([node], "resize", ends[:1], ends[1:], constants)
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()
    session, core = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]), openvino.Core()
    compiled = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return float(session.run(None, {"x": x})[0].flat[0]), float(compiled([x])[0].flat[0])


seen = {
    "cubic": resized(1.5, mode="cubic"),
    "cubic, exclude_outside": resized(1.5, mode="cubic", exclude_outside=1),
    "linear, antialias": resized(0.6, mode="linear", antialias=1),
}
for name, (runtime, vino) in seen.items():
    print(f"{name}: first pixel {runtime:.4f} by ONNX Runtime, {vino:.4f} by OpenVINO")
same = [abs(runtime - vino) < 1e-3 for runtime, vino in seen.values()]
sys.exit(same != [True, False, False] or abs(seen["cubic"][1] - seen["cubic, exclude_outside"][1]) > 1e-6)
END
PYTHONPATH="$folder" python3 "$folder/resize.py" || { echo "changed"; exit 1; }
