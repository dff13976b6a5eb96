#!/bin/sh
# NumPy 2.4.6's OpenBLAS: on a machine whose cores are busy small products take many times as long with a thread a core as with one thread.
#
# Guess: beside as many busy processes as cores, threads get half of each core, so that n threads are at worst as slow as one.
# Seen, on 2 cores: see the output. After each product the threads wait for one another by turning in a loop, and the one that has work
# may not have a core. Exit status 0: more than five times as slow. The script keeps all cores busy for some seconds.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6
cat > "$folder/time.py" <<'EOF'
import time, numpy as np
a, b = np.ones((64, 256), "float32"), np.ones((256, 256), "float32")
a @ b
start = time.perf_counter()
for _ in range(300):
    a @ b
print(1000 * (time.perf_counter() - start) / 300)
EOF
"$folder/venv/bin/python" - "$folder" <<'EOF'
import os, subprocess, sys
cores = len(os.sched_getaffinity(0))
load = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
def ms(threads):
    return min(float(subprocess.run([sys.executable, sys.argv[1] + "/time.py"], capture_output=True, check=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": str(threads)}).stdout) for _ in range(3))
try:
    one, all_of_them = ms(1), ms(cores)
finally:
    for process in load:
        process.kill()
print(f"a product of (64, 256) and (256, 256) on {cores} busy cores: {one:.3f} ms with one thread, {all_of_them:.3f} ms with {cores}")
assert all_of_them > 5 * one, "changed"
EOF
