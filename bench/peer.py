"""What the benchmarks share: PyTorch's way to a layer's sigma, medians, the record of a run."""

import json
import os
import pathlib
import platform
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
COMMAND = ROOT / "build/release/bin/ullage"
RESULTS = ROOT / "bench/results"


def hold_to_avx2():
    """Where ULLAGE_CPU=avx2 forces our path, PyTorch takes no more either. Before torch is imported."""
    if os.environ.get("ULLAGE_CPU") == "avx2":
        os.environ.setdefault("ATEN_CPU_CAPABILITY", "avx2")
        os.environ.setdefault("DNNL_MAX_CPU_ISA", "AVX2")
        os.environ.setdefault("MKL_ENABLE_INSTRUCTIONS", "AVX2")


def timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def torch_sigma(threads, heads=32, head_dim=128, width=4096):
    """A call that computes sigma of each head of a layer: FP32 Grams, Cholesky, svdvals; weights in memory."""
    hold_to_avx2()
    import torch

    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(heads * head_dim, width, generator=generator).bfloat16() for _ in range(2)]

    def layer():
        q, k = (w.float().view(heads, head_dim, width) for w in weights)
        factors = [torch.linalg.cholesky(x @ x.transpose(1, 2)) for x in (q, k)]
        return torch.linalg.svdvals(factors[0].transpose(1, 2) @ factors[1])

    layer()
    return layer


def middle(values):
    """The median and the quartiles: (q1, median, q3)."""
    return tuple(statistics.quantiles(values, n=4, method="inclusive")) if len(values) > 1 else (values[0],) * 3


def machine():
    """CPU, path in use and thread count, as `ullage doctor` sees them."""
    report = subprocess.run([COMMAND, "doctor"], capture_output=True, text=True, check=True).stdout
    lines = report.splitlines()
    return {
        "cpu": next(line[len("CPU:") :].strip() for line in lines if line.startswith("CPU:")),
        "path": next(line.split()[0] for line in lines if " taken" in line),
        "threads": os.cpu_count(),
        "system": platform.release(),
    }


def record(name, result):
    """bench/results/NAME.json: one entry a CPU and path, the latest run of each."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    entries = json.loads(file.read_text()) if file.exists() else []
    own = result["machine"]
    entries = [e for e in entries if (e["machine"]["cpu"], e["machine"]["path"]) != (own["cpu"], own["path"])]
    entries.append(result)
    file.write_text(json.dumps(entries, indent=1) + "\n")
    print(f"recorded in {file.relative_to(ROOT)}")
