"""`pip install .`: a wheel built from the sources, in an environment that has numpy and nothing else."""

import pathlib
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = """
import importlib.metadata, importlib.util
import numpy, ullage
assert importlib.util.find_spec("torch") is None and importlib.util.find_spec("ml_dtypes") is None
values, counts = ullage.cast(numpy.float32([0.1, 448, 1e9]), "e4m3", counts=True)
assert values.tolist() == [0.1015625, 448.0, 448.0] and counts.saturated == 1, (values, counts)
for name in ("torch", "huggingface"):
    try:
        getattr(ullage, name)
    except ModuleNotFoundError as error:
        assert f"pip install 'ullage[{name}]'" in str(error), error
    else:
        raise AssertionError(name)
assert importlib.metadata.version("ullage") == ullage.__version__
print(ullage.__file__)
"""


def run(*arguments, **options):
    result = subprocess.run([*map(str, arguments)], capture_output=True, text=True, check=False, timeout=550, **options)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built without the network: nanobind and scikit-build-core come from this environment."""
    work = tmp_path_factory.mktemp("wheel")
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-build-isolation",
        "--no-deps",
        "--no-index",
        "--wheel-dir",
        work,
        "--config-settings",
        f"build-dir={work / 'build'}",
        ROOT,
    )
    [made] = work.glob("ullage-*.whl")
    return made


def test_the_wheel_holds_the_package_and_its_stubs(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "ullage/__init__.py",
        "ullage/_cast.py",
        "ullage/_core.pyi",
        "ullage/py.typed",
        "ullage/huggingface.py",
        "ullage/torch/__init__.py",
        "ullage/torch/_operator.py",
    } <= names
    assert len([name for name in names if name.startswith("ullage/_core") and name.endswith(".so")]) == 1
    assert not [name for name in names if not name.startswith("ullage")]


def test_it_installs_and_runs_in_a_clean_environment(wheel, tmp_path):
    clean = tmp_path / "clean"
    run(sys.executable, "-m", "venv", "--without-pip", clean)
    python = clean / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    # numpy, the one thing that it needs: this environment's, and nothing else of it.
    site = run(python, "-c", "import site; print(site.getsitepackages()[0])").strip()
    for folder in pathlib.Path(np.__file__).parents[1].glob("numpy*"):
        (pathlib.Path(site) / folder.name).symlink_to(folder)
    where = run(python, "-I", "-c", PROGRAM, cwd=tmp_path).strip()
    assert pathlib.Path(where).is_relative_to(clean)


def test_the_extension_links_no_torch(wheel, tmp_path):
    reader = shutil.which("readelf")
    if reader is None:
        pytest.skip("no readelf here")
    zipfile.ZipFile(wheel).extractall(tmp_path)
    [extension] = (tmp_path / "ullage").glob("_core*.so")
    needed = [line for line in run(reader, "-d", extension).splitlines() if "NEEDED" in line]
    assert needed and not [line for line in needed if "torch" in line or "c10" in line]
