"""How fast the whole default scan is, beside PyTorch computing sigma alone, and beside reading the bytes.

  python bench/scan/run.py [--work FOLDER] [--rounds N] [--layers N]

PyTorch: FP32 Grams, Cholesky, svdvals of one Llama-2-7B-shaped layer (32 heads), both cores, weights in memory.
ullage: every field of the report, weights read from the page cache. Rounds alternate between the contenders, and each
figure is a median; the spread stands beside it. Machines are shared: read the ratios, not the seconds.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import made

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
COMMAND = ROOT / "build/release/bin/ullage"


def timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def torch_sigma(threads):
    import torch

    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(4096, 4096, generator=generator).bfloat16() for _ in range(2)]

    def layer():
        q, k = (w.float().view(32, 128, 4096) for w in weights)
        factors = [torch.linalg.cholesky(x @ x.transpose(1, 2)) for x in (q, k)]
        return torch.linalg.svdvals(factors[0].transpose(1, 2) @ factors[1])

    layer()
    return layer


def scan_seconds(folder, layers, threads):
    """Seconds of the scan itself, as its report says: the process start is not the subject."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        run = subprocess.run([COMMAND, "scan", folder, "--layers", f"0:{layers - 1}", "--threads", str(threads), "--json", out.name],
                             check=True, capture_output=True)
        assert run.returncode == 0
        return json.load(open(out.name))["run"]["seconds"]


def read_seconds(folder):
    """Reading Q, K and V through one buffer, on one thread."""
    path = folder / "model.safetensors"
    buffer = bytearray(1 << 22)
    with open(path, "rb", buffering=0) as file:
        return timed(lambda: [None for _ in iter(lambda: file.readinto(buffer), 0)]), path.stat().st_size


def median(values):
    return statistics.median(values), (max(values) - min(values)) / statistics.median(values)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", default=os.path.join(tempfile.gettempdir(), "ullage-bench"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=32)
    options = parser.parse_args()
    work = pathlib.Path(options.work)
    folder = made.make(work / f"llama-2-7b-{options.layers}", "llama-2-7b", options.layers)
    threads = os.cpu_count()
    peer = torch_sigma(threads)
    ours, theirs, reads = [], [], []
    scan_seconds(folder, options.layers, threads)
    for _ in range(options.rounds):
        theirs.append(timed(peer) * options.layers)
        ours.append(scan_seconds(folder, options.layers, threads))
        seconds, size = read_seconds(folder)
        reads.append(seconds)
    scan, scan_spread = median(ours)
    torch, torch_spread = median(theirs)
    read, read_spread = median(reads)
    cpu = subprocess.run([COMMAND, "doctor"], capture_output=True, text=True, check=True).stdout
    print("\n".join(line for line in cpu.splitlines() if line.startswith("CPU") or " taken" in line))
    print(f"{options.layers} layers, {size / 2**20:.0f} MiB, {threads} threads, median of {options.rounds} rounds (spread)")
    print(f"  whole default scan             {scan:8.3f} s ({scan_spread:.0%})")
    print(f"  PyTorch, sigma alone           {torch:8.3f} s ({torch_spread:.0%})   ratio {torch / scan:.2f}  (at least 2, goal 4; AVX2: 1)")
    print(f"  reading the bytes, one thread  {read:8.3f} s ({read_spread:.0%})   ratio {scan / read:.2f}  (at most 10, goal 5)")
    counts = [n for n in (1, 2, 4, 8, 16, 32) if n <= options.layers]
    print("  layers    " + "".join(f"{n:8d}" for n in counts))
    for used in sorted({1, threads}):
        print(f"  {used} thread{'s' if used > 1 else ' '} " + "".join(f"{min(scan_seconds(folder, n, used) for _ in range(2)):8.3f}" for n in counts))
    for shape in ("llama-2-70b", "gpt2-xl"):
        other = made.make(work / shape, shape)
        layers = made.SHAPES[shape][0]
        print(f"  {shape}: {layers} layer{'s' if layers > 1 else ''} in {min(scan_seconds(other, layers, threads) for _ in range(3)):.3f} s")
    print(f"  peak memory of a scan: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
