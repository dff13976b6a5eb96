#!/bin/sh
# latex2mathml 3.81.1: upright letters, operators with limits, and numbers, in formulas that LaTeX takes.
#
# Guess: \mathrm{d} is an upright d, as \mathrm{km} is upright; \operatorname*{arg\,min} one operator, as \operatorname{softmax} is; .5 a number, as 0.5 is.
# Seen: \mathrm{d} is <mi>d</mi>, without mathvariant, which browsers show slanted; \operatorname* is an empty operator, a star and six slanted
# letters; .5 is an identifier, and so is ±, which then has no space around it. Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" latex2mathml==3.81.1
cat > "$folder/upright.py" <<'END'
import sys
from html import unescape
from latex2mathml.converter import convert

seen = []
for formula, expected in (
    (r"\mathrm{km}", '<mi mathvariant="normal">k</mi>'),
    (r"\mathrm{d}", 'mathvariant="normal"'),
    (r"\operatorname{softmax}", "<mo>softmax</mo>"),
    (r"\operatorname*{arg\,min}_x", "min</mo>"),
    ("0.5", "<mn>0.5</mn>"),
    (".5", "<mn>.5</mn>"),
    (r"a \times b", "<mo>×</mo>"),
    (r"a \pm b", "<mo>±</mo>"),
):
    found = unescape(convert(formula)).partition(">")[2].removesuffix("</math>")
    seen.append(expected in found)
    print(f"{formula}: {found}")
sys.exit(seen != [True, False] * 4)
END
PYTHONPATH="$folder" python3 "$folder/upright.py" || { echo "changed"; exit 1; }
