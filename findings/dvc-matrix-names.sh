#!/bin/bash
# DVC 3.67.1: stages of `matrix` and `foreach` in dvc.yaml whose names come out equal.
#
# Guess: two models times two heads are four stages, or an error that two have the same name, as for one file that is the output of two stages.
# Seen, without a word: the values are joined by "-", and of two stages with the same name the first is dropped: (wide, resnet-18) is never trained, as
# (wide-resnet, 18) is wide-resnet-18 as well. So it is with 1 and "1", true and "true". What runs is three quarters of the grid; a table that
# is made of the outputs has a gap, or the number of an older run. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" dvc==3.67.1
mkdir "$folder/project"
cat > "$folder/project/dvc.yaml" <<'END'
stages:
  train:
    matrix:
      model: [wide, wide-resnet]
      head: [resnet-18, "18"]
    cmd: echo ${item.model} ${item.head}
  sweep:
    foreach: [1, "1", true, "true"]
    do:
      cmd: echo ${item}
END
stages=$(cd "$folder/project" && DVC_NO_ANALYTICS=1 PYTHONPATH="$folder" python3 - <<'END'
from dvc.repo import Repo

Repo.init(no_scm=True).close()
with Repo() as repo:
    print("\n".join(f"{stage.addressing}: {stage.cmd}" for stage in repo.index.stages))
END
)
echo "$stages"
count() { echo "$stages" | grep -c "^$1"; }
[ "$(count train@)" = 3 ] && [ "$(count train@wide-resnet-18)" = 1 ] && [ "$(count sweep@)" = 2 ] || { echo "changed"; exit 1; }
