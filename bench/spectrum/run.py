"""Singular values alone: sigma of the 32 heads of a Llama-2-7B-shaped BF16 layer, beside PyTorch.

  build/venv/bin/python bench/spectrum/run.py [--rounds N] [--record]

PyTorch: FP32 Grams, Cholesky, svdvals. Both have the weights in memory and both cores; they take turns, and ratios are of
neighbouring turns. --record keeps the result in bench/results/spectrum.json and in docs/scan.md, whose table has both.
"""

import argparse
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import measured
import peer

HEADS, HEAD_DIM, WIDTH = 32, 128, 4096


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    threads = os.cpu_count()
    theirs = peer.torch_sigma(threads, HEADS, HEAD_DIM, WIDTH)
    program = peer.ROOT / "build/release/bin/spectrum_sigma_bench"
    ours = subprocess.Popen(
        [program, *map(str, (HEADS, HEAD_DIM, WIDTH, threads))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    path = ours.stdout.readline().strip()

    def turn():
        ours.stdin.write("\n")
        ours.stdin.flush()
        return float(ours.stdout.readline())

    turn()
    pairs = [(turn(), peer.timed(theirs)) for _ in range(options.rounds)]
    ours.stdin.close()
    ours.wait()
    mine, other, ratio = (
        peer.middle(values) for values in ([a for a, _ in pairs], [b for _, b in pairs], [b / a for a, b in pairs])
    )
    machine = peer.machine()
    print(
        f"{machine['cpu']}, path {path}, {threads} threads; {HEADS} heads of {HEAD_DIM} x {WIDTH}; "
        f"median (quartiles) of {options.rounds} rounds"
    )
    print(f"  ullage   {mine[1] * 1e3:8.1f} ms ({mine[0] * 1e3:.1f} to {mine[2] * 1e3:.1f})")
    print(f"  PyTorch  {other[1] * 1e3:8.1f} ms ({other[0] * 1e3:.1f} to {other[2] * 1e3:.1f})")
    wanted = "at least 1.5" if path == "avx2" else "at least 4, goal 8"
    print(f"  ratio    {ratio[1]:8.2f}    ({ratio[0]:.2f} to {ratio[2]:.2f})   {wanted}")
    if options.record:
        peer.record(
            "spectrum",
            {
                "machine": machine,
                "rounds": options.rounds,
                "heads": HEADS,
                "ullage seconds": mine,
                "torch seconds": other,
                "torch over ullage": ratio,
            },
        )
        measured.write("scan")
    return 0


if __name__ == "__main__":
    sys.exit(main())
