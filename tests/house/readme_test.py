"""README.md: its output is what the command prints, its links and targets exist."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import fetch_demo  # noqa: E402
import readme_output  # noqa: E402


def test_the_output_is_current(command):
    if not fetch_demo.complete(fetch_demo.cache_folder()):
        pytest.skip("the demo's checkpoint is not in the cache folder; make demo fetches it")
    result = subprocess.run(
        [sys.executable, ROOT / "tools/readme_output.py", "--check", "--command", command],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr


def test_a_last_digit_may_differ_and_nothing_else():
    text = "    0  self   12.7  889  78.5  2.5  0.0981  1.2e-05"
    for other in (text, text.replace("78.5", "78.6"), text.replace("889", "888"), text.replace("1.2e-05", "1.3e-05")):
        assert readme_output.agrees(text, other), other
    for other in (
        text.replace("78.5", "78.7"),
        text.replace("889", "899"),
        text.replace("2.5", "2"),
        text.replace("self", "cross"),
        text + " 1",
        text.replace("1.2e-05", "1.2e-04"),
    ):
        assert not readme_output.agrees(text, other), other


def test_timing_is_left_out_and_nothing_else():
    text = "6 layers, 72 heads in 1.24 s (0.9 ms a head), 3 stacks, e4m3 12.5"
    assert readme_output.without_timing(text) == "6 layers, 72 heads in - s (- s a head), 3 stacks, e4m3 12.5"


def documents():
    """Every tracked page; where git has no repository, those outside build/ and hidden folders."""
    git = ["git", "-c", "safe.directory=*", "ls-files", "*.md"]
    listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return listed.stdout.split()
    pages = (page.relative_to(ROOT) for page in ROOT.rglob("*.md"))
    return sorted(str(page) for page in pages if page.parts[0] != "build" and not page.parts[0].startswith("."))


@pytest.mark.parametrize("document", documents())
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / document).read_text()):
        if not target.startswith("https://"):
            path = target.partition("#")[0]
            assert not path or (ROOT / document).parent.joinpath(path).exists(), target


@pytest.mark.parametrize("document", ["README.md", "HACKING.md", "CONTRIBUTING.md"])
def test_make_targets_exist(document):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    text = (ROOT / document).read_text()
    blocks = re.findall(r"^make ([a-z -]+?)(?:  |$)", text, flags=re.MULTILINE)
    blocks += re.findall(r"`make ([a-z -]+)", text)
    named = {word for block in blocks for word in block.split()}
    assert named and named <= targets, named - targets


def test_what_hacking_says_about_rooms_is_what_is_checked():
    sys.path.insert(0, str(ROOT / "tools"))
    import check_rooms

    rooms = (ROOT / "HACKING.md").read_text().split("## The rooms")[1].split("\n## ")[0]
    table = re.findall(r"^\| ([\w/, ]+) \| [^|]+ \| ([^|]+) \|$", rooms, re.MULTILINE)
    uses = {room: {name.strip() for name in rest.split(",")} for room, rest in table}
    for room, allowed in check_rooms.MAY_USE.items():
        if room in ("python", "lab", "experiments", "runlog"):
            continue
        assert uses[room] == (set(allowed) or {"-"}), room
