"""StackGAN in Keras 3 and TensorFlow 2: a sentence becomes a 64x64 image, then a 256x256 one."""

import importlib
import os
from contextlib import nullcontext
from typing import Any

__version__ = "1.0.0"

# TensorFlow turns its fast convolutions on by itself only for the newest CPUs; it looks when it is first imported
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

SHORT_NAMES = {  # fetched when they are asked for, as TensorFlow takes seconds to import
    "StackGAN": ("inference.stackgan", "StackGAN"),
    "images": ("data.rgb", None),
    "text_encoder": ("models.text_encoder", None),
    "weights": ("models.weights", None),
}


def __getattr__(name: str) -> Any:
    if name not in SHORT_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stackgan_keras import command_line  # only here, as it takes a part of a second

    module, attribute = SHORT_NAMES[name]
    with command_line.quietly() if name == "StackGAN" else nullcontext():
        found = importlib.import_module(f"stackgan_keras.{module}")
    return found if attribute is None else getattr(found, attribute)
