#!/bin/bash
# Keras 3.15.1 with TensorFlow 2.21.0: `keras.ops.histogram` of integers, as of predicted classes, and of numbers that are all equal.
#
# Guess: what numpy.histogram gives, whose words its documentation has, as on JAX. Seen, without a word: for integers the edges are integers as
# well, cut off: 0, 1, 3 and not 0, 1.5, 3, so that the bins have other widths and counts, and with more bins than values several have no
# width; three equal numbers are all in the last of three bins, of no width, where NumPy puts them into the middle one of width 1/3.
# A histogram of labels, or of the activations of a dead channel, differs between the backends. Exit status 0: as seen; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" keras==3.15.1 tensorflow==2.21.0 jax==0.10.1 jaxlib==0.10.1 numpy==2.4.6
cat > "$folder/histogram.py" <<'END'
import sys
import keras
import numpy as np

seen = []
for numbers, bins in (
    (np.array([0, 1, 2, 3], "float32"), 2),
    (np.array([0, 1, 2, 3], "int32"), 2),
    (np.array([0, 1, 2, 3], "int32"), 6),
    (np.array([2, 2, 2], "float32"), 3),
):
    counts, edges = (keras.ops.convert_to_numpy(result) for result in keras.ops.histogram(numbers, bins))
    expected = np.histogram(numbers, bins)
    seen.append(bool(np.array_equal(counts, expected[0]) and np.allclose(edges, expected[1])))
    print(f"{keras.backend.backend()}, {numbers.dtype} {numbers.tolist()}: {counts.tolist()}, edges {edges.round(2).tolist()};", end=" ")
    print(f"NumPy {expected[0].tolist()}, edges {expected[1].round(2).tolist()}")
sys.exit(seen != [[True] * 4, [True, False, False, False]][keras.backend.backend() == "tensorflow"])
END
for backend in jax tensorflow; do
    PYTHONPATH="$folder" KERAS_BACKEND=$backend TF_CPP_MIN_LOG_LEVEL=3 JAX_PLATFORMS=cpu python3 "$folder/histogram.py" || { echo "changed"; exit 1; }
done
