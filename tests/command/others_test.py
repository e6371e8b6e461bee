"""explain, diff, scales, reproduce and doctor as a script sees them."""

import json
import pathlib
import sys

import jsonschema
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import made

pytestmark = pytest.mark.sanitizer


@pytest.fixture
def checkpoint(tmp_path):
    made.llama(tmp_path / "model", seed=2)
    return tmp_path / "model"


def scan(ullage, checkpoint, tmp_path):
    assert ullage("scan", checkpoint, "--json", tmp_path / "scan.json").returncode == 0
    return json.loads((tmp_path / "scan.json").read_text())


def read(path):
    with safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def test_explain_finds_inputs_close_to_the_certificate(ullage, checkpoint):
    run = ullage("explain", checkpoint, "1.2")
    assert run.returncode == 0, run.stderr
    line = next(line for line in run.stdout.splitlines() if "come closest" in line)
    share = float(line.split(": ")[1].split(" %")[0])
    assert 50 < share <= 100.0001
    assert "binds: " in run.stdout
    assert ullage("explain", checkpoint, "9.0").returncode == 3
    assert ullage("explain", checkpoint, "0.99").returncode == 3


def test_diff_finds_the_spiked_head(ullage, tmp_path):
    def spike(tensors):
        tensors["model.layers.1.self_attn.q_proj.weight"][8:16] *= 16

    made.llama(tmp_path / "a")
    made.llama(tmp_path / "b", edit=spike)
    run = ullage("diff", tmp_path / "a", tmp_path / "b", "--top", "1")
    assert run.returncode == 0, run.stderr
    assert "1.1" in run.stdout and "-4.00" in run.stdout
    # q's own scale, and the one that q, k and v share.
    assert "2 of 8 scales let e4m3 saturate" in run.stdout and "saturates, 4.00 bits over" in run.stdout
    same = ullage("diff", tmp_path / "a", tmp_path / "a")
    assert "0 of 8 scales" in same.stdout


def test_diff_says_what_it_cannot_compare(ullage, tmp_path):
    def spoil(tensors):
        tensors["model.layers.1.self_attn.q_proj.weight"][3, 4] = np.nan
        tensors["model.layers.0.self_attn.q_proj.weight"][:] = 0

    made.llama(tmp_path / "a")
    made.llama(tmp_path / "b", edit=spoil)
    made.llama(tmp_path / "c", layers=3)
    run = ullage("diff", tmp_path / "a", tmp_path / "b")
    assert "NaN or infinity in B: model.layers.1.self_attn.q_proj.weight, head 0" in run.stdout
    assert "1 head, in the second: weights are not finite" in run.stdout
    assert "4 heads, in the second: all weights zero" in run.stdout
    assert "model.layers.2.self_attn: only the second" in ullage("diff", tmp_path / "a", tmp_path / "c").stdout


def test_explain_names_other_stacks_of_a_depth(ullage, checkpoint):
    assert "also at depth" not in ullage("explain", checkpoint, "0.0").stdout
    assert ullage("explain", checkpoint, "0.0", "--layers", "1").returncode == 2  # which it would not heed


def test_explain_says_what_every_figure_is(ullage, checkpoint):
    table = ullage("explain", checkpoint, "0.1").stdout.split("what it is")[1].split("\n\n")[0].splitlines()[2:]
    assert len(table) > 30
    for line in table:
        assert len(line.split()) >= 3, line


def amax(report, layer, which, tier="amax"):
    return [head[tier][which] for head in report["layers"][layer]["heads"]]


def test_scales_for_vllm(ullage, checkpoint, tmp_path):
    report = scan(ullage, checkpoint, tmp_path)
    before = (checkpoint / "model.safetensors").read_bytes()
    assert ullage("scales", checkpoint, "--to", "vllm").returncode == 0
    tensors, metadata = read(checkpoint / "ullage-scales-vllm.safetensors")
    assert (checkpoint / "model.safetensors").read_bytes() == before
    assert metadata["direction"] == "descale" and metadata["tier"] == "certificate"
    for i in range(2):
        stem = f"model.layers.{i}.self_attn"
        for name, which in ((".attn.q_scale", "q"), (".k_scale", "k"), (".v_scale", "v")):
            scale = tensors[stem + name]
            assert scale.shape == () and scale.dtype == np.float32
            bound = max(amax(report, i, which))
            assert scale >= bound / 448 and scale <= bound / 448 * (1 + 1e-6)
        assert tensors[stem + ".attn.prob_scale"] == np.float32(1 / 256)


def test_scales_by_head(ullage, checkpoint, tmp_path):
    report = scan(ullage, checkpoint, tmp_path)
    out = tmp_path / "s.safetensors"
    assert ullage("scales", checkpoint, "--to", "compressed-tensors", "--out", out).returncode == 0
    tensors, _ = read(out)
    assert tensors["model.layers.0.self_attn.q_scale"].shape == (4, 1, 1)
    assert tensors["model.layers.0.self_attn.k_scale"].shape == (2, 1, 1)
    assert np.allclose(tensors["model.layers.0.self_attn.q_scale"].ravel() * 448, amax(report, 0, "q"), rtol=1e-6)
    assert ullage("scales", checkpoint, "--to", "fa3", "--out", out, "--tier", "expected").returncode == 0
    tensors, metadata = read(out)
    q = amax(report, 1, "q", "amax_expected")
    assert metadata["tier"] == "expected"
    assert tensors["model.layers.1.self_attn.q_descale"].shape == (1, 2)
    assert np.allclose(tensors["model.layers.1.self_attn.q_descale"][0] * 448, [max(q[:2]), max(q[2:])], rtol=1e-6)


