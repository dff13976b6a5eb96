#!/bin/bash
# SciPy 1.17.1 with NumPy 2.4.6: statistics of uint8, as of pixels or of counts of correct predictions: ttest_rel, tmean, kstat, the distances of
# scipy.spatial.distance, trapezoid.
#
# Guess: the numbers of the same data as float64, as from SciPy's wilcoxon, ttest_ind, skew, zscore, iqr, sqeuclidean, cdist and simpson.
# Seen, with a warning for the cosine alone: they wrap around at 256 first. ttest_rel of counts that differ by at most one, p = 0.28, gives p = 0.015
# (its documentation names np.mean(a - b)); the mean, tmean, of 200, 250 and 240 is 59.3, where np.mean gives 230; kstat, a variance, is negative; the cosine distance of
# two quite different images is 0, the one of equal images, the euclidean one wrong (reported: github.com/scipy/scipy/issues/9961); the area under
# 200, 250, 240 is 214 and not 470. A paired test of two models that are alike finds a difference. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" scipy==1.17.1 numpy==2.4.6
cat > "$folder/uint8.py" <<'END'
import sys
import numpy as np
from scipy import integrate, stats
from scipy.spatial import distance

a = np.array([9, 8, 10, 7, 9, 10, 8, 9, 7, 9], np.uint8)  # correct of 10, by model and image
b = np.array([10, 9, 9, 8, 9, 10, 9, 9, 8, 8], np.uint8)
x, y = np.array([200, 250, 240], np.uint8), np.array([250, 20, 100], np.uint8)
cases = {
    "ttest_rel, p": (lambda a, b: stats.ttest_rel(a, b).pvalue, a, b),
    "tmean": (lambda x: stats.tmean(x), x),
    "kstat, second": (lambda x: stats.kstat(x), x),
    "cosine": (distance.cosine, x, y),
    "euclidean": (distance.euclidean, x, y),
    "trapezoid": (integrate.trapezoid, x),
    "wilcoxon, p": (lambda a, b: stats.wilcoxon(a, b).pvalue, a, b),
    "sqeuclidean": (distance.sqeuclidean, x, y),
}
same = []
for name, (function, *data) in cases.items():
    small, right = float(function(*data)), float(function(*(d.astype(float) for d in data)))
    print(f"{name}: uint8 {small:.4g}, float64 {right:.4g}")
    same.append(bool(np.isclose(small, right)))
sys.exit(same != [False] * 6 + [True] * 2)
END
PYTHONPATH="$folder" python3 "$folder/uint8.py" || { echo "changed"; exit 1; }
