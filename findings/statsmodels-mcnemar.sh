#!/bin/bash
# statsmodels 0.15.0, statsmodels.stats.contingency_tables.mcnemar(table, exact=False), which compares two classifiers on the same images.
#
# Guess: two classifiers with as many errors that only the one makes as errors that only the other makes do not differ: statistic 0, p = 1,
# as the exact test and the one without the correction give, and as R's mcnemar.test gives; two that agree on each image: p = 1 or NaN.
# Seen: with the correction for continuity, which is the default, two that agree on each image differ "infinitely", statistic inf, p = 0; with 3
# and 3 errors p is 0.68, and less, the fewer there are: 1 and 1 gives 0.48 (the 1 is subtracted from a difference of 0, and squared).
# A p of 0 for equal predictions, as of one checkpoint on two backends, is the strongest evidence there is. Exit status 0: as seen; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" statsmodels==0.15.0 numpy==2.4.6 scipy==1.17.1
cat > "$folder/mcnemar.py" <<'END'
import sys
import warnings
import numpy as np
from statsmodels.stats.contingency_tables import mcnemar

warnings.simplefilter("ignore")
seen = []
for first, second in ((0, 0), (1, 1), (3, 3), (10, 30)):
    table = np.array([[50, first], [second, 50]])
    ways = {"exact": {"exact": True}, "corrected": {"exact": False}, "uncorrected": {"exact": False, "correction": False}}
    results = {name: mcnemar(table, **options) for name, options in ways.items()}
    for name, result in results.items():
        print(f"errors of one only {first}, of the other only {second}, {name}: {result.statistic:.4g}, p = {result.pvalue:.4g}")
    seen.append(round(float(results["corrected"].pvalue), 4))
    if first == second:
        assert results["exact"].pvalue == 1
        assert not first or results["uncorrected"].pvalue == 1
print(seen)
sys.exit(seen != [0.0, 0.4795, 0.6831, 0.0027])
END
PYTHONPATH="$folder" python3 "$folder/mcnemar.py" || { echo "changed"; exit 1; }
