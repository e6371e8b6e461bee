"""tools/bench.sh runs every bench/ROOM/run.py, and the programs that none of them runs; the documents say what was stored."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import measured  # noqa: E402


def test_scripts_and_programs_are_found(tmp_path):
    def executable(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    executable("build/venv/bin/python", "#!/bin/bash\necho ran $1\n")
    for name in ("alone_bench", "driven_bench"):
        executable(f"build/release/bin/{name}", f"#!/bin/bash\necho ran {name}\n")
    executable("bench/one/run.py", "# runs driven_bench")
    executable("bench/two/run.py", "")
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/bench.sh", tmp_path / "tools")
    run = subprocess.run([tmp_path / "tools/bench.sh"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    ran = [line for line in run.stdout.splitlines() if line.startswith("ran ")]
    assert ran == ["ran bench/one/run.py", "ran bench/two/run.py", "ran alone_bench"]


def test_every_folder_of_benchmarks_has_something_to_run():
    for folder in (
        path for path in (ROOT / "bench").iterdir() if path.is_dir() and path.name not in ("results", "__pycache__")
    ):
        assert (folder / "run.py").exists() or list(folder.glob("*_bench.cc")), folder


@pytest.mark.parametrize("name", measured.TABLES)
def test_measured_tables_are_the_stored_results(name):
    assert measured.TABLES[name].page.read_text() == measured.documented(name), "bench/measured.py writes it anew"


def test_every_marked_table_is_one_of_them():
    marked = [
        (page, line + "\n")
        for page in (ROOT / "docs").rglob("*.md")
        for line in re.findall(r"^<!-- measured: begin .*", page.read_text(), re.MULTILINE)
    ]
    assert sorted(marked) == sorted((table.page, table.begin) for table in measured.TABLES.values())


def test_another_result_is_another_page():
    results = measured.stored()
    results["python"][0]["rows"][0]["forward: torch over ullage"][1] += 1
    assert measured.documented("python", results) != measured.documented("python")
    assert measured.documented("attention", results) == measured.documented("attention")
