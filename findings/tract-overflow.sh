#!/bin/bash
# tract 0.23.9 (the runtime in Rust, from its Python package) and ONNX Runtime 1.32.0: ReduceLogSumExp, LogSoftmax and Softplus of logits.
#
# Guess: both subtract the largest number first, as is usual, so that logits around 100 are no trouble.
# Seen: tract's ReduceLogSumExp of (100, 101, -1) is infinite where ONNX Runtime gives 101.3133, and of (-200, -201) minus infinity where it gives
# -199.6867; its Softplus of 100 is infinite; its LogSoftmax has -87.8 for the last of the three where -102.3 is right. Softmax is right. A loss or
# an energy score that is part of an exported network becomes infinite from about 89 on. Exit status 0: as seen; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" tract==0.23.9 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cat > "$folder/overflow.py" <<'END'
import sys
import numpy as np
import onnx
import onnxruntime
import tract
from onnx import TensorProto, helper


def both(operation, numbers, **attributes):
    x, path = np.array([numbers], "float32"), f"{sys.path[0]}/one.onnx"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", x.shape), ("y", None))]
    graph = helper.make_graph([helper.make_node(operation, ["x"], ["y"], **attributes)], "one", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    runnable = tract.onnx().load(path).into_model().into_runnable()
    results = session.run(None, {"x": x})[0], runnable.run([x])[0].to_numpy()
    print(f"{operation} of {numbers}: ONNX Runtime {results[0].ravel()}, tract {results[1].ravel()}")
    return bool(np.allclose(*results))


seen = [
    both("Softmax", [100, 101, -1], axis=1),
    both("LogSoftmax", [10, 11, -1], axis=1),
    both("LogSoftmax", [100, 101, -1], axis=1),
    both("ReduceLogSumExp", [10, 11, -1], axes=[1]),
    both("ReduceLogSumExp", [100, 101, -1], axes=[1]),
    both("ReduceLogSumExp", [-200, -201], axes=[1]),
    both("Softplus", [-100, 0, 80]),
    both("Softplus", [-100, 0, 100]),
]
sys.exit(seen != [True, True, False, True, False, False, True, False])
END
PYTHONPATH="$folder" python3 "$folder/overflow.py" || { echo "changed"; exit 1; }
