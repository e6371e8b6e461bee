"""ullage attention study as a script sees it."""

import json

import jsonschema
import numpy as np
import pytest
from safetensors.numpy import save_file

pytestmark = pytest.mark.sanitizer


@pytest.fixture
def study(ullage, root):
    """Calls `ullage attention study ARGUMENTS --json -`, whose output must follow the schema; cases by (recipe, shift)."""
    schema = json.loads((root / "docs/schema/attention-study.json").read_text())

    def call(*arguments):
        run = ullage("attention", "study", *arguments, "--json", "-")
        assert run.returncode == 0, run.stderr
        report = json.loads(run.stdout)
        jsonschema.validate(report, schema)
        return report, {(case["recipe"], case["shift"]): case for case in report["cases"]}

    return call


def tensors(heads=2, queries=20, keys=30, width=8, value_width=6, kv_heads=1):
    random = np.random.default_rng(3)
    return {
        "q": random.standard_normal((heads, queries, width), np.float32),
        "k": random.standard_normal((kv_heads, keys, width), np.float32),
        "v": random.standard_normal((kv_heads, keys, value_width), np.float32),
        "grad_output": random.standard_normal((heads, queries, value_width), np.float32),
        "x": random.standard_normal((queries, 12), np.float32),
    }


def test_repeated_maxima_are_biased_and_the_stabilised_shift_is_not(study):
    report, cases = study(
        "--made",
        "repeated",
        "--heads",
        "8",
        "--recipe",
        "bf16-paper",
        "fp32",
        "--shift",
        "standard",
        "stabilised",
        "--tile-keys",
        "0",
    )
    assert report["inputs"] == "made repeated"
    standard, stabilised = cases["bf16-paper", "standard"], cases["bf16-paper", "stabilised"]
    assert standard["repeated_rows"] == standard["rows"] == 8 * 64
    assert standard["ones"] == 2 * standard["rows"] and stabilised["ones"] == 0
    # theory.md 5: -0.250 and -0.004; means over 512 rows.
    assert standard["output_ulp"]["mean"] == pytest.approx(-0.25, abs=0.03)
    assert abs(stabilised["output_ulp"]["mean"]) < 0.06
    assert standard["delta"]["sign_probability"] < 1e-6
    # FP32's own units are 2^-16 of BF16's.
    assert abs(cases["fp32", "standard"]["output_ulp"]["mean"]) * 2**-16 < 1e-3
    assert sum(standard["output_histogram"]["counts"]) == standard["output_ulp"]["elements"]


def test_steps_add_up(study):
    _, cases = study(
        "--made",
        "repeated",
        "--heads",
        "2",
        "--recipe",
        "bf16-paper",
        "--shift",
        "standard",
        "--steps",
        "3",
        "--tile-keys",
        "0",
    )
    case = cases["bf16-paper", "standard"]
    sums = case["accumulated_delta"]
    assert len(sums) == 3 and sums[0] > 0 and sums[0] < sums[1] < sums[2]
    assert sums[0] == pytest.approx(case["delta"]["mean"] * case["delta"]["elements"])


def test_a_file_is_what_it_holds(study, tmp_path):
    save_file(tensors(), tmp_path / "layer.safetensors")
    report, cases = study(tmp_path / "layer.safetensors", "--causal", "--recipe", "bf16-flash", "--shift", "standard")
    assert report["shape"] == {
        "batch": 1,
        "query_heads": 2,
        "kv_heads": 1,
        "queries": 20,
        "keys": 30,
        "width": 8,
        "value_width": 6,
    }
    case = cases["bf16-flash", "standard"]
    # Query i of 20 sees keys up to i + 10.
    assert case["entries"] == 2 * sum(i + 11 for i in range(20))
    assert case["repeated_rows"] == 0 and case["delta"] is not None and case["weight_gradient"]["input_cosine"] < 1
    _, whole = study(tmp_path / "layer.safetensors", "--recipe", "bf16-flash", "--shift", "standard")
    assert whole["bf16-flash", "standard"]["entries"] == 2 * 20 * 30


def test_without_a_gradient_delta_is_null(study, tmp_path):
    save_file({name: tensors()[name] for name in "qkv"}, tmp_path / "layer.safetensors")
    _, cases = study(tmp_path / "layer.safetensors", "--recipe", "fp32", "--shift", "standard")
    assert cases["fp32", "standard"]["delta"] is None and cases["fp32", "standard"]["why"]["delta"]


