"""The notebook runs from its first cell to its last, as in Colab, on fewer birds and for a few steps."""

import ast
import importlib
import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stackgan_keras import config

REPOSITORY = Path(__file__).resolve().parents[1]
NOTEBOOK = REPOSITORY / "notebooks/stackgan.ipynb"
BRIEFLY = {  # what the test changes, so that minutes become seconds, and the parts that wait for a folder have one
    "birds = 3000": "birds = 240",
    '"64"] if gpu else []': '"64"] if gpu else ["--train.max_steps", "2"]',
    '"--config", "demo_text", *data': '"--config", "demo_text", "--text.epochs", "1", *data',
    '"80"': '"4"',
    'MINE = ""': 'MINE = "my images.zip"',
    '["--generator.text_dim", "256"': '["--text.epochs", "1", "--generator.text_dim", "256"',
}


def cells() -> list[str]:
    """The Python of the notebook's cells, without what installs the package."""
    found = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    return [without_installation("".join(cell["source"])) for cell in found]


def without_installation(cell: str) -> str:
    return re.sub(r"(?m)^(%pip|assert source).*$", "", cell)


def test_what_the_notebook_names_is_there():
    for node in (node for cell in cells() for node in ast.walk(ast.parse(cell))):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("stackgan_keras"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
    configs = re.findall(r'"--config", "(\w+)"', "\n".join(cells()))
    assert len(configs) == 7
    for name in configs:
        config.read(name)


def test_nothing_that_was_run_is_kept_in_it():
    whole = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert all(not cell["outputs"] for cell in whole["cells"] if cell["cell_type"] == "code")


def shortened(cell: str) -> str:
    for whole, brief in BRIEFLY.items():
        cell = cell.replace(whole, brief)
    return cell


def zip_of_images(folder: Path) -> None:
    """An archive of captioned images, more than a batch holds."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 40, 3), np.uint8)
    with zipfile.ZipFile(folder / "my images.zip", "w") as archive:
        for number, image in enumerate(pixels):
            Image.fromarray(image).save(folder / "image.png")
            archive.write(folder / "image.png", f"image_{number}.png")
            archive.writestr(f"image_{number}.txt", f"image number {number}\n")
    (folder / "image.png").unlink()


@pytest.mark.slow
def test_every_cell(tmp_path, monkeypatch):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    whole = nbformat.read(NOTEBOOK, as_version=4)
    for brief in BRIEFLY:
        assert sum(cell.source.count(brief) for cell in whole.cells) == 1, brief
    for cell in whole.cells:
        cell.source = shortened(without_installation(cell.source))
    wrong = nbformat.v4.new_code_cell("StackGAN.load('weights/absent')", metadata={"tags": ["raises-exception"]})
    whole.cells.append(wrong)
    zip_of_images(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{REPOSITORY}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    nbclient.NotebookClient(whole, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    nbformat.write(whole, tmp_path / "run.ipynb")  # to look at
    assert wrong.outputs[-1]["traceback"][0].startswith("error: weights/absent is not there")
    outputs = [output for cell in whole.cells if cell.cell_type == "code" for output in cell.outputs]
    images = [output for output in outputs if "image/png" in output.get("data", {})]
    called = sum(cell.source.count("show(") + cell.source.count("live()") for cell in whole.cells)
    defined, left_out, of_the_data = 2, 2, 1  # the two functions; both stages of the published birds; the birds
    assert len(images) == called - defined - left_out + of_the_data
    printed = "".join(output.get("text", "") for output in outputs)
    assert "images/s" in printed and "epoch 1: images results/demo/stage1/epoch_00001.png" in printed
    assert "Traceback" not in printed and "attributes" in printed
    for run in ("demo", "mine"):
        assert (tmp_path / f"weights/{run}/stage2_gen.weights.h5").is_file()
