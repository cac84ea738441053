"""Does the notebook run from its first cell to its last, as in Colab, on fewer birds?"""

import json
import shlex
import subprocess
import sys
import types
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks/stackgan.ipynb"
FEWER = "240"  # birds, for the 3,000 of the demo


def _plain(line: str) -> str:
    """A line of a cell as Python; what the shell runs is run, what installs is left out."""
    if line.startswith("%pip"):
        return ""
    if not line.startswith("!python"):
        return line.replace("3000", FEWER)
    if "--config demo" in line:
        line += f" --data.synthetic_count {FEWER} --data.synthetic_classes {FEWER}"
    return f"subprocess.run({[sys.executable, *shlex.split(line)[1:]]!r}, check=True)"


@pytest.mark.slow
def test_every_cell(tmp_path, monkeypatch):
    shown = []
    display = types.ModuleType("IPython.display")
    display.Image, display.display = Path, shown.append
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.chdir(tmp_path)
    names = {"subprocess": subprocess}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("\n".join(map(_plain, "".join(cell["source"]).splitlines())), names)
    folders = ["", "", "demo/text", "demo/stage1", "demo/stage2", "demo/generated"]
    assert [path.parent for path in shown] == [Path("results", folder) for folder in folders]
    assert [path.is_file() for path in shown] == [True] * len(shown)
