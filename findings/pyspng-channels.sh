#!/bin/sh
# pyspng 0.1.4, load(bytes), a fast reader of PNG for training data, on pictures that Pillow 12.1.1 wrote.
# Guess: an array with the picture's channels: grey (height, width), also with 16 bits, palettes with transparency with alpha.
# Seen: grey with 8 bits is (height, width), with 16 bits (height, width, 2): an alpha of 65535 is added, so a mean over the array is wrong. A
# palette with a transparent colour is RGB, its transparency is gone. Grey with alpha raises RuntimeError, "could not decode image size".
# Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" pyspng==0.1.4 pillow==12.1.1 numpy==2.4.6
cat > "$folder/channels.py" <<'END'
import io
import sys
import numpy as np
import pyspng
from PIL import Image
grey = np.arange(12, dtype="uint8").reshape(3, 4)
palette = Image.fromarray(grey).convert("P")
pictures = {
    "grey": (Image.fromarray(grey), {}),
    "grey, 16 bits": (Image.fromarray(grey.astype("uint16") * 256), {}),
    "palette with transparency": (palette, {"transparency": 0}),
    "grey and alpha": (Image.fromarray(np.stack([grey, grey], axis=2)), {}),
}
seen = {}
for name, (picture, options) in pictures.items():
    file = io.BytesIO()
    picture.save(file, "PNG", **options)
    try:
        seen[name] = pyspng.load(file.getvalue()).shape
    except RuntimeError:
        seen[name] = "RuntimeError"
    print(name, seen[name])
sys.exit(list(seen.values()) != [(3, 4), (3, 4, 2), (3, 4, 3), "RuntimeError"])
END
PYTHONPATH="$folder" python3 "$folder/channels.py" || { echo "changed"; exit 1; }
