"""What the benchmarks share: PyTorch's way to a layer's sigma, medians, the record of a run, tables in pages."""

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


def ratio(triple):
    low, mid, high = triple
    return f"{mid:.2f} ({low:.2f} to {high:.2f})"


def between(page, marks, text):
    """A page with what stands between its two marked lines replaced."""
    begin, end = marks
    before, rest = page.split(begin)
    return before + begin + text + end + rest.split(end)[1]


SCAN_PAGE = ROOT / "docs/scan.md"
SCAN_MARKS = ("<!-- measured: begin (written by bench/scan/run.py --record) -->\n", "<!-- measured: end -->\n")

# Figures of bench/results/scan.json: what docs/scan.md calls them.
SCAN_FIGURES = {
    "torch over scan": "whole scan: PyTorch's sigma over ullage",
    "scan over read, from disk": "scan over reading the bytes: from disk",
    "scan over read": "from the page cache",
    "header of 100,000 tensors, safetensors over ullage": "header of 100,000 tensors: safetensors over ullage",
}


def document_scan():
    """The table of docs/scan.md, from what bench/results/ holds."""
    entries = {
        name: {
            (e["machine"]["cpu"], e["machine"]["path"]): e for e in json.loads((RESULTS / f"{name}.json").read_text())
        }
        for name in ("scan", "spectrum")
        if (RESULTS / f"{name}.json").exists()
    }
    heads = ["CPU, path, threads", "sigma alone: PyTorch over ullage", *SCAN_FIGURES.values(), "peak memory"]
    lines = ["", "| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for key in sorted(set().union(*entries.values())):
        scan, spectrum = entries.get("scan", {}).get(key), entries.get("spectrum", {}).get(key)
        machine = (scan or spectrum)["machine"]
        figures = scan["figures"] if scan else {}
        cells = [
            f"{machine['cpu']}, {machine['path']}, {machine['threads']}",
            ratio(spectrum["torch over ullage"]) if spectrum else "",
            *(ratio(figures[name]) if name in figures else "" for name in SCAN_FIGURES),
            f"{max(s['peak memory MiB'] for s in scan['shapes'].values()):.0f} MiB" if scan else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "Medians with quartiles. A 32-layer BF16 checkpoint of Llama-2-7B's attention shapes; "
        "memory is the most of that one, of a",
        "70B-shaped layer and of GPT-2 XL's shapes.",
        "",
    ]
    SCAN_PAGE.write_text(between(SCAN_PAGE.read_text(), SCAN_MARKS, "\n".join(lines) + "\n"))
