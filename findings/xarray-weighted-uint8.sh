#!/bin/bash
# xarray 2026.9.0 with NumPy 2.4.6: DataArray.weighted(weights).mean() of integers, such as images, and DataArray.mean() of float16.
#
# Guess: the weighted mean with equal weights is the mean, as np.average gives. Seen, without a word: of 200, 100, 250 and 3 (uint8) it is 10.25
# with weights of 1 in uint8, 0.03 with weights of 100, and not 138.25: data times weights is summed in their own type, where .mean() and .sum()
# take a wider one. A mask as weights, the usual way to leave pixels out, does the same: 15.67 and not 101. With weights of float64 all is right.
# Beside this .mean() of 3000 numbers of float16 that are 100 is infinite, since the step that leaves NaN out sums in float16; with skipna=False,
# and in NumPy, it is 100. Exit status 0: as seen; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" xarray==2026.9.0 numpy==2.4.6 pandas==3.1.1
cat > "$folder/weighted.py" <<'END'
import sys
import numpy as np
import xarray

pixels = np.array([200, 100, 250, 3], "uint8")


def means(weights):
    """xarray's and NumPy's mean with the weights."""
    pair = float(xarray.DataArray(pixels, dims="x").weighted(xarray.DataArray(weights, dims="x")).mean())
    pair = round(pair, 2), round(float(np.average(pixels.astype(float), weights=weights)), 2)
    print(f"{pixels.tolist()} with weights {weights.tolist()} ({weights.dtype}): xarray {pair[0]}, NumPy {pair[1]}")
    return pair


seen = [
    means(np.ones(4)),
    means(np.ones(4, "uint8")),
    means(np.full(4, 100, "uint8")),
    means(np.array([True, True, False, True])),
]
half = np.full(3000, 100, "float16")
array = xarray.DataArray(half)
with np.errstate(over="ignore"):
    seen.append((float(array.mean()), float(array.mean(skipna=False)), float(half.mean())))
print(f"3000 times 100 in float16: mean {seen[-1][0]}, with skipna=False {seen[-1][1]}, NumPy {seen[-1][2]}")
sys.exit(seen != [(138.25, 138.25), (10.25, 138.25), (0.03, 138.25), (15.67, 101.0), (np.inf, 100.0, 100.0)])
END
PYTHONPATH="$folder" python3 "$folder/weighted.py" || { echo "changed"; exit 1; }
