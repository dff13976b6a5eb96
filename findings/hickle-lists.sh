#!/bin/sh
# hickle 5.0.3, dump and load, "a HDF5-based clone of pickle", with NumPy 2.4.6.
# Guess: numbers of a list come back with their types and values, and a structured array as it was.
# Seen: a list of numbers becomes one array, so that all get one type: [True, 0] comes back as [1, 0], and the seed 2**53 + 1 beside 0.5 as 2**53. A
# structured array is written without a word and cannot be read again: with two fields load says that the file is no hickle file, with one it
# has lost the field. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" hickle==5.0.3 h5py==3.16.0 numpy==2.4.6
cat > "$folder/lists.py" <<'END'
import sys
import hickle
import numpy as np
def again(value):
    path = f"{sys.path[0]}/x.hkl"
    hickle.dump(value, path, mode="w")
    return hickle.load(path)
seen = [[one.item() for one in again(value)] for value in ([True, 0], [2**53 + 1, 0.5])]
print(*seen)
seen.append(again(np.zeros(2, [("loss", "f8")])).dtype.names)
print("fields", seen[-1])
try:
    seen.append(again(np.zeros(2, [("step", "i4"), ("loss", "f8")])).dtype.names)
except ValueError:
    seen.append("ValueError")
print("fields", seen[-1])
sys.exit(str(seen) != str([[1, 0], [float(2**53), 0.5], None, "ValueError"]))
END
PYTHONPATH="$folder" python3 "$folder/lists.py" || { echo "changed"; exit 1; }
