#!/usr/bin/env bash
# Runs every fuzz target of build/fuzz for the given seconds. Seeds come from fuzz/corpus/NAME; what the run
# finds new goes to build/fuzz/corpus/NAME, an input that breaks a target to build/fuzz/broken/.
# FUZZ_SEED makes the inputs of a fresh build the same each time, as the project's check wants them.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:?seconds for each target}
shopt -s nullglob

mkdir -p build/fuzz/broken
count=0
for target in build/fuzz/bin/*_fuzz; do
  name=$(basename "$target" _fuzz)
  found=build/fuzz/corpus/$name
  mkdir -p "$found"
  seeds=()
  [ -d "fuzz/corpus/$name" ] && seeds=("fuzz/corpus/$name")
  printf 'fuzz: %s, %s s\n' "$name" "$seconds"
  log=build/fuzz/$name.log
  if ! "$target" "$found" "${seeds[@]}" -seed="${FUZZ_SEED:-0}" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
    -max_len=65536 -print_final_stats=1 -artifact_prefix="build/fuzz/broken/$name-" >"$log" 2>&1; then
    tail -n 60 "$log"
    printf 'fuzz: %s broke; the input is in build/fuzz/broken\n' "$name" >&2
    exit 1
  fi
  sed -n 's/^stat::number_of_executed_units: */fuzz: inputs tried: /p' "$log"
  count=$((count + 1))
done
[ $count -gt 0 ] || { echo 'fuzz: no target was built' >&2; exit 1; }
printf 'fuzz: %d targets, nothing broke\n' $count
