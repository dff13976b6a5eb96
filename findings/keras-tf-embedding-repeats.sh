#!/bin/bash
# Keras 3.15.1 with TensorFlow 2.21.0 and JAX 0.10.1: keras.layers.Embedding, or any gather from a weight, where an index occurs more than once in
# a batch, as classes of a conditional network, positions, and the padding token do in each.
#
# Guess: a row's gradient is the sum over its occurrences, whatever the backend, as with SGD, which is the same on both.
# Seen, without a word: on TensorFlow the gradient stays a list with repeats (tf.IndexedSlices), and what is not linear is taken of each entry alone.
# The squares in Adam, RMSprop, Adagrad, Nadam and others are a sum of squares where the square of the sum is right: 100 equal entries give
# v 100 times too small, so that RMSprop's and Adam's first step are 10 times as long as on JAX. clipvalue=1 lets 100 through, and clipnorm=1 gives a
# norm of 10. On TensorFlow itself gradient_accumulation_steps=2 makes the gradient dense, and all is right. (TensorFlow mended its own optimizers in
# 2017: github.com/tensorflow/tensorflow/commit/f9f56f9dc7fe41ef1128290a77ac88e889ea5229.) Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" keras==3.15.1 tensorflow==2.21.0 jax==0.10.1 jaxlib==0.10.1 numpy==2.4.6
cat > "$folder/repeats.py" <<'END'
import sys
import keras
import numpy as np

tokens, target = np.zeros((1, 100), "int32"), -np.ones((1, 100, 1), "float32")  # one token, a hundred times


def first_step(name, **arguments):
    model = keras.Sequential([keras.Input((100,), dtype="int32"), keras.layers.Embedding(3, 1, embeddings_initializer="zeros")])
    loss = lambda wanted, found: keras.ops.sum(found - wanted)  # its derivative is 1 for each occurrence, 100 for the row
    model.compile(getattr(keras.optimizers, name)(**arguments), loss)
    model.fit(tokens, target, epochs=arguments.get("gradient_accumulation_steps", 1), verbose=0)
    return -float(model.get_weights()[0][0, 0])


for name, arguments in (
    ("SGD", {"learning_rate": 1.0}),
    ("RMSprop", {"learning_rate": 0.01, "rho": 0.75}),
    ("Adam", {"learning_rate": 0.01}),
    ("Adagrad", {"learning_rate": 0.01}),
    ("SGD", {"learning_rate": 1.0, "clipvalue": 1.0}),
    ("SGD", {"learning_rate": 1.0, "clipnorm": 1.0}),
    ("SGD", {"learning_rate": 1.0, "global_clipnorm": 1.0}),
):
    dense = first_step(name, gradient_accumulation_steps=2, **arguments)
    print(f"{first_step(name, **arguments):.3g} {dense:.3g}", f"{name}({', '.join(f'{k}={v}' for k, v in arguments.items())})", sep="|")
END
export PYTHONPATH="$folder" JAX_PLATFORMS=cpu CUDA_VISIBLE_DEVICES= TF_CPP_MIN_LOG_LEVEL=3
KERAS_BACKEND=tensorflow python3 "$folder/repeats.py" > "$folder/tensorflow.txt" 2> "$folder/log.txt" || { cat "$folder/log.txt"; exit 2; }
KERAS_BACKEND=jax python3 "$folder/repeats.py" > "$folder/jax.txt" 2> "$folder/log.txt" || { cat "$folder/log.txt"; exit 2; }
echo "the first step: TensorFlow, the same with gradient_accumulation_steps=2 (two equal batches), JAX, the same with gradient_accumulation_steps=2"
paste -d' ' <(cut -d'|' -f1 "$folder/tensorflow.txt") <(tr '|' ' ' < "$folder/jax.txt") | tee "$folder/all.txt"
cut -d' ' -f1-4 "$folder/all.txt" | tr '\n' ',' > "$folder/numbers.txt"
[ "$(cat "$folder/numbers.txt")" = "100 100 100 100,0.2 0.02 0.02 0.02,0.1 0.01 0.01 0.01,0.1 0.01 0.01 0.01,100 1 1 1,10 1 1 1,10 1 1 1," ] || { echo "changed"; exit 1; }
