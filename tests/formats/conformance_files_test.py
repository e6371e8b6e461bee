"""conformance/*.json and the golden files are what their generator writes, follow their schema, and hold of other libraries."""

import json
import pathlib
import subprocess
import sys

import jsonschema
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "conformance"
FILES = sorted(FOLDER.glob("*.json"))


def run(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=300)


def test_files_are_what_the_generator_writes():
    result = run(FOLDER / "make.py", "--check")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout == f"{len(FILES)} files\n"


def test_golden_files_are_what_their_generator_writes():
    result = run(ROOT / "tests/data/formats/make_golden.py", "--check")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_follow_the_schema(path):
    schema = json.loads((ROOT / "docs/schema/conformance.json").read_text())
    jsonschema.validate(json.loads(path.read_text()), schema)


def test_every_list_of_codes_has_a_code_for_each_input():
    for path in FOLDER.glob("cast-*.json"):
        file = json.loads(path.read_text())
        for roundings in file["codes"].values():
            assert {len(codes) for codes in roundings.values()} == {len(file["inputs"])}, path.name


@pytest.mark.parametrize("library", ["ml_dtypes", "torch"])
def test_other_libraries_agree(library):
    result = run(FOLDER / "run.py", library)
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(result.stdout.split()[-4]) > 10000


def test_a_wrong_code_is_found(tmp_path):
    for name in ("run.py", "cast-e4m3.json"):
        (tmp_path / name).write_text((FOLDER / name).read_text())
    file = json.loads((tmp_path / "cast-e4m3.json").read_text())
    place = file["inputs"].index("43e00000")  # 448
    file["codes"]["non-saturating"]["nearest-even"][place] ^= 1
    (tmp_path / "cast-e4m3.json").write_text(json.dumps(file))
    result = run(tmp_path / "run.py", "ml_dtypes")
    assert result.returncode == 1 and "448.0" in result.stdout and "1 differ" in result.stdout


def test_readme_names_every_kind_and_data_stay_small():
    text = (FOLDER / "README.md").read_text()
    assert all(f"| {json.loads(path.read_text())['kind']} |" in text for path in FILES)
    held = [p for folder in (FOLDER, ROOT / "tests" / "data") for p in folder.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in held) < 8 << 20
