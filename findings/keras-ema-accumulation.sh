#!/bin/bash
# Keras 3.15.1 (here with JAX 0.10.1; TensorFlow gives the same): an optimizer with use_ema, the running average of the weights, together with
# gradient_accumulation_steps, which lets small batches stand for a large one; and one with exclude_from_weight_decay, saved and loaded.
#
# Guess: four batches of 4, accumulated, are one of 16, for the average too, as for the weights: its momentum counts updates. And a loaded model
# trains on as the saved one does. Seen, without a word: the average is updated after each small batch, also where no weight has changed, so that
# a momentum of 0.9 is one of 0.9 ** 4 = 0.66, and fit leaves other weights; with ema_overwrite_frequency the weights are replaced before the
# update of that step as well. (The documentation says that this frequency looks at "accumulated" iterations, and nothing of the momentum.)
# What is excluded from weight decay is not saved: the loaded model decays its biases, and it is too late to exclude them again.
# Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" keras==3.15.1 jax==0.10.1 jaxlib==0.10.1 numpy==2.4.6
cat > "$folder/ema.py" <<'END'
import sys
import keras
import numpy as np

x = np.random.default_rng(0).standard_normal((64, 3)).astype("float32")
y = x @ np.array([[1], [-2], [0.5]], "float32")
SGD = keras.optimizers.SGD


def train(title, **arguments):
    weights = []
    for batch, steps in ((16, {}), (4, {"gradient_accumulation_steps": 4})):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
        model.compile(SGD(0.1, **arguments, **steps), "mse")
        model.fit(x, y, batch_size=batch, epochs=3, shuffle=False, verbose=0)
        weights.append(model.get_weights()[0].ravel())
    print(f"{title}: batches of 16 {weights[0].round(3)}, four of 4 {weights[1].round(3)}")
    return bool(np.allclose(*weights, atol=1e-4))


average = {"use_ema": True, "ema_momentum": 0.9}
seen = [train("no average", momentum=0.9), train("average", **average), train("average, each 5 steps", **average, ema_overwrite_frequency=5)]

model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, bias_initializer="ones")])
optimizer = SGD(0.1, weight_decay=0.5)
optimizer.exclude_from_weight_decay(var_names=["bias"])
model.compile(optimizer, "mse")
nothing, ones = np.zeros((4, 3), "float32"), np.ones((4, 1), "float32")  # the bias of 1 is right: its gradient is 0
model.fit(nothing, ones, verbose=0)
model.save(f"{sys.path[0]}/model.keras")
loaded = keras.models.load_model(f"{sys.path[0]}/model.keras")
biases = []
for each in (model, loaded):
    each.fit(nothing, ones, verbose=0)
    biases.append(float(each.get_weights()[1][0]))
print(f"bias after a further step: {biases[0]:.3f}, of the loaded model {biases[1]:.3f}")
sys.exit(not (seen == [True, False, False] and biases[0] == 1 and biases[1] < 0.96))
END
PYTHONPATH="$folder" KERAS_BACKEND=jax JAX_PLATFORMS=cpu python3 "$folder/ema.py" || { echo "changed"; exit 1; }
