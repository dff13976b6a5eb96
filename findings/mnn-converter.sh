#!/bin/bash
# MNN 3.6.1, its converter from ONNX and its CPU backend, against ONNX Runtime 1.32.0: models of one node each.
#
# Guess: MNN gives ONNX Runtime's numbers, to rounding, or refuses what it cannot do, as it refuses Mish and GroupNormalization.
# Seen, without a word ("Converted Success!"): auto_pad SAME_LOWER is taken for SAME_UPPER, in Conv, ConvTranspose and MaxPool, so that what is seen
# moves by a pixel; ReduceL1, ReduceL2, ReduceSumSquare and ReduceLogSumExp of opset 18, where the axes are an input, reduce all to one number
# (ReduceMean and ReduceMax do not; with opset 13 all are right); Round goes away from 0 at halves; Mod of -4.5 and 3 is 1.5 with fmod as well;
# ScatterND ignores reduction="add", GatherElements gives 0 for index -1, Softplus and LogSumExp are cut off at 87. Exit status 0: as seen; 1: changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" MNN==3.6.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$folder/single.py" <<'END'
import sys
import MNN
import MNN.expr as expr
import _tools
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

wrong, rng = [], np.random.default_rng(0)


def one(title, operation, x, opset=18, constants=(), **attributes):
    x, names = np.asarray(x, "float32"), [f"c{n}" for n in range(len(constants))]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", x.shape), ("y", None))]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in zip(names, constants)]
    graph = helper.make_graph([helper.make_node(operation, ["x", *names], ["y"], **attributes)], "g", ends[:1], ends[1:], tensors)
    source, target = f"{sys.path[0]}/one.onnx", f"{sys.path[0]}/one.mnn"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), source)
    _tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", source, "--MNNModel", target, "--bizCode", "x"])
    wanted = onnxruntime.InferenceSession(source).run(None, {"x": x})[0]
    result = MNN.nn.load_module_from_file(target, ["x"], ["y"]).forward([expr.const(x.ravel().tolist(), list(x.shape), expr.NCHW)])[0]
    found = np.array(expr.convert(result, expr.NCHW).read()) if wanted.ndim == 4 else np.array(result.read())
    same = wanted.shape == found.shape and bool(np.allclose(wanted, found, atol=2e-3))
    print(f"@{title}: {wanted.shape} {wanted.ravel()[:3].round(2)}, MNN {found.shape} {found.ravel()[:3].round(2)}{'' if same else ', differs'}")
    if not same:
        wrong.append(title)


image, kernel, table = rng.standard_normal((1, 2, 4, 4)), rng.standard_normal((2, 2, 3, 3)).astype("float32"), abs(rng.standard_normal((2, 3)))
for pad in ("SAME_UPPER", "SAME_LOWER"):
    one(f"Conv {pad}", "Conv", image, constants=[kernel], auto_pad=pad, strides=[2, 2])
    one(f"ConvTranspose {pad}", "ConvTranspose", image, constants=[kernel], auto_pad=pad, strides=[2, 2])
    one(f"MaxPool {pad}", "MaxPool", image, auto_pad=pad, kernel_shape=[2, 2], strides=[1, 1])
for name in ("ReduceMean", "ReduceMax", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"):
    one(f"{name} 18", name, table, constants=[np.array([1])], keepdims=0)
    one(f"{name} 13", name, table, opset=13, axes=[1], keepdims=0)
one("Round", "Round", [-0.5, 0.5, 2.5])
one("Mod", "Mod", [-4.5, 4.5], constants=[np.float32([3, -3])], fmod=1)
one("ScatterND", "ScatterND", [1, 2], constants=[np.array([[0]]), np.float32([5])], reduction="add")
one("GatherElements", "GatherElements", [1, 2], constants=[np.array([0, -1])])
one("Softplus", "Softplus", [1, 100])
one("LogSumExp", "ReduceLogSumExp", [100, 101])
END
PYTHONPATH="$folder" python3 "$folder/single.py" > "$folder/log.txt" 2>&1 || { tail -3 "$folder/log.txt"; exit 2; }
grep -a '^@' "$folder/log.txt" | tee "$folder/lines.txt"
[ "$(grep -ac differs "$folder/lines.txt")" = 13 ] && [ "$(grep -ac . "$folder/lines.txt")" = 24 ] || { echo "changed"; exit 1; }
