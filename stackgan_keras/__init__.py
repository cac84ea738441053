"""StackGAN in Keras 3 and TensorFlow 2: a sentence becomes a 64x64 sketch, then a 256x256 picture."""

__version__ = "0.1.0"
