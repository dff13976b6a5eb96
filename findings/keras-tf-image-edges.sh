#!/bin/sh
# Keras 3.15.1 with TensorFlow 2.21.0: `keras.ops.image.map_coordinates` and `affine_transform` (behind RandomTranslation), whose words for orders and
# fill modes are those of scipy.ndimage, where JAX gives SciPy's values.
# Expected: the same values from TensorFlow. Seen: with order 0 a place halfway between pixels goes to the even one (2.5 to 2, not to 3);
# "reflect" takes the edge pixel twice on the right side and once on the left; "wrap" shifts a row of six by seven into 2, 3, 4, 1, 1, 1 in place of
# 2, 3, 4, 5, 6, 1. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" keras==3.15.1 tensorflow==2.21.0 numpy==2.4.6 scipy==1.17.1
cat > "$folder/edges.py" <<'END'
import sys
import numpy as np
from keras import ops
from scipy.ndimage import map_coordinates
row = np.arange(4, dtype="float32")
seen = []
for places, order, mode in (([0.5, 1.5, 2.5], 0, "nearest"), ([-1.0, -1.5, 4.0, 5.0], 1, "reflect")):
    places = np.array([places], "float32")
    found = ops.convert_to_numpy(ops.image.map_coordinates(row, places, order=order, fill_mode=mode)).tolist()
    print(mode, "order", order, "at", places[0].tolist(), "Keras", found, end=" ")
    print("SciPy", map_coordinates(row, places, order=order, mode=mode).tolist())
    seen.append(found)
image = np.arange(1, 7, dtype="float32").reshape(1, 1, 6, 1)
shift = np.array([[1, 0, 7, 0, 1, 0, 0, 0]], "float32")
found = ops.image.affine_transform(image, shift, interpolation="nearest", fill_mode="wrap")
seen.append(ops.convert_to_numpy(found).ravel().tolist())
print("wrap by 7: Keras", seen[-1], "rolled", np.roll(image.ravel(), -7).tolist())
sys.exit(seen != [[0, 2, 2], [1, 1.5, 3, 2], [2, 3, 4, 1, 1, 1]])
END
PYTHONPATH="$folder" KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 python3 "$folder/edges.py" || { echo "changed"; exit 1; }
