#!/usr/bin/env bash
# clang-tidy 19 over the C++ files of build/tidy whose path matches the pattern (default: all), in parallel.
set -euo pipefail
cd "$(dirname "$0")/.."
pattern=${1:-}
mapfile -t sources < <(python3 - "$PWD/" "$pattern" <<'END'
import json, re, sys
root, pattern = sys.argv[1:]
for entry in json.load(open("build/tidy/compile_commands.json")):
    name = entry["file"].removeprefix(root)
    if re.search(pattern, name) and not name.startswith(("build/", "/")):
        print(name)
END
)
[ ${#sources[@]} -gt 0 ] || { echo "tidy: no file matches '$pattern'" >&2; exit 1; }
printf '%s\0' "${sources[@]}" |
  xargs -0 -n 1 -P "$(nproc)" clang-tidy-19 -p build/tidy --quiet --warnings-as-errors='*' 2> >(grep -vE "warnings? generated|^Suppressed|^Use -" >&2 || true)
echo "tidy: ${#sources[@]} files, no finding"
