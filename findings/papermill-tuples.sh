#!/bin/sh
# papermill 2.7.0: parameters of `execute_notebook(path, …, parameters={…})` from Python.
# Expected: a tuple arrives as a tuple or a list, a dictionary with its keys; what cannot be written is an error, as a set and a NumPy number are.
# Seen, without a word: a tuple becomes a text, "(1, 2)", of which a notebook's `for size in sizes:` takes the letters; keys that are
# numbers become texts, also in nested dictionaries. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" papermill==2.7.0 nbformat==5.10.4
cat > "$folder/given.py" <<'END'
import sys
import nbformat
import papermill
book = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "language": "python", "display_name": ""}})
book.cells.append(nbformat.v4.new_code_cell("given = None", metadata={"tags": ["parameters"]}))
seen = []
for value in (3, True, [1, 2], {"a": {"b": None}}, (1, 2), {1: 2}, {"rates": {0.5: "half"}}):
    made = papermill.execute_notebook(book, None, parameters={"given": value}, prepare_only=True, progress_bar=False)
    cell = next(cell for cell in made.cells if "injected-parameters" in cell.metadata.get("tags", []))
    values = {}
    exec(cell.source, values)
    seen.append(values["given"] == value)
    print(f"{value!r} arrives as {values['given']!r}")
sys.exit(seen != [True] * 4 + [False] * 3)
END
PYTHONPATH="$folder" python3 "$folder/given.py" || { echo "changed"; exit 1; }
