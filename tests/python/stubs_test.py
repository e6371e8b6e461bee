"""The type stubs in python/ullage are those that nanobind makes from the extension."""

import ast
import pathlib
import re
import subprocess
import sys

import ullage

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_stubs_are_current(tmp_path):
    made = tmp_path / "_core.pyi"
    subprocess.run(
        [sys.executable, "-m", "nanobind.stubgen", "-m", "ullage._core", "-o", made],
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        timeout=120,
    )
    stubs = ROOT / "python" / "ullage" / "_core.pyi"
    assert stubs.read_text() == made.read_text(), f"python -m nanobind.stubgen -m ullage._core -o {stubs}"


def test_stubs_name_everything():
    stubs = ast.parse((ROOT / "python" / "ullage" / "_core.pyi").read_text())
    named = {node.name for node in stubs.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    assert named == {name for name in dir(ullage._core) if not name.startswith("_")}


def test_package_says_that_it_is_typed():
    assert (ROOT / "python" / "ullage" / "py.typed").exists()
    assert "cast" in ullage.__all__


def test_the_version_is_that_of_the_project():
    project = re.search(r"^project\(ullage VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text(), re.MULTILINE)
    assert ullage.__version__ == project[1]
