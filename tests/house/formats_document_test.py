"""docs/formats.md says what the command says; its measured tables are in bench_test.py."""

import json
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/formats.md").read_text()


def test_every_name_is_documented(ullage):
    report = json.loads(ullage("formats", "--json", "-").stdout)
    for card in report["formats"] + report["blocks"]:
        assert re.search(rf"\b{re.escape(card['name'])}\b", TEXT), card["name"]


def test_what_clips_is_what_the_command_says(ullage):
    [block] = json.loads(ullage("formats", "mxfp8-e4m3", "--json", "-").stdout)["blocks"]
    for rule in block["rules"]:
        row = next(line for line in TEXT.splitlines() if line.startswith(f"| {rule['rule']} |"))
        said = row.split("|")[-2].strip().removeprefix("amax / scale ")
        assert said == ("never" if rule["clips"] == "none" else rule["clips"]), row
