#!/bin/bash
# pyarrow 26.0.1, pyarrow.parquet.read_table(path, filters=…): rows with NaN, as of runs that diverged.
#
# Guess: a filter gives the same rows whether it is applied on reading or to the table in memory.
# Seen, without a word: of the losses 1, 1, NaN on reading is_nan(loss) and loss != 1 give no row, in memory one. The smallest and largest number
# that the file notes leave NaN out, and a part of the file is skipped by them as if there was none in it: so too not (loss <= 3) for NaN, 2, 3.
# What is meant to find the runs that failed finds none. With 1, 2, NaN the first two are right. (A part of it is
# reported, for is_null(nan_is_null=True): github.com/apache/arrow/issues/34162.) Exit status 0: as seen; 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" pyarrow==26.0.1
cat > "$folder/rows.py" <<'END'
import sys
import pyarrow
import pyarrow.compute as pc
import pyarrow.parquet as pq

NAN = float("nan")
loss = pc.field("loss")
path = f"{sys.path[0]}/losses.parquet"


def rows(losses, condition):
    """The number of rows that the condition leaves, on reading and in memory."""
    table = pyarrow.table({"loss": losses})
    pq.write_table(table, path)
    counts = pq.read_table(path, filters=condition).num_rows, table.filter(condition).num_rows
    print(f"{losses}, {condition}: {counts[0]} on reading, {counts[1]} in memory")
    return counts


seen = [
    rows([1.0, 2.0, NAN], pc.is_nan(loss)),
    rows([1.0, 2.0, NAN], loss != 1.0),
    rows([1.0, 1.0, NAN], pc.is_nan(loss)),
    rows([1.0, 1.0, NAN], loss != 1.0),
    rows([NAN, 2.0, 3.0], ~(loss <= 3.0)),
]
sys.exit(seen != [(1, 1), (2, 2), (0, 1), (0, 1), (0, 1)])
END
PYTHONPATH="$folder" python3 "$folder/rows.py" || { echo "changed"; exit 1; }
