#!/bin/sh
# netCDF4 1.7.5.1 with libnetcdf 4.10.1: createVariable(..., significant_digits=3, quantize_mode=...), lossy compression of floats.
# Guess: infinities and NaN stay what they are in all three modes.
# Seen: GranularBitRound writes inf as −0.0 and −inf as 0.0; BitGroom writes every second value, if it is infinite, as NaN (it clears and sets
# bits in turn). BitRound keeps all of them. Nothing is said.
# Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" netCDF4==1.7.5.1.post1 numpy==2.4.6
cat > "$folder/quantized.py" <<'END'
import sys
import netCDF4
import numpy as np
x = np.array([np.inf, np.inf, -np.inf, -np.inf, np.nan], "float32")
path, modes = f"{sys.path[0]}/x.nc", ("BitRound", "GranularBitRound", "BitGroom")
with netCDF4.Dataset(path, "w") as file:
    file.createDimension("n", len(x))
    for mode in modes:
        file.createVariable(mode, "f4", ("n",), zlib=True, significant_digits=3, quantize_mode=mode)[:] = x
seen = {}
exact = [str(value) for value in x]
with netCDF4.Dataset(path) as file:
    file.set_auto_mask(False)
    for mode in modes:
        seen[mode] = [str(value) for value in file[mode][:]]
        print(mode, *seen[mode])
sys.exit(list(seen.values()) != [exact, ["-0.0", "-0.0", "0.0", "0.0", "nan"], ["inf", "nan", "-inf", "nan", "nan"]])
END
PYTHONPATH="$folder" python3 "$folder/quantized.py" || { echo "changed"; exit 1; }
