"""What the GPU benchmarks share: which GPU, and the record of a run."""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import measured  # noqa: E402

RESULTS = ROOT / "bench/results/cuda.json"


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
    print(f"recorded in {RESULTS.relative_to(ROOT)}")
    measured.write("cuda")
