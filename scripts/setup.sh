#!/bin/sh
# The environment in .venv, from requirements.lock, made by the Python $1. The last one stands beside it until the new one is
# complete, and comes back if it does not get so far: not at another place from the start, since its scripts name their folder.
set -eu
new=.venv last=.venv.last
# A set-up that was killed.
[ ! -d "$last" ] || { rm -rf "$new"; mv "$last" "$new"; }
back() {
  rm -rf "$new"
  [ ! -d "$last" ] || mv "$last" "$new"
  echo "error: no new environment; the one that was there, if any, is as it was" >&2
}
trap back EXIT
trap 'exit 130' INT TERM HUP
[ ! -d "$new" ] || mv "$new" "$last"
"$1" -m venv "$new"
"$new/bin/pip" install --quiet --require-hashes -r requirements.lock
"$new/bin/pip" install --quiet --no-deps --no-build-isolation --editable .
names() { "$1/bin/python" -m pip list --format=freeze 2>/dev/null | sed 's/==.*//' | sort; }
if [ -d "$last" ]; then
  names "$new" > "$new/names"
  byhand=$(names "$last" | grep -vxF -f "$new/names" | paste -sd' ' -) || true
  rm "$new/names"
  [ -z "$byhand" ] || echo "Not in requirements.lock, and not installed again: $byhand"
fi
trap - EXIT INT TERM HUP
rm -rf "$last"
