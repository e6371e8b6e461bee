#!/usr/bin/env bash
# Checks that need no build: formatting, room rules, ruff's rules for Python, that shell scripts parse.
# `lint.sh format` formats instead.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null

ruff=build/venv/bin/ruff
[ -x $ruff ] || { echo "lint: no $ruff; run tools/setup.sh lint" >&2; exit 1; }

# Into a variable first: a listing that fails ends the script here.
listed=$(python3 tools/check_rooms.py --list)

# pick ARRAY PATTERN: the files whose names match. None is a failure, as a check of nothing passes.
pick() {
  local -n picked=$1
  mapfile -t picked < <(grep -E "$2" <<<"$listed" || true)
  [ ${#picked[@]} -gt 0 ] || { echo "lint: no file matches $2" >&2; exit 1; }
}
pick cpp '\.(h|cc|cu|cuh)$'
pick python '\.py$'
pick shell '\.sh$|^\.ci/run$'

if [ "${1:-}" = format ]; then
  python3 tools/table_of_contents.py
  clang-format-19 -i "${cpp[@]}"
  $ruff check --quiet --force-exclude --select I --fix "${python[@]}"
  $ruff format --quiet --force-exclude "${python[@]}"
  exit
fi

failed=0
check() {
  local name=$1
  shift
  if "$@"; then echo "lint: $name: ok"; else echo "lint: $name: FAILED" >&2; failed=1; fi
}
shell_parses() { local f; for f in "$@"; do bash -n "$f" || return 1; done; }

check "formatting of ${#cpp[@]} C++ files (make format repairs it)" clang-format-19 --dry-run -Werror "${cpp[@]}"
check 'rooms' python3 tools/check_rooms.py
check 'table of contents' python3 tools/table_of_contents.py --check
check "formatting of ${#python[@]} Python files (make format repairs it)" \
  $ruff format --quiet --force-exclude --check "${python[@]}"
check 'rules of Python (pyproject.toml has them)' $ruff check --quiet --force-exclude "${python[@]}"
check "syntax of ${#shell[@]} shell files" shell_parses "${shell[@]}"
exit $failed
