#!/bin/sh
# jupytext 1.19.6: a notebook written as py:percent and read again, as pairing does at each save.
# Guess: the cells come back as they were; a line that looks like a marker is escaped, as magics are, and as the formats light and Markdown do.
# Seen: a code cell with the comment "# %% evaluate" in it comes back as two cells, and the comment is gone (it is the second's title); with
# "# %% [markdown]" the rest of the code becomes a text cell. In a string literal the line is safe.
# Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" jupytext==1.19.6 nbformat==5.10.4
cat > "$folder/paired.py" <<'END'
import sys
import jupytext
from nbformat.v4 import new_code_cell, new_notebook
metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
sources = ["%matplotlib inline\nx = 1", 's = """\n# %% text\n"""', "x = 1\n# %% evaluate\ny = 2", "x = 1\n# %% [markdown]\n# y = 2"]
seen = {}
for form in ("py:light", "md", "py:percent"):
    seen[form] = []
    for source in sources:
        book = new_notebook(cells=[new_code_cell(source)], metadata=metadata)
        cells = [(cell.cell_type, cell.source) for cell in jupytext.reads(jupytext.writes(book, form), form).cells]
        seen[form].append(cells == [("code", source)])
        print(form, "same" if seen[form][-1] else cells)
sys.exit(list(seen.values()) != [[True] * 4] * 2 + [[True, True, False, False]])
END
PYTHONPATH="$folder" python3 "$folder/paired.py" || { echo "changed"; exit 1; }
