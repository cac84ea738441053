"""Nearest neighbours: the training images whose features are most like those of generated ones."""

import keras
import numpy as np
from helpers import make_dataset

from stackgan_keras.evaluation import neighbours
from stackgan_keras.evaluation.real_images import framed
from stackgan_keras.porting.extractors import Extractor


def test_the_nearest_come_first():
    others = np.float32([[0, 0], [3, 4], [1, 0], [-2, 0]])
    np.testing.assert_array_equal(neighbours.nearest(np.float32([[0.9, 0], [3, 3]]), others, 3), [[2, 0, 3], [1, 2, 0]])


def test_a_copied_image_stands_above_the_one_it_copies(tmp_path):
    image = keras.Input((None, None, 3))
    mean = keras.layers.GlobalAveragePooling2D()(image)
    extractor = Extractor("mean", "as they are", keras.Model(image, {"features": mean}))
    dataset = make_dataset(tmp_path, count=10)
    copied = np.stack([*framed(dataset, 32, 0, [7, 2])])
    made = neighbours.grid(copied, ["a red one", "a darker one"], dataset, extractor, 0, tmp_path / "cache")
    plain = made[-6 * 130 - 2 :]  # six rows of images, enlarged to 128 pixels, below the sentences
    for column in range(2):
        rows = [plain[2 + 130 * k : 130 * (k + 1), 2 + 130 * column : 130 * (column + 1)] for k in range(6)]
        np.testing.assert_array_equal(rows[0], rows[1])  # the nearest is the one that was copied
        assert all(np.any(rows[0] != other) for other in rows[2:])
