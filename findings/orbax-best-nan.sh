#!/bin/bash
# orbax-checkpoint 0.12.8 with JAX 0.10.1: CheckpointManager with best_fn and max_to_keep, which keeps the best checkpoints, and a loss that is
# NaN once.
#
# Guess: NaN is worse than any number, or an error; of the losses 1, NaN, 3, 2 with best_mode="min" and max_to_keep=2 those of 1 and 2 stay.
# Seen, without a word: the checkpoint of the smallest loss, 1, is deleted; 2 and 3 stay, and best_step() is the one of 2. After 3, 1, 2, NaN
# the best step is the one whose loss is NaN. The same with "max". The metrics are sorted as they are, and nothing compares with NaN.
# One bad evaluation costs the best model of the run. Without NaN all is right. Exit status 0: as seen; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" orbax-checkpoint==0.12.8 jax==0.10.1 jaxlib==0.10.1 numpy==2.4.6
cat > "$folder/best.py" <<'END'
import sys
import tempfile
from pathlib import Path
import numpy as np
import orbax.checkpoint as ocp

NAN = float("nan")


def kept(values, mode):
    """The values of the two checkpoints that stay, and the value of the one that is said to be the best."""
    options = ocp.CheckpointManagerOptions(best_fn=lambda metrics: metrics["value"], best_mode=mode, max_to_keep=2)
    with tempfile.TemporaryDirectory() as folder, ocp.CheckpointManager(Path(folder), options=options) as manager:
        for step, value in enumerate(values):
            manager.save(step, args=ocp.args.StandardSave({"x": np.zeros(1)}), metrics={"value": value})
        manager.wait_until_finished()
        stay, best = [values[step] for step in manager.all_steps()], values[manager.best_step()]
    print(f"{values}, {mode}: {stay} stay, best {best}")
    return str((stay, best))


seen = [
    kept([1.0, 4.0, 3.0, 2.0], "min"),
    kept([1.0, NAN, 3.0, 2.0], "min"),
    kept([3.0, 1.0, 2.0, NAN], "min"),
    kept([4.0, NAN, 2.0, 3.0], "max"),
    kept([2.0, 3.0, 1.0, NAN], "max"),
]
wanted = ["([1.0, 2.0], 1.0)", "([3.0, 2.0], 2.0)", "([1.0, nan], nan)", "([2.0, 3.0], 3.0)", "([3.0, nan], nan)"]
sys.exit(seen != wanted)
END
JAX_PLATFORMS=cpu PYTHONPATH="$folder" python3 "$folder/best.py" 2> "$folder/errors" || { cat "$folder/errors"; echo "changed"; exit 1; }
