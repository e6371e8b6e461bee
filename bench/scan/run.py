"""How fast the whole default scan is, beside PyTorch computing sigma alone, and beside reading the bytes.

  build/venv/bin/python bench/scan/run.py [--work FOLDER] [--rounds N] [--layers N] [--record]

PyTorch: FP32 Grams, Cholesky, svdvals of one Llama-2-7B-shaped layer (32 heads) with the weights in memory, times the
layers. ullage: every field of the report, weights read from the page cache, which one reading from disk filled; beside
that the scan and the reading from disk itself. Contenders take turns within a round; each figure is a median with its
quartiles, each ratio one of ratios within a round. Machines are shared: read the ratios, not the seconds. --record keeps
the result in bench/results/scan.json and in docs/scan.md.
"""

import argparse
import json
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import made
import measured
import peer


def scan(folder, layers, threads):
    """(seconds of the scan itself, as its report says: the process start is not the subject; peak memory in MiB)."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [
            peer.COMMAND,
            "scan",
            folder,
            "--layers",
            f"0:{layers - 1}",
            "--threads",
            str(threads),
            "--json",
            out.name,
        ]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        peak = 0
        while child.poll() is None:
            peak = max(peak, high_water(child.pid))
            time.sleep(0.01)
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, command)
        return json.loads(pathlib.Path(out.name).read_text())["run"]["seconds"], peak / 1024


def high_water(pid):
    """The most memory that a process had resident so far, in KiB. A child's rusage would count the parent before exec."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def read_seconds(folder):
    """Reading Q, K and V through one buffer, on one thread."""
    buffer = bytearray(1 << 22)
    with open(folder / "model.safetensors", "rb", buffering=0) as file:
        return peer.timed(lambda: [None for _ in iter(lambda: file.readinto(buffer), 0)])


def evict(folder):
    """Takes the weights out of the page cache, where the file system lets it."""
    with open(folder / "model.safetensors", "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def scan_over_read_from_disk(folder, layers, threads):
    evict(folder)
    read = read_seconds(folder)
    evict(folder)
    return scan(folder, layers, threads)[0] / read


def many_tensors(folder, count=100_000):
    """A checkpoint of `count` tensors, one number each: what its header costs."""
    path = folder / "many.safetensors"
    if not path.exists():
        names = [f"model.layers.{i}.self_attn.q_proj.weight" for i in range(count)]
        header = {
            n: {"dtype": "BF16", "shape": [1, 1], "data_offsets": [2 * i, 2 * i + 2]} for i, n in enumerate(names)
        }
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(2 * count))
    return path


def header_seconds(path):
    """(ours, Python's safetensors) to open the file and list its names."""
    from safetensors import safe_open

    def theirs():
        with safe_open(path, framework="numpy") as file:
            return len(file.keys())

    bench = peer.ROOT / "build/release/bin/scan_header_bench"
    ours = float(subprocess.run([bench, path], capture_output=True, text=True, check=True).stdout)
    return ours, peer.timed(theirs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", default=os.path.join(tempfile.gettempdir(), "ullage-bench"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    work = pathlib.Path(options.work)
    layers, threads = options.layers, os.cpu_count()
    folder = made.make(work / f"llama-2-7b-{layers}", "llama-2-7b", layers)
    torch_layer = peer.torch_sigma(threads)
    from_disk = [scan_over_read_from_disk(folder, layers, threads) for _ in range(3)]
    evict(folder)
    read_seconds(folder)
    rounds = []
    for _ in range(options.rounds):
        seconds, memory = scan(folder, layers, threads)
        rounds.append(
            {
                "scan": seconds,
                "torch": statistics.mean(peer.timed(torch_layer) for _ in range(8)) * layers,
                "read": read_seconds(folder),
                "memory": memory,
            }
        )
    figures = {name: peer.middle([r[name] for r in rounds]) for name in ("scan", "torch", "read")}
    figures["torch over scan"] = peer.middle([r["torch"] / r["scan"] for r in rounds])
    figures["scan over read"] = peer.middle([r["scan"] / r["read"] for r in rounds])
    figures["scan over read, from disk"] = peer.middle(from_disk)
    machine = peer.machine()
    size = (folder / "model.safetensors").stat().st_size
    print(
        f"{machine['cpu']}, path {machine['path']}, {threads} threads; {layers} layers, {size / 2**20:.0f} MiB; "
        f"median (quartiles) of {options.rounds} rounds"
    )

    def line(label, name, unit, note=""):
        low, mid, high = figures[name]
        print(f"  {label:30} {mid:8.3f} {unit} ({low:.3f} to {high:.3f})   {note}")

    line("whole default scan", "scan", "s")
    line("PyTorch, sigma alone", "torch", "s")
    line("reading the bytes, one thread", "read", "s")
    wanted = "at least 1" if machine["path"] == "avx2" else "at least 2, goal 4"
    line("PyTorch over scan", "torch over scan", " ", wanted)
    line("scan over reading", "scan over read", " ", "at most 10, goal 5")
    line("  from disk", "scan over read, from disk", " ")
    counts = [n for n in (1, 2, 4, 8, 16, 32) if n <= layers]
    scaling = {}
    print("  layers    " + "".join(f"{n:8d}" for n in counts))
    for used in sorted({1, threads}):
        scaling[str(used)] = [min(scan(folder, n, used)[0] for _ in range(3)) for n in counts]
        print(f"  {used} thread{'s' if used > 1 else ' '} " + "".join(f"{s:8.3f}" for s in scaling[str(used)]))
    shapes = {"llama-2-7b": {"peak memory MiB": rounds[-1]["memory"]}}
    for shape in ("llama-2-70b", "gpt2-xl"):
        other = made.make(work / shape, shape)
        count = made.SHAPES[shape][0]
        runs = [scan(other, count, threads) for _ in range(3)]
        shapes[shape] = {"layers": count, "seconds": min(s for s, _ in runs), "peak memory MiB": runs[-1][1]}
        print(
            f"  {shape}: {count} layer{'s' if count > 1 else ''} in {shapes[shape]['seconds']:.3f} s, "
            f"{shapes[shape]['peak memory MiB']:.0f} MiB"
        )
    print(f"  peak memory, llama-2-7b: {rounds[-1]['memory']:.0f} MiB")
    headers = [header_seconds(many_tensors(work)) for _ in range(options.rounds)]
    figures["header of 100,000 tensors, safetensors over ullage"] = peer.middle([b / a for a, b in headers])
    line("header, safetensors over ullage", "header of 100,000 tensors, safetensors over ullage", " ", "at least 1")
    if options.record:
        peer.record(
            "scan",
            {
                "machine": machine,
                "rounds": options.rounds,
                "layers": layers,
                "figures": figures,
                "seconds by layers": {"layers": counts, **scaling},
                "shapes": shapes,
            },
        )
        measured.write("scan")
    return 0


if __name__ == "__main__":
    sys.exit(main())