def test_a_gradient_that_is_not_finite_is_said_to_be_there(study, tmp_path):
    save_file(tensors() | {"grad_output": np.full((2, 20, 6), np.nan, np.float32)}, tmp_path / "layer.safetensors")
    _, cases = study(tmp_path / "layer.safetensors", "--recipe", "fp32", "--shift", "standard")
    case = cases["fp32", "standard"]
    assert case["why"]["delta"] == case["why"]["weight_gradient"] == "not finite"


def test_rows_without_a_finite_output_are_lost(study, tmp_path):
    file = tensors()
    save_file(file | {"v": file["v"] * np.float32(1e6)}, tmp_path / "layer.safetensors")
    _, cases = study(tmp_path / "layer.safetensors", "--recipe", "fp16", "bf16-flash", "--shift", "standard")
    case = cases["fp16", "standard"]
    assert case["lost_rows"] > 0 and case["rows"] == 40
    whole = cases["bf16-flash", "standard"]
    assert whole["lost_rows"] == 0 and whole["output_ulp"]["not_finite"] == 0


def test_table_and_page(ullage, tmp_path):
    run = ullage(
        "attention",
        "study",
        "--made",
        "adversarial",
        "--heads",
        "5",
        "--recipe",
        "bf16-flash",
        "--html",
        tmp_path / "study.html",
    )
    assert run.returncode == 0, run.stderr
    assert "stabilised" in run.stdout and "error of O" in run.stdout
    page = (tmp_path / "study.html").read_text()
    assert "Errors of O" in page and "bits of the sum" in page


@pytest.mark.parametrize(
    "arguments, code",
    [
        ([], 2),
        (["--made", "strange"], 2),
        (["--made", "normal", "FILE"], 2),
        (["--made", "repeated", "--recipe", "fp3"], 2),
        (["--made", "repeated", "--shift", "sideways"], 2),
        (["--made", "repeated", "--element", "1.2"], 2),
        (["--made", "repeated", "--heads", "0"], 2),
        (["--made", "repeated", "--heads", "-1"], 2),
        (["--made", "repeated", "--causal"], 2),
        (["--made", "repeated", "--beta", "0.5"], 2),
        (["FILE", "--heads", "3"], 2),
        (["FILE", "--soft-cap", "-1"], 2),
        (["FILE", "--steps", "3"], 2),
        (["no-such-file.safetensors"], 3),
    ],
)
def test_wrong_usage_is_one_line(ullage, tmp_path, arguments, code):
    save_file(tensors(), tmp_path / "layer.safetensors")
    run = ullage(
        "attention", "study", *[tmp_path / "layer.safetensors" if word == "FILE" else word for word in arguments]
    )
    assert run.returncode == code and len(run.stderr.strip().splitlines()) == 1, run.stderr


@pytest.mark.parametrize(
    "name, shape",
    [
        ("q", (20, 8)),
        ("k", (1, 30, 9)),
        ("k", (1, 1, 1, 30, 8)),
        ("v", (1, 31, 6)),
        ("grad_output", (2, 20, 5)),
        ("x", (19, 12)),
        ("q", (2, 0, 8)),
        ("k", (3, 30, 8)),
        ("q", (2, 20, 300)),
    ],
)
def test_shapes_that_do_not_fit_are_3(ullage, tmp_path, name, shape):
    save_file(tensors() | {name: np.zeros(shape, np.float32)}, tmp_path / "layer.safetensors")
    run = ullage("attention", "study", tmp_path / "layer.safetensors")
    assert run.returncode == 3 and len(run.stderr.strip().splitlines()) == 1, run.stderr
    assert "\\u" not in run.stderr, run.stderr  # as an apostrophe would be shown


def test_a_missing_tensor_is_3(ullage, tmp_path):
    save_file({name: tensors()[name] for name in "qk"}, tmp_path / "layer.safetensors")
    run = ullage("attention", "study", tmp_path / "layer.safetensors")
    assert run.returncode == 3 and "v" in run.stderr


def test_integers_are_3(ullage, tmp_path):
    save_file(tensors() | {"q": np.zeros((2, 20, 8), np.int32)}, tmp_path / "layer.safetensors")
    run = ullage("attention", "study", tmp_path / "layer.safetensors")
    assert run.returncode == 3 and len(run.stderr.strip().splitlines()) == 1, run.stderr
