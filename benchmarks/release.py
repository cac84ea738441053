"""The sizes of both stages of the release, and a random batch of their shape."""

from dataclasses import dataclass

import numpy as np

TEXT_DIM, CONDITION_DIM, NOISE_DIM = 1024, 128, 100
LEARNING_RATE, BETA_1, KL_WEIGHT = 2e-4, 0.5, 2.0


@dataclass(frozen=True)
class Sizes:
    """How large a stage is."""

    image_size: int  # pixels
    batch_size: int
    stage1_size: int | None = None  # pixels of the frozen Stage I's images; None: this is Stage I
    residual_blocks: int = 0
    generator_filters: int = 128
    discriminator_filters: int = 64


STAGES = {
    1: Sizes(image_size=64, batch_size=64),
    2: Sizes(image_size=256, batch_size=8, stage1_size=64, residual_blocks=4),
}


def random_batch(sizes: Sizes) -> dict[str, np.ndarray]:
    """A batch as a `stackgan_keras` stream makes them, of random numbers; every picture is of another class."""
    rng = np.random.default_rng(0)

    def normal(width: int, deviation: float = 1.0) -> np.ndarray:
        return rng.normal(0, deviation, (sizes.batch_size, width)).astype(np.float32)

    shape = (sizes.batch_size, sizes.image_size, sizes.image_size, 3)
    return {
        "image": rng.uniform(-1, 1, shape).astype(np.float32),
        "embedding": normal(TEXT_DIM, 0.14),
        "class_id": np.arange(sizes.batch_size),
        "noise": normal(NOISE_DIM),
        "epsilon": normal(CONDITION_DIM),
        "stage1_epsilon": normal(CONDITION_DIM),  # Stage I does not read it
    }
