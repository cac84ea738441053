"""Which commands made the README's pictures? This one, from the runs `drawn`, `demo`, `few` and `photographs`.

python results/readme/make.py                              drawn birds, and what `drawn` and the demo make of sentences
python results/readme/make.py --photographs DIR --birds B  and what a run on photographs made, DIR its --output_dir
python results/readme/make.py --few DIR                    and what the run `few` makes of typed sentences, the same way
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from stackgan_keras.data import images, published
from stackgan_keras.data.published import Dataset
from stackgan_keras.inference import stackgan
from stackgan_keras.models import runs, text_encoder, weights

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
    save("typed", typed_sheet(HOME / "weights/drawn", SENTENCES, count=4))
    drawn = published.read(HOME / "data/drawn_3000_3000_256", "test", text_dim=256)
    save("drawn_birds", data_sheet(drawn))
    save("demo", made_sheet(HOME / "weights/demo", drawn, count=6, captions=True))
    if arguments.photographs:
        birds = published.read(arguments.birds, "test")
        save("photographs", made_sheet(arguments.photographs / "weights/photographs", birds, count=8, captions=False))
    if arguments.few:
        save("few", typed_sheet(arguments.few / "weights/few", FEW_SENTENCES, count=2))


def data_sheet(dataset: Dataset) -> np.ndarray:
    """Twelve pictures as they are cropped for training, the upper six with a caption each."""
    chosen = np.linspace(0, len(dataset) - 1, 12).astype(int)
    pictures = [images.read(dataset.paths[i], dataset.boxes[i], 160) for i in chosen]
    rows = [np.stack(pictures[:6]), np.stack(pictures[6:])]
    return images.labelled_grid(rows, [dataset.captions[i][0] for i in chosen[:6]])


def typed_sheet(folder: Path, sentences: tuple[str, ...], count: int) -> np.ndarray:
    """The best pictures that a run has for typed sentences, so many of each, one below the other."""
    made = stackgan.StackGAN.load(folder).generate(list(sentences), count=count, seed=0)
    return images.labelled_grid(list(made["image"].swapaxes(0, 1)), list(sentences))


def made_sheet(folder: Path, dataset: Dataset, count: int, captions: bool) -> np.ndarray:
    """Sketches and pictures for held-out sentences. The captions of the photographs may not be shown."""
    chosen = np.linspace(0, len(dataset) - 1, count).astype(int)
    encoder = folder / runs.TEXT_ENCODER
    if encoder.is_file():
        embeddings = text_encoder.embed(weights.load(encoder), [dataset.captions[i][0] for i in chosen])
    else:
        embeddings = np.stack([dataset.embeddings_of(i)[0] for i in chosen])
    made = sampler.draw(weights.load(folder / "stage2_gen.weights.h5"), embeddings, seed=0)
    rows = [halved(images.enlarge(made["stage1_image"], made["image"].shape[1])), halved(made["image"])]
    if captions:
        return images.labelled_grid(rows, [dataset.captions[i][0] for i in chosen])
    return images.grid(rows)


def halved(pictures: np.ndarray) -> np.ndarray:
    size = pictures.shape[1] // 2
    return np.stack([np.asarray(Image.fromarray(p).resize((size, size), Image.Resampling.BOX)) for p in pictures])


def save(name: str, grid: np.ndarray) -> None:
    images.write(HERE / f"{name}.png", grid)
    print(HERE / f"{name}.png")


if __name__ == "__main__":
    main()
