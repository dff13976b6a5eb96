#!/bin/sh
# Runs on a machine that has Python and JAX, NumPy, pandas, matplotlib, scikit-learn and h5py, but no TensorFlow, DVC or network:
#
#     RESODE_COMMIT=$(git rev-parse HEAD) sh scripts/offline.sh WHEELS IMAGES SAVE [NAME] [--minutes N]
#
# RESODE_COMMIT  for the provenance, where the copy on that machine is no git checkout
# WHEELS  folder of wheels (.whl) of what the machine's Python lacks. With a Python of its version and a network:
#             pip download --only-binary :all: --dest WHEELS keras==3.15.1 papermill nbconvert ipykernel pydantic pyyaml psutil
#         and delete what it has (numpy, h5py, ml_dtypes and the like); 75 wheels, 26 MB remain.
# IMAGES  folder cifar-10-batches-bin
# SAVE    folder for what has to be carried away: resode.tar.aa, .ab, ... of 15 MB each, with the run's results and newest
#         checkpoint. What is there at the start is unpacked first, so that another machine goes on where the last one stopped.
# NAME    a run of runs.yaml; without it, the pipeline's own. Exit status 75: not finished after N minutes, run it again.
#
# Afterwards, where DVC and the archive are: cat SAVE/resode.tar.* | tar -x, and for the pipeline's own run the `dvc commit` that
# it prints when it is finished.
set -u
[ $# -ge 3 ] || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }
fail() { echo "error: $1" >&2; exit 1; }
here=$(cd "$(dirname "$0")/.." && pwd) && wheels=$(cd "$1" && pwd) && images=$(cd "$2" && pwd) && save=$(cd "$3" && pwd) || exit
shift 3
cd "$here" || exit
mkdir -p .runs || exit
site=$here/.runs/site

# A set of pieces is complete when it lies in SAVE; while it is written, or put in the place of the last, it is in SAVE/new.
if [ -e "$save/new/complete" ]; then
    rm -f "$save"/resode.tar.*
    mv "$save"/new/resode.tar.* "$save"/ && rm -r "$save/new" || exit
fi
if [ -e "$save/resode.tar.aa" ] && [ ! -e .runs/unpacked ]; then
    rm -rf .runs/unpacking && mkdir .runs/unpacking || exit
    cat "$save"/resode.tar.* | tar -x -C .runs/unpacking || fail "$save/resode.tar.* is not whole; bring every piece of it"
    cp -R .runs/unpacking/. . && rm -r .runs/unpacking || exit
fi
touch .runs/unpacked || exit

if [ ! -d "$site" ]; then
    ls "$wheels"/*.whl > /dev/null 2>&1 || fail "$wheels holds no wheels; the head of $0 says how to get them"
    rm -rf "$site.partial"
    python3 -m pip install --quiet --no-index --no-deps --no-compile --target "$site.partial" "$wheels"/*.whl || exit
    mv "$site.partial" "$site" || exit
fi
export KERAS_BACKEND=jax PYTHONPATH="$here/src:$site"
# The second slice need not compile again.
export JAX_COMPILATION_CACHE_DIR="$here/.runs/compiled"
[ -d data/cifar10 ] || python3 -m resode cifar10 "$images" || exit
python3 -m resode run "$@"
status=$?

case ${1-} in
    "" | -*) written=$(python3 -c 'from resode.pipeline import stages; print(*(f"results/{stage}" for stage in stages.STAGES))') || exit ;;
    *) written=results/runs/$1 ;;
esac
newest=$(for run in .runs/*/; do ls "$run"*.checkpoint 2>/dev/null | tail -n 1; ls "$run"inputs.json 2>/dev/null; done)
for path in $written $newest; do [ ! -e "$path" ] || echo "$path"; done > .runs/written
rm -rf "$save/new" && mkdir "$save/new" || exit
tar -c -f .runs/packed.tar -T .runs/written && split -b 15m .runs/packed.tar "$save/new/resode.tar." || fail "cannot pack into $save"
touch "$save/new/complete" && rm -f "$save"/resode.tar.* .runs/packed.tar || exit
mv "$save"/new/resode.tar.* "$save"/ && rm -r "$save/new" || exit
exit $status
