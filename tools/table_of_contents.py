#!/usr/bin/env python3
"""Writes include/ullage/ullage.h, the table of contents of the library, from the headers' own opening words.

tools/table_of_contents.py            write it (make format does)
tools/table_of_contents.py --check    exit 1 if it is not what would be written
"""

import argparse
import pathlib
import re
import sys
import textwrap

import check_rooms

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLUMNS = 100


def opening(header: pathlib.Path) -> str:
    """The first sentence of a header's first comment."""
    words = []
    for line in header.read_text(encoding="utf-8").splitlines():
        if not line.startswith("//"):
            break
        words.append(line.removeprefix("//").strip())
    return re.split(r"(?<=[.])\s", " ".join(words))[0]


def contents(root: pathlib.Path) -> str:
    lines = [
        "// ullage, the numerical headroom of attention layers: the table of contents. Include what you use.",
        "// Written by tools/table_of_contents.py (make format).",
        "#pragma once",
    ]
    for room in check_rooms.MAY_USE:
        headers = sorted((root / "include/ullage" / room).glob("*.h"))
        if headers:
            lines += ["", f"// ---- {room}"]
        for header in headers:
            lines += textwrap.wrap(opening(header), COLUMNS - 3, initial_indent="// ", subsequent_indent="// ")
            lines.append(f'#include "ullage/{room}/{header.name}"')
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--root", type=pathlib.Path, default=ROOT)
    arguments = parser.parse_args()
    path = arguments.root / check_rooms.TABLE_OF_CONTENTS
    wanted = contents(arguments.root)
    if path.exists() and path.read_text(encoding="utf-8") == wanted:
        return 0
    if arguments.check:
        print(f"table_of_contents: {path.name} is not current; make format writes it", file=sys.stderr)
        return 1
    path.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
