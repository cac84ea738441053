"""The image encoder of AttnGAN: the regions of an image, and the whole, into the space of words and sentences.

Source: the release and section 3.2 of the paper (Xu et al., CVPR 2018).
"""

import keras
from keras import initializers, layers

from stackgan_keras.models.inception import BilinearResize, average_with_padding, inception_maps


def region_encoder(*, text_dim: int = 256, align_corners: bool = True) -> keras.Model:
    """Images of any size to features of their regions and of the whole, by torchvision's InceptionV3.

    In: `image` (B, height, width, 3) in [-1, 1], which is resized to 299 pixels and not normalised. Out: `regions`
    (B, 17, 17, text_dim), `code` (B, text_dim). `align_corners` resizes as PyTorch did when the released encoders were
    trained (before 0.4); without it, as it does since.
    """
    image = keras.Input((None, None, 3), name="image")
    resize = BilinearResize("corners" if align_corners else "centres", dtype=keras.config.floatx(), name="resize")
    regions, whole = inception_maps(resize(image), average_with_padding, last=average_with_padding)
    whole = layers.GlobalAveragePooling2D(name="mean")(whole)  # (B, 2048)
    outputs = {
        "regions": layers.Conv2D(text_dim, 1, use_bias=False, name="regions", **_projection())(regions),
        "code": layers.Dense(text_dim, name="code", **_projection())(whole),
    }
    return keras.Model({"image": image}, outputs, name="region_encoder")


def _projection() -> dict:
    """The keywords that a layer into the space of words has."""
    return {"kernel_initializer": initializers.RandomUniform(-0.1, 0.1), "dtype": keras.config.floatx()}
