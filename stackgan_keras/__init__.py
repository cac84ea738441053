"""StackGAN in Keras 3 and TensorFlow 2: a sentence becomes a 64x64 sketch, then a 256x256 picture."""

import os

__version__ = "0.1.0"

# TensorFlow turns its fast convolutions on by itself only for the newest CPUs; it looks when it is first imported
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def __getattr__(name: str):
    """`stackgan_keras.StackGAN`, fetched when it is asked for, as TensorFlow takes seconds to import."""
    if name == "StackGAN":
        from stackgan_keras.sampler import StackGAN

        return StackGAN
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
