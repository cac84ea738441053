"""The README's pictures, from the runs `drawn`, `demo`, `few` and `photographs`.

python results/readme/make.py                              drawn birds, and what `drawn` and the demo make of sentences
python results/readme/make.py --photographs DIR --birds B  and what a run on photographs made, DIR its --output_dir
python results/readme/make.py --few DIR                    and what the run `few` makes of typed sentences, the same way

The pictures of the page are left by STACKGAN_SCREENSHOTS=DIR pytest tests/test_app_browser.py: several_1280.png, its
lowest bit rounded away, and draw_390.png.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from stackgan_keras import config
from stackgan_keras.config import Folders
from stackgan_keras.data import images, published
from stackgan_keras.data.published import Dataset
from stackgan_keras.inference.stackgan import StackGAN
from stackgan_keras.models.runs import TEXT_ENCODER
from stackgan_keras.training.run import data_root

HERE = Path(__file__).parent
HOME = HERE.parents[1]
SENTENCES = (
    "this bird is red with black wings",
    "a small yellow bird with a black crown",
    "a blue bird with a white belly and an orange beak",
    "the wings are green and the tail is purple",
    "a pink bird",
    "this bird has a grey back, a brown belly and red wings",
)

FEW_SENTENCES = (
    "a black bird with a white belly",
    "a white bird with dark wings",
    "a brown bird with a long curved beak",
    "a dark grey bird with a white eye",
    "this bird is all black",
    "a small black bird with an orange beak",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photographs", type=Path, help="output folder of the run `photographs`")
    parser.add_argument("--birds", type=Path, help="the published birds, for their sentences' embeddings")
    parser.add_argument("--few", type=Path, help="output folder of the run `few`")
    arguments = parser.parse_args()
    save("typed", typed_grid(HOME / "weights/drawn", SENTENCES, count=4))
    demo = config.make(config.read("demo_stage1"))
    drawn = published.read(data_root(demo, Folders(HOME, "demo")), "test", text_dim=demo.generator.text_dim)
    save("drawn_birds", data_grid(drawn))
    save("demo", held_out_grid(HOME / "weights/demo", drawn, count=6, captions=True))
    if arguments.photographs:
        birds = published.read(arguments.birds, "test")
        save("photographs", held_out_grid(arguments.photographs / "weights/photographs", birds, 8, captions=False))
    if arguments.few:
        save("few", typed_grid(arguments.few / "weights/few", FEW_SENTENCES, count=2))


def data_grid(dataset: Dataset) -> np.ndarray:
    """Twelve pictures as they are cropped for training, the upper six with a caption each."""
    chosen = np.linspace(0, len(dataset) - 1, 12).astype(int)
    pictures = [images.read(dataset.paths[i], dataset.boxes[i], 160) for i in chosen]
    rows = [np.stack(pictures[:6]), np.stack(pictures[6:])]
    return images.labelled_grid(rows, [dataset.captions[i][0] for i in chosen[:6]])


def typed_grid(folder: Path, sentences: tuple[str, ...], count: int) -> np.ndarray:
    """The best images that a run has for typed sentences, so many of each, one below the other."""
    made = StackGAN.load(folder).generate(sentences, count=count, seed=0)
    return images.labelled_grid(list(made["image"].swapaxes(0, 1)), sentences)


def held_out_grid(folder: Path, dataset: Dataset, count: int, captions: bool) -> np.ndarray:
    """Images of both stages for held-out sentences. The captions of the photographs may not be shown."""
    chosen = np.linspace(0, len(dataset) - 1, count).astype(int)
    reads = (folder / TEXT_ENCODER).is_file()
    sentences = [dataset.captions[i][0] for i in chosen] if captions or reads else []
    given = sentences if reads else np.stack([dataset.embeddings_of(i)[0] for i in chosen])
    made = StackGAN.load(folder, embedded=not reads).generate(given, count=1, seed=0)
    stage1, stage2 = made["stage1_image"][:, 0], made["image"][:, 0]
    rows = [halved(images.enlarge(stage1, stage2.shape[1])), halved(stage2)]
    return images.labelled_grid(rows, sentences) if captions else images.grid(rows)


def halved(pictures: np.ndarray) -> np.ndarray:
    size = pictures.shape[1] // 2
    return np.stack([np.asarray(Image.fromarray(p).resize((size, size), Image.Resampling.BOX)) for p in pictures])


def save(name: str, grid: np.ndarray) -> None:
    images.write(HERE / f"{name}.png", grid)
    print(HERE / f"{name}.png")


if __name__ == "__main__":
    main()
