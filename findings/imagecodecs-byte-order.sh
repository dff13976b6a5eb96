#!/bin/bash
# imagecodecs 2026.3.6 with NumPy 2.4.6: tiff_encode, jpeg2k_encode and htj2k_encode of big-endian arrays, as read from FITS, PGM, IDX or big-endian
# TIFF files, and jpeg2k_encode(reversible=True) of uint32.
#
# Guess: pixels of dtype ">u2" come back, as from delta and xor, or are refused, as by png, jpegxl, jpegls, jpegxr, lerc, zfp and avif; what is
# "reversible" is exact, or is refused.
# Seen, without a word: these three take the bytes as they lie in memory: 1 comes back as 256, 1000 as 59395, and an image as noise, from formats that
# are lossless. JPEG 2000 of an image of uint32 whose largest pixel is 2 ** 31 + 5 gives 50331653 for 5, and other numbers for all others, where
# htj2k is exact. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" imagecodecs==2026.3.6 numpy==2.4.6
cat > "$folder/order.py" <<'END'
import sys
import imagecodecs
import numpy as np

image = np.zeros((32, 32), ">u2")
image[0, :4] = 1, 256, 1000, 65280
seen = {}
for name in ("tiff", "jpeg2k", "htj2k", "delta", "xor", "png", "jpegxl", "jpegls"):
    try:
        back = getattr(imagecodecs, name + "_decode")(getattr(imagecodecs, name + "_encode")(image))
        same, swapped = (bool(np.array_equal(back, i)) for i in (image, image.view("<u2")))
        seen[name] = "same" if same else "swapped" if swapped else "other"
        print(f"{name}: {image[0, :4].tolist()} comes back as {back[0, :4].tolist()}")
    except ValueError as error:
        seen[name] = "refused"
        print(f"{name}: {error}")

large = np.zeros((32, 32), np.uint32)
large[0, :4] = 5, 2**25 + 5, 2**26 + 5, 2**31 + 5
exact = []
for name, options in {"jpeg2k": {"level": 0, "reversible": True}, "htj2k": {"reversible": True}}.items():
    back = getattr(imagecodecs, name + "_decode")(getattr(imagecodecs, name + "_encode")(large, **options))
    print(f"{name}: {large[0, :4].tolist()} comes back as {back[0, :4].tolist()}")
    exact.append(bool(np.array_equal(back, large)))
sys.exit(list(seen.values()) != ["swapped"] * 3 + ["same"] * 2 + ["refused"] * 3 or exact != [False, True])
END
PYTHONPATH="$folder" python3 "$folder/order.py" || { echo "changed"; exit 1; }
