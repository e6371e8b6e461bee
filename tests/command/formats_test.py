"""ullage formats as a person and as a script see it."""

import json

import jsonschema
import ml_dtypes
import numpy as np
import pytest

pytestmark = pytest.mark.sanitizer
MX = ("mxfp8-e4m3", "mxfp8-e5m2", "mxfp6-e2m3", "mxfp6-e3m2", "mxfp4")


@pytest.fixture
def machine(ullage, root):
    """Calls `ullage formats ARGUMENTS --json -`, whose output must follow the schema."""
    schema = json.loads((root / "docs/schema/formats.json").read_text())

    def call(*arguments):
        run = ullage("formats", *arguments)
        assert run.returncode == 0, run.stderr
        report = json.loads(run.stdout)
        jsonschema.validate(report, schema)
        return report

    return call


def test_cards_and_values(ullage):
    cards = ullage("formats")
    assert cards.returncode == 0 and "e4m3fnuz" in cards.stdout and "tf32" in cards.stdout
    values = ullage("formats", "e2m1").stdout
    assert values.splitlines()[-1].split()[1:] == "0 0.5 1 1.5 2 3 4 6 -0 -0.5 -1 -1.5 -2 -3 -4 -6".split()
    assert "7.5" in ullage("formats", "e3m4", "--bias", "5", "--finite").stdout
    for arguments in (
        ["formats", "e99m1"],
        ["formats", "nothing"],
        ["formats", "cast", "x", "--to", "e4m3"],
        ["formats", "cast", "1", "--to", "e4m3", "--rounding", "sideways"],
        ["formats", "bf16x"],
    ):
        assert ullage(*arguments).returncode in (2, 3), arguments


def test_cast_is_ml_dtypes(ullage):
    numbers = ["0.1", "448", "1e-3", "17", "-2.5e-3", "0x1p-10", "464"]
    lines = ullage("formats", "cast", *numbers, "--to", "e4m3").stdout.splitlines()[4 : 4 + len(numbers)]
    for text, line in zip(numbers, lines, strict=True):
        x = float.fromhex(text) if text.startswith("0x") else float(text)
        expected = np.float64(x).astype(ml_dtypes.float8_e4m3fn)
        code, value = line.split()[1:3]
        assert int(code, 16) == expected.view(np.uint8) and float(value) == float(expected)
    assert "inf" in ullage("formats", "cast", "1e9", "--to", "e5m2", "--non-saturating").stdout
    same = [
        ullage("formats", "cast", "0.1", "0.2", "--to", "e4m3", "--rounding", "stochastic", "--seed", seed).stdout
        for seed in (7, 7)
    ]
    assert same[0] == same[1]


def test_every_name_of_the_help_has_a_card(ullage, machine):
    report = machine("--json", "-")
    assert [card["name"] for card in report["formats"]] == [
        "e4m3",
        "e4m3fnuz",
        "e5m2",
        "e5m2fnuz",
        "e8m0",
        "e2m1",
        "e2m3",
        "e3m2",
        "fp16",
        "bf16",
        "tf32",
        "fp32",
    ]
    assert [block["name"] for block in report["blocks"]] == [*MX, "nvfp4", "block128-e4m3"]
    for card in report["formats"] + report["blocks"]:
        run = ullage("formats", card["name"])
        assert run.returncode == 0 and card["name"] in run.stdout
        alone = machine(card["name"], "--json", "-")
        assert len(alone["formats"]) == 1 and len(alone["blocks"]) == ("element" in card)
    for name, card in ((card["name"], card) for card in report["formats"]):
        library = {"e4m3": "float8_e4m3fn", "e5m2": "float8_e5m2", "e2m1": "float4_e2m1fn", "bf16": "bfloat16"}.get(
            name
        )
        if library:
            finfo = ml_dtypes.finfo(getattr(ml_dtypes, library))
            assert card["max"] == float(finfo.max) and card["min_normal"] == float(finfo.smallest_normal)
            assert card["min_positive"] == float(finfo.smallest_subnormal) and card["bits"] == finfo.bits


def test_values_in_json_are_ml_dtypes(machine):
    [card] = machine("e4m3", "--json", "-")["formats"]
    expected = np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(float)
    assert [row["code"] for row in card["values"]] == list(range(256))
    for row, value in zip(card["values"], expected, strict=True):
        assert row["value"] is None and np.isnan(value) or row["value"] == value


def test_large_formats_show_their_landmarks(ullage):
    text = " ".join(ullage("formats", "fp16").stdout.split())
    for words in ("6.1035156e-05 0x0400 smallest normal number", "65504 0x7BFF largest finite value", "inf 0x7C00"):
        assert words in text


