"""The attribute classifier: the value of each attribute of an image, such as the colour of each part of a bird."""

import keras
from keras import layers, ops

from stackgan_keras.errors import InputError

HIDDEN = 0.5  # share of the patches that is dropped in training, so that it looks at many


def attribute_classifier(*, attributes: dict[str, list[str]], image_size: int = 128, filters: int = 24) -> keras.Model:
    """An image to the probabilities of each attribute's values.

    `attributes` lists the values that each may have, such as {"wing": ["red", "blue"], "beak": ["red", "black"]}. In:
    (B, image_size, image_size, 3) in [-1, 1]; `image_size` is a multiple of 32. Out: for each attribute (B, values).
    The network finds the value of every small patch and, from the whole image, the places of each attribute, where it
    then counts the values. Were values read from the whole image too, it would learn the classes by heart.
    """
    if image_size < 32 or image_size % 32:
        raise InputError(f"image_size is {image_size}: it must be a multiple of 32")
    values = list(dict.fromkeys(value for options in attributes.values() for value in options))
    image = keras.Input((image_size, image_size, 3), name="image")
    x = _convolve(image, filters, "half", strides=2)
    patches = _convolve(x, 2 * filters, "quarter", strides=2)  # (B, s/4, s/4, 2 filters), each sees 7 pixels
    maps = [patches]
    for name in ("eighth", "sixteenth", "whole"):
        maps.append(_convolve(maps[-1], 3 * filters, name, strides=2))
    x = maps.pop()  # (B, s/32, s/32, 3 filters)
    for name in ("to_sixteenth", "to_eighth", "to_quarter"):
        x = layers.Concatenate(name=f"{name}_join")([layers.UpSampling2D(name=f"{name}_resize")(x), maps.pop()])
        x = _convolve(x, 2 * filters, name)
    where = _by_place(layers.Conv2D(len(attributes), 1, name="where")(x), "sigmoid", "where")  # (B, places, attributes)
    where = layers.Dropout(HIDDEN, dtype="float32", name="blink")(where)
    x = layers.Conv2D(4 * filters, 1, activation="relu", name="mix")(patches)
    value = _by_place(layers.Conv2D(len(values), 1, name="colour")(x), "softmax", "colour")  # (B, places, values)
    seen = layers.Dot(axes=1, dtype="float32", name="seen")([where, value])  # (B, attributes, values)
    outputs = {
        attribute: _shares(seen[:, i], [values.index(value) for value in options])
        for i, (attribute, options) in enumerate(attributes.items())
    }
    return keras.Model(image, outputs, name="attribute_classifier")


def with_features(classifier: keras.Model) -> keras.Model:
    """The classifier that also gives `features` (B, 6 filters): the means of its last two maps over the image."""
    maps = [classifier.get_layer(name).output for name in ("to_quarter_relu", "mix")]
    means = [layers.GlobalAveragePooling2D(dtype="float32")(x) for x in maps]
    outputs = {**classifier.output, "features": layers.Concatenate(dtype="float32")(means)}
    return keras.Model(classifier.input, outputs, name="attribute_features")


def _by_place(x, activation: str, name: str):
    """A map (B, h, w, channels), place after place: (B, h * w, channels)."""
    x = layers.Reshape((x.shape[1] * x.shape[2], x.shape[3]), name=f"{name}_places")(x)
    return layers.Activation(activation, dtype="float32", name=f"{name}_{activation}")(x)


def _shares(seen, places: list[int]):
    """The shares of an attribute's own values, of what is seen of all values."""
    own = ops.take(seen, places, axis=1) + 1e-6
    return own / ops.sum(own, axis=1, keepdims=True)


def _convolve(x, filters: int, name: str, strides: int = 1):
    """Convolution, batch norm, ReLU."""
    x = layers.Conv2D(filters, 3, strides, "same", use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
