#!/bin/bash
# Pillow 13.0.0, mode I;16, which Image.fromarray of uint16 and a 16-bit greyscale PNG give: rotate and transform with BILINEAR or BICUBIC.
#
# Guess: an image that is 1000 everywhere is 1000 in the middle after any rotation, as in the modes I and F, as its resize gives, or an error,
# as its filters raise. Seen, without a word: the middle is 44, 75, 159 and 190, as if each number was one byte. Between NEAREST of I;16 and of
# the modes L, I and F there is a difference as well: 4 pixels resized to 7 are 0 0 1 2 2 3 3, and 0 0 1 1 2 3 3 in the others.
# Whoever augments 16-bit images by small rotations trains on noise. Exit status 0: as seen; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" pillow==13.0.0 numpy==2.4.6
cat > "$folder/rotate.py" <<'END'
import sys
import numpy as np
from PIL import Image

seen = {}
for mode, dtype in (("F", "float32"), ("I", "int32"), ("I;16", "uint16")):
    image = Image.fromarray(np.full((4, 4), 1000, dtype))
    assert image.mode == mode
    row = Image.fromarray(np.arange(4, dtype=dtype)[None])
    middle = {}
    for name in ("NEAREST", "BILINEAR", "BICUBIC"):
        turned = np.asarray(image.rotate(30, Image.Resampling[name]))[1:3, 1:3]
        middle[name] = sorted({int(value) for value in turned.ravel()})
    resized = sorted({int(value) for value in np.asarray(image.resize((7, 7), Image.Resampling.BILINEAR)).ravel()})
    nearest = np.asarray(row.resize((7, 1), Image.Resampling.NEAREST)).ravel().astype(int).tolist()
    print(f"{mode}: 1000 rotated by 30 degrees, in the middle {middle}; resized {resized}; 0 1 2 3 to 7 pixels {nearest}")
    right = [values == [1000] for values in middle.values()]
    seen[mode] = (*right, resized == [1000], nearest == [0, 0, 1, 1, 2, 3, 3])
assert seen["F"] == (True,) * 5
sys.exit(seen != {"F": (True,) * 5, "I": (True,) * 5, "I;16": (True, False, False, True, False)})
END
PYTHONPATH="$folder" python3 "$folder/rotate.py" || { echo "changed"; exit 1; }
