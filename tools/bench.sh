#!/usr/bin/env bash
# Runs every bench/ROOM/run.py, then every built *_bench program that none of them runs itself.
set -euo pipefail
cd "$(dirname "$0")/.."
shopt -s nullglob
scripts=(bench/*/run.py)
count=0
for script in "${scripts[@]}"; do
  printf '\n== %s\n' "$script"
  build/venv/bin/python "$script"
  count=$((count + 1))
done
for program in build/release/bin/*_bench; do
  name=$(basename "$program")
  grep -q "$name" /dev/null "${scripts[@]}" && continue
  printf '\n== %s\n' "$name"
  "$program"
  count=$((count + 1))
done
[ $count -gt 0 ] || { echo 'bench: nothing in bench/ yet' >&2; exit 1; }
