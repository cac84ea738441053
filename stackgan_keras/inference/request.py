"""What a command line asks `generate` for: sentences, how many images, and how the noise for them is drawn."""

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np

from stackgan_keras.errors import InputError
from stackgan_keras.inference import sentences

MANY = 1000  # images, more of which want to be confirmed
EXAMPLES = """\
examples:
  two sentences, four images of each, from the weights that came with the package
    python -m stackgan_keras.generate "this flower has pink petals and a yellow center" "a white flower"
  eight images of every line of a file, or of another command's output
    python -m stackgan_keras.generate --file sentences.txt --count 8
    echo "this flower has petals that are purple" | python -m stackgan_keras.generate
  other images of the same sentence; calmer ones, nearer to what is typical
    python -m stackgan_keras.generate "a red flower" --seed 1
    python -m stackgan_keras.generate "a red flower" --epsilon_scale 0.5 --noise_scale 0.7
  the same noise for every sentence, other colours
    python -m stackgan_keras.generate "a red flower" "a yellow flower" "a white flower" --same_noise
  from one sentence to another, as a strip and an animated GIF
    python -m stackgan_keras.generate --interpolate "a red flower" "a white flower" --steps 12
  synthetic birds, whose weights came with the package, too
    python -m stackgan_keras.generate --run drawn "this bird is red with black wings"
  from the weights of a run of your own; sentences that another program has embedded
    python -m stackgan_keras.generate --run published_birds --output_dir DIR "a red bird"
    python -m stackgan_keras.generate --run published_birds --embedded example_captions.t7

results/<run>/generated/ then holds 01_a-red-flower_seed0_copy01_stage1.png and so on, and a grid of all of them. Names
carry everything that was asked for (a sentence too long or too odd for a file name by a short code at its end), so
other sentences, seeds or scales make other files, and the same call makes the same files again.
"""


@dataclass(frozen=True)
class Request:
    """What `generate` is asked for."""

    sentences: list[str]
    conditions: list[str] | np.ndarray  # what the run reads: the sentences, or their embeddings
    count: int  # images of each sentence
    steps: int | None  # images of an interpolation from the first sentence to the second; None: there is none
    seed: int
    epsilon_scale: float
    noise_scale: float
    same_noise: bool
    attention: bool  # AttnGAN: which region each word drew

    @property
    def scales(self) -> dict[str, Any]:
        return {"epsilon_scale": self.epsilon_scale, "noise_scale": self.noise_scale}


def read(given: argparse.Namespace) -> Request:
    """The request in parsed arguments. Raises `InputError` for sentences that cannot be read, and for odd mixtures."""
    texts, conditions = sentences.read(given.sentences, given.file, given.embedded)
    if not given.interpolate and given.steps is not None:
        raise InputError("--steps belongs to --interpolate: give that and two sentences, or leave it out")
    if given.interpolate and len(texts) != 2:
        raise InputError(f"--interpolate goes from one sentence to another: give two sentences, not {len(texts)}")
    if given.interpolate and given.count is not None:
        raise InputError("--interpolate draws one row of images: leave out --count, and give --steps for a longer one")
    count = 4 if given.count is None else given.count
    if not given.interpolate and len(texts) * count > MANY and not given.yes:
        raise InputError(f"that makes {len(texts) * count:,} images: add --yes if you mean it, or lower --count")
    steps = (8 if given.steps is None else given.steps) if given.interpolate else None
    if given.interpolate and given.attention:
        raise InputError("--attention belongs to single sentences: leave it out with --interpolate")
    noise = (given.seed, given.epsilon_scale, given.noise_scale, given.same_noise, given.attention)
    return Request(texts, conditions, count, steps, *noise)
