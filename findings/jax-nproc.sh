#!/bin/sh
# JAX 0.10.1 (jaxlib 0.10.1), CPU. The environment variable NPROC, which has no prefix of JAX or XLA, sets the number of
# threads of XLA:CPU, and with it the bits of a result.
# Expected: a variable with so general a name changes nothing; equal programs on equal cores give equal bytes.
# Seen: with NPROC=1 a matrix product (32 x 8192 by 8192 x 32) has other bytes than without, on a machine with two cores or more.
# Exit status 0: as seen; 1: it has changed; 2: this machine has one core.
set -eu
[ "$(nproc)" -gt 1 ] || { echo "one core: nothing to compare"; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" jax==0.10.1 jaxlib==0.10.1
cat > "$folder/product.py" <<'END'
import hashlib
import jax, jax.numpy as jnp, numpy as np
m = jnp.asarray(np.random.default_rng(0).standard_normal((8192, 32)), jnp.float32)
print(hashlib.sha256(np.asarray(jax.jit(lambda m: m.T @ m)(m)).tobytes()).hexdigest()[:16])
END
run() { env -u NPROC "$@" PYTHONPATH="$folder" JAX_PLATFORMS=cpu python3 "$folder/product.py"; }
all=$(run) again=$(run) one=$(run NPROC=1)
echo "all cores $all, again $again, NPROC=1 $one"
[ "$all" = "$again" ] && [ "$all" != "$one" ] || { echo "changed"; exit 1; }
