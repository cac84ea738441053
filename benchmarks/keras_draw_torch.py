"""Drawing as in `keras_draw`, on torch."""

import os

os.environ["KERAS_BACKEND"] = "torch"  # before Keras is imported

from keras_draw import *  # noqa: F403
