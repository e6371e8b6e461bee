"""Every malformed, hostile or odd checkpoint of corpus.py through `ullage scan`, judged by judge.py.

The corpus holds pipes and links to devices, so it is made in a private folder and goes with it.
"""

import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "corpus"
    subprocess.run([sys.executable, HERE / "corpus.py", folder], check=True, capture_output=True, timeout=300)
    return folder


@pytest.mark.sanitizer
def test_every_case_is_met(corpus, command):
    scan = f"{command} scan {{path}} --json {{out}} --html {{html}}"
    # The sanitizers' shadow memory counts as resident.
    limit = "4096" if "asan" in str(command) else "1024"
    judged = subprocess.run(
        [sys.executable, HERE / "judge.py", corpus, scan, "-j", "2", "--timeout", "60", "--rss-mb", limit],
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )
    tail = judged.stdout[-4000:] + judged.stderr[-2000:]
    assert judged.returncode == 0, tail
    assert "517 passed, 0 failed" in judged.stdout, tail
