#!/usr/bin/env python3
"""Checks what a compiler cannot: that rooms use only what they may, and that every file is built.

  tools/check_rooms.py [--root DIR] [--build BUILD]
  tools/check_rooms.py [--root DIR] --list

Always: #include lines and CMake lists obey MAY_USE and LIBRARIES; public headers need no foreign header; no file
holds a forbidden word or a byte outside ASCII. With --build (a configured build folder): every *.cc under the
folders of BUILT is compiled there, so a test that nobody registered fails here. One line a finding; exit 1 if
there is any. With --list: the names of the files that are the project's, one a line, for tools/lint.sh.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

# Room -> the rooms it may use; those may pass on what they use. The order is the order of the house:
# a room never uses one that stands after it.
MAY_USE = {
    "base": [],
    "formats": ["base"],
    "report": ["base"],
    "checkpoint": ["formats"],
    "spectrum": ["formats"],
    "attention": ["formats"],
    "cuda": ["attention", "spectrum", "formats"],
    "bounds": ["spectrum"],
    "fragility": ["attention", "formats"],
    "scaling": ["bounds", "attention", "formats"],
    "scan": ["checkpoint", "scaling", "bounds", "spectrum", "report"],
    "runlog": ["report", "formats"],
    "experiments": [
        "runlog",
        "scan",
        "scaling",
        "fragility",
        "bounds",
        "cuda",
        "attention",
        "spectrum",
        "checkpoint",
        "report",
    ],
    "python": ["experiments"],
    "lab": ["experiments"],
}

# Foreign headers that only some rooms may include: heavy ones, and those that must stay in one place.
# Pattern of the header -> the folders of src/ that may use it ("apps" for the command).
LIBRARIES = {
    r"CLI/.*": ["apps"],
    r"nlohmann/.*": ["checkpoint", "report", "scan", "scaling", "runlog", "experiments", "apps"],
    r"sqlite3\.h": ["runlog"],
    r"httplib\.h": ["runlog"],
    r"(lapacke?|cblas|f77blas|openblas.*)\.h": ["spectrum"],
    r"hwy/.*": ["formats", "spectrum", "attention"],
    r"(cuda|cublas|cutlass|cute).*": ["cuda"],
    r"(torch|ATen|c10)/.*": ["lab"],
    r"nanobind/.*": ["python"],
}
# Tests, fuzz targets and benchmarks may use all of these beside what their room may.
TEST_LIBRARIES = r"(gtest|gmock|rapidcheck)/.*|rapidcheck\.h"

# What no file may hold. Pieces are joined so that this file passes its own check.
FORBIDDEN = {
    "TO" + "DO": r"\bTO" r"DO\b",
    "FIX" + "ME": r"\bFIX" r"ME\b",
    "XX" + "X": r"\bXX" r"X\b",
    "a path of one machine": r"(?<![\w.])/(?:wo" r"rk|ho" r"me/\w+|ro" r"ot)/|/tm" r"p/venv",
    "a package registry's host": r"py" r"pi\.org|pythonhosted\.|deb\.debian\.|archive\.ubuntu\.",
}

TEXT = {
    ".cc",
    ".h",
    ".cu",
    ".cuh",
    ".py",
    ".sh",
    ".md",
    ".txt",
    ".cmake",
    ".in",
    ".ini",
    ".json",
    ".toml",
    ".html",
    ".css",
    ".js",
    "",
}
SOURCES = {".cc", ".h", ".cu", ".cuh"}
BUILT = ["src", "apps", "tests", "bench", "lab"]  # fuzz/ needs its own compiler and preset
DATA = ["tests/data/", "fuzz/corpus/"]  # not text of ours
NOT_BUILT = ["tests/house/misuse/"]  # compiled by tests that expect them to fail

# What .gitignore names, for a folder that git does not know.
MADE = {".git", "__pycache__", ".pytest_cache"}
MADE_AT_TOP = {"build", ".cache", "report.html"}

STUB = "src/cuda/absent.cc"  # of a room that is an option

TABLE_OF_CONTENTS = "include/ullage/ullage.h"  # includes all public headers; no room includes it

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)
USES = re.compile(r"ullage_room\(\s*(\w+)([^)]*)\)")


def closure(room):
    """The rooms that `room` may use, with all that those use."""
    found = set()
    todo = list(MAY_USE[room])
    while todo:
        other = todo.pop()
        if other not in found:
            found.add(other)
            todo += MAY_USE[other]
    return found


def files_of(root):
    """Tracked files and new ones that git would track; every file but MADE where there is no repository or no git."""
    if (root / ".git").exists() and shutil.which("git"):
        command = ["git", "-c", "safe.directory=*", "-C", root]
        listed = subprocess.run(
            [*command, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        names = [name for name in listed.split("\0") if name and name.split("/")[0] != "build"]
    else:
        names = []
        for folder, folders, files in os.walk(root):
            there = pathlib.Path(folder).relative_to(root)
            folders[:] = [name for name in folders if name not in MADE and (there / name).as_posix() not in MADE_AT_TOP]
            names += [path for path in ((there / name).as_posix() for name in files) if path not in MADE_AT_TOP]
    return sorted({name for name in names if (root / name).is_file()})


def place_of(name):
    """(kind, room) of a file: ("src", "scan"), ("tests", "scan"), ("apps", ""), ..."""
    parts = name.split("/")
    if name == TABLE_OF_CONTENTS:
        return "examples", ""
    if parts[0] == "include" and len(parts) > 3:
        return "include", parts[2]
    if parts[0] in ("src", "tests") and len(parts) > 2:
        return parts[0], parts[1]
    return parts[0], {"lab": "lab", "python": "python"}.get(parts[0], "")


def may_use(kind, room):
    """Rooms whose public headers a file may include; None for all."""
    if kind in ("apps", "bench", "fuzz", "examples") or (kind == "tests" and room not in MAY_USE):
        return None
    if room not in MAY_USE:
        return None
    return closure(room) | {room}


def check_include(name, header, exists):
    """Why `name` may not include `header`, or nothing. `exists` says whether a path is in the tree."""
    kind, room = place_of(name)
    allowed = may_use(kind, room)
    public = re.fullmatch(r"ullage/(\w+)/.+", header)
    if public:
        if not exists("include/" + header):
            return f"includes {header}, which does not exist"
        if allowed is not None and public[1] not in allowed:
            return f"{room} may not use {public[1]} ({header}); it may use {', '.join(sorted(allowed - {room})) or 'nothing'}"
        return None
    if header.startswith("ullage/"):
        return None if kind in ("apps", "examples", "tests") else f"includes the table of contents {header}"
    private = re.fullmatch(r"(\w+)/.+", header)
    if private and private[1] in MAY_USE and exists("src/" + header):
        if kind == "include":
            return f"a public header includes the private {header}"
        if kind in ("fuzz", "bench"):
            return None
        if private[1] != room:
            return f"{header} is private to {private[1]}"
        return None
    for pattern, rooms in LIBRARIES.items():
        if re.fullmatch(pattern, header):
            if kind == "include":
                return f"a public header includes {header}; keep it in src/"
            here = "apps" if kind == "apps" else room
            if kind not in ("tests", "bench", "fuzz") and here not in rooms:
                return f"{header} is only for {', '.join(rooms)}"
            return None
    if re.fullmatch(TEST_LIBRARIES, header) and kind in ("src", "include", "apps"):
        return f"{header} is for tests only"
    return None


def check_sources(root, names):
    there = set(names)
    for name in names:
        if pathlib.PurePath(name).suffix not in SOURCES:
            continue
        kind, room = place_of(name)
        if kind in ("src", "include") and room not in MAY_USE:
            yield f"{name}: no room '{room}' in MAY_USE"
            continue
        text = (root / name).read_text(encoding="utf-8", errors="replace")
        for _, header in INCLUDE.findall(text):
            if why := check_include(name, header, there.__contains__):
                yield f"{name}: {why}"
        if name.endswith(".h") and "#pragma once" not in text and "HWY_TARGET_TOGGLE" not in text:
            yield f"{name}: a header without #pragma once"


def check_cmake(root, names):
    """USES of every ullage_room is within MAY_USE."""
    for name in names:
        if not re.fullmatch(r"src/\w+/CMakeLists\.txt", name):
            continue
        for room, rest in USES.findall((root / name).read_text(encoding="utf-8")):
            uses = re.search(r"USES((?:\s+(?!(?:LINKS|SOURCES)\b)\w+)*)", rest)
            for other in uses[1].split() if uses else []:
                if other not in closure(room):
                    yield f"{name}: {room} may not use {other}"


def check_text(root, names):
    for name in names:
        if pathlib.PurePath(name).suffix not in TEXT or name.startswith(tuple(DATA)):
            continue
        raw = (root / name).read_bytes()
        if name == "LICENSE" or name.endswith(".min.js"):
            continue
        for number, line in enumerate(raw.split(b"\n"), 1):
            if not line.isascii():
                yield f"{name}:{number}: a byte outside ASCII"
            text = line.decode("ascii", "replace")
            for what, pattern in FORBIDDEN.items():
                if re.search(pattern, text):
                    yield f"{name}:{number}: holds {what}"


def check_built(root, names, build):
    """Every .cc is in the build's list of commands."""
    commands = json.loads((build / "compile_commands.json").read_text())
    compiled = {str(pathlib.Path(entry["directory"], entry["file"]).resolve()) for entry in commands}
    stub = str((root / STUB).resolve())
    for name in names:
        if name.endswith(".cc") and name.split("/")[0] in BUILT and not name.startswith(tuple(DATA + NOT_BUILT)):
            # bench and lab are options: a build has all of theirs or none.
            part = str((root / name.split("/")[0]).resolve()) + "/"
            if name.split("/")[0] in ("bench", "lab") and not any(path.startswith(part) for path in compiled):
                continue
            # A build has the cuda room's files or its stub.
            if name.startswith("src/cuda/") and (stub in compiled) != (name == STUB):
                continue
            if str((root / name).resolve()) not in compiled:
                yield f"{name}: not part of the build in {build}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    parser.add_argument("--build", type=pathlib.Path)
    parser.add_argument("--list", action="store_true", help="print the files and check nothing")
    arguments = parser.parse_args()
    names = files_of(arguments.root)
    if arguments.list:
        print("\n".join(names))
        return 0
    findings = [
        *check_sources(arguments.root, names),
        *check_cmake(arguments.root, names),
        *check_text(arguments.root, names),
    ]
    if arguments.build:
        findings += check_built(arguments.root, names, arguments.build)
    for finding in findings:
        print(f"rooms: {finding}")
    print(f"rooms: {len(names)} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
