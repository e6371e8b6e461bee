"""The measured tables of docs/, made from bench/results alone.

  python3 bench/measured.py        writes all of them

Nothing here measures, so that a test can make every table again (tests/house/bench_test.py). The benchmarks call write()
after they have stored a result.
"""

import json
import pathlib
import typing

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench/results"
END = "<!-- measured: end -->\n"

# Share of a copy's speed that each cast should reach at least.
CAST_GOALS = {
    "e4m3 nearest-even": 0.7,
    "e5m2 nearest-even": 0.7,
    "bf16 nearest-even": 0.7,
    "fp16 nearest-even": 0.7,
    "e4m3 stochastic": 0.3,
    "e5m2 stochastic": 0.3,
    "bf16 stochastic": 0.3,
    "fp16 stochastic": 0.3,
    "mxfp8-e4m3 floor": 0.5,
    "mxfp8-e4m3 round-up": 0.5,
    "mxfp8-e5m2 floor": 0.5,
    "mxfp8-e5m2 round-up": 0.5,
}
# Figures of bench/results/scan.json: what docs/scan.md calls them.
SCAN_FIGURES = {
    "torch over scan": "whole scan: PyTorch's sigma over ullage",
    "scan over read, from disk": "scan over reading the bytes: from disk",
    "scan over read": "from the page cache",
    "header of 100,000 tensors, safetensors over ullage": "header of 100,000 tensors: safetensors over ullage",
}


def ratio(triple):
    low, mid, high = triple
    return f"{mid:.2f} ({low:.2f} to {high:.2f})"


def attention(results):
    result = results["attention"]
    yield f"{result['cpu']}, {result['threads']} threads, PyTorch {result['torch']}, medians of {result['rounds']} rounds:"
    yield ""
    yield "| tensors, path | shape | forward | forward + backward | share of BF16 peak | stabilised | statistics |"
    yield "|---|---|---|---|---|---|---|"
    for each in result["runs"]:
        for row in each["rows"]:
            shares = (
                f"{row['forward_share_of_peak']:.0%}, {row['both_share_of_peak']:.0%}"
                if "forward_share_of_peak" in row
                else ""
            )
            yield (
                f"| {each['element']}, {each['path']} | {row['shape']} | {row['forward_ratio']['median']:.2f}x,"
                f" {row['forward_gflops']:.0f} GFLOP/s | {row['both_ratio']['median']:.2f}x, {row['both_gflops']:.0f} GFLOP/s"
                f" | {shares} | {row['stabilised_cost']['median'] - 1:+.1%} | {row['statistics_cost']['median'] - 1:+.1%} |"
            )


def python(results):
    yield ""
    yield "| CPU, path | tensors | shape | threads | forward | forward and gradients |"
    yield "|---|---|---|---|---|---|"
    for entry in results["python"]:
        for row in entry["rows"]:
            yield (
                f"| {entry['machine']['cpu']}, {entry['machine']['path']} | {row['dtype']} | {row['shape']} | "
                f"{row['threads']} | "
                + " | ".join(ratio(row[f"{kind}: torch over ullage"]) for kind in ("forward", "both"))
                + " |"
            )
    yield ""


def scan(results):
    entries = {
        name: {(e["machine"]["cpu"], e["machine"]["path"]): e for e in results.get(name, [])}
        for name in ("scan", "spectrum")
    }
    heads = ["CPU, path, threads", "sigma alone: PyTorch over ullage", *SCAN_FIGURES.values(), "peak memory"]
    yield ""
    yield "| " + " | ".join(heads) + " |"
    yield "|---" * len(heads) + "|"
    for key in sorted(set().union(*entries.values())):
        of_scan, spectrum = entries["scan"].get(key), entries["spectrum"].get(key)
        machine = (of_scan or spectrum)["machine"]
        figures = of_scan["figures"] if of_scan else {}
        cells = [
            f"{machine['cpu']}, {machine['path']}, {machine['threads']}",
            ratio(spectrum["torch over ullage"]) if spectrum else "",
            *(ratio(figures[name]) if name in figures else "" for name in SCAN_FIGURES),
            f"{max(s['peak memory MiB'] for s in of_scan['shapes'].values()):.0f} MiB" if of_scan else "",
        ]
        yield "| " + " | ".join(cells) + " |"
    yield ""
    yield (
        "Medians with quartiles. A 32-layer BF16 checkpoint of Llama-2-7B's attention shapes; memory is the most of that "
        "one, of a"
    )
    yield "70B-shaped layer and of GPT-2 XL's shapes."
    yield ""


