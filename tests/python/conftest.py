"""The binding under test: the package that the build left beside the command, or an installed one."""

import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = (ROOT / os.environ.get("ULLAGE", "build/release/bin/ullage")).resolve().parent.parent
if (BUILD / "python" / "ullage").is_dir():
    sys.path.insert(0, str(BUILD / "python"))
