#!/bin/bash
# ml_dtypes 0.6.0 with NumPy 2.4.6: arrays of bfloat16 (as np.asarray gives of JAX' and TensorFlow's) and of float8 with a NaN among them.
#
# Guess: NumPy treats them as it treats float16: NaN is sorted last, found once by np.unique, skipped by np.nanmean, replaced by np.nan_to_num, and
# makes np.median NaN. Seen, without a word: none of this. [2, nan, 1, nan, 2] "sorted", and its np.unique, is as it was; np.nanmean is NaN;
# np.nan_to_num changes nothing (reported: github.com/jax-ml/ml_dtypes/issues/346); np.median is 1. np.isnan, np.max and np.nanmax are right.
# What is computed of a run that diverged in bfloat16 looks like numbers, or is in no order. Exit status 0: as seen; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" ml_dtypes==0.6.0 numpy==2.4.6
cat > "$folder/nan.py" <<'END'
import sys
import warnings
import ml_dtypes
import numpy as np

warnings.simplefilter("ignore")
functions = {
    "isnan": np.isnan,
    "max": np.max,
    "sort": np.sort,
    "unique": np.unique,
    "nanmean": np.nanmean,
    "nanmax": np.nanmax,
    "nan_to_num": np.nan_to_num,
    "median": np.median,
}
numbers, seen = [2, np.nan, 1, np.nan, 2], {}
for kind in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn):
    seen[kind] = []
    for name, function in functions.items():
        right, found = (np.asarray(function(np.array(numbers, dtype))).astype("float64") for dtype in ("float16", kind))
        same = right.shape == found.shape and np.array_equal(right, found, equal_nan=True)
        seen[kind].append(same)
        print(f"{name} of {kind.__name__}: {found.tolist()}", "" if same else f"and of float16: {right.tolist()}")
sys.exit(list(seen.values()) != [[True, True, False, False, False, True, False, False]] * 2)
END
PYTHONPATH="$folder" python3 "$folder/nan.py" || { echo "changed"; exit 1; }
