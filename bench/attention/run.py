"""Fast CPU attention beside PyTorch's scaled_dot_product_attention: same tensors, same threads, one process.

  python bench/attention/run.py [--rounds N] [--threads N] [--element bf16|fp32] [--json FILE] [--quick]

Contenders take turns within a round, each figure is the median of the rounds and each ratio the median of the
rounds' ratios: machines are shared, read the ratios. ULLAGE_CPU=avx2 forces our path; PyTorch is then held to AVX2 by
ATEN_CPU_CAPABILITY, DNNL_MAX_CPU_ISA and MKL_ENABLE_INSTRUCTIONS, which the script sets.
"""

import argparse
import ctypes
import json
import os
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LIBRARY = ROOT / "build/release/bench/attention/libattention_bench.so"
if os.environ.get("ULLAGE_CPU") == "avx2":
    os.environ.setdefault("ATEN_CPU_CAPABILITY", "avx2")
    os.environ.setdefault("DNNL_MAX_CPU_ISA", "AVX2")
    os.environ.setdefault("MKL_ENABLE_INSTRUCTIONS", "AVX2")
import torch  # noqa: E402  (after the variables that it reads)

# name -> batch, query heads, kv heads, rows, width, causal
SHAPES = {
    "B1 H12 N1024 d64 causal": (1, 12, 12, 1024, 64, True),
    "B1 H8 N2048 d128 causal": (1, 8, 8, 2048, 128, True),
    "B4 H12 N512 d64 full": (4, 12, 12, 512, 64, False),
    "B1 H1 N16384 d64 causal": (1, 1, 1, 16384, 64, True),
}


class Shape(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("batch", "query_heads", "kv_heads", "queries", "keys", "width")] + \
               [(name, ctypes.c_int32) for name in ("is_causal", "stabilised", "statistics", "threads")]


class BackwardTensors(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p)
                for name in ("q", "k", "v", "grad_output", "output", "log_sum_exp", "grad_q", "grad_k", "grad_v")]


def pointer(tensor):
    return ctypes.c_void_p(tensor.data_ptr())


class Problem:
    """One shape's tensors and the calls that are timed."""

    def __init__(self, library, shape, element, threads):
        self.library, self.element, self.threads = library, element, threads
        batch, heads, kv_heads, rows, width, causal = shape
        self.shape, self.causal = shape, causal
        generator = torch.Generator().manual_seed(1)
        dtype = torch.bfloat16 if element == 0 else torch.float32

        def normal(n_heads):
            return torch.randn(batch, n_heads, rows, width, generator=generator).to(dtype)

        self.q, self.k, self.v, self.grad = normal(heads), normal(kv_heads), normal(kv_heads), normal(heads)
        self.output = torch.empty_like(self.q)
        self.log_sum_exp = torch.empty(batch, heads, rows, dtype=torch.float32)
        self.grads = [torch.empty_like(x) for x in (self.q, self.k, self.v)]
        self.leaves = [x.clone().requires_grad_() for x in (self.q, self.k, self.v)]
        self.backward_tensors = BackwardTensors(
            *(x.data_ptr() for x in (self.q, self.k, self.v, self.grad, self.output, self.log_sum_exp, *self.grads)))
        pairs = rows * (rows + 1) / 2 if causal else rows * rows
        self.flops = 4 * batch * heads * pairs * width

    def options(self, stabilised=False, statistics=False):
        batch, heads, kv_heads, rows, width, causal = self.shape
        return Shape(batch, heads, kv_heads, rows, rows, width, causal, stabilised, statistics, self.threads)

    def forward(self, **options):
        failed = self.library.attention_forward(
            ctypes.byref(self.options(**options)), self.element, pointer(self.q), pointer(self.k), pointer(self.v),
            pointer(self.output), pointer(self.log_sum_exp))
        assert failed == 0

    def both(self):
        """Forward, then backward."""
        self.forward()
        failed = self.library.attention_backward(
            ctypes.byref(self.options()), self.element, ctypes.byref(self.backward_tensors))
        assert failed == 0

    def torch_both(self):
        for leaf in self.leaves:
            leaf.grad = None
        output = torch.nn.functional.scaled_dot_product_attention(*self.leaves, is_causal=self.causal)
        output.backward(self.grad)

    def torch_forward(self):
        with torch.no_grad():
            return torch.nn.functional.scaled_dot_product_attention(self.q, self.k, self.v, is_causal=self.causal)


def seconds(call, repeats):
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def interleaved(calls, rounds, budget=0.15):
    """name -> seconds of each round; every call first runs until it is warm."""
    repeats = {}
    for name, call in calls.items():
        call()
        repeats[name] = max(1, int(budget / max(seconds(call, 1), 1e-6)))
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call, repeats[name]))
    return times


def ratio(times, slow, fast):
    """Median of slow / fast within rounds, and the span of its middle half."""
    ratios = sorted(a / b for a, b in zip(times[slow], times[fast]))
    return {"median": statistics.median(ratios), "low": ratios[len(ratios) // 4], "high": ratios[-1 - len(ratios) // 4]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--element", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--library", type=pathlib.Path, default=LIBRARY)
    parser.add_argument("--only", default="", help="shapes whose name holds this")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    library = ctypes.CDLL(str(options.library))
    library.attention_path.restype = ctypes.c_char_p
    element = 0 if options.element == "bf16" else 1
    path = library.attention_path(element).decode()
    print(f"path {path}, {options.threads} threads, {options.rounds} rounds, torch {torch.__version__}")
    for name, shape in SHAPES.items():
        if options.only not in name:
            continue
        problem = Problem(library, shape, element, options.threads)
        times = interleaved({
            "torch": problem.torch_forward,
            "ours": problem.forward,
            "stabilised": lambda: problem.forward(stabilised=True),
            "statistics": lambda: problem.forward(statistics=True),
            "torch both": problem.torch_both,
            "ours both": problem.both,
        }, options.rounds)
        difference = (problem.torch_forward().float() - problem.output.float()).abs().max().item()
        worst = max(((leaf.grad - grad).abs().max() / leaf.grad.abs().max()).item()
                    for leaf, grad in zip(problem.leaves, problem.grads))
        speed, both = ratio(times, "torch", "ours"), ratio(times, "torch both", "ours both")
        print(f"  {name:26s} torch {statistics.median(times['torch'])*1e3:8.2f} ms  ours {statistics.median(times['ours'])*1e3:8.2f} ms"
              f"  {problem.flops/statistics.median(times['ours'])*1e-9:5.0f} GFLOP/s  ratio {speed['median']:.2f} [{speed['low']:.2f}, {speed['high']:.2f}]"
              f"  stabilised {ratio(times, 'stabilised', 'ours')['median']:.3f}  statistics {ratio(times, 'statistics', 'ours')['median']:.3f}  diff {difference:.4f}\n"
              f"  {'':26s} both  {statistics.median(times['torch both'])*1e3:8.2f} ms  ours {statistics.median(times['ours both'])*1e3:8.2f} ms"
              f"  {3.5*problem.flops/statistics.median(times['ours both'])*1e-9:5.0f} GFLOP/s  ratio {both['median']:.2f} [{both['low']:.2f}, {both['high']:.2f}]  diff {worst:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
