#!/bin/bash
# Pillow 13.0.0, images of modes F (float32), I (int32) and I;16: Image.composite and Image.paste with a mask of grey values, as Mixup or CutMix
# with soft edges and shadows of an augmentation use them.
#
# Guess: a mask of 128 gives half of one image and half of the other, as in modes L and RGB, to 1 in 255, or an error, as Image.blend raises.
# Seen, without a word: each byte of a number is blended on its own. Half of 1000 and half of 0 is 2.6e-18 in mode F and 628 in I and I;16; half of
# 0.5 and half of 0.25 is 0.75; half of 1000 and half of 3000 is 877 in F, and by chance 2000 in I. With a mask of 0 or 255 all is right.
# Exit status 0: as seen; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" pillow==13.0.0 numpy==2.4.6
cat > "$folder/masks.py" <<'END'
import sys
import numpy as np
from PIL import Image


def pixel(mode, dtype, first, second, mask):
    first, second = (Image.fromarray(np.full((2, 2), value, dtype)) for value in (first, second))
    assert first.mode == mode
    blended = Image.composite(first, second, Image.new("L", (2, 2), mask))
    return float(np.asarray(blended)[0, 0])


seen = []
for mode, dtype, pairs in (
    ("L", "uint8", ((100, 0), (100, 30))),
    ("F", "float32", ((1000, 0), (1000, 3000), (0.5, 0.25))),
    ("I", "int32", ((1000, 0), (1000, 3000))),
    ("I;16", "uint16", ((1000, 0),)),
):
    for first, second in pairs:
        whole, half, none = (pixel(mode, dtype, first, second, mask) for mask in (255, 128, 0))
        assert (whole, none) == (first, second)
        expected = (128 * first + 127 * second) / 255
        print(f"{mode}: half of {first} and half of {second}: {half:.6g}, expected {expected:.6g}")
        seen.append(abs(half - expected) <= 0.02 * max(first, second))
print(seen)
sys.exit(seen != [True, True, False, False, False, False, True, False])
END
PYTHONPATH="$folder" python3 "$folder/masks.py" || { echo "changed"; exit 1; }
