#!/bin/sh
# nodepy 1.1.1: imaginary_stability_interval() of its Runge-Kutta methods, how far h ω may go for an oscillator to stay bounded.
# Guess: right for all methods that it brings; they are computed "exactly".
# Seen: right where the coefficients are fractions (RK44 2.828, Merson43 3.464), wrong by orders of magnitude where they are decimals, as the
# rounding of their order conditions counts as growth: SSP54 gives 0.0004, SSP53 0.0001, CMR6 0; |R(iy)| ≤ 1 holds up to 3.278, 2.695 and 2.609.
# mode="float" does not help. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# It imports six, which it does not name among its dependencies.
python3 -m pip install --quiet --target "$folder" nodepy==1.1.1 numpy==2.4.6 scipy==1.17.1 sympy==1.14.0 matplotlib==3.11.2 six==1.17.0
cat > "$folder/intervals.py" <<'END'
import sys
import numpy as np
from nodepy import rk
right = []
for name in ("RK44", "Merson43", "SSP54", "SSP53", "CMR6"):
    method = rk.loadRKM(name)
    polynomial, _ = method.stability_function()
    y = np.linspace(0, 6, 600001)
    growth = np.abs(np.polyval(np.array(polynomial.coeffs, float), 1j * y)) - 1
    seen, actual = float(method.imaginary_stability_interval()), y[np.argmax(growth > 1e-9)]
    right.append(abs(seen - actual) < 0.01)
    print(f"{name}: {seen:.5f}; up to {actual:.3f} nothing grows by more than 1e-9 a step, at most by {growth[y < actual].max():.1e}")
sys.exit(right != [True, True, False, False, False])
END
PYTHONPATH="$folder" python3 "$folder/intervals.py" || { echo "changed"; exit 1; }
