#!/bin/bash
# SciPy 1.17.1, scipy.integrate.solve_ivp: a right-hand side that writes into one array of its own and returns it each time, as code that avoids
# allocations does, for y'' = -y from 0 to 3 with rtol=1e-6.
#
# Guess: the same solution as with a new array each time, as LSODA and odeint give; nothing in the documentation asks for a new one.
# Seen: with BDF the result is wrong by 0.4 and with RK45 by 200 times as much as otherwise; "success" is True. The solvers keep what is
# returned without a copy, so that f(t, y) changes under them; the finite differences of the Jacobian come out wrong (Radau needs 16534
# evaluations and not 232). Exit status 0: as seen; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" scipy==1.17.1 numpy==2.4.6
cat > "$folder/buffer.py" <<'END'
import sys
import numpy as np
from scipy.integrate import solve_ivp

own = np.empty(2)


def new(t, y):
    return np.array([y[1], -y[0]])


def same(t, y):
    own[:] = y[1], -y[0]
    return own


exact = np.array([np.cos(3), -np.sin(3)])
errors, counts = {}, {}
for method in ("RK45", "Radau", "BDF", "LSODA"):
    for function in (new, same):
        solution = solve_ivp(function, (0, 3), [1.0, 0.0], method=method, rtol=1e-6, atol=1e-8)
        error = float(np.abs(solution.y[:, -1] - exact).max())
        print(f"{method}, {function.__name__} array: error {error:.1e}, {solution.nfev} evaluations, success {solution.success}")
        errors[method, function.__name__], counts[method, function.__name__] = error, solution.nfev
        if not solution.success:
            sys.exit(1)
wrong = errors["BDF", "same"] > 0.1 and errors["BDF", "new"] < 1e-4 and errors["RK45", "same"] > 50 * errors["RK45", "new"]
slow = counts["Radau", "same"] > 10 * counts["Radau", "new"]
sys.exit(not (wrong and slow and errors["LSODA", "same"] == errors["LSODA", "new"]))
END
PYTHONPATH="$folder" python3 "$folder/buffer.py" || { echo "changed"; exit 1; }