def formats(results):
    report = results["formats"]
    runs = report["copy"]
    names = [f"{run['path']}, {run['threads']} thread{'s' * (run['threads'] > 1)}" for run in runs]
    yield (
        f"{report['cpu']}, {runs[0]['elements'] * 4 >> 20} MiB of FP32, median of {runs[0]['rounds']} rounds, counts on. "
        "Share of a copy's speed:"
    )
    yield ""
    yield f"| FP32 to | {' | '.join(names)} | goal |"
    yield "|---|" + "---:|" * (len(names) + 1)
    for row in zip(*(run["casts"] for run in runs), strict=True):
        yield (
            f"| {row[0]['name']} | "
            + " | ".join(f"{cast['share_of_copy']:.2f}" for cast in row)
            + f" | {CAST_GOALS.get(row[0]['name'], '')} |"
        )
    versions = report["peers"][0]["versions"]
    yield ""
    yield (
        f"`ullage.cast` against PyTorch {versions['torch']} (`Tensor.to`, as many threads) and ml_dtypes "
        f"{versions['ml_dtypes']} (`astype`, one thread), times as fast:"
    )
    yield ""
    yield "| FP32 to | threads | PyTorch | PyTorch, into memory that is there | ml_dtypes |"
    yield "|---|---:|---:|---:|---:|"
    for peers in report["peers"]:
        for cast in peers["casts"]:
            ratios = cast["times_as_fast_as"]
            ml_dtypes = f"{ratios['ml_dtypes']:.1f}" if "ml_dtypes" in ratios else "-"
            yield (
                f"| {cast['name']} | {peers['threads']} | {ratios['pytorch']:.1f} | "
                f"{ratios['pytorch, in place']:.1f} | {ml_dtypes} |"
            )


def cuda_spectra(gpus):
    yield (
        "| GPU, model | reading Q and K once | refresh by power iteration, in readings "
        "| Grams and certificates | PyTorch: power iteration, over ours |"
    )
    yield "|---|---|---|---|---|"
    for name, benchmarks in gpus.items():
        for model, figures in benchmarks.get("spectra", {}).get("models", {}).items():
            read, power = figures["read ms"][1], figures["power iteration 1 ms"][1]
            theirs = benchmarks["spectra"].get(f"{model} beside torch", {}).get("power iteration 1 ms")
            yield (
                f"| {name}, {model} | {read:.3f} ms, {figures['weight_bytes'] / read / 1e6:.0f} GB/s | {power / read:.2f} | "
                f"{figures['spectra folded ms'][1]:.1f} ms | {f'{theirs[1] / power:.1f}' if theirs else ''} |"
            )


def cuda_casts(gpus):
    yield "Casts of 2^28 elements, counts on: bytes a second over those of a device-to-device copy in the same run."
    yield ""
    for name, benchmarks in gpus.items():
        rows = [
            row
            for row in benchmarks.get("casts", {}).get("beside copies", [])
            if row["counts"] and row["elements"] == 1 << 28
        ]
        targets = sorted({row["to"] for row in rows})
        yield f"| {name}: from, rounding | {' | '.join(targets)} |"
        yield "|---" * (len(targets) + 1) + "|"
        for kind in sorted({(row["from"], row["rounding"]) for row in rows}):
            share = {row["to"]: f"{row['share_of_copy']:.2f}" for row in rows if (row["from"], row["rounding"]) == kind}
            yield f"| {', '.join(kind)} | {' | '.join(share.get(to, '') for to in targets)} |"
        yield ""


def cuda(results):
    gpus = results["cuda"]["gpus"]
    yield from ["", *cuda_spectra(gpus), "", *cuda_casts(gpus)]


class Table(typing.NamedTuple):
    """A marked place of a page, and what makes the lines in it of the results by name."""

    page: pathlib.Path
    written_by: str
    lines: typing.Callable

    @property
    def begin(self):
        return f"<!-- measured: begin (written by {self.written_by}) -->\n"


TABLES = {
    "attention": Table(ROOT / "docs/attention.md", "bench/attention/run.py --document", attention),
    "python": Table(ROOT / "docs/attention.md", "bench/python/run.py --record", python),
    "scan": Table(ROOT / "docs/scan.md", "bench/scan/run.py --record", scan),
    "formats": Table(ROOT / "docs/formats.md", "bench/formats/run.py --document", formats),
    "cuda": Table(ROOT / "docs/cuda.md", "bench/cuda/run.py --record", cuda),
}


def stored():
    return {file.stem: json.loads(file.read_text()) for file in RESULTS.glob("*.json")}


def documented(name, results=None):
    """The page of a table as it should be: what stands between the table's marks made again."""
    table = TABLES[name]
    before, rest = table.page.read_text().split(table.begin)
    after = rest.split(END, 1)[1]
    lines = table.lines(stored() if results is None else results)
    return before + table.begin + "".join(f"{line}\n" for line in lines) + END + after


def write(name):
    page = TABLES[name].page
    page.write_text(documented(name))
    print(f"wrote the table of {page.relative_to(ROOT)}")


if __name__ == "__main__":
    for every in TABLES:
        write(every)
