"""tools/setup.sh on machines that are not at hand: packages missing, with and without root, without Debian.

A folder of small scripts stands in for dpkg-query, apt-get, id, sudo and python3, and is the whole PATH.
"""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = [
    "bash",
    "env",
    "sed",
    "grep",
    "cat",
    "cmp",
    "cp",
    "rm",
    "mkdir",
    "dirname",
    "basename",
    "mktemp",
    "tail",
    "touch",
    "true",
    "ln",
    "sort",
]


class Machine:
    """A machine with some packages installed, that notes what is called."""

    def __init__(self, folder: pathlib.Path):
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.log = folder / "log"
        self.log.touch()
        self.root = folder / "repository"
        shutil.copytree(ROOT / "tools", self.root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.script("id", "echo 0")
        self.installed([])
        self.script("apt-get", "exit 0")
        # A virtual environment here is a folder with a python that notes what it is asked.
        self.script("python3", 'mkdir -p "$3/bin"; ln -s "$(dirname "$0")/venv-python" "$3/bin/python"')
        self.script("venv-python", "exit 0")

    def script(self, name, body):
        path = self.bin / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> "{self.log}"\n{body}\n')
        path.chmod(0o755)

    def installed(self, packages):
        lines = "".join(f"installed {name}\\n" for name in packages)
        self.script("dpkg-query", f'printf "{lines}"; exit 1')

    def setup(self, *groups):
        return subprocess.run(
            [self.root / "tools/setup.sh", *groups],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env={"PATH": str(self.bin), "TMPDIR": os.fspath(self.root)},
        )

    def calls(self, name):
        return [line for line in self.log.read_text().splitlines() if line.startswith(name)]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def packages_of(machine, *groups):
    """What a bare machine is asked to install. Leaves no Python environment behind."""
    machine.setup(*groups)
    shutil.rmtree(machine.root / "build", ignore_errors=True)
    return machine.calls("apt-get")[0].split("--no-install-recommends ")[1].split()


def test_root_installs_what_is_missing_and_nothing_else(machine):
    wanted = packages_of(machine, "build")
    assert {"g++", "cmake", "libhwy-dev"} <= set(wanted)
    machine.log.write_text("")
    machine.installed([name for name in wanted if name != "cmake"])
    result = machine.setup("build")
    assert result.returncode == 0, result.stderr
    assert "missing Debian packages: cmake\n" in result.stdout
    assert [call.split()[-2:] for call in machine.calls("apt-get")] == [["--no-install-recommends", "cmake"]]


def test_nothing_missing_is_nothing_done(machine):
    machine.installed(packages_of(machine, "build", "test", "lint"))
    assert machine.setup("build", "lint").returncode == 0
    machine.log.write_text("")
    result = machine.setup("build", "lint")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert not machine.calls("apt-get") and not machine.calls("python3")
    assert not [call for call in machine.calls("venv-python") if "pip" in call]


def test_a_removed_package_counts_as_missing(machine):
    machine.script("dpkg-query", 'printf "config-files cmake\\nnot-installed ninja-build\\n"')
    assert {"cmake", "ninja-build"} <= set(packages_of(machine, "build"))


def test_old_package_lists_are_updated_once(machine):
    count = machine.root / "count"
    machine.script("apt-get", f'[[ "$*" == *update* ]] && {{ touch "{count}"; exit 0; }}; [ -e "{count}" ]')
    result = machine.setup("build")
    assert result.returncode == 0, result.stderr
    assert ["update" in call for call in machine.calls("apt-get")] == [False, True, False]


def test_without_root_or_sudo_one_line_says_what_to_ask_for(machine):
    machine.script("id", "echo 1000")
    result = machine.setup("lint")
    assert result.returncode != 0
    assert not machine.calls("apt-get")
    [line] = result.stderr.splitlines()
    assert "apt-get install clang-19 clang-format-19 clang-tidy-19" in line


def test_sudo_that_asks_for_a_password_is_not_waited_for(machine):
    machine.script("id", "echo 1000")
    machine.script("sudo", "exit 1")
    result = machine.setup("lint")
    assert result.returncode != 0 and len(result.stderr.splitlines()) == 1


def test_sudo_without_a_password_is_used(machine):
    machine.script("id", "echo 1000")
    machine.script("sudo", 'shift; exec "$@"')
    assert machine.setup("lint").returncode == 0
    assert machine.calls("apt-get") and machine.calls("sudo -n")


def test_apt_failing_shows_its_last_lines(machine):
    machine.script("apt-get", 'echo "E: no space left"; exit 100')
    result = machine.setup("lint")
    assert result.returncode != 0
    assert "E: no space left" in result.stderr and "apt-get update failed" in result.stderr


def test_an_unknown_group_is_refused(machine):
    result = machine.setup("everything")
    assert result.returncode != 0 and "no group 'everything'" in result.stderr


def test_python_packages_are_installed_once_and_again_when_the_list_changes(machine):
    machine.installed(packages_of(machine, "build", "test", "lint"))
    machine.log.write_text("")
    assert machine.setup("test").returncode == 0
    pip = [call for call in machine.calls("venv-python") if "pip install" in call]
    assert len(pip) == 1 and "tools/requirements.txt" in pip[0]
    assert machine.setup("test").returncode == 0
    assert len([call for call in machine.calls("venv-python") if "pip install" in call]) == 1
    with (machine.root / "tools/requirements.txt").open("a") as file:
        file.write("another==1\n")
    assert machine.setup("test").returncode == 0
    assert len([call for call in machine.calls("venv-python") if "pip install" in call]) == 2


def test_pip_failing_is_said_and_tried_again_next_time(machine):
    machine.installed(packages_of(machine, "build", "test", "lint"))
    machine.script("venv-python", '[[ "$*" != *pip* ]]')
    result = machine.setup("test")
    assert result.returncode != 0 and "pip could not install tools/requirements.txt" in result.stderr
    machine.script("venv-python", "exit 0")
    assert machine.setup("test").returncode == 0


def test_every_python_requirement_is_pinned():
    files = sorted((ROOT / "tools").glob("requirements*.txt"))
    assert len(files) == 4
    for file in files:
        lines = [line for line in file.read_text().splitlines() if line and line[0] != "#"]
        assert lines and all("==" in line for line in lines), file
