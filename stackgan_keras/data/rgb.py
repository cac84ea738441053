"""Images as networks make them, with values in [-1, 1]: to uint8 pixels, PNG and GIF."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stackgan_keras.files import atomic_write
from stackgan_keras.models.tensors import Tensor


def to_range(pixels: Tensor) -> Tensor:
    """Pixels 0..255, given as floats, in [-1, 1] as the networks want them."""
    return pixels / 127.5 - 1.0


def to_pixels(values: Tensor) -> Tensor:
    """A network's [-1, 1] images as floats 0..255, the inverse of `to_range`."""
    return (values + 1.0) * 127.5


def to_uint8(values: ArrayLike) -> np.ndarray:
    """A network's [-1, 1] images, of any shape, as uint8 pixels, rounded and clipped."""
    return np.clip(np.rint(to_pixels(np.asarray(values, np.float32))), 0, 255).astype(np.uint8)


def write(path: Path, pixels: np.ndarray, about: dict | None = None) -> None:
    """Saves (height, width, 3) uint8 as a PNG, making its folder, with the entries of `about` as its text."""
    text = PngInfo()
    for key, value in (about or {}).items():
        text.add_itxt(key, str(value))
    with atomic_write(path) as unfinished:
        Image.fromarray(pixels).save(unfinished, "PNG", pnginfo=text)


def there_and_back(frames: int) -> list[int]:
    """The order in which a GIF shows so many frames, that it may begin again where it ends."""
    return [*range(frames), *range(frames - 2, 0, -1)]


def write_gif(path: Path, frames: np.ndarray, milliseconds: Sequence[int]) -> None:
    """Saves (N, height, width, 3) uint8 as a GIF that runs for ever, each frame for its time."""
    first, *others = [Image.fromarray(frame).quantize(256) for frame in frames]
    how = {"save_all": True, "append_images": others, "duration": list(milliseconds), "loop": 0}
    with atomic_write(path) as unfinished:
        first.save(unfinished, "GIF", **how)
