"""A toy set: adversarial training alone teaches a Stage I to draw the colour that it is told."""

import numpy as np
from PIL import Image

from stackgan_keras import config
from stackgan_keras.config import Folders
from stackgan_keras.data import writing
from stackgan_keras.models import stages, weights
from stackgan_keras.training import samples, stage

COLOURS = {"a red square": (220, 30, 30), "a blue square": (30, 30, 220)}
TEXT_DIM = 8
SIZES = {"text_dim": TEXT_DIM, "filters": 8, "condition_dim": 8, "noise_dim": 8}


def write_toy_set(root):
    """Squares of two colours on grey, of two classes, each with one caption and its embedding."""
    rng = np.random.default_rng(0)
    embeddings = {caption: rng.normal(size=TEXT_DIM).astype(np.float32) for caption in COLOURS}
    for split, count in (("train", 64), ("test", 4)):
        names, class_ids, rows = [], [], []
        for i in range(count):
            class_id, caption = i % 2, list(COLOURS)[i % 2]
            pixels = np.full((38, 38, 3), 128, np.uint8)
            top, left = rng.integers(4, 14, 2)
            pixels[top : top + 20, left : left + 20] = COLOURS[caption]
            names.append(f"{class_id + 1:03d}.square/{split}_{i:03d}")
            for folder, suffix in (("images", ".png"), ("text_c10", ".txt")):
                (root / folder / f"{names[-1]}{suffix}").parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / "images" / f"{names[-1]}.png")
            (root / "text_c10" / f"{names[-1]}.txt").write_text(f"{caption}\n")
            class_ids.append(class_id + 1)
            rows.append(embeddings[caption][None])
        writing.write_pickle(root / split / "filenames.pickle", names)
        writing.write_pickle(root / split / "class_info.pickle", class_ids)
        writing.write_pickle(root / split / "char-CNN-RNN-embeddings.pickle", rows)
    return embeddings


def test_stage1_learns_to_draw_the_colour_it_is_told(tmp_path):
    embeddings = write_toy_set(tmp_path / "toy")
    settings = config.make(
        {
            "run": "toy",
            "data": {"root": str(tmp_path / "toy"), "image_size": 32},
            "generator": {**SIZES, "condition_noise_scale": 0.1, "conditional_batch_norm": True},
            "discriminator": {"filters": 8, "text": "embedding"},
            "train": {
                "batch_size": 16,
                "epochs": 60,
                "kl_weight": 0.02,
                "generator_learning_rate": 1e-3,
                "discriminator_learning_rate": 1e-3,
                "sample_every": 60,
                "save_every": 60,
            },
        }
    )
    folders = Folders(tmp_path, "toy")
    grid = stage.train(stages.stage1(settings), settings, folders)
    assert grid.is_file()
    generator = weights.load(folders.weights / "stage1_gen.weights.h5")
    texts = {"embedding": np.repeat(np.stack(list(embeddings.values())), 8, axis=0)}
    drawn = samples.generate(generator, texts, 0, 0)["image"]
    red, blue = drawn[:8, 12:20, 12:20].mean(axis=(1, 2)), drawn[8:, 12:20, 12:20].mean(axis=(1, 2))
    assert np.mean(red[:, 0] > red[:, 2] + 40) >= 0.75, red
    assert np.mean(blue[:, 2] > blue[:, 0] + 40) >= 0.75, blue
