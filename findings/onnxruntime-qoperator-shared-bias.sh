#!/bin/sh
# ONNX Runtime 1.32.0, quantize_static: in the format QOperator a bias that two convolutions share gets the scale of one of them.
#
# Guess: QDQ and QOperator are two ways to write the same numbers, so both are as far from float32 as 8 bits are.
# Seen: QDQ differs by 2 % of the largest result, QOperator by 50 %: there is one `b_quantized`, in units of (scale of x) · (scale of W),
# and the convolution of 20 x, whose scale is 20 times as large, reads it too. QDQ writes the scale of a bias beside it.
# It matters for steps that share their weights, as here and in recurrent networks. Exit status 0: still so.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'EOF'
import numpy as np, onnx, onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization

random = np.random.default_rng(0)
images = [random.normal(size=(1, 4, 8, 8)).astype("float32") for _ in range(20)]
constants = {
    "W": 0.2 * random.normal(size=(4, 4, 3, 3)).astype("float32"),
    "b": random.normal(size=4).astype("float32"),
    "twenty": np.float32(20),
}
same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 8, 8]) for name in ("x", "sum")]
nodes = [
    helper.make_node("Conv", ["x", "W", "b"], ["y1"], **same),
    helper.make_node("Mul", ["x", "twenty"], ["20x"]),
    helper.make_node("Conv", ["20x", "W", "b"], ["y2"], **same),
    helper.make_node("Add", ["y1", "y2"], ["sum"]),
]
weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
graph = helper.make_graph(nodes, "two", ends[:1], ends[1:], weights)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8), "float.onnx")

class Images(quantization.CalibrationDataReader):
    def __init__(self):
        self.rest = iter(images)
    def get_next(self):
        image = next(self.rest, None)
        return None if image is None else {"x": image}

def results(file):
    session = onnxruntime.InferenceSession(file)
    return np.stack([session.run(None, {"x": image})[0] for image in images])

exact, error = results("float.onnx"), {}
for form in ("QDQ", "QOperator"):
    quantization.quantize_static("float.onnx", "int8.onnx", Images(), quant_format=quantization.QuantFormat[form],
        op_types_to_quantize=["Conv"], activation_type=quantization.QuantType.QUInt8, reduce_range=True)
    error[form] = float(abs(results("int8.onnx") - exact).max() / abs(exact).max())
print("onnxruntime", onnxruntime.__version__, error)
assert error["QDQ"] < 0.05 and error["QOperator"] > 0.2, "changed"
EOF
