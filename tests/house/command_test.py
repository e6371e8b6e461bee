"""The command as a program: version, help, and the exit code of wrong usage."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.sanitizer


def test_the_version_is_the_projects(ullage):
    wanted = re.search(r"project\(ullage VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text())[1]
    result = ullage("--version")
    assert result.returncode == 0, result.stderr
    assert re.search(rf"\b{re.escape(wanted)}\b", result.stdout)


def test_help_names_the_main_job(ullage):
    result = ullage("--help")
    assert result.returncode == 0, result.stderr
    assert "scan" in result.stdout and result.stderr == ""


@pytest.mark.parametrize("arguments", [["skan"], ["scan", "--no-such-option", "."], ["scan"]], ids=" ".join)
def test_wrong_usage_is_2_and_one_line(ullage, arguments):
    result = ullage(*arguments)
    assert result.returncode == 2
    assert result.stdout == "" and result.stderr.strip()
