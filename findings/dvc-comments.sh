#!/bin/sh
# DVC 3.67.1 (ruamel.yaml 0.19.1). `dvc exp run -S` (here the function it calls) deletes comments of params.yaml the second time.
# Expected: comments stay, as ruamel.yaml's round trip promises.
# Seen: the first change writes each list in block style; the second loses the comment lines behind a list. A key without a
# comment behind the list keeps them.
# Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" dvc==3.67.1 ruamel.yaml==0.19.1
printf 'channels: [1, 2]\n# Why h.\nh: 0.1\n' > "$folder/a.yaml"
printf 'channels: [1, 2]\nsize: 3\n# Why h.\nh: 0.1\n' > "$folder/b.yaml"
counts=$(PYTHONPATH="$folder" python3 - "$folder" <<'END'
import sys
from pathlib import Path
from dvc.utils.hydra import apply_overrides
for name in ("a.yaml", "b.yaml"):
    path = Path(sys.argv[1]) / name
    for h in (0.2, 0.3):
        apply_overrides(path, [f"h={h}"])
        print(path.read_text().count("# Why h."), end=" ")
END
)
echo "comments left after each change, behind a list and not: $counts"
[ "$counts" = "1 0 1 1 " ] || { echo "changed"; exit 1; }
