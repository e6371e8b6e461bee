"""Casts on the GPU beside a copy in its memory and beside PyTorch, as ratios from one run.

  python3 bench/cuda/casts.py [--rounds N] [--log2 N] [--build build/cuda] [--record]

cuda_cast_bench (built with -DULLAGE_CUDA=ON) times casts against device-to-device copies of as many bytes, counts on.
Here, ullage.cast and Tensor.to each make their result; where this Python has no PyTorch that sees the GPU, or the build no
binding for this Python, that part is left out and said so. With --record the result goes to bench/results/cuda.json.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import gpu as machine

TARGET = 0.85  # share of the copy, on large arrays
PEERS = {"e4m3": "float8_e4m3fn", "e5m2": "float8_e5m2", "fp16": "float16", "bf16": "bfloat16"}


def beside_copies(options):
    command = [options.build / "bin/cuda_cast_bench", "--rounds", options.rounds, "--log2", options.log2]
    run = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


def beside_torch(options):
    """Milliseconds of ullage.cast and of Tensor.to by turns, or why not."""
    sys.path.insert(0, str(options.build / "python"))
    try:
        import torch

        import ullage
    except ImportError as missing:
        return [], f"beside PyTorch: left out, {missing}"
    if not torch.cuda.is_available() or ullage._core.why_no_gpu():
        return [], f"beside PyTorch: left out, no GPU: {ullage._core.why_no_gpu()}"
    rows = []
    for source in ("fp32", "bf16"):
        x = torch.randn(1 << options.log2, device="cuda").to(torch.float32 if source == "fp32" else torch.bfloat16)
        for name, dtype in PEERS.items():
            if name == source:
                continue
            contenders = {"ullage": lambda: ullage.cast(x, name), "torch": lambda: x.to(getattr(torch, dtype))}
            times = {key: [] for key in contenders}
            for turn in range(options.rounds + 1):
                for key, call in contenders.items():
                    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                    before.record()
                    result = call()
                    after.record()
                    after.synchronize()
                    del result
                    if turn > 0:
                        times[key].append(before.elapsed_time(after))
            ratios = sorted(theirs / ours for ours, theirs in zip(times["ullage"], times["torch"], strict=True))
            rows.append(
                {
                    "from": source,
                    "to": name,
                    "elements": x.numel(),
                    "milliseconds": {key: statistics.median(value) for key, value in times.items()},
                    "times_as_fast_as_torch": statistics.median(ratios),
                    "quartiles": [ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]],
                }
            )
    return rows, f"beside PyTorch {torch.__version__}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--log2", type=int, default=28, help="elements of the large arrays")
    parser.add_argument("--build", type=pathlib.Path, default=machine.ROOT / "build/cuda")
    parser.add_argument("--record", action="store_true", help="write bench/results/cuda.json")
    options = parser.parse_args()
    options.build = options.build.resolve()
    copies = beside_copies(options)
    found = machine.gpu()  # after the work: the clocks of a GPU that ran
    peers, about_peers = beside_torch(options)
    print(
        f"{found['name']}, driver {found['driver_version']}, {found['clocks.sm']} MHz of {found['clocks.max.sm']}, "
        f"memory {found['clocks.mem']} MHz; median of {options.rounds} rounds"
    )
    print(
        f"{'from':5} {'to':5} {'rounding':13} {'counts':6} {'elements':>10} "
        f"{'us':>9} {'GB/s':>8} {'copy':>8}  share (quartiles)"
    )
    for row in copies:
        low, high = row["quartiles"]
        missed = row["elements"] == 1 << options.log2 and row["share_of_copy"] < TARGET
        print(
            f"{row['from']:5} {row['to']:5} {row['rounding']:13} {'on' if row['counts'] else 'off':6} {row['elements']:10} "
            f"{row['microseconds']:9.1f} {row['gigabytes_per_second']:8.0f} {row['copy_gigabytes_per_second']:8.0f}  "
            f"{row['share_of_copy']:.3f} ({low:.3f}..{high:.3f}){'  below ' + str(TARGET) if missed else ''}"
        )
    print(about_peers)
    for row in peers:
        low, high = row["quartiles"]
        print(
            f"{row['from']:5} {row['to']:5} ullage {row['milliseconds']['ullage']:.3f} ms, torch "
            f"{row['milliseconds']['torch']:.3f} ms: {row['times_as_fast_as_torch']:.2f} times as fast ({low:.2f}..{high:.2f})"
        )
    if options.record:
        machine.record(
            "casts",
            {
                "command": f"bench/cuda/casts.py --rounds {options.rounds} --log2 {options.log2}",
                "gpu": found,
                "beside copies": copies,
                "beside torch": peers,
                "about": about_peers,
            },
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
