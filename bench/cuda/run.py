"""The GPU's benchmarks, one after the other, where a GPU is there: casts.py and spectra.py, which take the same options.

python3 bench/cuda/run.py [--rounds N] [--build build/cuda] [--record]
"""

import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def main():
    if shutil.which("nvidia-smi") is None:
        print("bench/cuda: left out, no nvidia-smi here, so no GPU")
        return 0
    missing = [
        name for name in ("cuda_cast_bench", "cuda_spectra_bench") if not (ROOT / "build/cuda/bin" / name).exists()
    ]
    if missing and not any(option.startswith("--build") for option in sys.argv[1:]):
        print(f"bench/cuda: left out, build/cuda has no {missing[0]}: make cuda builds it")
        return 0
    return max(
        subprocess.run([sys.executable, HERE / script, *sys.argv[1:]], check=False).returncode
        for script in ("casts.py", "spectra.py")
    )


if __name__ == "__main__":
    sys.exit(main())
