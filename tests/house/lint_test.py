"""tools/lint.sh hands every file of the project to the tools, with a repository or without, and fails when it has none.

The tools themselves are stand-ins that note what they are given.
"""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = {
    "src/base/text.cc": "\n",
    "include/ullage/base/text.h": "#pragma once\n",
    "bench/run.py": "print()\n",
    ".ci/run": "#!/usr/bin/env bash\n",
}
TOOLS = [f"tools/{path.name}" for path in (ROOT / "tools").glob("*.py")]
CHECKED = sorted(["include/ullage/base/text.h", "include/ullage/ullage.h", "src/base/text.cc", "bench/run.py", *TOOLS])
MADE = ["build/release/made.cc", "src/base/__pycache__/made.py", ".cache/made.h"]


def script(path, body):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def house(tmp_path):
    """A small project without a repository."""
    folder = tmp_path / "house"
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for name in [*FILES, *MADE]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FILES.get(name, "\n"))
    subprocess.run(["python3", folder / "tools/table_of_contents.py"], check=True, stdout=subprocess.DEVNULL)
    # A stand-in that is given no file waits for its input, as clang-format does.
    note = f'printf "%s\\n" "$@" >>{tmp_path}/given; [ -f "${{!#}}" ] || cat'
    script(tmp_path / "bin/clang-format-19", note)
    script(folder / "build/venv/bin/ruff", note)
    return folder


def lint(house):
    path = f"{house.parent / 'bin'}:{os.environ['PATH']}"
    given = house.parent / "given"
    given.unlink(missing_ok=True)
    # The end of a pipe that nobody writes to or closes: what reads it hangs.
    reading, writing = os.pipe()
    try:
        run = subprocess.run(
            [house / "tools/lint.sh"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=reading,
            env={"PATH": path},
        )
    finally:
        os.close(reading)
        os.close(writing)
    names = given.read_text().split() if given.exists() else []
    return run, sorted({name for name in names if name.endswith((".cc", ".h", ".py"))})


def test_without_a_repository_every_file_is_checked_but_what_was_made(house):
    run, given = lint(house)
    assert run.returncode == 0, run.stdout + run.stderr
    assert given == CHECKED
    assert "formatting of 3 C++ files" in run.stdout


def test_in_a_repository_new_files_are_checked_and_ignored_ones_are_not(house):
    (house / ".gitignore").write_text("/build/\n/.cache/\n__pycache__/\n/drafts/\n")
    (house / "drafts").mkdir()
    (house / "drafts/made.cc").write_text("\n")
    subprocess.run(["git", "-C", house, "init", "-q"], check=True)
    run, given = lint(house)
    assert run.returncode == 0, run.stdout + run.stderr
    assert given == CHECKED


def test_a_repository_that_git_cannot_read_is_not_taken_for_an_empty_one(house):
    (house / ".git").write_text("gitdir: gone\n")
    run, given = lint(house)
    assert run.returncode != 0 and not given
    assert "not a git repository" in run.stderr


def test_no_file_is_a_failure(house):
    for name in FILES:
        if name.endswith((".cc", ".h")):
            (house / name).unlink()
    (house / "include/ullage/ullage.h").unlink()
    run, given = lint(house)
    assert run.returncode != 0 and not given
    assert "lint: no file matches" in run.stderr
