"""docs/papers.md: every row that claims to stand names functions that are declared and a command that exists."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEADER = ["item", "statement", "functions", "command", "status"]

# All that `ullage reproduce --list` is to show when everything is built; each stands in one row at least.
REPRODUCE = """rank-aware figure-1 figure-2 transients figure-3 overhead mmlu
rounding-vector biased-rounding switches delta-chain low-rank features wq-spectra failure-fix
exp-1 exp-2 exp-3 e1 e2 e3 e5""".split()


def rows(text):
    """(section, {column: cell}) of every table row."""
    section = ""
    for line in text.splitlines():
        if line.startswith("## "):
            section = line[3:]
        if line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if cells == HEADER or set(cells) == {"---"}:
                continue
            assert len(cells) == len(HEADER), line
            yield section, dict(zip(HEADER, cells, strict=True))


def code_of(path):
    """A C++ file without comments."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


def declared(name, root=ROOT):
    """Whether `room::name` is declared in a public header of its room."""
    room, _, symbol = name.partition("::")
    symbol = symbol.rpartition("::")[2]
    headers = (root / "include/ullage" / room).glob("*.h")
    return any(re.search(rf"\b{re.escape(symbol)}\b", code_of(header)) for header in headers)


def in_python(name, root=ROOT):
    """Whether `ullage.module.name` is in its module's __all__."""
    module, _, symbol = name.rpartition(".")
    path = root / "python" / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not path.is_file():
        return False
    tree = ast.parse(path.read_text())
    lists = [node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"]
    return any(symbol in ast.literal_eval(names) for names in lists)


def wrong_with(row, root=ROOT):
    """What is wrong with a row, or nothing."""
    functions = re.findall(r"`([^`]+)`", row["functions"])
    commands = re.findall(r"`ullage ([^`]+)`", row["command"])
    if row["status"] == "later":
        return None
    if row["status"] != "stands":
        return f"status {row['status']}"
    python = [name for name in functions if name.startswith("ullage.")]
    if not functions or not (commands or python):
        return "stands without a function or a command"
    for name in functions:
        if not (in_python if name in python else declared)(name, root):
            return f"{name} is not declared"
    sources = "".join(
        path.read_text() for folder in ("apps", "src/experiments") for path in sorted((root / folder).rglob("*.cc"))
    )
    for command in commands:
        for word in command.split():
            if not re.search(rf'"{re.escape(word)}[",]', sources):
                return f'the command has no "{word}"'
    return None


PAPERS = list(rows((ROOT / "docs/papers.md").read_text()))


def test_every_paper_has_rows():
    sections = {section for section, _ in PAPERS}
    assert [section[:3] for section in sorted(sections)] == ["Our", "[F]", "[N]", "[R]"]
    assert len(PAPERS) > 40
    items = [(section, row["item"]) for section, row in PAPERS]
    assert len(items) == len(set(items))


def test_every_experiment_has_a_row():
    text = " ".join(row["command"] for _, row in PAPERS)
    assert set(re.findall(r"`ullage reproduce ([\w-]+)`", text)) == set(REPRODUCE)


@pytest.mark.parametrize("row", [row for _, row in PAPERS], ids=[row["item"] for _, row in PAPERS])
def test_row(row):
    assert wrong_with(row) is None


@pytest.mark.parametrize(
    "wanted",
    sorted(
        {
            found
            for _, row in PAPERS
            if row["status"] == "stands"
            for found in re.findall(r"`ullage ([^`]+)`", row["command"])
        }
    ),
)
def test_the_command_knows_it(ullage, wanted):
    words = wanted.split()
    result = ullage("reproduce", "--list") if words[0] == "reproduce" else ullage(words[0], "--help")
    assert result.returncode == 0, result.stderr
    assert words[-1] in result.stdout


def test_wrong_rows_are_found(tmp_path):
    header = tmp_path / "include/ullage/bounds/b.h"
    header.parent.mkdir(parents=True)
    header.write_text("double naive(int);  // and gone\n")
    apps = tmp_path / "apps/scan.cc"
    apps.parent.mkdir()
    apps.write_text('add("scan");')
    good = {"functions": "`bounds::naive`", "command": "`ullage scan`", "status": "stands"}
    assert wrong_with(good, tmp_path) is None
    assert "not declared" in wrong_with(good | {"functions": "`bounds::gone`"}, tmp_path)
    assert "not declared" in wrong_with(good | {"functions": "`attic::naive`"}, tmp_path)
    assert 'no "skan"' in wrong_with(good | {"command": "`ullage skan`"}, tmp_path)
    assert "without" in wrong_with(good | {"functions": "-"}, tmp_path)
    assert "status" in wrong_with(good | {"status": "soon"}, tmp_path)
    module = tmp_path / "python/ullage/torch/__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text('__all__ = ["attention"]\n')
    called = good | {"functions": "`ullage.torch.attention`", "command": "-"}
    assert wrong_with(called, tmp_path) is None
    assert "not declared" in wrong_with(called | {"functions": "`ullage.torch.gone`"}, tmp_path)
    assert "not declared" in wrong_with(called | {"functions": "`ullage.gone.attention`"}, tmp_path)
