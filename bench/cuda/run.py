"""The GPU's benchmarks, one after the other, where a GPU is there: casts.py and spectra.py, which take the same options.

python3 bench/cuda/run.py [--rounds N] [--build build/cuda] [--record]
"""

import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def main():
    if shutil.which("nvidia-smi") is None:
        print("bench/cuda: left out, no nvidia-smi here, so no GPU")
        return 0
    return max(
        subprocess.run([sys.executable, HERE / script, *sys.argv[1:]], check=False).returncode
        for script in ("casts.py", "spectra.py")
    )


if __name__ == "__main__":
    sys.exit(main())
