"""What the Python tests share: where the repository is, and the command under test."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> pathlib.Path:
    return ROOT


@pytest.fixture(scope="session")
def command() -> pathlib.Path:
    """The `ullage` program: $ULLAGE, which `make test` and `make asan` set, or that of the release build."""
    path = (ROOT / os.environ.get("ULLAGE", "build/release/bin/ullage")).resolve()
    if not path.is_file():
        pytest.skip(f"{path} is not built")
    return path


@pytest.fixture(scope="session")
def ullage(command):
    """Calls `ullage ARGUMENTS` and returns the finished process, with its output as text."""

    def call(*arguments, timeout=120, **options):
        return subprocess.run(
            [command, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            check=False,
            **options,
        )

    return call
