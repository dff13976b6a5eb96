#!/bin/sh
# Keras 3.15.1 (here with JAX 0.10.1): `keras.layers.AugMix(seed=1)`.
#
# Guess: two such layers give the same images, as RandAugment(seed=1) and some twenty other random layers do; a training with it is repeatable.
# Seen: each gives others, since only a part of what it draws comes from its seed; with keras.utils.set_random_seed before each of them
# they are the same. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" keras==3.15.1 jax==0.10.1 jaxlib==0.10.1 numpy==2.4.6
cat > "$folder/seed.py" <<'END'
import sys
import keras
import numpy as np

images = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 3)).astype("float32")


def different(layer, set_seed=False):
    found = set()
    for _ in range(4):
        if set_seed:
            keras.utils.set_random_seed(0)
        found.add(np.asarray(layer(seed=1)(images, training=True)).tobytes())
    return len(found)


seen = [different(keras.layers.RandAugment), different(keras.layers.AugMix), different(keras.layers.AugMix, True)]
for name, count in zip(("RandAugment(seed=1)", "AugMix(seed=1)", "AugMix(seed=1) after set_random_seed(0)"), seen):
    print(f"{name}, four times: {count} different results")
sys.exit(not (seen[0] == 1 and seen[1] > 1 and seen[2] == 1))
END
PYTHONPATH="$folder" KERAS_BACKEND=jax JAX_PLATFORMS=cpu python3 "$folder/seed.py" || { echo "changed"; exit 1; }
