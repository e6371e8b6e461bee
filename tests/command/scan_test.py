"""`ullage scan` as a script sees it: exit codes, files, the JSON schema, the same bytes on every run."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jsonschema
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import made

pytestmark = pytest.mark.sanitizer


@pytest.fixture
def checkpoint(tmp_path):
    made.llama(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(scope="session")
def schema(root):
    return json.loads((root / "docs/schema/scan.json").read_text())


def report_of(ullage, checkpoint, out, *options):
    run = ullage("scan", checkpoint, "--json", out, *options)
    assert run.returncode == 0, run.stderr
    return json.loads(out.read_text())


def without_run(report):
    return {key: value for key, value in report.items() if key != "run"}


def test_report_obeys_its_schema(ullage, checkpoint, tmp_path, schema):
    report = report_of(ullage, checkpoint, tmp_path / "a.json")
    jsonschema.validate(report, schema)
    assert report["summary"]["layers"] == 2 and report["summary"]["heads"] == 8
    assert report["context"] == 128
    worst = report["summary"]["worst"]
    head = report["layers"][worst["layer"]]["heads"][worst["head"]]
    assert head["headroom_bits"]["e4m3"] == worst["headroom_bits"]
    assert worst["headroom_bits"] == min(
        h["headroom_bits"]["e4m3"] for layer in report["layers"] for h in layer["heads"]
    )


def test_every_null_says_why(ullage, checkpoint, tmp_path):
    def walk(value, path):
        if isinstance(value, dict):
            for key, inner in value.items():
                if inner is None:
                    assert value.get("why", {}).get(key), f"{path}.{key} is null without a why"
                walk(inner, f"{path}.{key}")
        elif isinstance(value, list):
            for i, inner in enumerate(value):
                walk(inner, f"{path}[{i}]")

    walk(report_of(ullage, checkpoint, tmp_path / "a.json"), "report")


def test_same_bytes_for_any_thread_count(ullage, checkpoint, tmp_path):
    reports = [report_of(ullage, checkpoint, tmp_path / f"{n}.json", "--threads", n) for n in (1, 2, 5)]
    for other in reports[1:]:
        assert without_run(other) == without_run(reports[0])
        assert json.dumps(without_run(other)) == json.dumps(without_run(reports[0]))


@pytest.mark.parametrize("path", ["portable", "avx2", "avx512", "avx512_bf16"])
def test_cpu_paths_agree(ullage, checkpoint, tmp_path, path):
    environment = dict(os.environ, ULLAGE_CPU=path)
    run = ullage("scan", checkpoint, "--json", tmp_path / "forced.json", env=environment)
    forced = json.loads((tmp_path / "forced.json").read_text())
    if forced["run"]["cpu_path"] != path:
        pytest.skip(f"this CPU has no {path}")
    assert run.returncode == 0
    default = report_of(ullage, checkpoint, tmp_path / "default.json")
    for layer, other in zip(forced["layers"], default["layers"], strict=True):
        for a, b in zip(layer["heads"], other["heads"], strict=True):
            assert a["sigma"] == pytest.approx(b["sigma"], rel=1e-5)
            assert a["bounds"]["certificate"] == pytest.approx(b["bounds"]["certificate"], rel=1e-3)


def test_sigma_is_numpys(ullage, tmp_path):
    tensors = made.llama(tmp_path / "model", seed=4)
    report = report_of(ullage, tmp_path / "model", tmp_path / "a.json")
    for layer in report["layers"]:
        stem = f"model.layers.{layer['layer']}."
        gain = tensors[stem + "input_layernorm.weight"].astype(np.float64)
        for head in layer["heads"]:
            q = tensors[stem + "self_attn.q_proj.weight"].astype(np.float64)[8 * head["head"] :][:8]
            k = tensors[stem + "self_attn.k_proj.weight"].astype(np.float64)[8 * head["kv_head"] :][:8]
            assert head["sigma_weights"] == pytest.approx(np.linalg.norm(q.T @ k, 2), rel=1e-5)
            assert head["sigma"] == pytest.approx(np.linalg.norm((q * gain).T @ (k * gain), 2), rel=1e-5)
            assert head["frobenius"] == pytest.approx(np.linalg.norm((q * gain).T @ (k * gain)), rel=1e-5)
            naive = 32 / np.sqrt(8) * np.linalg.norm(q * gain, 2) * np.linalg.norm(k * gain, 2)
            assert head["bounds"]["naive"] == pytest.approx(naive, rel=1e-4)
            assert head["bounds"]["certificate"] <= head["bounds"]["naive"]


def test_fail_under_gates(ullage, checkpoint):
    assert ullage("scan", checkpoint, "--fail-under", "-20").returncode == 0
    gated = ullage("scan", checkpoint, "--fail-under", "40")
    assert gated.returncode == 1 and gated.stdout


def test_not_finite_weights_are_named_and_the_rest_is_scanned(ullage, tmp_path, schema):
    def spoil(tensors):
        tensors["model.layers.1.self_attn.q_proj.weight"][9, 3] = np.nan

    made.llama(tmp_path / "model", edit=spoil)
    report = report_of(ullage, tmp_path / "model", tmp_path / "a.json")
    jsonschema.validate(report, schema)
    assert report["not_finite"] == [
        {"tensor": "model.layers.1.self_attn.q_proj.weight", "layer": 1, "head": 1, "count": 1}
    ]
    heads = report["layers"][1]["heads"]
    assert heads[1]["sigma"] is None and heads[0]["sigma"] is not None
    assert ullage("scan", tmp_path / "model", "--fail-under", "-40").returncode == 1
    refused = ullage("scales", tmp_path / "model", "--to", "vllm", "--out", tmp_path / "s.safetensors")
    assert refused.returncode == 3 and "q_proj" in refused.stderr and not (tmp_path / "s.safetensors").exists()


def test_no_finite_head_is_an_error(ullage, tmp_path):
    def spoil(tensors):
        for name in tensors:
            if "q_proj" in name:
                tensors[name][:] = np.nan

    made.llama(tmp_path / "model", edit=spoil)
    run = ullage("scan", tmp_path / "model", "--json", tmp_path / "a.json")
    assert run.returncode == 3 and "NaN" in run.stderr
    assert not (tmp_path / "a.json").exists()


def test_wrong_usage(ullage, checkpoint, tmp_path):
    for arguments in (
        ["scan"],
        ["scan", checkpoint, "--format", "e9m9"],
        ["scan", checkpoint, "--layers", "3:1"],
        ["scan", checkpoint, "--layers", "("],
        ["scan", checkpoint, "--probability", "2"],
        ["nothing"],
        ["scan", checkpoint, "--offsets", "none"],
        ["scan", checkpoint, "--device", "tpu"],
        ["explain", checkpoint, "x.y"],
        ["scan", checkpoint, "--json", tmp_path / "no" / "a.json"],
    ):
        run = ullage(*arguments)
        assert run.returncode == 2, (arguments, run.returncode, run.stderr)
        assert len(run.stderr.splitlines()) == 1 and run.stderr.startswith("ullage: ")


def test_the_gpu_says_what_the_cpu_says(ullage, checkpoint, tmp_path):
    """Where no GPU can be used, one line says why; else every figure agrees, and certificates stay certificates."""
    run = ullage("scan", checkpoint, "--device", "cuda", "--json", tmp_path / "cuda.json")
    if "CUDA:" in run.stderr:
        assert run.returncode == 4 and len(run.stderr.splitlines()) == 1
        assert not (tmp_path / "cuda.json").exists()
        pytest.skip(run.stderr.strip())
    assert run.returncode == 0, run.stderr
    assert ullage("scan", checkpoint, "--json", tmp_path / "cpu.json").returncode == 0
    cuda, cpu = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("cuda", "cpu"))
    assert cuda.pop("run")["device"] == "cuda" and cpu.pop("run")["device"] == "cpu"
    for ours, theirs in zip(leaves(cuda), leaves(cpu), strict=True):
        assert ours == pytest.approx(theirs, rel=5e-3) if isinstance(theirs, float) else ours == theirs


def leaves(value):
    if isinstance(value, dict):
        return [leaf for key in value for leaf in leaves(value[key])]
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, list) else [value]


def test_missing_checkpoint(ullage, tmp_path):
    run = ullage("scan", tmp_path / "absent")
    assert run.returncode == 3 and len(run.stderr.splitlines()) == 1


def test_layers(ullage, checkpoint, tmp_path):
    for text, expected in (("1", [1]), ("0:0", [0]), (":1", [0, 1]), (r"layers\.1\.", [1])):
        report = report_of(ullage, checkpoint, tmp_path / "a.json", "--layers", text)
        assert [layer["layer"] for layer in report["layers"]] == expected
    assert ullage("scan", checkpoint, "--layers", "7").returncode == 3


def test_csv_has_one_row_a_head(ullage, checkpoint, tmp_path):
    report = report_of(ullage, checkpoint, tmp_path / "a.json", "--csv", tmp_path / "a.csv")
    rows = list(csv.DictReader((tmp_path / "a.csv").open(newline="")))
    heads = [head for layer in report["layers"] for head in layer["heads"]]
    assert len(rows) == len(heads)
    for row, head in zip(rows, heads, strict=True):
        assert float(row["sigma"]) == head["sigma"]
        assert float(row["rope_bound"]) == head["rope"]["bound"]
        assert float(row["headroom_bits_fp16"]) == head["headroom_bits"]["fp16"]
        assert row["certificate_by"] == head["bounds"]["certificate_by"]


def test_standard_output(ullage, checkpoint):
    run = ullage("scan", checkpoint, "--json", "-")
    assert json.loads(run.stdout)["schema"] == 1
    assert "\x1b" not in ullage("scan", checkpoint).stdout  # no colour in a pipe


def test_zero_heads_have_infinite_headroom(ullage, tmp_path):
    def zero(tensors):
        tensors["model.layers.0.self_attn.q_proj.weight"][:8] = 0

    made.llama(tmp_path / "model", edit=zero)
    head = report_of(ullage, tmp_path / "model", tmp_path / "a.json")["layers"][0]["heads"][0]
    assert head["headroom_bits"]["e4m3"] is None
    assert head["headroom_bits"]["why"]["e4m3"] == "all weights zero"
    assert head["bounds"]["certificate"] == 0


def test_exact_context_is_tighter_and_still_above_what_is_seen(ullage, checkpoint, tmp_path):
    wide = report_of(ullage, checkpoint, tmp_path / "a.json", "--offsets", "all")
    exact = report_of(ullage, checkpoint, tmp_path / "b.json", "--offsets", "all", "--exact-context")
    for a, b in zip(wide["layers"], exact["layers"], strict=True):
        for x, y in zip(a["heads"], b["heads"], strict=True):
            assert y["bounds"]["certificate"] <= x["bounds"]["certificate"] * (1 + 1e-12)
            seen = 32 / np.sqrt(8) * y["rope"]["supremum_sampled"]
            assert y["bounds"]["certificate"] >= seen * (1 - 1e-9)


def test_help_teaches(ullage):
    for command in ("scan", "explain", "diff", "scales", "reproduce"):
        run = ullage(command, "--help")
        assert run.returncode == 0 and f"ullage {command}" in run.stdout


def test_a_certificate_is_shown_rounded_up(ullage, checkpoint, tmp_path):
    report = report_of(ullage, checkpoint, tmp_path / "a.json")
    lines = ullage("scan", checkpoint).stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.split()[:1] == ["layer"])
    for layer, line in zip(report["layers"], lines[at + 2 :], strict=False):
        shown = float(line.split()[3])
        assert shown >= max(head["bounds"]["certificate"] for head in layer["heads"])


@pytest.mark.parametrize(
    "options",
    [
        ["--fail-under", "nan"],
        ["--fail-under", ""],
        ["--json", ""],
        ["--context", "0"],
        ["--context", "-1"],
        ["--threads", "0"],
        ["--top", "-1"],
        ["--json", "--csv"],
        ["--json", "-", "--csv", "-"],
        ["--format", "e8m0"],
        ["--format", "nvfp4"],
    ],
)
def test_what_could_only_be_a_mistake_is_refused(ullage, checkpoint, tmp_path, options):
    run = ullage("scan", checkpoint, *options, cwd=tmp_path)
    assert run.returncode == 2 and len(run.stderr.splitlines()) == 1, run.stderr
    assert list(tmp_path.glob("--*")) == []


def test_an_unknown_sub_command_is_named(ullage):
    run = ullage("scna")
    assert run.returncode == 2 and "scna" in run.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], ["doctor"], ["formats"], ["scan", "CHECKPOINT"], ["scan", "CHECKPOINT", "--heads"]]
)
def test_a_full_disk_is_not_success(command, checkpoint, arguments):
    arguments = [checkpoint if a == "CHECKPOINT" else a for a in arguments]
    with open("/dev/full", "w") as full:
        run = subprocess.run([command, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert run.returncode == 4 and "standard output" in run.stderr and len(run.stderr.splitlines()) == 1


def test_a_reader_that_leaves_is_no_error(command, checkpoint):
    pipe = subprocess.Popen([command, "scan", checkpoint, "--heads"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    pipe.stdout.close()
    assert pipe.wait(60) == 0 and pipe.stderr.read() == b""
    pipe.stderr.close()


def test_files_appear_together_or_not_at_all(ullage, checkpoint, tmp_path):
    run = ullage("scan", checkpoint, "--json", tmp_path / "a.json", "--csv", "/dev/full")
    assert run.returncode == 4
    assert list(tmp_path.glob("*.json")) == []


def test_the_end_of_a_session_leaves_nothing_behind(command, tmp_path):
    made.llama(tmp_path / "large", layers=12, heads=16, kv_heads=16, head_dim=64, width=512)
    run = subprocess.Popen(
        [command, "scan", tmp_path / "large", "--json", tmp_path / "a.json", "--offsets", "4096"],
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob(".*tmp")) and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    run.send_signal(signal.SIGHUP)
    assert run.wait(60) in (0, 130)
    assert list(tmp_path.glob(".*tmp")) == []


def largest_certificate(report):
    return max(head["bounds"]["certificate"] for layer in report["layers"] for head in layer["heads"])


def test_rope_scaling_beside_rope_parameters(ullage, tmp_path):
    """transformers takes rope_scaling; equal positions turn nothing, so factor^2 |A^T B| is attained."""
    rope = {
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "rope_scaling": {"rope_type": "yarn", "factor": 1e6, "original_max_position_embeddings": 16},
    }
    tensors = made.llama(tmp_path / "model", layers=1, heads=1, kv_heads=1, config=rope)
    report = report_of(ullage, tmp_path / "model", tmp_path / "a.json")
    gain, q, k = (
        tensors[f"model.layers.0.{name}.weight"].astype(np.float64)
        for name in ("input_layernorm", "self_attn.q_proj", "self_attn.k_proj")
    )
    factor = 1 + 0.1 * np.log(1e6)
    attained = factor**2 * 32 / np.sqrt(8) * np.linalg.norm((q * gain).T @ (k * gain), 2)
    assert largest_certificate(report) >= attained


def test_exact_context_where_the_angles_change_with_the_length(ullage, tmp_path):
    """LongRoPE beyond the trained context: the long factors turn, under which this score is attained."""

    def edit(tensors):
        q, k = (np.zeros((4, 4), np.float32) for _ in range(2))
        q[:2, 0] = 1
        k[:3, 1] = np.cos(3.0), 1, np.sin(3.0)
        tensors["model.layers.0.self_attn.q_proj.weight"], tensors["model.layers.0.self_attn.k_proj.weight"] = q, k
        tensors["model.layers.0.input_layernorm.weight"] = np.ones(4, np.float32)

    rope = {
        "max_position_embeddings": 512,
        "rope_theta": 4.0,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [100.0, 100.0],
            "long_factor": [100.0, 6400.0],
            "original_max_position_embeddings": 64,
            "attention_factor": 1.0,
        },
    }
    made.llama(tmp_path / "model", layers=1, heads=1, kv_heads=1, head_dim=4, width=4, edit=edit, config=rope)
    report = report_of(ullage, tmp_path / "model", tmp_path / "a.json", "--exact-context", "--context", "320")
    t = np.arange(320)
    attained = 0.5 * 4 * np.max(np.abs(np.cos(t / 100 - 3.0) + np.cos(t * 0.5 / 6400)))
    assert attained > 3.99 and largest_certificate(report) >= attained
    assert any("--exact-context has no effect" in text for text in report["assumptions"])
    short = report_of(ullage, tmp_path / "model", tmp_path / "b.json", "--exact-context", "--context", "64")
    t = np.arange(64)
    attained = 0.5 * 4 * np.max(np.abs(np.cos(t / 100 - 3.0) + np.cos(t * 0.5 / 100)))
    assert attained <= largest_certificate(short) < 4 and not any("no effect" in text for text in short["assumptions"])


def test_no_certificate_of_a_guess(ullage, tmp_path, schema):
    """Of an unknown model_type another reading of gain or scale may be the true one: estimates only."""
    made.llama(tmp_path / "known")
    made.llama(tmp_path / "model", config={"model_type": "something-new"})
    known = report_of(ullage, tmp_path / "known", tmp_path / "a.json")["layers"][0]
    report = report_of(ullage, tmp_path / "model", tmp_path / "b.json")
    jsonschema.validate(report, schema)
    layer = report["layers"][0]
    for head, other in zip(layer["heads"], known["heads"], strict=True):
        bounds = head["bounds"]
        for name in ("naive", "certificate", "before_cap", "additive_bias"):
            assert bounds[name] is None and "is a guess" in bounds["why"][name]
        for group in ("amax", "amax_projection"):
            assert all(head[group][side] is None for side in head[group] if side != "why")
        assert bounds["certificate_by"] is None and head["rope"]["bound"] is None
        assert head["sigma"] == other["sigma"] and bounds["expected"] == pytest.approx(
            other["bounds"]["expected"], rel=0.1
        )
        assert head["headroom_tier"] == "expected"
    assert layer["descale"]["q"]["certificate"] is None and layer["descale"]["q"]["expected"] > 0
    refused = ullage("scales", tmp_path / "model", "--to", "vllm", "--out", tmp_path / "s.safetensors")
    assert refused.returncode == 3 and "guess" in refused.stderr


def test_q_grows_with_its_position(ullage, tmp_path):
    """ministral3: the last position's factor is on the score and on q as the kernel sees it."""
    rope = {
        "model_type": "ministral3",
        "max_position_embeddings": 64,
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 1e4,
            "factor": 16.0,
            "original_max_position_embeddings": 4,
            "llama_4_scaling_beta": 4.0,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
        },
    }
    tensors = made.llama(tmp_path / "model", layers=1, heads=1, kv_heads=1, config=rope)
    report = report_of(ullage, tmp_path / "model", tmp_path / "a.json")
    gain, q, k = (
        tensors[f"model.layers.0.{name}.weight"].astype(np.float64)
        for name in ("input_layernorm", "self_attn.q_proj", "self_attn.k_proj")
    )
    growth = 1 + 4.0 * np.log(1 + 63 // 4)
    assert largest_certificate(report) >= growth * 32 / np.sqrt(8) * np.linalg.norm((q * gain).T @ (k * gain), 2)
    head = report["layers"][0]["heads"][0]
    assert head["amax"]["q"] >= growth * np.sqrt(32) * np.max(np.linalg.norm(q * gain, axis=1))
    assert head["bounds"]["certificate_rounded"]["bf16"] is None


def test_normed_values(ullage, tmp_path):
    """gemma3n: v has no entry above the square root of its width, however small W_V is."""

    def edit(tensors):
        tensors["model.layers.0.self_attn.v_proj.weight"][:] *= np.float32(1e-6)
        for side in "qk":
            tensors[f"model.layers.0.self_attn.{side}_norm.weight"] = np.ones(8, np.float32)

    config = {"model_type": "gemma3n_text", "num_kv_shared_layers": 0}
    made.llama(tmp_path / "model", layers=1, edit=edit, config=config)
    head = report_of(ullage, tmp_path / "model", tmp_path / "a.json")["layers"][0]["heads"][0]
    assert head["amax"]["v"] == pytest.approx(np.sqrt(8), rel=1e-12) and head["amax"]["v"] >= np.sqrt(8)
    assert head["bounds"]["certificate"] >= 8  # scale 1: two unit gains over eight coordinates


def test_offsets_that_no_memory_holds(ullage, checkpoint):
    for options in (["--offsets", "all", "--context", str(2**21)], ["--offsets", str(2**21), "--context", str(2**30)]):
        run = ullage("scan", checkpoint, *options)
        assert run.returncode == 2 and "--offsets" in run.stderr and "--context" in run.stderr, run.stderr
