"""Fast CPU attention beside PyTorch's scaled_dot_product_attention: same tensors, same threads, one process.

  python bench/attention/run.py [--rounds N] [--threads N] [--element bf16|fp32] [--only SHAPE] [--json FILE]
  python bench/attention/run.py --document        writes bench/results/attention.json into docs/attention.md

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
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LIBRARY = ROOT / "build/release/bench/attention/libattention_bench.so"
sys.path.insert(0, str(ROOT / "bench"))
import measured  # noqa: E402
import peer  # noqa: E402

peer.hold_to_avx2()
import torch  # noqa: E402  (after the variables that it reads)

ELEMENTS = ["bf16", "fp32"]
# name -> batch, query heads, kv heads, rows, width, causal
SHAPES = {
    "B1 H12 N1024 d64 causal": (1, 12, 12, 1024, 64, True),
    "B1 H8 N2048 d128 causal": (1, 8, 8, 2048, 128, True),
    "B4 H12 N512 d64 full": (4, 12, 12, 512, 64, False),
    "B1 H1 N16384 d64 causal": (1, 1, 1, 16384, 64, True),
}


class Shape(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("batch", "query_heads", "kv_heads", "queries", "keys", "width")] + [
        (name, ctypes.c_int32) for name in ("is_causal", "stabilised", "statistics", "threads")
    ]


class BackwardTensors(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_void_p)
        for name in ("q", "k", "v", "grad_output", "output", "log_sum_exp", "grad_q", "grad_k", "grad_v")
    ]


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
            *(x.data_ptr() for x in (self.q, self.k, self.v, self.grad, self.output, self.log_sum_exp, *self.grads))
        )
        pairs = rows * (rows + 1) / 2 if causal else rows * rows
        self.flops = 4 * batch * heads * pairs * width

    def options(self, stabilised=False, statistics=False):
        batch, heads, kv_heads, rows, width, causal = self.shape
        return Shape(batch, heads, kv_heads, rows, rows, width, causal, stabilised, statistics, self.threads)

    def forward(self, **options):
        failed = self.library.attention_forward(
            ctypes.byref(self.options(**options)),
            self.element,
            pointer(self.q),
            pointer(self.k),
            pointer(self.v),
            pointer(self.output),
            pointer(self.log_sum_exp),
        )
        if failed:
            raise RuntimeError(f"the library refuses the problem: {failed}")

    def both(self):
        """Forward, then backward."""
        self.forward()
        failed = self.library.attention_backward(
            ctypes.byref(self.options()), self.element, ctypes.byref(self.backward_tensors)
        )
        if failed:
            raise RuntimeError(f"the library refuses the problem: {failed}")

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


def interleaved(calls, rounds, budget=0.1):
    """name -> seconds of each round; every call first runs until it is warm."""
    repeats = {}
    for name, call in calls.items():
        call()
        repeats[name] = max(1, int(budget / max(seconds(call, 1), 1e-6)))
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            # The threads of the one before may still spin; wait for them, and warm the caches.
            time.sleep(0.02)
            call()
            times[name].append(seconds(call, repeats[name]))
    return times


def ratio(times, slow, fast):
    """Median of slow / fast within rounds, and the span of its middle half."""
    ratios = sorted(a / b for a, b in zip(times[slow], times[fast], strict=True))
    quarter = len(ratios) // 4
    return {"median": statistics.median(ratios), "low": ratios[quarter], "high": ratios[-1 - quarter]}


def measure(library, name, shape, options):
    """One shape: every contender in turn, and what its results differ by."""
    problem = Problem(library, shape, ELEMENTS.index(options.element), options.threads)
    calls = {
        "torch forward": problem.torch_forward,
        "forward": problem.forward,
        "torch both": problem.torch_both,
        "both": problem.both,
    }
    times = interleaved(calls, options.rounds)
    output = problem.torch_forward()
    seconds_of = {call: statistics.median(values) for call, values in times.items()}
    row = {
        "shape": name,
        "seconds": seconds_of,
        "forward_gflops": problem.flops / seconds_of["forward"] * 1e-9,
        # Five products where the forward pass has two.
        "both_gflops": 3.5 * problem.flops / seconds_of["both"] * 1e-9,
        "forward_ratio": ratio(times, "torch forward", "forward"),
        "both_ratio": ratio(times, "torch both", "both"),
        "output_difference": (output.float() - problem.output.float()).abs().max().item(),
        "gradient_difference": max(
            ((leaf.grad - grad).abs().max() / leaf.grad.abs().max()).item()
            for leaf, grad in zip(problem.leaves, problem.grads, strict=True)
        ),
    }
    return row | by_cpu_time(library, shape, options)


def by_cpu_time(library, shape, options):
    """What the options cost, and the share of vdpbf16ps alone: one thread, by this process's CPU time, so that it does
    not count who else runs on the machine."""
    problem = Problem(library, shape, ELEMENTS.index(options.element), 1)
    calls = {
        "forward": problem.forward,
        "stabilised": lambda: problem.forward(stabilised=True),
        "statistics": lambda: problem.forward(statistics=True),
        "both": problem.both,
    }
    on_bf16 = options.element == "bf16" and library.attention_path(0) == b"avx512_bf16"
    if on_bf16:
        calls["peak"] = lambda: library.attention_bf16_peak(1)
    times = {name: [] for name in calls}
    for _ in range(2 * options.rounds):
        for name, call in calls.items():
            time.sleep(0.02)
            call()
            start = time.process_time()
            call()
            times[name].append(time.process_time() - start)
    row = {
        "stabilised_cost": ratio(times, "stabilised", "forward"),
        "statistics_cost": ratio(times, "statistics", "forward"),
    }
    if on_bf16:
        peak = library.attention_bf16_peak(1)
        row["bf16_peak_gflops_a_thread"] = peak / statistics.median(times["peak"]) * 1e-9
        row["forward_share_of_peak"] = problem.flops / peak * ratio(times, "peak", "forward")["median"]
        row["both_share_of_peak"] = 3.5 * problem.flops / peak * ratio(times, "peak", "both")["median"]
    return row


def show(row):
    seconds_of = row["seconds"]
    share = f"  {row['forward_share_of_peak']:.0%} of peak" if "forward_share_of_peak" in row else ""
    both_share = f"  {row['both_share_of_peak']:.0%} of peak" if "forward_share_of_peak" in row else ""

    def line(label, torch_name, name, gflops, speed, rest):
        print(
            f"  {label:26s} torch {seconds_of[torch_name] * 1e3:8.2f} ms  ours {seconds_of[name] * 1e3:8.2f} ms"
            f"  {gflops:5.0f} GFLOP/s"
            f"  ratio {speed['median']:.2f} [{speed['low']:.2f}, {speed['high']:.2f}]{rest}"
        )

    line(
        row["shape"],
        "torch forward",
        "forward",
        row["forward_gflops"],
        row["forward_ratio"],
        f"  stabilised {row['stabilised_cost']['median']:.3f}  statistics {row['statistics_cost']['median']:.3f}"
        f"  differ {row['output_difference']:.1e}{share}",
    )
    line(
        "  and backward",
        "torch both",
        "both",
        row["both_gflops"],
        row["both_ratio"],
        f"  differ {row['gradient_difference']:.1e}{both_share}",
    )


def run(options):
    """One path and element, in this process."""
    torch.set_num_threads(options.threads)
    library = ctypes.CDLL(str(options.library))
    library.attention_path.restype = ctypes.c_char_p
    library.attention_bf16_peak.restype = ctypes.c_double
    result = {
        "path": library.attention_path(ELEMENTS.index(options.element)).decode(),
        "element": options.element,
        "rows": [],
    }
    print(
        f"{options.element} tensors, path {result['path']}, {options.threads} threads, median of {options.rounds} rounds"
        " [middle half]",
        flush=True,
    )
    for name, shape in SHAPES.items():
        if options.only in name:
            result["rows"].append(measure(library, name, shape, options))
            show(result["rows"][-1])
    return result


def run_all(options):
    """Every path and element in a process of its own, since PyTorch reads its variables once."""
    runs = []
    for path in ("", "avx2"):
        for element in ELEMENTS:
            with tempfile.NamedTemporaryFile(suffix=".json") as out:
                environment = dict(os.environ, ULLAGE_CPU=path)
                subprocess.run(
                    [
                        sys.executable,
                        __file__,
                        "--rounds",
                        str(options.rounds),
                        "--threads",
                        str(options.threads),
                        "--element",
                        element,
                        "--library",
                        options.library,
                        "--only",
                        options.only,
                        "--one",
                        out.name,
                    ],
                    env=environment,
                    check=True,
                )
                runs.append(json.loads(pathlib.Path(out.name).read_text()))
    return {
        "schema": 1,
        "cpu": peer.machine()["cpu"],
        "threads": options.threads,
        "rounds": options.rounds,
        "torch": torch.__version__,
        "runs": runs,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--element", choices=ELEMENTS, default="bf16")
    parser.add_argument("--library", type=pathlib.Path, default=LIBRARY)
    parser.add_argument("--only", default="", help="shapes whose name holds this")
    parser.add_argument("--json", type=pathlib.Path, help="run all paths and elements, and write what was measured")
    parser.add_argument("--one", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument(
        "--document", action="store_true", help="run nothing: write the last result into docs/attention.md"
    )
    options = parser.parse_args()
    if options.document:
        measured.write("attention")
        return 0
    result = run_all(options) if options.json else run(options)
    for path in (options.json, options.one):
        if path:
            path.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
