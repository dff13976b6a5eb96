#!/bin/bash
# krippendorff 0.9.0 with NumPy 2.4.6: `krippendorff.alpha` of ratings that are an array of uint8, as labels of image sets usually are.
#
# Guess: the same agreement as of the same ratings in int64. Seen, without a word: with "interval", which is the default, and "ratio" it is another
# number: the difference of two ratings is taken before it is converted, and 1 - 2 is 255. "nominal" and "ordinal" are right.
# Two raters who give 1 to 5 and differ by 1 once agree by 0.96; as uint8 by 0.85. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" krippendorff==0.9.0 numpy==2.4.6
cat > "$folder/alpha.py" <<'END'
import sys
import krippendorff
import numpy as np

ratings = np.array([[1, 2, 3, 4, 5, 1, 2, 3], [1, 2, 3, 4, 5, 2, 2, 3]])
differs = []
for level in ("nominal", "ordinal", "interval", "ratio"):
    alpha = [krippendorff.alpha(reliability_data=ratings.astype(dtype), level_of_measurement=level) for dtype in ("int64", "uint8")]
    print(f"{level}: int64 {alpha[0]:.4f}, uint8 {alpha[1]:.4f}")
    differs.append(abs(alpha[0] - alpha[1]) > 0.05)
sys.exit(differs != [False, False, True, True])
END
PYTHONPATH="$folder" python3 "$folder/alpha.py" || { echo "changed"; exit 1; }
