"""Signs that a training goes wrong: each is told with its figure, and a training that goes well has none."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import make_dataset
from test_trainer import Trial

from stackgan_keras.training import health, samples

WELL = {"step": 5000, "discriminator": 1.2, "real_train": 0.5, "real_test": 1.1, "spread": 0.9}


def lines(count=health.LONG, **changed):
    return [WELL | changed] * count


@pytest.mark.parametrize(
    ("changed", "sign", "figure"),
    [
        ({"discriminator": 0.0123}, "discriminator", "0.0123"),
        ({"discriminator_64": 0.01}, "discriminator_64", "discriminator_64 loss"),
        ({"real_train": 0.1, "real_test": 2.75}, "memorization", "2.75"),
        ({"spread": 0.031}, "spread", "3.1%"),
    ],
)
def test_each_sign_is_told_with_its_figure_once_it_lasts(changed, sign, figure):
    found = health.warnings(lines(9) + lines(**changed))
    assert set(found) == {sign} and figure in found[sign]
    assert not health.warnings(lines(9) + lines(health.LONG - 1, **changed))
    assert not health.warnings(lines(**changed) + lines(1))


def test_a_training_that_goes_well_has_no_sign():
    assert not health.warnings(lines(20)) and not health.warnings([])
    assert not health.warnings(lines(spread=0.01, step=200))  # nothing is learned yet
    assert not health.warnings([{"step": 9000, "joint": 0.01}] * 20)  # a text encoder's


def test_a_sign_is_told_once_as_long_as_it_lasts(tmp_path, capsys):
    dataset = make_dataset(tmp_path)
    sure = Trial(dataset, tmp_path / "run", 18, train_step=lambda batch: {"discriminator": tf.constant(0.01)})
    sure.run()
    assert capsys.readouterr().out.count("warning: the discriminator loss has been below 0.05 for 5 epochs") == 1


def test_images_that_are_all_alike_have_no_spread(tmp_path):
    grid = samples.SampleGrid(make_dataset(tmp_path), 16, truncated=False, seed=0)
    inputs = {"noise": keras.Input((5,), name="noise"), "epsilon": keras.Input((4,), name="epsilon")}

    def generator(scale):
        flat = keras.layers.Dense(16 * 16 * 3)(keras.layers.Concatenate()([*inputs.values()]))
        image = keras.layers.Reshape((16, 16, 3), name="image")(flat) * scale
        return keras.Model(inputs, {"image": image})

    assert grid.spread(generator(0.0)) == 0
    assert 0.1 < grid.spread(generator(0.2)) < grid.spread(generator(0.4))
    np.testing.assert_allclose(grid.real.std(0).mean(), np.std(grid.real.astype(float), axis=0).mean())
