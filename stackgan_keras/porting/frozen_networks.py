"""The frozen network in an image encoder of regions: where its weights come from, and how they get there."""

import re
from pathlib import Path

import keras
import numpy as np

from stackgan_keras.errors import InputError
from stackgan_keras.models import weights
from stackgan_keras.porting import extractors, pretrained

Weights = dict[str, list[np.ndarray]]  # by the names of layers


def find(source: str, folder: Path) -> tuple[str, Weights]:
    """The name of a frozen network of `region_encoder`, and its weights by the names of layers.

    `source` is `efficientnet_lite0` or `inception`, or a file of one, or of a `region_encoder`; `small` has none.
    Raises `InputError` for what is not there or gives no regions.
    """
    if source == "small":
        return source, {}
    if source.endswith(".weights.h5") and weights.read_config(source).network == "region_encoder":
        network = weights.read_config(source).keywords.get("network", "inception")
        return network, {layer.name: layer.get_weights() for layer in weights.load(source).layers}
    extractor = extractors.load(source, folder)
    if extractor.name == "efficientnet_lite0":
        return extractor.name, {layer.name: layer.get_weights() for layer in extractor.model.layers}
    if extractor.name == "inception":
        body = next(layer for layer in extractor.model.layers if isinstance(layer, keras.Model))
        return extractor.name, of_keras_inception(body)
    raise InputError(
        f"text.image_encoder is {source}, of which no regions are known: with text.loss damsm give small, "
        "efficientnet_lite0, inception, or a file of one of these"
    )


def put(found: Weights, encoder: keras.Model) -> None:
    """Puts the weights into the layers of an encoder that are frozen."""
    for layer in encoder.layers:
        if layer.weights and not layer.trainable:
            layer.set_weights(found[layer.name])


def of_keras_inception(body: keras.Model) -> Weights:
    """The weights of `keras.applications.InceptionV3` by our names, which are torchvision's.

    Its layers are numbered in the order in which torchvision's have their names, and its batch norm has no scale.
    """

    def number(layer: keras.Layer) -> int:
        found = re.search(r"_(\d+)$", layer.name)
        return int(found[1]) if found else 0

    def numbered(kind: type) -> list[keras.Layer]:
        return sorted((layer for layer in body.layers if isinstance(layer, kind)), key=number)

    found: Weights = {}
    ours = [name for _, name, _ in pretrained.inception()]
    for names, kind in ((ours[::2], keras.layers.Conv2D), (ours[1::2], keras.layers.BatchNormalization)):
        for name, layer in zip(names, numbered(kind), strict=True):
            values = layer.get_weights()
            found[name] = [np.ones_like(values[0]), *values] if len(values) == 3 else values
    return found
