#!/bin/bash
# OpenCV 5.0.0 (opencv-python-headless 5.0.0.93) with NumPy 2.4.6: masks of dtype bool, which OpenCV 5 takes as they are and gives back as bool.
#
# Guess: cv2.bitwise_not(mask) is ~mask, as NumPy's bitwise_not of bool, or an error, as from resize and add; OpenCV 4 raises one for each bool.
# Seen, without a word: all bytes are inverted, 1 to 254 and 0 to 255, and both are True: the complement of any mask is all True, in each view, sum and
# countNonZero; and it cannot be told from a mask of all pixels until its bytes are looked at. bitwise_and of the mask and its "complement" is empty,
# as it should be, bitwise_xor all True, and so such checks pass. flip, rotate, max and copyMakeBorder of bool are right.
# Whoever takes the background of a mask in this way trains on, or averages over, the whole image. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > "$folder/masks.py" <<'END'
import sys
import cv2
import numpy as np

mask = np.array([[True, False, True], [False, False, True]])
inverse = cv2.bitwise_not(mask)
print("mask", mask.tolist(), "\nnot ", inverse.tolist(), inverse.dtype, "bytes", inverse.view(np.uint8).tolist())
print("pixels:", np.count_nonzero(mask), "and", cv2.countNonZero(inverse), "of", mask.size)
seen = [
    inverse.dtype == bool and bool(inverse.all()) and cv2.countNonZero(inverse) == 6,
    not cv2.bitwise_and(mask, inverse).any() and bool(cv2.bitwise_xor(mask, inverse).all()),
    np.array_equal(cv2.flip(mask, 1), mask[:, ::-1]),
]
sys.exit(not all(seen))
END
PYTHONPATH="$folder" python3 "$folder/masks.py" || { echo "changed"; exit 1; }
