#!/bin/bash
# tf2onnx 1.17.0, the converter behind Keras' model.export(…, format="onnx") on TensorFlow 2.21.0, with ONNX Runtime 1.32.0.
#
# Guess: the converted function gives TensorFlow's numbers, or there is an error, as for tf.image.rgb_to_hsv or ResizeBicubic to smaller images.
# Seen, without a word: tf.image.adjust_saturation gives colours of another hue for two of the six orders of the channels: it sorts red, green and
# blue, and puts them back with the order where its inverse is meant. tf.one_hot(-1), which is no class, is the last class: pixels to be ignored count.
# tf.image.resize with method "area" takes the nearest pixel (…/pull/2241). tf.scatter_nd keeps the last of several values for a place, not the sum. //
# and % of negative integers round to 0, -1 % 4 is -1 (…/issues/2174 of github.com/onnx/tensorflow-onnx). Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" tensorflow==2.21.0 tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$folder/convert.py" <<'END'
import sys
import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx


def same(title, function, x):
    x = np.asarray(x)
    signature = [tf.TensorSpec(x.shape, x.dtype, name="x")]
    model, _ = tf2onnx.convert.from_function(tf.function(function, input_signature=signature), input_signature=signature, opset=17)
    wanted = function(tf.constant(x)).numpy()
    found = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    print(f"{title}: TensorFlow {wanted.ravel()[:6].round(3)}, ONNX {found.ravel()[:6].round(3)}")
    return bool(np.allclose(wanted, found, atol=1e-4))


image = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
seen = [
    same("saturation of r > g > b", lambda x: tf.image.adjust_saturation(x, 0.5), np.float32([[[0.8, 0.4, 0.1]]])),
    same("saturation of g > b > r", lambda x: tf.image.adjust_saturation(x, 0.5), np.float32([[[0.1, 0.8, 0.4]]])),
    same("saturation of b > r > g", lambda x: tf.image.adjust_saturation(x, 0.5), np.float32([[[0.4, 0.1, 0.8]]])),
    same("resize, bilinear", lambda x: tf.image.resize(x, (2, 2), "bilinear"), image),
    same("resize, area", lambda x: tf.image.resize(x, (2, 2), "area"), image),
    same("one_hot(1)", lambda x: tf.one_hot(x, 3), np.int32([1])),
    same("one_hot(-1)", lambda x: tf.one_hot(x, 3), np.int32([-1])),
    same("scatter_nd", lambda x: tf.scatter_nd([[0], [2], [0]], x, [3]), np.float32([1, 2, 3])),
    same("% 4", lambda x: x % 4, np.int32([-1, 5])),
    same("// 4", lambda x: x // 4, np.int32([-1, 5])),
]
sys.exit(seen != [True, False, False, True, False, True, False, False, False, False])
END
PYTHONPATH="$folder" CUDA_VISIBLE_DEVICES= TF_CPP_MIN_LOG_LEVEL=3 python3 "$folder/convert.py" 2> "$folder/log" || { tail -3 "$folder/log"; echo "changed"; exit 1; }
