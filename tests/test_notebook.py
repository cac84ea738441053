"""The notebook runs from its first cell to its last, as in Colab, on fewer birds and for a few steps."""

import ast
import importlib
import json
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path

import pytest

from stackgan_keras import config

REPOSITORY = Path(__file__).resolve().parents[1]
NOTEBOOK = REPOSITORY / "notebooks/stackgan.ipynb"
FEWER = "240"  # in place of any number of four digits or more, such as the birds that are drawn
BRIEF = ["--data.synthetic_count", FEWER, "--data.synthetic_classes", FEWER, "--train.max_steps", "2"]


def cells(kind: str) -> list[str]:
    """The text of all cells of a kind, a command that goes on in the next line in one line."""
    found = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]
    return ["".join(cell["source"]).replace("\\\n", " ") for cell in found]


def as_python(line: str) -> str:
    """A line of a cell as Python: commands of this package are run, what installs or downloads is left out."""
    indent = line[: len(line) - len(line.lstrip())]
    if line.lstrip().startswith("%") or (line.lstrip().startswith("!") and "-m stackgan_keras" not in line):
        return f"{indent}pass"
    line = re.sub(r"(?<!\d)\d{4,}(?!\d)", FEWER, line)
    if not line.lstrip().startswith("!"):
        return line
    words = [sys.executable, *shlex.split(line.lstrip())[1:]]
    if any(word.startswith("stackgan_keras.train_s") or word == "stackgan_keras.train_text" for word in words):
        words += BRIEF
    return f"{indent}subprocess.run({words!r}, check=True)"


def python_of(cell: str) -> str:
    return "\n".join(map(as_python, cell.splitlines()))


def test_what_the_notebook_names_is_there():
    for command, rest in re.findall(r"-m stackgan_keras\.(\w+)(.*)", "\n".join(cells("code") + cells("markdown"))):
        assert (REPOSITORY / f"stackgan_keras/{command}.py").is_file(), command
        for name in re.findall(r"--config (\w+)", rest):
            config.read(name)
    for node in (node for cell in cells("code") for node in ast.walk(ast.parse(python_of(cell)))):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("stackgan_keras"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")


@pytest.mark.slow
def test_every_cell(tmp_path, monkeypatch):
    shown = []
    display = types.ModuleType("IPython.display")
    display.Image = lambda data=None, filename=None, **_: Path(data or filename)
    display.display = lambda *things, **_: shown.extend(things)
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.chdir(tmp_path)
    names = {"subprocess": subprocess}
    for cell in cells("code"):
        exec(python_of(cell), names)
        assert all(path.is_file() for path in shown if isinstance(path, Path)), cell
    assert len(shown) >= sum(cell.count("display(") for cell in cells("code")) > 0
