"""What the GPU benchmarks share: which GPU, and the record of a run."""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import peer  # noqa: E402

RESULTS = ROOT / "bench/results/cuda.json"
PAGE = ROOT / "docs/cuda.md"
MARKS = ("<!-- measured: begin (written by bench/cuda/run.py --record) -->\n", "<!-- measured: end -->\n")


def gpu():
    """Name, driver and clocks (MHz) of the GPU, as it is found: asked after the work, those of a GPU that ran."""
    fields = ["name", "driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem"]
    text = subprocess.run(
        ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()[0]
    return dict(zip(fields, (part.strip() for part in text.split(",")), strict=True))


def record(benchmark, result):
    """bench/results/cuda.json: for each GPU, the latest run of each benchmark."""
    report = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"schema": 1, "benchmark": "cuda", "gpus": {}}
    report["gpus"].setdefault(result["gpu"]["name"], {})[benchmark] = result
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    PAGE.write_text(
        peer.between(PAGE.read_text(), MARKS, "\n".join(["", *spectra_table(report), "", *casts_table(report), ""]))
    )
    print(f"recorded in {RESULTS.relative_to(ROOT)} and {PAGE.relative_to(ROOT)}")


def spectra_table(report):
    yield (
        "| GPU, model | reading Q and K once | refresh by power iteration, in readings | Grams and certificates "
        "| PyTorch: power iteration, over ours |"
    )
    yield "|---|---|---|---|---|"
    for name, benchmarks in report["gpus"].items():
        for model, figures in benchmarks.get("spectra", {}).get("models", {}).items():
            read, power = figures["read ms"][1], figures["power iteration 1 ms"][1]
            theirs = benchmarks["spectra"].get(f"{model} beside torch", {}).get("power iteration 1 ms")
            yield (
                f"| {name}, {model} | {read:.3f} ms, {figures['weight_bytes'] / read / 1e6:.0f} GB/s | {power / read:.2f} | "
                f"{figures['spectra folded ms'][1]:.1f} ms | {f'{theirs[1] / power:.1f}' if theirs else ''} |"
            )


def casts_table(report):
    yield "Casts of 2^28 elements, counts on: bytes a second over those of a device-to-device copy in the same run."
    yield ""
    for name, benchmarks in report["gpus"].items():
        rows = [
            row
            for row in benchmarks.get("casts", {}).get("beside copies", [])
            if row["counts"] and row["elements"] == 1 << 28
        ]
        targets = sorted({row["to"] for row in rows})
        yield f"| {name}: from, rounding | {' | '.join(targets)} |"
        yield "|---" * (len(targets) + 1) + "|"
        for kind in sorted({(row["from"], row["rounding"]) for row in rows}):
            share = {row["to"]: f"{row['share_of_copy']:.2f}" for row in rows if (row["from"], row["rounding"]) == kind}
            yield f"| {', '.join(kind)} | {' | '.join(share.get(to, '') for to in targets)} |"
        yield ""
