#!/usr/bin/env bash
# Checks that need no build: C++ formatting, room rules, that scripts parse. `lint.sh format` formats instead.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null

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
  exit
fi

failed=0
check() {
  local name=$1
  shift
  if "$@"; then echo "lint: $name: ok"; else echo "lint: $name: FAILED" >&2; failed=1; fi
}
python_parses() { python3 -c '
import ast, sys
for name in sys.argv[1:]:
    ast.parse(open(name, encoding="utf-8").read(), name)' "$@"; }
shell_parses() { local f; for f in "$@"; do bash -n "$f" || return 1; done; }

check "formatting of ${#cpp[@]} C++ files (make format repairs it)" clang-format-19 --dry-run -Werror "${cpp[@]}"
check 'rooms' python3 tools/check_rooms.py
check 'table of contents' python3 tools/table_of_contents.py --check
check "syntax of ${#python[@]} Python files" python_parses "${python[@]}"
check "syntax of ${#shell[@]} shell files" shell_parses "${shell[@]}"
exit $failed
