#!/bin/sh
# ruamel.yaml 0.19.1: a plain value that looks like a date and is none (2024-13-45), or like a hexadecimal number (0x_), ends YAML.load
# in a bare ValueError, which is no YAMLError and names no line. In the core schema of YAML 1.2 both are texts.
# Expected: a text, or a YAMLError with the line. Seen: ValueError. Exits non-zero if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$work" ruamel.yaml==0.19.1
PYTHONPATH="$work" python3 - <<'PROGRAM'
from importlib.metadata import version

from ruamel.yaml import YAML, YAMLError

print("ruamel.yaml", version("ruamel.yaml"))
for value in ("2024-13-45", "0x_"):
    try:
        found = YAML(typ="safe", pure=True).load(f"a: 1\nb: {value}")
    except YAMLError as error:
        raise SystemExit(f"changed: {error}")
    except ValueError as error:
        print(f"b: {value}: ValueError, {error}")
    else:
        raise SystemExit(f"changed: {found}")
PROGRAM
