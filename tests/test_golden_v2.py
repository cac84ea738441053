"""StackGAN++ and AttnGAN in inference mode give the numbers of the original programs, in float32 and in float64.

`stackgan_v2_small.npz` and `attngan_small.npz` hold weights under the original's names, inputs and outputs; what
`tests/*_tiny.npz` hold is cut from these. Names say which pixels were kept.
"""

import re
import zlib
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pytest

from stackgan_keras.models import weights
from stackgan_keras.models.region_encoder import region_encoder
from stackgan_keras.porting import conversion

HERE = Path(__file__).parent
# Absolute and relative. The originals were computed in float64 and kept in float32, so that in float64 nothing remains
# but the last digit of what was kept. In float32 the random networks amplify rounding: image_256 is off by up to 1e-5
# on TensorFlow, 0.8e-5 on torch and 1.2e-5 on JAX, whatever the order of summation.
TOLERANCE = {"float32": 1e-5, "float64": 1e-7}
SIZES = (64, 128, 256)


class Golden:
    """A golden file whose networks compute in one precision."""

    def __init__(self, path: Path, dtype: str):
        self.arrays, self.dtype, self.tolerance = dict(np.load(path)), dtype, TOLERANCE[dtype]

    def state(self, name: str) -> dict:
        prefix = f"{name}/"
        return {k.removeprefix(prefix): v for k, v in self.arrays.items() if k.startswith(prefix)}

    def network(self, name: str, **changes) -> keras.Model:
        """The network as converted, or the same weights in one built with other keywords."""
        with computing_in(self.dtype):
            model, config = conversion.convert(self.state(name))
            if changes:
                other = weights.ModelConfig(config.network, config.keywords | changes).build()
                other.set_weights(model.get_weights())
                return other
        return model

    def inputs(self, *names: str) -> dict:
        return {name: self.arrays[name].astype(self.dtype) for name in names}

    def images(self, name: str) -> np.ndarray | None:
        """The images of this name, repeated as it says, or None if they were not kept."""
        for kept, values in self.arrays.items():
            if kept == name or kept.startswith(f"{name}_every_"):
                n = _every(kept)
                return values.repeat(n, 1).repeat(n, 2).astype(self.dtype)
        return None

    def expect(self, made: dict, prefix: str = "", least: int = 1) -> None:
        """Compares with everything that was kept of these outputs, at least so many of them."""
        compared = 0
        for name, values in made.items():
            for kept in self.arrays:
                if re.fullmatch(rf"{prefix}{name}(_every_\d+.._pixel)?", kept):
                    n, values = _every(kept), keras.ops.convert_to_numpy(values)
                    pixels = values[..., ::n, ::n] if name.startswith("attention") else values
                    pixels = values[:, ::n, ::n] if name.startswith("image") else pixels
                    amplified = 2 if name == "image_256" and self.dtype == "float32" else 1
                    close(pixels, self.arrays[kept], amplified * self.tolerance, kept)
                    compared += 1
        assert compared >= least


def _every(name: str) -> int:
    found = re.search(r"_every_(\d+).._pixel", name)
    return int(found[1]) if found else 1


def close(made, expected, tolerance: float, name: str = "") -> None:
    made = keras.ops.convert_to_numpy(made)
    np.testing.assert_allclose(made, expected, rtol=tolerance, atol=tolerance, err_msg=name)


@contextmanager
def computing_in(dtype: str):
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before)
        keras.config.set_dtype_policy(before)


@pytest.fixture(params=TOLERANCE)
def dtype(request):
    return request.param


@pytest.fixture(params=["tiny", "small"])
def file(request):
    """The path of a golden file, that of the repository or the larger one."""

    def path(name):
        if request.param == "tiny":
            return HERE / f"{name}_tiny.npz"
        return request.getfixturevalue("shared") / f"golden/{name}_small.npz"

    return path


# -- StackGAN++ ---------------------------------------------------------------------------------------------------


