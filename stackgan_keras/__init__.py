"""StackGAN in Keras 3 and TensorFlow 2: a sentence becomes a 64x64 sketch, then a 256x256 picture."""

__version__ = "0.1.0"


def __getattr__(name: str):
    """`stackgan_keras.StackGAN`, fetched when it is asked for, as TensorFlow takes seconds to import."""
    if name == "StackGAN":
        from stackgan_keras.sampler import StackGAN

        return StackGAN
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
