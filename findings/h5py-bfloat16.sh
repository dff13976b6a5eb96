#!/bin/sh
# h5py 3.16.0 with ml_dtypes 0.6.0, the bfloat16 and 8-bit floats of JAX and TensorFlow.
# Guess: create_dataset refuses types that HDF5 has no name for, with TypeError, as it refuses NumPy's unicode arrays.
# Seen: they are written without a word as opaque bytes, |V2 and |V1, and nothing in the file tells which type it was; what comes back is not
# numbers: arithmetic on it fails, and bfloat16 cannot be told from 2 bytes of anything else. int4 takes a byte of it.
# Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" h5py==3.16.0 ml_dtypes==0.6.0 numpy==2.4.6
cat > "$folder/kinds.py" <<'END'
import sys
import h5py
import ml_dtypes
import numpy as np
seen = []
with h5py.File(f"{sys.path[0]}/x.h5", "w") as file:
    for kind in ("bfloat16", "float8_e4m3fn", "int4"):
        file[kind] = np.arange(4).astype(getattr(ml_dtypes, kind))
        file[kind].flush()
        seen.append((str(file[kind].dtype), len(file[kind].attrs)))
        print(kind, "comes back as", *seen[-1], "attributes")
    try:
        file["unicode"] = np.array(["a"])
        seen.append("written")
    except TypeError:
        seen.append("TypeError")
    print("unicode", seen[-1])
sys.exit(seen != [("|V2", 0), ("|V1", 0), ("|V1", 0), "TypeError"])
END
PYTHONPATH="$folder" python3 "$folder/kinds.py" || { echo "changed"; exit 1; }
