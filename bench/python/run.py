"""ullage.torch.attention beside PyTorch's scaled_dot_product_attention, both called from Python with autograd.

  python bench/python/run.py [--rounds N] [--threads N] [--record]

The contenders take turns within a round; a ratio is PyTorch's time over ours within a round. The first shape is small
enough for a call to cost nothing but the way there and back. ULLAGE_CPU=avx2 forces our path, and PyTorch to AVX2.
--record keeps the latest run of a CPU and path in bench/results/python.json and writes the table of docs/attention.md.
"""

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
sys.path.insert(0, str(ROOT / "build/release/python"))
import measured  # noqa: E402
import peer  # noqa: E402

peer.hold_to_avx2()
import torch  # noqa: E402  (after the variables that it reads)

import ullage.torch  # noqa: E402

CALL = "B1 H1 N4 d16 causal"
# name -> batch, heads, rows, width, causal
SHAPES = {
    CALL: (1, 1, 4, 16, True),
    "B1 H12 N1024 d64 causal": (1, 12, 1024, 64, True),
    "B4 H12 N512 d64 full": (4, 12, 512, 64, False),
}
CONTENDERS = {"torch": torch.nn.functional.scaled_dot_product_attention, "ullage": ullage.torch.attention}


def calls(dtype, batch, heads, rows, width, causal):
    """name -> a call, forward alone and with its gradients."""
    generator = torch.Generator().manual_seed(1)
    q, k, v, grad = (torch.randn(batch, heads, rows, width, generator=generator).to(dtype) for _ in range(4))
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]

    def forward(attention):
        with torch.no_grad():
            return attention(q, k, v, is_causal=causal)

    def both(attention):
        return torch.autograd.grad(attention(*leaves, is_causal=causal), leaves, grad)

    return {
        f"{name} {kind.__name__}": lambda kind=kind, one=one: kind(one)
        for kind in (forward, both)
        for name, one in CONTENDERS.items()
    }


def measure(shape, dtype, rounds):
    todo = calls(dtype, *shape)
    repeats = {}
    for name, call in todo.items():
        call()
        repeats[name] = max(1, int(0.05 / max(peer.timed(call), 1e-6)))
    times = {name: [] for name in todo}
    for _ in range(rounds):
        for name, call in todo.items():
            call()
            times[name].append(peer.timed(lambda: [call() for _ in range(repeats[name])]) / repeats[name])
    return {"seconds": {name: peer.middle(values)[1] for name, values in times.items()}} | {
        f"{kind}: torch over ullage": peer.middle(
            [a / b for a, b in zip(times[f"torch {kind}"], times[f"ullage {kind}"], strict=True)]
        )
        for kind in ("forward", "both")
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    rows = []
    for dtype in (torch.bfloat16, torch.float32):
        for name, shape in SHAPES.items():
            threads = 1 if name == CALL else options.threads
            torch.set_num_threads(threads)
            rows.append(
                {"dtype": str(dtype).removeprefix("torch."), "shape": name, "threads": threads}
                | measure(shape, dtype, options.rounds)
            )
            row = rows[-1]
            print(
                f"{row['dtype']:9} {name:24} forward {row['seconds']['ullage forward'] * 1e3:9.3f} ms, PyTorch's over it "
                f"{measured.ratio(row['forward: torch over ullage'])}; with gradients "
                f"{measured.ratio(row['both: torch over ullage'])}",
                flush=True,
            )
    if options.record:
        peer.record(
            "python", {"machine": peer.machine(), "threads": options.threads, "torch": torch.__version__, "rows": rows}
        )
        measured.write("python")


if __name__ == "__main__":
    main()