def test_scales_for_transformer_engine_multiply(ullage, checkpoint, tmp_path):
    report = scan(ullage, checkpoint, tmp_path)
    out = tmp_path / "te.safetensors"
    assert ullage("scales", checkpoint, "--to", "te", "--out", out).returncode == 0
    tensors, metadata = read(out)
    assert metadata["direction"] == "multiply"
    scale = tensors["model.layers.0.self_attn.scale_fwd"]
    bound = max(max(amax(report, 0, which)) for which in "qkv")
    assert scale.shape == (9,) and scale[2] * bound <= 448 and scale[2] * bound >= 448 * (1 - 1e-6)
    assert scale[8] == 448


def test_scales_round_trip_saturates_nothing(ullage, checkpoint, tmp_path):
    """Adversarial inputs: each coordinate of q and k at its largest, cast as a kernel casts them."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    tensors = made.llama(tmp_path / "again", seed=2)
    out = tmp_path / "s.safetensors"
    assert ullage("scales", checkpoint, "--to", "compressed-tensors", "--out", out).returncode == 0
    scales, _ = read(out)
    for i in range(2):
        stem = f"model.layers.{i}."
        gain = tensors[stem + "input_layernorm.weight"].astype(np.float64)
        for which in "qkv":
            w = tensors[stem + f"self_attn.{which}_proj.weight"].astype(np.float64) * gain
            for h, scale in enumerate(scales[stem + f"self_attn.{which}_scale"].ravel()):
                rows = w[8 * h :][:8]
                # n = sqrt(d) w_c / |w_c| makes coordinate c as large as it gets before RoPE; for a pair that RoPE turns, the
                # top right singular vector of its two rows.
                pairs = [(c, c + 4) for c in range(4)] if which in "qk" else [(c,) for c in range(8)]
                for pair in pairs:
                    largest = np.sqrt(32) * np.linalg.norm(rows[list(pair)], 2)
                    code = np.array(largest / scale, np.float32).astype(ml_dtypes.float8_e4m3fn)
                    assert np.isfinite(code.astype(np.float32)) and largest / scale <= 448


def test_scales_never_replace_weights(ullage, checkpoint):
    run = ullage("scales", checkpoint, "--to", "vllm", "--out", checkpoint / "model.safetensors")
    assert run.returncode == 2 and "not written by `ullage scales`" in run.stderr
    # Nor scales of somebody else's, nor weights whose names sound like scales.
    others = checkpoint / "calibrated.safetensors"
    save_file({"model.layers.0.self_attn.k_scale": np.ones(1, np.float32)}, others, {"by": "me"})
    before = others.read_bytes()
    assert ullage("scales", checkpoint, "--to", "vllm", "--out", others).returncode == 2
    assert others.read_bytes() == before
    # Its own file, over and over; and the folder stays one that can be scanned.
    for _ in range(2):
        assert ullage("scales", checkpoint, "--to", "vllm").returncode == 0
    (checkpoint / "model.safetensors").rename(checkpoint / "weights.safetensors")
    others.unlink()
    assert ullage("scan", checkpoint).returncode == 0


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "link.json"])
@pytest.mark.parametrize(
    "arguments", [["scan", "--json"], ["scan", "--csv"], ["scan", "--html"], ["scales", "--to", "json", "--out"]]
)
def test_reports_never_replace_a_checkpoint(ullage, checkpoint, arguments, name):
    (checkpoint / "link.json").symlink_to("model.safetensors")
    before = {file: file.read_bytes() for file in checkpoint.iterdir()}
    command, *options = arguments
    run = ullage(command, checkpoint, *options, checkpoint / name)
    assert run.returncode == 2 and "no report replaces" in run.stderr
    assert {file: file.read_bytes() for file in checkpoint.iterdir()} == before


def test_scales_of_shards_say_that_an_index_must_list_them(ullage, checkpoint):
    tensors, _ = read(checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").rename(checkpoint / "model-00001-of-00001.safetensors")
    index = {"weight_map": dict.fromkeys(tensors, "model-00001-of-00001.safetensors")}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "weight_map" in ullage("scales", checkpoint, "--to", "vllm").stdout


def test_scales_json(ullage, root, checkpoint):
    run = ullage("scales", checkpoint, "--to", "json")
    report = json.loads(run.stdout)
    jsonschema.validate(report, json.loads((root / "docs/schema/scales.json").read_text()))
    q = report["layers"][0]["q"]
    assert q["descale"] * q["multiplier"] == pytest.approx(1, rel=1e-6) and len(q["descale_by_head"]) == 4


def test_reproduce_rank_aware(ullage, root, tmp_path):
    run = ullage("reproduce", "rank-aware", "--json", tmp_path / "r.json", "--html", tmp_path / "r.html")
    assert run.returncode == 0, run.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    jsonschema.validate(report, json.loads((root / "docs/schema/reproduce.json").read_text()))
    assert [row["published"] for row in report["rows"][:4]] == [8.2, 13.9, 17.4, 27.8]
    assert all(row["verdict"] == "reproduced" for row in report["rows"])
    assert "rank-aware" in ullage("reproduce", "--list").stdout
    assert ullage("reproduce", "no-such-thing").returncode == 2


def test_doctor(ullage):
    run = ullage("doctor")
    assert run.returncode == 0 and "taken" in run.stdout and "CUDA" in run.stdout
