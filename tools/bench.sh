#!/usr/bin/env bash
# Runs every benchmark program of build/release (google-benchmark) and every bench/*.py beside PyTorch.
set -euo pipefail
cd "$(dirname "$0")/.."
shopt -s nullglob
count=0
for program in build/release/bin/*_bench; do
  printf '\n== %s\n' "$(basename "$program")"
  "$program"
  count=$((count + 1))
done
for script in bench/*_bench.py; do
  printf '\n== %s\n' "$script"
  ULLAGE=build/release/bin/ullage build/venv/bin/python "$script"
  count=$((count + 1))
done
[ $count -gt 0 ] || { echo 'bench: nothing in bench/ yet' >&2; exit 1; }
