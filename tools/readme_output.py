#!/usr/bin/env python3
"""Puts the demo's real output into README.md, between its two markers.

  tools/readme_output.py           runs the command on the demo's checkpoint and writes the block
  tools/readme_output.py --check   exit 1 if README.md holds something else

What differs from run to run (seconds) is shown as a dash. A number may differ by one in its last digit: CPU paths agree
to less than that, and a figure near the middle of two such numbers is shown as either.
"""

import argparse
import decimal
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import fetch_demo

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN = "<!-- demo: begin (written by tools/readme_output.py) -->\n"
END = "<!-- demo: end -->\n"
NAME = "all-MiniLM-L6-v2"


def demo_output(command: pathlib.Path, checkpoint: pathlib.Path) -> str:
    """What a user sees, with the checkpoint under a name instead of a path of one machine."""
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / NAME).symlink_to(checkpoint)
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "COLUMNS": "100", "NO_COLOR": "1"}
        result = subprocess.run(
            [command, "scan", NAME],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
    if result.returncode != 0:
        raise SystemExit(f"readme_output: ullage scan: {result.stderr}")
    return f"$ ullage scan {NAME}\n{result.stdout}"


def without_timing(text: str) -> str:
    return re.sub(r"\b\d+(\.\d+)? ?(ms|s|seconds)\b", "- s", text)


NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def agrees(text: str, other: str) -> bool:
    """Whether two outputs are the same but for last digits."""
    if NUMBER.sub("#", text) != NUMBER.sub("#", other):
        return False
    for a, b in zip(
        map(decimal.Decimal, NUMBER.findall(text)), map(decimal.Decimal, NUMBER.findall(other)), strict=True
    ):
        unit = max(a.as_tuple().exponent, b.as_tuple().exponent)
        if a.as_tuple().exponent != b.as_tuple().exponent or abs(a - b) > decimal.Decimal(1).scaleb(unit):
            return False
    return True


def split(readme: str) -> tuple[str, str, str]:
    before, rest = readme.split(BEGIN)
    block, after = rest.split(END)
    return before, block, after


def block_of(output: str) -> str:
    return "```\n" + without_timing(output).rstrip() + "\n```\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--command", type=pathlib.Path, default=ROOT / "build/release/bin/ullage")
    arguments = parser.parse_args()
    checkpoint = fetch_demo.cache_folder()
    if not fetch_demo.complete(checkpoint):
        raise SystemExit("readme_output: the demo's checkpoint is not there; make demo fetches it")
    path = ROOT / "README.md"
    before, block, after = split(path.read_text(encoding="utf-8"))
    wanted = block_of(demo_output(arguments.command, checkpoint))
    if agrees(block, wanted):
        print("readme_output: README.md is current")
        return 0
    if arguments.check:
        print("readme_output: README.md shows another output; run tools/readme_output.py", file=sys.stderr)
        return 1
    path.write_text(before + BEGIN + wanted + END + after, encoding="utf-8")
    print("readme_output: wrote README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
