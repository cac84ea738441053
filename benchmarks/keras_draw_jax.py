"""Drawing as in `keras_draw`, on JAX."""

import os

os.environ["KERAS_BACKEND"] = "jax"  # before Keras is imported
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several workers share a GPU

from keras_draw import *  # noqa: F403
