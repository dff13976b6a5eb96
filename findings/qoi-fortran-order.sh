#!/bin/sh
# qoi 0.8.0, encode(image), a lossless format of pictures, for arrays (height, width, 3) of uint8.
# Guess: an array in Fortran order is encoded as the picture that it is, or refused, as views with other strides are
# ("array should be C-contiguous").
# Seen: it is encoded without a word, and decodes to other pixels: the bytes are taken in the order of memory. So does a transposed
# array of planes (3, width, height), which is in Fortran order. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" qoi==0.8.0 numpy==2.4.6
cat > "$folder/pictures.py" <<'END'
import sys
import numpy as np
import qoi
image = np.arange(8 * 6 * 3, dtype="uint8").reshape(8, 6, 3)
planes = np.ascontiguousarray(image.transpose(2, 1, 0))
seen = {}
for name, x in {"C order": image, "mirrored": image[:, ::-1], "Fortran order": np.asfortranarray(image), "planes.T": planes.T}.items():
    assert name == "mirrored" or np.array_equal(x, image)
    try:
        seen[name] = "the same" if np.array_equal(qoi.decode(qoi.encode(x)), x) else "other pixels"
    except ValueError:
        seen[name] = "raises ValueError"
    print(name, seen[name])
sys.exit(list(seen.values()) != ["the same", "raises ValueError", "other pixels", "other pixels"])
END
PYTHONPATH="$folder" python3 "$folder/pictures.py" || { echo "changed"; exit 1; }
