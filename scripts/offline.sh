#!/bin/sh
# Runs on a machine that has Python, JAX and NumPy but no TensorFlow, DVC or network:
#
#     sh scripts/offline.sh WHEELS IMAGES SAVE [NAME] [--minutes N]
#
# WHEELS  folder of wheels (.whl) of what the machine's Python lacks
# IMAGES  folder cifar-10-batches-bin
# SAVE    folder for what has to be carried away: resode.tar.aa, .ab, ... of 15 MB each, with results/ and the newest checkpoint.
#         If they are there at the start and .runs/ is not, they are unpacked first: another machine goes on where the last stopped.
# NAME    a run of runs.yaml; without it, the pipeline's own. Exit status 75: not finished after N minutes, run it again.
#
# Afterwards, where DVC is: cat SAVE/resode.tar.* | tar -x; dvc commit --force
set -u
[ $# -ge 3 ] || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")/.." && pwd) && wheels=$(cd "$1" && pwd) && images=$(cd "$2" && pwd) && save=$(cd "$3" && pwd) || exit
shift 3
cd "$here" || exit
site=$here/.runs/site
if [ ! -d .runs ] && [ -e "$save/resode.tar.aa" ]; then cat "$save"/resode.tar.* | tar -x || exit; fi
if [ ! -d "$site" ]; then
    rm -rf "$site.partial"
    python3 -m pip install --quiet --no-index --no-deps --no-compile --target "$site.partial" "$wheels"/*.whl || exit
    mv "$site.partial" "$site" || exit
fi
export KERAS_BACKEND=jax PYTHONPATH="$here/src:$site" JUPYTER_PATH="$site/share/jupyter"
# The second slice need not compile again.
export JAX_COMPILATION_CACHE_DIR="$here/.runs/compiled"
[ -d data/cifar10 ] || python3 -m resode cifar10 "$images" || exit
python3 -m resode run "$@"
status=$?
newest=$(for run in .runs/*/; do ls "$run"*.checkpoint 2>/dev/null | tail -n 1; ls "$run"inputs.json 2>/dev/null; done)
rm -f "$save"/resode.tar.*
tar -c results $newest | split -b 15m - "$save/resode.tar." || exit
exit $status