def test_images_of_stackgan_v2(file, dtype):
    golden = Golden(file("stackgan_v2"), dtype)
    made = golden.network("gen")(golden.inputs("embedding", "noise", "epsilon"), training=False)
    assert set(made) == {"image_64", "image_128", "image_256", "mean", "log_variance"}
    golden.expect(made, least=5)


def test_logits_of_stackgan_v2(file, dtype):
    path = file("stackgan_v2")
    if path.parent == HERE:
        path = HERE / "stackgan_v2_dis64_tiny.npz"
    golden = Golden(path, dtype)
    compared = []
    for size in SIZES:
        if (image := golden.images(f"real_{size}")) is not None:
            given = {"image": image, "text": golden.arrays["mean"].astype(dtype)}
            logits = golden.network(f"dis{size}")(given, training=False)
            close(logits["conditional"], golden.arrays[f"dis{size}_matched_logits"], golden.tolerance)
            close(logits["unconditional"], golden.arrays[f"dis{size}_unconditional_logits"], golden.tolerance)
            compared.append(size)
    assert compared == ([64] if path.parent == HERE else [*SIZES])


# -- AttnGAN ------------------------------------------------------------------------------------------------------


@pytest.fixture
def attngan(file, dtype):
    return Golden(file("attngan"), dtype)


def read(golden) -> dict:
    """What AttnGAN's generator reads of the captions."""
    made = golden.network("text")({"captions": golden.arrays["captions"]}, training=False)
    names = {"embedding": "sentence", "words": "words", "mask": "mask"}
    return {ours: keras.ops.convert_to_numpy(made[name]) for ours, name in names.items()}


def test_words_and_sentences(attngan):
    made = read(attngan)
    longest = attngan.arrays["lengths"].max()
    close(made["words"][:, :longest], attngan.arrays["words"], attngan.tolerance)
    close(made["embedding"], attngan.arrays["sentence"], attngan.tolerance)
    np.testing.assert_array_equal(made["mask"][:, :longest], ~attngan.arrays["mask"])
    assert not np.any(made["words"][:, longest:]) and not np.any(made["mask"][:, longest:])


def test_images_and_attention_as_released(attngan):
    given = {**attngan.inputs("noise", "epsilon"), **read(attngan)}
    longest = attngan.arrays["lengths"].max()
    made = attngan.network("gen")(given, training=False)
    assert not np.any(made["attention_64"][:, longest:])  # the file has as many words as the longest sentence
    cut = {name: values[:, :longest] if name.startswith("attention") else values for name, values in made.items()}
    attngan.expect(cut, least=7)


@pytest.mark.parametrize("mask_order", ["aligned", "as_released"])
def test_images_and_attention_of_a_sentence_alone(attngan, mask_order):
    """Alone the released mask is where it belongs, so both orders are the same, and so is `aligned` in a batch."""
    given = {**attngan.inputs("noise", "epsilon"), **read(attngan)}
    longest, batch = attngan.arrays["lengths"].max(), len(attngan.arrays["lengths"])
    network = attngan.network("gen", mask_order=mask_order)
    for rows in [[2]] if mask_order == "as_released" else [[2], [*range(batch)]]:
        made = network({name: values[rows] for name, values in given.items()}, training=False)
        made = {name: values[rows.index(2)][None] for name, values in made.items()}
        cut = {name: values[:, :longest] if name.startswith("attention") else values for name, values in made.items()}
        attngan.expect(cut, "alone_", least=5)


def test_the_misplaced_mask_shows(shared):
    """What the release's own figures say: the same sentence alone and in a batch."""
    arrays = np.load(shared / "golden/attngan_small.npz")
    name = "image_128_every_3rd_pixel"
    assert np.abs(arrays[name][2] - arrays[f"alone_{name}"][0]).max() > 1


