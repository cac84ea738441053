"""The sizes of both stages, those of the release and those of the narrow shipped configs, and a random batch."""

from dataclasses import dataclass

import numpy as np

TEXT_DIM, CONDITION_DIM, NOISE_DIM = 1024, 128, 100
LEARNING_RATE, BETA_1, KL_WEIGHT = 2e-4, 0.5, 2.0
NARROW_TEXT_DIM, NARROW_KL_WEIGHT, NARROW_PIXEL_WEIGHT = 256, 0.02, 20.0


@dataclass(frozen=True)
class Sizes:
    """How large a stage is."""

    image_size: int  # pixels
    batch_size: int
    stage1_size: int | None = None  # pixels of the frozen Stage I's images; None: this is Stage I
    residual_blocks: int = 0
    generator_filters: int = 128
    discriminator_filters: int = 64
    stage1_filters: int | None = None  # of the frozen Stage I; None: as many as this generator has
    text_dim: int = TEXT_DIM
    as_shipped: bool = False  # with the options of the shipped configs, which the release has not


STAGES = {
    1: Sizes(image_size=64, batch_size=64),
    2: Sizes(image_size=256, batch_size=8, stage1_size=64, residual_blocks=4),
}
NARROW = {  # configs/small_flowers_stage1.yaml and small_flowers_stage2.yaml
    1: Sizes(64, 16, generator_filters=48, discriminator_filters=32, text_dim=NARROW_TEXT_DIM, as_shipped=True),
    2: Sizes(
        image_size=256,
        batch_size=8,
        stage1_size=64,
        residual_blocks=2,
        generator_filters=32,
        discriminator_filters=16,
        stage1_filters=48,
        text_dim=NARROW_TEXT_DIM,
        as_shipped=True,
    ),
}


def random_batch(sizes: Sizes) -> dict[str, np.ndarray]:
    """A batch as a `stackgan_keras` stream makes them, of random numbers; every image is of another class."""
    rng = np.random.default_rng(0)

    def normal(width: int, deviation: float = 1.0) -> np.ndarray:
        return rng.normal(0, deviation, (sizes.batch_size, width)).astype(np.float32)

    def images(size: int) -> np.ndarray:
        return rng.uniform(-1, 1, (sizes.batch_size, size, size, 3)).astype(np.float32)

    batch = {
        "image": images(sizes.image_size),
        "embedding": normal(sizes.text_dim, 0.14),
        "class_id": np.arange(sizes.batch_size),
        "noise": normal(NOISE_DIM),
        "epsilon": normal(CONDITION_DIM),
        "stage1_epsilon": normal(CONDITION_DIM),  # Stage I does not read it
    }
    if sizes.as_shipped and sizes.stage1_size:
        batch["stage1_image"] = images(sizes.stage1_size)  # for the pixel loss
    return batch
