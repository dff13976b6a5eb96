#!/bin/bash
# MAPIE 1.6.0, `mapie.metrics.calibration.expected_calibration_error(y_true, y_scores, num_bins, split_strategy)`.
#
# Guess: num_bins is the number of bins, as in scikit-learn's calibration_curve, and one bin is |accuracy - mean score|; "array split" puts the sorted
# scores into bins of equal size, so that the order of the samples means nothing.
# Seen, without an error: "uniform", the default, and "quantile" have one bin less than they are asked for, and one more for a score of exactly 0
# (or for the lowest score): a classifier that is always right at 0.1 and always wrong at 0.9 is perfectly calibrated with num_bins=2, its error
# is 0 and not 0.9; num_bins=1 is NaN. "array split" does not sort: the same 20 samples have an error of 0.9 in one order and of 0 in another.
# Data sets that are shuffled, as they should be, look calibrated. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" mapie==1.6.0 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
cat > "$folder/ece.py" <<'END'
import sys
import warnings
import numpy as np
from mapie.metrics.calibration import expected_calibration_error as ece

scores = np.repeat([0.1, 0.9], 10)
right = np.repeat([1, 0], 10)  # whether the prediction is correct, as the documentation wants it
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the division of 0 by 0
    uniform = {bins: ece(right, scores, num_bins=bins) for bins in (1, 2, 3)}
print("uniform:", ", ".join(f"{bins} bins {value:.2f}" for bins, value in uniform.items()), "(by hand 0.00, 0.90, 0.90)")

order = np.argsort(np.tile(np.arange(10), 2), kind="stable")  # 0.1, 0.9, 0.1, 0.9 …
split = [ece(right[i], scores[i], num_bins=2, split_strategy="array split") for i in (np.arange(20), order)]
print(f"array split, 2 bins: {split[0]:.2f} sorted, {split[1]:.2f} in another order")
sys.exit(not (np.isnan(uniform[1]) and uniform[2] < 1e-9 and uniform[3] > 0.89 and split[0] > 0.89 and split[1] < 1e-9))
END
PYTHONPATH="$folder" python3 "$folder/ece.py" || { echo "changed"; exit 1; }
