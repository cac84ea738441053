"""The image encoder of AttnGAN: the regions of an image, and the whole, into the space of words and sentences.

Source: the release and section 3.2 of the paper (Xu et al., CVPR 2018); there it is Inception. The others are ours.
"""

import keras
from keras import initializers, layers

from stackgan_keras.errors import InputError
from stackgan_keras.models.blocks import precision
from stackgan_keras.models.efficientnet_lite0 import regions_and_features
from stackgan_keras.models.image_encoder import PLACES, patches_in_places
from stackgan_keras.models.inception import BilinearResize, average_with_padding, inception_maps
from stackgan_keras.models.tensors import Tensor

NETWORKS = ("inception", "efficientnet_lite0", "small")


def region_encoder(
    *,
    text_dim: int = 256,
    network: str = "inception",
    align_corners: bool = True,
    image_size: int = 64,
    filters: int = 32,
) -> keras.Model:
    """Images to features of their regions and of the whole, by a frozen network of ImageNet's classes or a small one.

    In: `image` (B, height, width, 3) in [-1, 1]. Out: `regions`, `code` (B, text_dim).

    `inception` is torchvision's InceptionV3, for images of any size, which are resized to 299 pixels and not
    normalised: `regions` (B, 17, 17, text_dim). `align_corners` resizes as PyTorch did when the released encoders were
    trained (before 0.4); without it, as it does since. `efficientnet_lite0` takes images of any size, too: `regions`
    (B, 14, 14, text_dim). `small` is trained, with convolutions of `filters` channels and more, on images of
    `image_size`; its regions are the places that it looks at, `regions` (B, PLACES, text_dim).
    """
    if network not in NETWORKS:
        raise InputError(f"there is no image encoder {network} of regions: choose one of {', '.join(NETWORKS)}")
    if network == "small":
        image = keras.Input((image_size, image_size, 3), name="image")
        seen = patches_in_places(image, filters)  # (B, PLACES, 2 filters)
        whole = layers.Flatten(name="seen_flat")(seen)
        regions = layers.EinsumDense("bpc,pcd->bpd", (PLACES, text_dim), name="regions", **_projection())(seen)
    else:
        image = keras.Input((None, None, 3), name="image")
        seen, whole = _inception(image, align_corners) if network == "inception" else _efficientnet(image)
        for layer in keras.Model(image, [seen, whole]).layers:
            layer.trainable = False
        regions = layers.Conv2D(text_dim, 1, use_bias=False, name="regions", **_projection())(seen)
    code = layers.Dense(text_dim, name="code", **_projection())(whole)
    return keras.Model({"image": image}, {"regions": regions, "code": code}, name="region_encoder")


def _inception(image: Tensor, align_corners: bool) -> tuple[Tensor, Tensor]:
    resize = BilinearResize("corners" if align_corners else "centres", dtype=keras.config.floatx(), name="resize")
    regions, whole = inception_maps(resize(image), average_with_padding, last=average_with_padding)
    return regions, layers.GlobalAveragePooling2D(name="mean")(whole)  # (B, 17, 17, 768), (B, 2048)


def _efficientnet(image: Tensor) -> tuple[Tensor, Tensor]:
    with precision(keras.config.floatx()):  # its depthwise convolutions are slow in bfloat16
        pixels = layers.Rescaling(127.5, offset=127.5, name="pixels")(image)
        return regions_and_features(pixels)  # (B, 14, 14, 112), (B, 1280)


def _projection() -> dict:
    """The keywords that a layer into the space of words has."""
    return {"kernel_initializer": initializers.RandomUniform(-0.1, 0.1), "dtype": keras.config.floatx()}
