"""Spectra of a model's heads on the GPU beside reading its weights once, and beside PyTorch, as ratios from one run.

  python3 bench/cuda/spectra.py [--rounds N] [--build build/cuda] [--record]

cuda_spectra_bench (built with -DULLAGE_CUDA=ON) times warm power iteration and certified spectra of all heads. PyTorch, where
this Python has one that sees the GPU: the same power iteration as batched BF16 products, FP32 Grams, and sigma by Cholesky
factors and svdvals of one layer. With --record the result goes to bench/results/cuda.json.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import gpu as machine

# layers, heads, key heads, head width, model width
MODELS = {
    "llama-2-7b": (32, 32, 32, 128, 4096),
    "llama-2-70b, 8 layers": (8, 64, 8, 128, 8192),
    "gpt2-xl": (48, 25, 25, 64, 1600),
}
MOST_READS, MOST_MS = 3, 50  # what the 7B model may take: readings of its weights, milliseconds


def of_model(options, shape):
    command = [options.build / "bin/cuda_spectra_bench", *shape, options.rounds]
    return json.loads(subprocess.run([*map(str, command)], capture_output=True, text=True, check=True).stdout)


def beside_torch(rounds, layers, heads, kv_heads, head_dim, width):
    """Milliseconds [quartile, median, quartile] of PyTorch's ways, or why not."""
    try:
        import torch
    except ImportError as missing:
        return {"left out": str(missing)}
    if not torch.cuda.is_available():
        return {"left out": "PyTorch sees no GPU"}
    generator = torch.Generator(device="cuda").manual_seed(1)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, device="cuda").mul_(0.02).bfloat16()

    unit = torch.nn.functional.normalize
    queries = [normal(heads, head_dim, width) for _ in range(layers)]
    keys = [normal(kv_heads, head_dim, width) for _ in range(layers)]
    directions = [unit(normal(heads, width, 1), dim=1) for _ in range(layers)]
    group = heads // kv_heads

    def power():
        for i, (a, b) in enumerate(zip(queries, keys, strict=True)):
            b = b.repeat_interleave(group, 0) if group > 1 else b
            directions[i] = unit(b.mT @ (a @ (a.mT @ (b @ directions[i]))), dim=1)
            (a.mT @ (b @ directions[i])).norm(dim=1)

    def grams():
        for weights in (*queries, *keys):
            x = weights.float()
            x @ x.mT

    def sigma():
        factors = [torch.linalg.cholesky(x.float() @ x.float().mT) for x in (queries[0], keys[0])]
        return torch.linalg.svdvals(factors[0].mT @ factors[1].repeat_interleave(group, 0))

    def timed(call, turns):
        times = []
        for turn in range(turns + 2):
            before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            before.record()
            call()
            after.record()
            after.synchronize()
            if turn > 1:
                times.append(before.elapsed_time(after))
        return statistics.quantiles(times, n=4, method="inclusive")

    return {
        "torch": torch.__version__,
        "power iteration 1 ms": timed(power, rounds),
        "FP32 Grams ms": timed(grams, max(rounds // 4, 3)),
        "sigma of one layer ms": timed(sigma, 3),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--build", type=pathlib.Path, default=machine.ROOT / "build/cuda")
    parser.add_argument("--record", action="store_true", help="write bench/results/cuda.json")
    options = parser.parse_args()
    models = {name: of_model(options, shape) for name, shape in MODELS.items()}
    found = machine.gpu()
    torch = beside_torch(options.rounds, *MODELS["llama-2-7b"])
    print(
        f"{found['name']}, driver {found['driver_version']}, {found['clocks.sm']} MHz of {found['clocks.max.sm']}, "
        f"memory {found['clocks.mem']} MHz; milliseconds, median of {options.rounds} rounds"
    )
    print(
        f"{'model':22} {'read':>7} {'GB/s':>6} {'power 0':>8} {'power 1':>8} {'reads':>6} "
        f"{'stored':>8} {'folded':>8} {'FP64 heads':>10}"
    )
    for name, model in models.items():
        middle = {key[:-3]: value[1] for key, value in model.items() if key.endswith(" ms")}
        print(
            f"{name:22} {middle['read']:7.3f} {model['weight_bytes'] / middle['read'] / 1e6:6.0f} "
            f"{middle['power iteration 0']:8.3f} "
            f"{middle['power iteration 1']:8.3f} {middle['power iteration 1'] / middle['read']:6.2f} "
            f"{middle['spectra stored']:8.2f} "
            f"{middle['spectra folded']:8.2f} {model['heads in FP64']:10}"
        )
    model = models["llama-2-7b"]
    reads = model["power iteration 1 ms"][1] / model["read ms"][1]
    print(
        f"llama-2-7b: a refresh by power iteration takes {reads:.2f} readings of its weights (wanted: at most {MOST_READS}), "
        "Grams and "
        f"certificates {model['spectra folded ms'][1]:.1f} ms (wanted: under {MOST_MS})"
    )
    print("PyTorch:", torch)
    if options.record:
        machine.record(
            "spectra",
            {
                "command": f"bench/cuda/spectra.py --rounds {options.rounds}",
                "gpu": found,
                "models": models,
                "llama-2-7b beside torch": torch,
            },
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
