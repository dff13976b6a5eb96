#!/bin/sh
# pyfive 1.3.0, a reader of HDF5 in pure Python with h5py's interface, on a file that h5py 3.16.0 wrote.
# Guess: arrays have the type that h5py gives them, bool among them, as a mask of what is valid.
# Seen: bool comes as int8, in data sets and attributes, so x[mask] is no selection but rows 1 and 0, without an error; a list of
# texts in an attribute comes as bytes, while the same list in a data set has the same type from both.
# Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" pyfive==1.3.0 h5py==3.16.0 numpy==2.4.6
cat > "$folder/masks.py" <<'END'
import sys
import h5py
import numpy as np
import pyfive
path = f"{sys.path[0]}/x.h5"
with h5py.File(path, "w") as file:
    file["mask"] = file.attrs["mask"] = np.array([True, False, False])
    file["names"] = file.attrs["names"] = ["cat", "dog"]
    file["half"] = np.array([1.5], "float16")
kinds, x = {}, np.array([10, 20, 30])
for library in (h5py, pyfive):
    with library.File(path) as file:
        found = (file["half"][()], file["names"][()], file["mask"][()], file.attrs["mask"], file.attrs["names"])
        kinds[library.__name__] = [str(one.dtype) if one.dtype != object else type(one[0]).__name__ for one in found]
        kinds[library.__name__].append(x[found[2]].tolist())
        print(library.__name__, *kinds[library.__name__])
expected = [["float16", "bytes", "bool", "bool", "str", [10]], ["float16", "bytes", "int8", "int8", "bytes", [20, 10, 10]]]
sys.exit(list(kinds.values()) != expected)
END
PYTHONPATH="$folder" python3 "$folder/masks.py" || { echo "changed"; exit 1; }
