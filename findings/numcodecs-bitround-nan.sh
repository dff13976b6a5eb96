#!/bin/sh
# numcodecs 0.16.6, BitRound, which zarr and xarray use to shorten the mantissa of float arrays before compression.
# Guess: what is not a number stays so; rounding moves numbers to neighbours.
# Seen: NaN with all bits of the mantissa set, 0x7fffffff, becomes −0.0, as the rounding carries over exponent and sign. It is the NaN that NVIDIA
# GPUs make in float32, so a diverged loss that was written from there is 0 in the archive. NumPy's NaN, 0x7fc00000, stays. float16 does the same.
# Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" numcodecs==0.16.6 numpy==2.4.6
cat > "$folder/rounded.py" <<'END'
import sys
import numpy as np
from numcodecs import BitRound
seen = []
for dtype, bits, keepbits in (("float32", [0x7FC00000, 0x7FFFFFFF, 0x7F800000], 7), ("float16", [0x7E00, 0x7FFF, 0x7C00], 4)):
    x = np.array(bits, f"uint{np.dtype(dtype).itemsize * 8}").view(dtype)
    codec = BitRound(keepbits=keepbits)
    back = np.asarray(codec.decode(codec.encode(x.copy()))).view(dtype)
    seen.append([str(value) for value in back])
    print(dtype, [hex(one) for one in bits], "become", *seen[-1])
sys.exit(seen != [["nan", "-0.0", "inf"]] * 2)
END
PYTHONPATH="$folder" python3 "$folder/rounded.py" || { echo "changed"; exit 1; }