def test_attndcgan_is_attngan_without_its_smaller_images(attngan):
    state = attngan.state("gen")
    for name in ("img_net1.img.0.weight", "img_net2.img.0.weight"):
        del state[name]
    state["img_net.img.0.weight"] = state.pop("img_net3.img.0.weight")
    with computing_in(attngan.dtype):
        model, config = conversion.convert(state)
    assert config.keywords["final_image_only"]
    made = model({**attngan.inputs("noise", "epsilon"), **read(attngan)}, training=False)
    assert set(made) == {"image_256", "attention_64", "attention_128", "mean", "log_variance"}
    attngan.expect({"image_256": made["image_256"]})


def test_logits_of_attngan(attngan):
    compared = []
    for size in SIZES:
        image = attngan.images(f"real_{size}")
        if image is None and (image := attngan.images(f"unsorted_real_{size}")) is not None:
            image = image[np.argsort(-attngan.arrays["unsorted_lengths"], kind="stable")]
        if image is not None:
            expect_logits(attngan, f"dis{size}", image)
            compared.append(size)
    assert compared in ([64], [*SIZES])


def expect_logits(golden, name, image):
    network, sentence = golden.network(name), golden.arrays["sentence"].astype(golden.dtype)
    logits = network({"image": image, "text": sentence[: len(image)]}, training=False)
    close(logits["conditional"], golden.arrays[f"{name}_matched_logits"], golden.tolerance)
    close(logits["unconditional"], golden.arrays[f"{name}_unconditional_logits"], golden.tolerance)
    mismatched = network({"image": image[:-1], "text": sentence[1 : len(image)]}, training=False)
    close(mismatched["conditional"], golden.arrays[f"{name}_mismatched_logits"], golden.tolerance)


def test_a_discriminator_of_attndcgan(attngan):
    """It has no unconditional head."""
    state = {name: value for name, value in attngan.state("dis64").items() if not name.startswith("UNCOND_DNET.")}
    model, config = conversion.convert(state)
    assert config.keywords["logits"] == ["conditional"]
    assert set(model.output) == {"conditional"}


# -- AttnGAN's image encoder --------------------------------------------------------------------------------------


def stated(key: str, shape: tuple) -> np.ndarray:
    """The weights that the golden file was made with: drawn by their names."""
    random = np.random.RandomState(zlib.crc32(key.encode()))
    if key.endswith("running_var"):
        return random.uniform(0.5, 1.5, shape)
    if key.endswith("running_mean"):
        return random.normal(0, 0.1, shape)
    if len(shape) > 1:
        return random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    return random.normal(0, 0.05, shape) if key.endswith("bias") else random.normal(1, 0.1, shape)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_regions_and_codes(shared, dtype):
    golden = Golden(shared / "golden/attngan_small.npz", dtype)
    shapes = {str(k): tuple(map(int, re.findall(r"\d+", str(s)))) for k, s in zip(*_cnn(golden), strict=True)}
    state = {key: stated(key, shape).astype(np.float32) for key, shape in shapes.items()}
    with computing_in(dtype):
        model, config = conversion.convert(state)
        since = region_encoder(**config.keywords, align_corners=False)
        since.set_weights(model.get_weights())
    nearest = np.arange(299) * 64 // 299
    image = golden.images("unsorted_real_64")[:1, nearest][:, :, nearest]
    large = golden.images("unsorted_real_256")[:1]
    cases = {"299": (model, image), "256_corners_aligned": (model, large), "256_corners_not_aligned": (since, large)}
    for name, (network, images) in cases.items():
        made = network({"image": images}, training=False)
        for ours, theirs in (("regions", "regions"), ("code", "code")):
            expected = golden.arrays[f"cnn_{theirs}_of_{name}"]
            largest = np.abs(expected).max()  # 6 to 10
            close(np.asarray(made[ours]) / largest, expected / largest, golden.tolerance, f"{name} {ours}")


def _cnn(golden):
    return golden.arrays["cnn_keys"], golden.arrays["cnn_shapes"]
