"""The binding under test: the package that the build left beside the command, or an installed one.

`make test` builds it, so a missing one fails. Sanitizer builds have none, and leave these tests out.
"""

import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = (ROOT / os.environ.get("ULLAGE", "build/release/bin/ullage")).resolve().parent.parent
sys.path.insert(0, str(pathlib.Path(__file__).parent))  # dense.py
if (BUILD / "python" / "ullage").is_dir():
    sys.path.insert(0, str(BUILD / "python"))


def sanitized() -> bool:
    cache = BUILD / "CMakeCache.txt"
    return cache.exists() and "ULLAGE_SANITIZE:STRING=\n" not in cache.read_text()


if sanitized():
    collect_ignore_glob = ["*_test.py"]
