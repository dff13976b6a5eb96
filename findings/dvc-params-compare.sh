#!/bin/bash
# DVC 3.67.1: which parameters `dvc status` and `dvc repro` take for changed (here the functions that they call).
#
# Guess: a stage whose parameters are as they were is up to date; a parameter that is another value than before makes it run again.
# Seen, without a word. Unchanged and never up to date, so that a training starts again with each `dvc repro`: tuples inside of a list, a tuple or a
# dictionary of params.py, such as [(3, 16), (3, 32)], which dvc.lock has as lists (a tuple by itself is fine: github.com/treeverse/dvc/issues/8803),
# and NaN in YAML, JSON or TOML. Changed and not noticed, by `dvc params diff` neither: 1 to true, 0 to false, true to 1.0, also in lists and dictionaries,
# as values are compared by Python's ==; a run with `max_norm: true` keeps the results of `max_norm: 1`. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" dvc==3.67.1
cat > "$folder/compare.py" <<'END'
import logging
import os
import sys
import tempfile
from pathlib import Path

os.environ["DVC_NO_ANALYTICS"] = "1"
from dvc.repo import Repo
from dvc.utils.diff import diff

logging.disable(logging.ERROR)


def modified(file, before, after):
    """Whether a stage is out of date after it ran with the one text and the file has the other."""
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        Repo.init(no_scm=True).close()
        Path(file).write_text(before)
        Path("dvc.yaml").write_text(f'stages: {{train: {{cmd: "true", params: [{{{file}: [x]}}]}}}}')
        with Repo() as repo:
            repo.reproduce()
        Path(file).write_text(after)
        with Repo() as repo:
            found = bool(repo.status())
        os.chdir("/")
    return found


seen = []
for file, values in {"params.py": ["x = (3, 16)", "x = [[3, 16]]", "x = [(3, 16), (3, 32)]", 'x = {"a": (1, 2)}'], "params.yaml": ["x: .inf", "x: .nan"]}.items():
    for text in values:
        seen.append(modified(file, text, text))
        print(f"{file}, {text}, unchanged: {'modified' if seen[-1] else 'up to date'}")
for old, new in (("1", "2"), ("1", "true"), ("0", "false"), ("[1, 0]", "[true, false]")):
    seen.append(modified("params.yaml", f"x: {old}", f"x: {new}"))
    print(f"params.yaml, x: {old}, changed to {new}: {'modified' if seen[-1] else 'up to date'}")
seen.append(bool(diff({"p": {"data": {"x": 1}}}, {"p": {"data": {"x": True}}})))
sys.exit(seen != [False, False, True, True, False, True] + [True, False, False, False, False])
END
PYTHONPATH="$folder" python3 "$folder/compare.py" || { echo "changed"; exit 1; }
