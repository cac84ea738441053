"""The image encoder with which a text encoder learns: images into the space of embeddings."""

import keras
from keras import layers

from stackgan_keras.models.blocks import CORE, convolve
from stackgan_keras.models.tensors import Tensor

PLACES = 12  # that the small image encoder looks at


def image_encoder(
    *, text_dim: int, image_size: int = 64, filters: int = 32, network: str = "small", features: int = 0
) -> keras.Model:
    """Images into the space of the text encoder, (B, text_dim), where a pair's score is the inner product of the two.

    `network` is `small`, or the feature extractor whose `features` are projected. The small one takes `image`
    (B, image_size, image_size, 3) in [-1, 1], finds `PLACES` places in it and reads small patches there, with
    convolutions of `filters` channels and more. The other takes `features` (B, features), as Reed et al., CVPR 2016,
    do with those of a network of ImageNet's classes.
    """
    if network == "small":
        given = keras.Input((image_size, image_size, 3), name="image")
        x = layers.Flatten(name="seen_flat")(patches_in_places(given, filters))
    else:
        given = x = keras.Input((features,), name="features")
    x = layers.Dense(text_dim, dtype=keras.config.floatx(), name="project")(x)
    return keras.Model(given, x, name="image_encoder")


def patches_in_places(image: Tensor, filters: int) -> Tensor:
    """What small patches hold, averaged over each of `PLACES` places of the image: (B, PLACES, 2 filters).

    What a word says of a part is seen in a patch, but which part that is only in the whole image. Were both read
    from the whole, the network would rather learn its few classes by heart (measured on drawn birds: the colours of
    backs and wings of new species were read right two times in three, and hardly better with more training).
    """
    x = convolve(image, filters, 3, "half", strides=2)
    patches = convolve(x, filters, 3, "patch")  # (B, s/2, s/2, filters), each sees 7 pixels
    maps = [patches]
    while maps[-1].shape[1] > CORE:
        maps.append(convolve(maps[-1], 2 * filters, 3, f"down{len(maps)}", strides=2))
    x = maps.pop()  # (B, 4, 4, 2 filters), sees everything
    while maps:
        x = layers.UpSampling2D(name=f"up{len(maps)}_resize")(x)
        x = layers.Concatenate(name=f"up{len(maps)}_join")([x, maps.pop()])
        x = convolve(x, filters, 3 if maps else 1, f"up{len(maps)}")
    dtype = keras.config.floatx()
    places = layers.Conv2D(PLACES, 1, name="places")(x)
    places = layers.Reshape((-1, PLACES), dtype=dtype, name="places_flat")(places)
    places = layers.Softmax(axis=1, dtype=dtype, name="places_softmax")(places)
    content = convolve(patches, 2 * filters, 1, "content")
    content = layers.Reshape((-1, 2 * filters), dtype=dtype, name="content_flat")(content)
    return layers.Dot(axes=1, dtype=dtype, name="seen")([places, content])
