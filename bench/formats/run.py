"""Casts beside a copy of as many bytes, beside PyTorch and beside ml_dtypes, as ratios.

  build/venv/bin/python bench/formats/run.py [--rounds N] [--millions N] [--json FILE]
  build/venv/bin/python bench/formats/run.py --document        writes the result into docs/formats.md

Two kinds of run, each with its contenders by turns in one process, arrays of 256 MB and more, counts on:
formats_cast_bench casts into memory that is there, against memcpy into memory that is there, on each CPU path that this
machine has, on one thread (its own CPU clock) and on all (the wall's). Here, ullage.cast, Tensor.to and ndarray.astype
each make their result, but in place, where it is there. Machines are shared and their memory's speed changes from minute
to minute: read the ratios, and the quartiles beside them. The result goes to bench/results/formats.json, with the CPU's
name.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import measured  # noqa: E402

BUILD = ROOT / "build/release"
RESULTS = ROOT / "bench/results/formats.json"
PEERS = {
    "e4m3": ("float8_e4m3fn", "float8_e4m3fn"),
    "e5m2": ("float8_e5m2", "float8_e5m2"),
    "bf16": ("bfloat16", "bfloat16"),
    "fp16": ("float16", None),
}  # PyTorch's name, ml_dtypes'
ML_DTYPES_TARGETS = {"e4m3": 20, "e5m2": 20}


def share_of_copy(path, threads, options):
    command = [
        BUILD / "bin/formats_cast_bench",
        "--json",
        "--threads",
        threads,
        "--rounds",
        options.rounds,
        "--millions",
        options.millions,
    ]
    run = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=True, env={**os.environ, "ULLAGE_CPU": path}
    )
    report = json.loads(run.stdout)
    return report if report["path"] == path else None  # this CPU lacks it


def timed(call):
    start = time.perf_counter()
    result = call()
    elapsed = time.perf_counter() - start
    del result  # freeing it is not the subject
    return elapsed


def beside_others(threads, options):
    """Seconds of the others over ours, by format; every contender once a round."""
    os.environ["ULLAGE_THREADS"] = str(threads)
    import ml_dtypes
    import numpy as np
    import torch

    import ullage

    torch.set_num_threads(threads)
    values = np.tile(
        np.random.default_rng(1).standard_normal(1 << 16, dtype=np.float32), options.millions * 1_000_000 >> 16
    )
    tensor = torch.from_numpy(values)
    found = []
    for name, (of_torch, of_ml_dtypes) in PEERS.items():
        there = tensor.to(getattr(torch, of_torch))
        codes = there.view(torch.uint8 if there.element_size() == 1 else torch.int16)
        contenders = {
            "ours, tensor": lambda: ullage.cast(tensor, name, counts=True),
            "pytorch": lambda: tensor.to(getattr(torch, of_torch)),
            "ours, array": lambda: ullage.cast(values, name, counts=True),
            "ours, in place": lambda: ullage._core.cast(tensor, None, name, codes, "nearest", True, 0),
            "pytorch, in place": lambda: there.copy_(tensor),
        }
        if of_ml_dtypes:
            contenders["ml_dtypes"] = lambda: values.astype(getattr(ml_dtypes, of_ml_dtypes))
        seconds = {key: [] for key in contenders}
        for turn in range(options.rounds + 1):
            for key, call in contenders.items():
                if key == "ml_dtypes" and turn > 3:
                    continue  # slow, and steady
                elapsed = timed(call)
                if turn > 0:
                    seconds[key].append(elapsed)
        medians = {key: statistics.median(times) for key, times in seconds.items()}
        found.append(
            {
                "name": name,
                "giga_elements_per_second": {k: len(values) / s * 1e-9 for k, s in medians.items()},
                "times_as_fast_as": {
                    other: medians[other] / medians[ours]
                    for other, ours in (
                        ("pytorch", "ours, tensor"),
                        ("pytorch, in place", "ours, in place"),
                        ("ml_dtypes", "ours, array"),
                    )
                    if other in medians
                },
            }
        )
    return {
        "threads": threads,
        "elements": len(values),
        "casts": found,
        "versions": {"torch": torch.__version__, "ml_dtypes": ml_dtypes.__version__, "numpy": np.__version__},
    }


def mark(value, target):
    return "" if target is None else f"  (at least {target}{'' if value >= target else ': MISSED'})"


def show_copy(report):
    print(
        f"\n{report['cpu']}, path {report['path']}, {report['threads']} thread{'s' * (report['threads'] > 1)}, "
        f"{report['elements'] * 4 >> 20} MiB of FP32, median of {report['rounds']} rounds: share of a copy's speed"
    )
    for cast in report["casts"]:
        low, high = cast["quartiles"]
        print(
            f"  {cast['name']:22} {cast['share_of_copy']:5.2f} ({low:.2f}..{high:.2f})"
            f"{mark(cast['share_of_copy'], measured.CAST_GOALS.get(cast['name']))}"
        )


def show_peers(report):
    print(
        f"\nullage.cast, counts on, {report['threads']} thread{'s' * (report['threads'] > 1)}: times as fast as "
        f"PyTorch {report['versions']['torch']} and ml_dtypes {report['versions']['ml_dtypes']} (one thread always)"
    )
    for cast in report["casts"]:
        ratios = cast["times_as_fast_as"]
        of_torch = f"{ratios['pytorch']:5.2f}{mark(ratios['pytorch'], 1)}, in place {ratios['pytorch, in place']:5.2f}"
        of_ml = (
            f"{ratios['ml_dtypes']:6.1f}{mark(ratios['ml_dtypes'], ML_DTYPES_TARGETS.get(cast['name']))}"
            if "ml_dtypes" in ratios
            else "     -"
        )
        print(f"  {cast['name']:6} PyTorch {of_torch:40} ml_dtypes {of_ml}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--millions", type=int, default=68, help="elements; 68 million are 272 MB of FP32")
    parser.add_argument("--json", type=pathlib.Path, default=RESULTS, help="where the result goes")
    parser.add_argument("--peers", type=int, help=argparse.SUPPRESS)  # a process of its own for each number of threads
    parser.add_argument(
        "--document", action="store_true", help="run nothing: write the last result into docs/formats.md"
    )
    options = parser.parse_args()
    if options.document:
        measured.write("formats")
        return 0
    sys.path.insert(0, str(BUILD / "python"))
    if options.peers:
        print(json.dumps(beside_others(options.peers, options)))
        return 0
    counts = sorted({1, len(os.sched_getaffinity(0))}, reverse=True)
    copies, peers = [], []
    for path in ("avx512", "avx2"):
        for threads in counts:
            if report := share_of_copy(path, threads, options):
                copies.append(report)
                show_copy(report)
    for threads in counts:
        run = subprocess.run(
            [
                sys.executable,
                __file__,
                "--peers",
                str(threads),
                "--rounds",
                str(options.rounds),
                "--millions",
                str(options.millions),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        peers.append(json.loads(run.stdout))
        show_peers(peers[-1])
    options.json.parent.mkdir(parents=True, exist_ok=True)
    cpu = copies[0]["cpu"] if copies else "unknown"
    options.json.write_text(
        json.dumps({"schema": 1, "benchmark": "formats", "cpu": cpu, "copy": copies, "peers": peers}, indent=1) + "\n"
    )
    print(f"\nwrote {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
