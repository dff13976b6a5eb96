#!/bin/bash
# uncertainty-toolbox 0.1.1 with SciPy 1.17.1: "quantile" calibration, `get_proportion_under_quantile`, `get_proportion_lists*(prop_type="quantile")`
# and `get_quantile_recalibrator`.
#
# Guess: "the proportion of data that are below the predicted quantile", as its documentation says: predictions of 10 ± 1 where the truth is 0 have
# all data below the median; and recalibration moves predictions that are 1 too high down by 1.
# Seen, without a word: the proportion is 0: it is the data above the mirrored quantile that is counted (prediction minus truth, and not truth minus
# prediction). The recalibrator moves the median the wrong way, from 1 to 2 where the truth is around 0, so that it doubles the bias that it should
# remove. The interval functions are symmetric and right. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" uncertainty-toolbox==0.1.1 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
cat > "$folder/quantiles.py" <<'END'
import sys
import numpy as np
import uncertainty_toolbox as uct
from scipy.stats import norm
from uncertainty_toolbox.metrics_calibration import get_proportion_under_quantile
from uncertainty_toolbox.recalibration import get_quantile_recalibrator

n = 200
below = get_proportion_under_quantile(np.full(n, 10.0), np.ones(n), np.zeros(n), 0.5)
_, lists = uct.get_proportion_lists_vectorized(np.full(n, 10.0), np.ones(n), np.zeros(n), num_bins=3, prop_type="quantile")
print(f"truth 0, predicted 10 ± 1: below the predicted median {below} and {lists[1]}; right is 1")

truth = norm.ppf((np.arange(n) + 0.5) / n)  # mean 0, deviation 1
recalibrate = get_quantile_recalibrator(np.ones(n), np.ones(n), truth)
median = recalibrate(np.ones(1), np.ones(1), 0.5)[0]
print(f"truth 0 ± 1, predicted 1 ± 1: recalibrated median {median:.2f}; right is 0")
sys.exit(not (below == lists[1] == 0 and abs(median - 2) < 0.1))
END
PYTHONPATH="$folder" python3 "$folder/quantiles.py" || { echo "changed"; exit 1; }
