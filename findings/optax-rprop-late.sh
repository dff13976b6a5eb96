#!/bin/bash
# optax 0.2.8 with JAX 0.10.1: optax.rprop, for training on all images at once.
#
# Guess: the first update is the learning rate against the sign of the gradient, as in the paper that its documentation names and in
# torch.optim.Rprop. Seen: each update is the one of the step before. The first is 0; after a change of sign two are 0 and not one; the update
# that follows is made of an older gradient than the one that is given. (Reported: github.com/google-deepmind/optax/pull/1725.)
# Exit status 0: as seen; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" optax==0.2.8 jax==0.10.1 jaxlib==0.10.1 numpy==2.4.6
cat > "$folder/late.py" <<'END'
import sys
import jax.numpy as jnp
import numpy as np
import optax

gradients, rate = [1.0, 1.0, 1.0, -1.0, 1.0, 1.0, 1.0], 0.1
optimizer = optax.rprop(rate)
weight = jnp.zeros(1)
state = optimizer.init(weight)
found, expected, step, before = [], [], rate, 0.0
for gradient in gradients:
    update, state = optimizer.update(jnp.array([gradient]), state, weight)
    found.append(round(float(update[0]), 4))
    product = gradient * before
    step *= 1.2 if product > 0 else 0.5 if product < 0 else 1
    before = 0.0 if product < 0 else gradient
    expected.append(round(float(-step * np.sign(before)), 4) + 0.0)
print("gradients", gradients)
print("updates  ", found)
print("expected ", expected)
assert expected == [-0.1, -0.12, -0.144, 0.0, -0.072, -0.0864, -0.1037], expected
sys.exit(found != [0.0, -0.1, -0.12, 0.0, 0.0, -0.072, -0.0864])
END
PYTHONPATH="$folder" JAX_PLATFORMS=cpu python3 "$folder/late.py" || { echo "changed"; exit 1; }
