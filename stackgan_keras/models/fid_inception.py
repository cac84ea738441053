"""The network behind the FID of the literature: InceptionV3 as it was in TensorFlow's graph of 2015-12-05.

It is what pytorch-fid computes (github.com/mseitzer/pytorch-fid, `fid_inception_v3`), where the names are from too. It
differs from torchvision's InceptionV3: average pools count no padding, the last block pools the maximum, and there are
1008 classes.
"""

import keras
from keras import layers, ops

from stackgan_keras.models.inception import SIZE, BilinearResize, average_without_padding, inception_maps, maximum

CLASSES = 1008


def fid_inception(*, preprocessing: str = "pytorch_fid") -> keras.Model:
    """An image of any size to its features and the probabilities of its classes.

    In: (B, height, width, 3), pixels 0..255. Out: `features` (B, 2048), of which FID and KID are computed, and
    `probabilities` (B, 1008) for the Inception Score, the softmax of logits without their bias, as the Inception
    Score's own code (Salimans et al. 2016) and torch-fidelity (`logits_unbiased`) take them. `preprocessing` is that of
    `pytorch_fid`, bilinear with half-pixel centres and pixels / 127.5 - 1, or of `tensorflow`, which the graph itself
    and torch-fidelity do: bilinear from corner to corner and (pixels - 128) / 128. Neither has antialiasing.
    """
    image = keras.Input((None, None, 3), name="image")
    if preprocessing == "tensorflow":
        x = BilinearResize("first_corner", name="resize")(image)
        x = layers.Rescaling(1 / 128, offset=-1, name="rescale")(x)
    else:
        x = ops.image.resize(image, (SIZE, SIZE), interpolation="bilinear", antialias=False)
        x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(x)
    _, x = inception_maps(x, average_without_padding, last=maximum)
    features = layers.GlobalAveragePooling2D(name="features")(x)
    probabilities = layers.Dense(CLASSES, "softmax", use_bias=False, name="fc")(features)
    return keras.Model(image, {"features": features, "probabilities": probabilities}, name="fid_inception")
