"""The same steps as in `keras_steps`, with the convolutions that TensorFlow takes on older CPUs unless it is told."""

import os

os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # before TensorFlow is imported

from keras_steps import *  # noqa: F403
