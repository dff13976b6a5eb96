#!/bin/bash
# optax 0.2.8 with JAX 0.10.1: optax.clip_by_global_norm(1) and gradients of float16.
#
# Guess: 100 gradients of 100, whose norm, 1000, is far from the largest number of float16, 65504, are clipped to 0.1 each, as in float32 and
# bfloat16; if not, the result is NaN or infinite and is seen. Seen, without a word: they become 0, since the sum of squares, a million, is
# infinite in float16 and the gradients are divided by it. So do they with normalize_by_update_norm and the update of lars.
# Training does not diverge, it just stands still, at the steps where clipping is needed. Exit status 0: as seen; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" optax==0.2.8 jax==0.10.1 jaxlib==0.10.1 numpy==2.4.6
cat > "$folder/norm.py" <<'END'
import sys
import jax.numpy as jnp
import optax


def update(name, transformation, dtype):
    """The first number of an update for 100 gradients of 100."""
    gradients, weights = jnp.full(100, 100, dtype), jnp.ones(100, dtype)
    updates, _ = transformation.update(gradients, transformation.init(weights), weights)
    print(f"{name}, {dtype}: {float(updates[0]):.4g}, norm of the gradients {float(optax.global_norm(gradients)):.4g}")
    return float(updates[0])


clip, unit, lars = optax.clip_by_global_norm(1.0), optax.normalize_by_update_norm(), optax.lars(0.1)
right = [abs(update("clip", clip, dtype) - 0.1) < 1e-3 for dtype in ("float32", "bfloat16")]
zero = [update(name, one, "float16") == 0 for name, one in (("clip", clip), ("normalize", unit), ("lars", lars))]
other = update("lars", lars, "float32") != 0
sys.exit(not all(right + zero + [other]))
END
JAX_PLATFORMS=cpu PYTHONPATH="$folder" python3 "$folder/norm.py" || { echo "changed"; exit 1; }
