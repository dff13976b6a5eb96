#!/bin/sh
# Keras 3.15.1 (here with JAX 0.10.1): augmentation layers inside of a model that is saved and loaded again.
#
# Guess: `load_model` gives back each of Keras' own layers, with the same arguments, as it does for some twenty others that were tried.
# Seen: a model with RandomShear is saved and can never be loaded: its configuration has the range (-0.3, 0.3) of the argument 0.3, and the layer
# itself refuses numbers below 0. RandomGrayscale comes back without its seed. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" keras==3.15.1 jax==0.10.1 jaxlib==0.10.1 numpy==2.4.6
cat > "$folder/saved.py" <<'END'
import sys
import keras

seen = {}
for name, layer in (
    ("RandomRotation", keras.layers.RandomRotation(0.3, seed=1)),
    ("RandomTranslation", keras.layers.RandomTranslation(0.3, 0.3, seed=1)),
    ("RandomShear", keras.layers.RandomShear(0.3, 0.3, seed=1)),
    ("RandomGrayscale", keras.layers.RandomGrayscale(0.5, seed=1)),
):
    path = f"{sys.path[0]}/{name}.keras"
    keras.Sequential([keras.Input((8, 8, 3)), layer]).save(path)
    try:
        loaded = keras.models.load_model(path).layers[0]
        seen[name] = "loaded, with its seed" if loaded.seed == 1 else "loaded, with another seed"
    except TypeError as error:
        seen[name] = "refused"
        print(" ", str(error).strip().splitlines()[-1][:140])
    print(name, seen[name])
sys.exit(list(seen.values()) != ["loaded, with its seed"] * 2 + ["refused", "loaded, with another seed"])
END
PYTHONPATH="$folder" KERAS_BACKEND=jax JAX_PLATFORMS=cpu python3 "$folder/saved.py" || { echo "changed"; exit 1; }
