#!/bin/sh
# hydra-core 1.3.8 with omegaconf 2.3.1: the same text as a value in a configuration file, and as an override name=value on the command line.
# Guess: the same value, as both are one configuration; numbers as in YAML 1.2.
# Seen: no and off are False in the file and the words "no" and "off", which count as true, on the command line; 010 is 8 there and "010"
# here; 1:30 is 90 and "1:30"; .inf is infinite in the file, inf on the command line, and each is a word in the other place.
# Exit status 0: as seen; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" hydra-core==1.3.8 omegaconf==2.3.1
cat > "$folder/values.py" <<'END'
import sys
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
parser, seen = OverridesParser.create(), {}
for text in ("1e-3", "true", "null", "1_000", "no", "off", "010", "1:30", ".inf", "inf"):
    seen[text] = (OmegaConf.create(f"value: {text}").value, parser.parse_override(f"value={text}").value())
    print(f"{text}: in a file {seen[text][0]!r}, on the command line {seen[text][1]!r}")
same = [0.001, True, None, 1000]
other = [(False, "no"), (False, "off"), (8, "010"), (90, "1:30"), (float("inf"), ".inf"), ("inf", float("inf"))]
sys.exit(list(seen.values()) != [(value, value) for value in same] + other)
END
PYTHONPATH="$folder" python3 "$folder/values.py" || { echo "changed"; exit 1; }