def test_the_lint_names_the_rules_that_clip(ullage, machine):
    for name in MX:
        [block] = machine(name, "--json", "-")["blocks"]
        clips = {rule["rule"]: rule["can_clip"] for rule in block["rules"]}
        assert clips == {"floor": True, "ceil": False, "round-up": False, "even": name == "mxfp8-e4m3"}
    text = ullage("formats", "mxfp8-e4m3").stdout
    assert "past 464, below 512" in text and "past 464, below 496" in text
    assert "from 7, below 8" in ullage("formats", "mxfp4").stdout


@pytest.mark.parametrize(
    ("rule", "code", "saturated"), [("floor", 127, 1), ("even", 128, 0), ("ceil", 128, 0), ("round-up", 128, 0)]
)
def test_a_block_cast_shows_what_a_rule_clips(ullage, machine, rule, code, saturated):
    report = machine("cast", "511", "1", "--to", "mxfp8-e4m3", "--rule", rule, "--json", "-")
    assert report["scales"] == [{"code": code, "scale": 2.0 ** (code - 127)}]
    assert report["counts"]["saturated"] == saturated
    assert report["results"][0]["value"] == (448 if saturated else 512)
    text = ullage("formats", "cast", "511", "1", "--to", "mxfp8-e4m3", "--rule", rule).stdout
    assert ("can clip" in text) == (rule in ("floor", "even"))


def test_a_cast_writes_json(machine, tmp_path, ullage):
    report = machine("cast", "0.1", "1e9", "nan", "inf", "--to", "e5m2", "--non-saturating", "--json", "-")
    assert [row["code"] for row in report["results"]] == [0x2E, 0x7C, 0x7E, 0x7C]
    assert report["results"][1]["value"] is None and report["results"][1]["why"]["value"] == "infinity"
    assert (report["counts"]["saturated"], report["counts"]["nan"]) == (2, 1)
    run = ullage("formats", "cast", "1", "--to", "nvfp4", "--json", tmp_path / "x.json")
    assert run.returncode == 0 and "to nvfp4" in run.stdout
    assert json.loads((tmp_path / "x.json").read_text())["to"] == "nvfp4"


def test_formats_of_ones_own_by_text_and_by_options(machine):
    by_text = machine("e3m4:bias=5,nan=all-ones", "--json", "-")
    assert by_text["formats"] == machine("e3m4", "--bias", "5", "--finite", "--json", "-")["formats"]
    flushing = machine("cast", "0.004", "448", "--to", "e4m3:subnormals=no", "--json", "-")
    assert flushing["counts"]["flushed"] == 1 and flushing["results"][1]["value"] == 448
    assert flushing == machine("cast", "0.004", "448", "--to", "e4m3", "--no-subnormals", "--json", "-")
    assert machine("bf16:subnormals=no", "--json", "-") == machine("bf16", "--no-subnormals", "--json", "-")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["mxfp4", "--bias", "3"],
        ["e4m3:"],
        ["fp17:bias=3"],
        ["cast", "1", "--to", "e4m3", "--rule", "ceil"],
        ["cast", "1", "--to", "mxfp4", "--rule", "sideways"],
        ["cast", "1", "--to", "e3m4:bias=x"],
        ["cast", "1"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2_and_one_line(ullage, arguments):
    run = ullage("formats", *arguments)
    assert run.returncode == 2 and run.stdout == ""
    assert len(run.stderr.splitlines()) == 1 and run.stderr.startswith("ullage: ")


@pytest.mark.parametrize("text", ["e8m7:bias=-128", "e8m7:bias=256", "e8m7:nan=none,infinity=no"])
def test_formats_that_fp32_does_not_hold_are_refused(ullage, text):
    run = ullage("formats", "cast", "1", "--to", text)
    assert run.returncode == 2 and run.stdout == ""
    assert len(run.stderr.splitlines()) == 1 and "FP32 does not hold every value" in run.stderr


def test_a_zero_scale_flushes_its_block(machine):
    report = machine("cast", "2688", *["1"] * 15, "0.001", "0.002", "--to", "nvfp4", "--json", "-")
    assert report["scales"][1] == {"code": 0, "scale": 0}
    assert (report["counts"]["saturated"], report["counts"]["flushed"]) == (0, 17)
    assert report["counts"]["mean_error"] == pytest.approx(-15.003 / 18, rel=1e-4)


def test_the_examples_of_the_help_run(ullage):
    count = 0
    for help_of in (["formats"], ["formats", "cast"]):
        for line in ullage(*help_of, "--help").stdout.splitlines():
            if line.startswith("  ullage formats"):
                command = line.split("  ")[1].split(" | ")[0].split()[1:]
                assert ullage(*command).returncode == 0, line
                count += 1
    assert count >= 14
