"""The README's images: what the shipped weights make of typed sentences, a walk between two, and drawn birds.

python results/readme/make.py
python results/readme/make.py RUN_FOLDER ...

The second leaves few_row.png: what Stage I of each run, trained on more and more photographs, makes of four of FLOWERS.

few_birds.png is the grid that the documentation's `generate --run few` leaves, after a training on 215 photographs;
few_flowers.png and projected_flowers.png are those of flowers.txt, after the trainings that stand beside them.

The images of the page are left by STACKGAN_SCREENSHOTS=DIR pytest tests/test_app_browser.py: several_1280.png, its
lowest bit rounded away, and draw_390.png.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from stackgan_keras import config
from stackgan_keras.config import Folders
from stackgan_keras.data import grids, photographs, published, rgb
from stackgan_keras.data.published import Dataset
from stackgan_keras.inference.stackgan import StackGAN
from stackgan_keras.training.run import data_root

HERE = Path(__file__).parent
HOME = HERE.parents[1]
FLOWERS = (
    "this flower has pink petals and a yellow center",
    "a white flower with rounded petals and a yellow center",
    "this flower has petals that are orange",
    "the petals are red and long",
    "this flower has petals that are purple",
    "this yellow flower has layered petals",
)
WALK = ("this yellow flower has layered petals", "this flower has pink petals and a yellow center")
BIRDS = (
    "this bird is blue with a white belly",
    "this bird is all black with a long tail",
    "this bird has a bright red head and breast",
    "this bird is red with black wings",
    "this bird is yellow with black wings",
    "this small bird is all blue and has a short pointed bill",
)
DRAWN = (
    "this bird is red with black wings",
    "a small yellow bird with a black crown",
    "a blue bird with a white belly and an orange beak",
    "the wings are green and the tail is purple",
    "a pink bird",
    "this bird has a grey back, a brown belly and red wings",
)


def main(few: list[str]) -> None:
    if few:
        save("few_row", row_of_runs([Path(folder) for folder in few], FLOWERS[:4], count=2))
        return
    both = [typed_grid(HOME / "weights/flowers", FLOWERS, count=2), typed_grid(HOME / "weights/birds", BIRDS, count=2)]
    save("photographs", np.concatenate(both))
    save("typed", typed_grid(HOME / "weights/drawn", DRAWN, count=4))
    save_walk()
    demo = config.make(config.read("demo_stage1"))
    save("drawn_birds", data_grid(published.read(data_root(demo, Folders(HOME, "demo")), "test", text_dim=None)))


def data_grid(dataset: Dataset) -> np.ndarray:
    """Twelve images as they are cropped for training, the upper six with a caption each."""
    chosen = np.linspace(0, len(dataset) - 1, 12).astype(int)
    images = [photographs.read(dataset.paths[i], dataset.boxes[i], 160) for i in chosen]
    rows = [np.stack(images[:6]), np.stack(images[6:])]
    return grids.labelled_grid(rows, [dataset.captions[i][0] for i in chosen[:6]])


def typed_grid(folder: Path, sentences: tuple[str, ...], count: int) -> np.ndarray:
    """The best images that a run has for typed sentences, so many of each, one below the other."""
    made = StackGAN.load(folder).generate(sentences, count=count, seed=0)
    return grids.labelled_grid(list(made["image"].swapaxes(0, 1)), sentences)


def row_of_runs(folders: list[Path], sentences: tuple[str, ...], count: int) -> np.ndarray:
    """For each sentence a block with a row of each run's Stage-I images, named after the run."""
    runs = [StackGAN.load(folder).generate(sentences, count=count, seed=0) for folder in folders]
    rows = [made.get("stage1_image", made["image"]) for made in runs]  # (sentences, count, size, size, 3) each
    return grids.block_grid(sentences, list(zip(*rows, strict=True)), [folder.name for folder in folders])


def save_walk() -> None:
    """The animation that `generate --interpolate` leaves."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "stackgan_keras.generate", "--run", "flowers", "--output_dir", folder]
        subprocess.run([*command, "--interpolate", *WALK, "--steps", "12"], cwd=HOME, check=True)
        (made,) = Path(folder).rglob("*.gif")
        shutil.copy(made, HERE / "walk.gif")


def save(name: str, grid: np.ndarray) -> None:
    rgb.write(HERE / f"{name}.png", grid)
    print(HERE / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
