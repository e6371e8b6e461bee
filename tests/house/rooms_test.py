"""tools/check_rooms.py finds what is planted in a small copy of the house, and nothing in the copy itself."""

import json
import pathlib
import subprocess
import sys

import pytest

CHECK = pathlib.Path(__file__).resolve().parents[2] / "tools" / "check_rooms.py"

HOUSE = {
    "include/ullage/base/result.h": "#pragma once\n",
    "include/ullage/formats/cast.h": '#pragma once\n#include "ullage/base/result.h"\n',
    "include/ullage/report/table.h": "#pragma once\n#include <string>\n",
    "include/ullage/spectrum/gram.h": '#pragma once\n#include "ullage/formats/cast.h"\n',
    "include/ullage/bounds/naive.h": '#pragma once\n#include "ullage/spectrum/gram.h"\n',
    "src/formats/cast.cc": '#include "ullage/formats/cast.h"\n#include "formats/tables.h"\n',
    "src/formats/tables.h": "#pragma once\n",
    "src/formats/CMakeLists.txt": "ullage_room(formats USES base)\n",
    "src/spectrum/gram.cc": '#include "ullage/spectrum/gram.h"\n#include "ullage/base/result.h"\n#include <lapacke.h>\n',
    "src/spectrum/CMakeLists.txt": "ullage_room(spectrum USES formats LINKS ${ULLAGE_LAPACKE})\n",
    "apps/ullage/scan.cc": '#include "ullage/bounds/naive.h"\n#include "ullage/report/table.h"\n#include <CLI/CLI.hpp>\n',
    "tests/formats/cast_test.cc": '#include "formats/tables.h"\n#include <gtest/gtest.h>\n',
}

# What is planted -> (files that change, words of the finding).
PLANTED = {
    "a room that uses one above it": (
        {"src/formats/cast.cc": '#include "ullage/spectrum/gram.h"\n'},
        "formats may not use spectrum",
    ),
    "a room beside it": ({"src/spectrum/gram.cc": '#include "ullage/report/table.h"\n'}, "spectrum may not use report"),
    "a public header that uses one above it": (
        {"include/ullage/formats/cast.h": '#pragma once\n#  include "ullage/bounds/naive.h"\n'},
        "formats may not use bounds",
    ),
    "another room's private header": (
        {"src/spectrum/gram.cc": '#include "formats/tables.h"\n'},
        "formats/tables.h is private to formats",
    ),
    "a room's private header in the command": (
        {"apps/ullage/scan.cc": '#include "formats/tables.h"\n'},
        "formats/tables.h is private to formats",
    ),
    "a public header with a private one": (
        {"include/ullage/formats/cast.h": '#pragma once\n#include "formats/tables.h"\n'},
        "includes the private",
    ),
    "a public header with a foreign one": (
        {"include/ullage/spectrum/gram.h": "#pragma once\n#include <cblas.h>\n"},
        "keep it in src/",
    ),
    "a library in a room that has no use for it": (
        {"src/formats/cast.cc": "#include <nlohmann/json.hpp>\n"},
        "nlohmann/json.hpp is only for",
    ),
    "a test library in a room": ({"src/formats/cast.cc": "#include <gtest/gtest.h>\n"}, "is for tests only"),
    "a header that is not there": ({"src/formats/cast.cc": '#include "ullage/base/gone.h"\n'}, "which does not exist"),
    "a room that nobody knows": ({"src/attic/box.cc": "\n"}, "no room 'attic'"),
    "the table of contents in a room": (
        {"include/ullage/ullage.h": "#pragma once\n", "src/formats/cast.cc": '#include "ullage/ullage.h"\n'},
        "includes the table of contents",
    ),
    "a test that uses a room above": (
        {"tests/formats/cast_test.cc": '#include "ullage/bounds/naive.h"\n'},
        "formats may not use bounds",
    ),
    "a CMake list that says more than it may": (
        {"src/formats/CMakeLists.txt": "ullage_room(formats\n  USES base spectrum LINKS x)\n"},
        "formats may not use spectrum",
    ),
    "a header without a guard": ({"include/ullage/base/result.h": "\n"}, "without #pragma once"),
    "a note to oneself": ({"src/formats/cast.cc": "// TO" + "DO: later\n"}, "src/formats/cast.cc:1: holds TO" + "DO"),
    "a path of one machine": ({"docs/x.md": "see /wo" + "rk/notes\n"}, "a path of one machine"),
    "a registry's host": ({"README.md": "from py" + "pi.org\n"}, "a package registry's host"),
    "a byte outside ASCII": ({"src/formats/cast.cc": "// \u03c3\n"}, "a byte outside ASCII"),
}


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def check(folder, *arguments):
    return subprocess.run(
        [sys.executable, CHECK, "--root", folder, *arguments], capture_output=True, text=True, check=False
    )


def test_the_copy_has_no_finding(tmp_path):
    write(tmp_path, HOUSE)
    result = check(tmp_path)
    assert result.returncode == 0, result.stdout
    assert f"{len(HOUSE)} files, 0 findings" in result.stdout


@pytest.mark.parametrize("what", PLANTED)
def test_planted(tmp_path, what):
    files, words = PLANTED[what]
    write(tmp_path, HOUSE | files)
    result = check(tmp_path)
    assert result.returncode == 1, what
    assert words in result.stdout
    assert "1 findings" in result.stdout, result.stdout


def test_a_file_that_is_not_built(tmp_path):
    write(tmp_path, HOUSE)
    build = tmp_path / "build"
    sources = [name for name in HOUSE if name.endswith(".cc")]
    commands = [{"directory": str(build), "file": str(tmp_path / name), "command": "c++"} for name in sources]
    write(build, {"compile_commands.json": json.dumps(commands)})
    assert check(tmp_path, "--build", build).returncode == 0
    write(build, {"compile_commands.json": json.dumps(commands[:-1])})
    result = check(tmp_path, "--build", build)
    assert result.returncode == 1
    assert "tests/formats/cast_test.cc: not part of the build" in result.stdout


def test_files_that_git_ignores_are_not_looked_at(tmp_path):
    write(tmp_path, HOUSE | {".gitignore": "/out/\n", "out/x.cc": "// TO" + "DO\n"})
    subprocess.run(["git", "-C", tmp_path, "init", "-q"], check=True)
    assert check(tmp_path).returncode == 0
