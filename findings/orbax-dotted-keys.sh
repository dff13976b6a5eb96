#!/bin/bash
# orbax-checkpoint 0.12.8 with JAX 0.10.1: StandardCheckpointer and a dictionary with a key that has a point in it.
#
# Guess: {"a.b": 1, "a": {"b": 2}} comes back as it was, as {"a/b": 1, "a": {"b": 2}} does, or cannot be saved.
# Seen, without a word: both arrays come back as one of the two; the other is lost. An array is filed under the keys on the way to it, joined
# by points, so that the two have one name. So it is with {"a": {"b.c": 1}, "a.b": {"c": 2}}.
# Names with points are what other frameworks call weights by ("block.kernel"). Exit status 0: as seen; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" orbax-checkpoint==0.12.8 jax==0.10.1 jaxlib==0.10.1 numpy==2.4.6
cat > "$folder/keys.py" <<'END'
import sys
import tempfile
from pathlib import Path
import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp


def back(numbers):
    """The numbers of a dictionary after it is saved and restored with its own shapes."""
    tree = jax.tree.map(jnp.float32, numbers)
    with tempfile.TemporaryDirectory() as folder, ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(Path(folder) / "one", tree)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(Path(folder) / "one", jax.tree.map(jnp.zeros_like, tree))
    restored = jax.tree.map(float, restored)
    print(f"saved {numbers}, restored {restored}")
    return len(set(jax.tree.leaves(restored)))


seen = [
    back({"a/b": 1.0, "a": {"b": 2.0}}),
    back({"a.b": 1.0, "a": {"c": 2.0}}),
    back({"a.b": 1.0, "a": {"b": 2.0}}),
    back({"a": {"b.c": 1.0}, "a.b": {"c": 2.0}}),
]
sys.exit(seen != [2, 2, 1, 1])
END
JAX_PLATFORMS=cpu PYTHONPATH="$folder" python3 "$folder/keys.py" 2> "$folder/errors" || { cat "$folder/errors"; echo "changed"; exit 1; }
