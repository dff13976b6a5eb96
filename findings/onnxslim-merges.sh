#!/bin/bash
# onnxslim 0.1.98 (onnx 1.23.2, ONNX Runtime 1.32.0): onnxslim.slim(model), with what it does by itself, of four networks of a few layers each.
#
# Guess: the slimmed model computes the same numbers, or is left as it is.
# Seen, without a word: Clip(x, min=0) and Clip(x, max=0), the positive and the negative part of CReLU, become one node, since inputs that are left out
# are dropped before two nodes are compared; so do two RandomNormalLike of one x, whose difference is then 0. A factor of shape (8,), one for each
# column of an image, after a convolution with 8 channels becomes a factor for each channel (Add has a check of the shape, Mul has none).
# A Gemm whose result goes to Reshape and Mul, and elsewhere too, is multiplied for both. onnxslim's own tool compares nothing unless it is asked to
# (--model-check). Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" onnxslim==0.1.98 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$folder/merges.py" <<'END'
import sys
import numpy as np
import onnxruntime
import onnxslim
from onnx import TensorProto, helper, numpy_helper

node, rng = helper.make_node, np.random.default_rng(0)


def run(model, x):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]


def both(title, nodes, shape, result, **constants):
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", shape), ("y", result))]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    x = rng.standard_normal(shape).astype("float32")
    before, after = run(model, x), run(onnxslim.slim(model), x)
    print(f"{title}: largest number {abs(before).max():.3g}, largest difference {abs(before - after).max():.3g}")
    return float(abs(before - after).max()) < 1e-4


def f(*shape):
    return rng.standard_normal(shape).astype("float32")


image, conv = [1, 4, 8, 8], node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1])
seen = [
    both("factor for each channel", [conv, node("Mul", ["a", "k"], ["y"])], image, [1, 8, 8, 8], w=f(8, 4, 3, 3), k=f(1, 8, 1, 1)),
    both("factor for each column", [conv, node("Mul", ["a", "k"], ["y"])], image, [1, 8, 8, 8], w=f(8, 4, 3, 3), k=f(8)),
    both("CReLU", [node("Clip", ["x", "zero", ""], ["a"]), node("Clip", ["x", "", "zero"], ["b"]), node("Concat", ["a", "b"], ["y"], axis=1)],
         image, [1, 8, 8, 8], zero=np.float32(0)),
    both("two noises", [node("RandomNormalLike", ["x"], ["a"]), node("RandomNormalLike", ["x"], ["b"]), node("Sub", ["a", "b"], ["y"])],
         image, image),
    both("shared Gemm", [node("Gemm", ["x", "w", "b"], ["a"], transB=1), node("Reshape", ["a", "s"], ["c"]), node("Mul", ["c", "k"], ["d"]),
         node("Reshape", ["d", "t"], ["e"]), node("Concat", ["a", "e"], ["y"], axis=0)], [6, 5], [12, 4],
         w=f(4, 5), b=f(4), s=np.array([2, 3, 4]), k=f(4), t=np.array([6, 4])),
]
sys.exit(seen != [True, False, False, False, False])
END
PYTHONPATH="$folder" python3 "$folder/merges.py" || { echo "changed"; exit 1; }
