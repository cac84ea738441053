"""The networks of StackGAN++ and AttnGAN are built as their releases and settings say."""

import keras
import numpy as np
import pytest
from helpers import refusal

from stackgan_keras.models import discriminators, generators, weights
from stackgan_keras.models.attngan import attngan_generator
from stackgan_keras.models.blocks import precision
from stackgan_keras.models.inception import SIZE, BilinearResize
from stackgan_keras.models.orthogonal import Orthogonal
from stackgan_keras.models.region_encoder import region_encoder
from stackgan_keras.models.stackgan_v2 import stackgan_v2_generator
from stackgan_keras.models.word_attention import WordAttention
from stackgan_keras.models.word_encoder import word_encoder

BOTH = ("conditional", "unconditional")
TEXT = {"text_dim": 6, "condition_dim": 4, "noise_dim": 5}
SMALL = {"image_size": 32, "first_size": 8, "filters": 4, "residual_blocks": 1, **TEXT}
WORDS = 5


def inputs_of(network, batch=3, seed=0) -> dict:
    """Random inputs; sentences have two words, three and so on."""
    random = np.random.default_rng(seed)
    given = {}
    for name, tensor in network.input.items():
        shape = (batch, *(WORDS if side is None else side for side in tensor.shape[1:]))
        given[name] = random.normal(size=shape).astype(np.float32)
    if "mask" in given:
        given["mask"] = np.arange(WORDS) < np.arange(2, 2 + batch)[:, None]
    return given


def largest(made, expected) -> float:
    return float(np.abs(np.asarray(made) - np.asarray(expected)).max())


def awake(network, seed=0):
    """The network with kernels that make every input show."""
    random = np.random.default_rng(seed)
    for path, variable in weights.named_variables(network).items():
        if path.endswith("kernel"):
            variable.assign(random.normal(0, 1.5 / np.sqrt(np.prod(variable.shape[:-1])), variable.shape))
    return network


def parameters(network) -> float:
    """In millions, as the releases count them: without moving statistics."""
    return round(sum(np.prod(variable.shape) for variable in network.trainable_variables) / 1e6, 1)


# -- what both share ----------------------------------------------------------------------------------------------


def test_widths_of_the_releases():
    assert parameters(stackgan_v2_generator()) == 21.2
    assert parameters(attngan_generator()) == 7.1
    assert parameters(word_encoder()) == 2.1


V2, ATTNGAN = {"family": "stackgan_v2"}, {"family": "attngan", "text": "embedding", "text_dim": 256}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keywords", "size", "millions"),
    [
        *((V2, 64, 5.7), (V2, 128, 18.8), (V2, 256, 71.3)),
        *((ATTNGAN, 64, 6.3), (ATTNGAN, 128, 19.4), (ATTNGAN, 256, 71.9)),
    ],
)
def test_widths_of_the_released_discriminators(keywords, size, millions):
    assert parameters(discriminators.discriminator(image_size=size, logits=BOTH, **keywords)) == millions


@pytest.mark.parametrize("builder", [stackgan_v2_generator, attngan_generator])
@pytest.mark.parametrize(("first_size", "image_size"), [(8, 8), (8, 16), (8, 64), (16, 32)])
def test_branches_of_any_size(builder, first_size, image_size):
    network = builder(**{**SMALL, "first_size": first_size, "image_size": image_size, "filters": 8})
    made = network(inputs_of(network))
    sizes = [size for size in (8, 16, 32, 64) if first_size <= size <= image_size]
    assert generators.images_of(network) == {f"image_{size}": size for size in sizes}
    for size in sizes:
        assert made[f"image_{size}"].shape == (3, size, size, 3)
    if builder is attngan_generator:
        attention = {name: value.shape for name, value in made.items() if name.startswith("attention")}
        assert attention == {f"attention_{size}": (3, WORDS, size, size) for size in sizes[:-1]}
    assert made["mean"].shape == made["log_variance"].shape == (3, 4)


@pytest.mark.parametrize("builder", [stackgan_v2_generator, attngan_generator])
def test_sizes_that_never_meet_are_refused(builder):
    def build(first_size, image_size):
        builder(**{**SMALL, "first_size": first_size, "image_size": image_size})

    assert "image_size is 24: it must be 8 times a power of two" in refusal(build, 8, 24)
    assert "image_size is 8: it must be 16 times a power of two" in refusal(build, 16, 8)
    assert "image_size is 12: it must be 4 times a power of two" in refusal(build, 12, 24)


@pytest.mark.parametrize("builder", [stackgan_v2_generator, attngan_generator])
def test_every_input_shows_in_every_image(builder):
    network = awake(builder(**SMALL))
    given = inputs_of(network)
    images = generators.images_of(network)
    plain = network(given, training=False)
    for name in set(given) - {"words", "mask"}:
        other = network({**given, name: given[name] + 1}, training=False)
        for image in images:
            assert largest(other[image], plain[image]) > 1e-3, (name, image)


def test_names_of_images_and_of_what_belongs_to_them():
    stage1 = {"filters": 8, "image_size": 16, **TEXT}
    stage2 = generators.stage2_generator(
        stage1=stage1, image_size=16, filters=4, text_dim=6, condition_dim=4, residual_blocks=1
    )
    assert list(generators.images_of(stage2)) == ["stage1_image", "image"]
    names = {"image": "loss", "image_64": "loss_64", "image_256": "loss_256", "stage1_image": "loss_stage1_image"}
    assert {image: generators.named_by(image, "loss") for image in names} == names


def test_images_and_attention_are_exact_in_any_precision():
    with precision("mixed_bfloat16"):
        network = attngan_generator(**SMALL)
    made = network(inputs_of(network)).values()
    assert {keras.backend.standardize_dtype(value.dtype) for value in made} == {"float32"}


# -- first weights ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 3, 8, 16), (5, 40), (40, 5), (6, 6), (1, 1, 3, 48), (4, 4, 24, 1)])
def test_orthogonal_first_weights_are_those_of_keras(shape):
    made = np.asarray(Orthogonal(seed=1)(shape))
    assert largest(made, keras.initializers.Orthogonal(seed=1)(shape)) < 1e-5
    matrix = made.reshape(-1, shape[-1])
    product = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    assert largest(product, np.eye(len(product))) < 1e-5


def first_weights(network) -> dict:
    return {path: np.asarray(variable) for path, variable in weights.named_variables(network).items()}


def test_generators_start_orthogonal():
    for network in (stackgan_v2_generator(**SMALL), attngan_generator(**SMALL)):
        kernels = {path: value for path, value in first_weights(network).items() if path.endswith("kernel")}
        assert len({value.tobytes() for value in kernels.values()}) == len(kernels)
        for path, value in kernels.items():
            matrix = value.reshape(-1, value.shape[-1])
            assert np.linalg.norm(matrix, 2) == pytest.approx(1, abs=1e-4), path


@pytest.mark.parametrize("family", discriminators.FAMILIES)
def test_how_discriminators_start(family):
    network = discriminators.discriminator(image_size=64, filters=3, logits=BOTH, condition_dim=4, family=family)
    found = first_weights(network)
    kernel = found["encode_image/down3_conv/kernel"]
    assert np.isclose(np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), 2), 1) == (family != "stackgan")
    for head in ("matched", "real"):
        bias = np.abs(found[f"{head}/logit_conv/bias"])
        assert np.all(bias <= (16 * 24) ** -0.5) and np.all(bias > 0) == (family != "stackgan")


# -- StackGAN++ ---------------------------------------------------------------------------------------------------


def test_without_text_noise_takes_its_place():
    network = awake(stackgan_v2_generator(**SMALL, conditional=False))
    assert set(network.input) == {"noise"}
    assert set(network.output) == {"image_8", "image_16", "image_32"}
    given = inputs_of(network)
    made, other = network(given), network({"noise": given["noise"][::-1]})
    assert largest(made["image_32"], other["image_32"][::-1]) < 1e-5
    assert largest(made["image_32"], other["image_32"]) > 1e-2


@pytest.mark.parametrize("pretrained", [False, True])
def test_a_discriminator_without_text(pretrained):
    network = discriminators.discriminator(
        image_size=16, filters=2, logits=("unconditional",), pretrained=pretrained, family="stackgan_v2"
    )
    assert "text" not in network.input and set(network.output) == {"unconditional"}
    given = inputs_of(network)
    logits, parts = network(given, training=True)["unconditional"], discriminators.Parts(network)
    again = parts.logits(parts.features(given), None)
    assert set(again) == {"unconditional"}
    assert largest(again["unconditional"][..., 0], logits[..., 0] if pretrained else logits) < 1e-5


def test_later_branches_have_half_the_channels_each():
    shapes = {path: value.shape for path, value in first_weights(stackgan_v2_generator(**SMALL)).items()}
    assert [shapes[f"image_{size}_conv/kernel"][2] for size in (8, 16, 32)] == [4, 2, 1]
    narrow = refusal(lambda: stackgan_v2_generator(**{**SMALL, "filters": 3}))
    assert "generator.filters is 3, which cannot be halved 2 times on the way from 8 to 32 pixels" in narrow


def test_branches_beyond_the_third_have_one_residual_block():
    network = stackgan_v2_generator(**{**SMALL, "image_size": 64, "filters": 8, "residual_blocks": 2})
    blocks = {path.split("_norm/")[0] for path in first_weights(network) if "residual" in path and "norm" in path}
    counts = [sum(block.startswith(f"branch_{size}_") for block in blocks) / 2 for size in (16, 32, 64)]
    assert counts == [2, 2, 1]


@pytest.mark.parametrize("family", discriminators.FAMILIES)
def test_which_of_text_and_features_comes_first(family):
    network = discriminators.discriminator(image_size=16, filters=2, condition_dim=3, family=family)
    head = network.get_layer("matched")
    text, features = np.full((1, 3), 2.0), np.ones((1, 4, 4, head.input["features"].shape[-1]))
    joined = keras.Model(head.input, head.get_layer("join").output)({"text": text, "features": features})
    values = np.asarray(joined)[0, 2, 1]
    assert list(values) == sorted(values, reverse=family == "stackgan_v2")


# -- AttnGAN ------------------------------------------------------------------------------------------------------


def pair(**keywords):
    """Generators of the same weights with either order of masks."""
    aligned = awake(attngan_generator(**SMALL, **keywords))
    released = attngan_generator(**SMALL, **keywords, mask_order="as_released")
    released.set_weights(aligned.get_weights())
    return aligned, released


def test_masks_as_released_are_misplaced_for_sentences_of_unequal_length():
    aligned, released = pair()
    given = inputs_of(aligned)
    right, wrong = aligned(given, training=False), released(given, training=False)
    assert largest(right["image_8"], wrong["image_8"]) == 0  # the first branch sees no words
    assert largest(right["image_32"], wrong["image_32"]) > 0.05
    assert not np.any(np.asarray(right["attention_8"])[0, 2:])  # the first sentence has two words
    assert np.any(np.asarray(wrong["attention_8"])[0, 2:])
    alone = {name: values[:1] for name, values in given.items()}
    for network in (aligned, released):  # alone, both are right
        made = network(alone, training=False)
        for name in right:
            assert largest(made[name], right[name][:1]) < 1e-5, name


def test_masks_of_equal_lengths_are_the_same_in_either_order():
    aligned, released = pair()
    given = inputs_of(aligned) | {"mask": np.arange(WORDS)[None].repeat(3, 0) < 4}
    right, wrong = aligned(given, training=False), released(given, training=False)
    assert all(largest(right[name], wrong[name]) == 0 for name in right)


def test_pixels_get_the_masks_of_other_sentences_as_released():
    """Pixel q of sentence b has that of sentence (b pixels + q) mod batch."""
    look = WordAttention("as_released")
    mask = np.arange(WORDS) < np.array([[1], [3], [5]])
    _, attention = look(np.zeros((3, 2, 2, 4)), np.zeros((3, WORDS, 4)), mask)
    lengths = np.count_nonzero(attention, axis=1).reshape(3, 4)
    assert lengths.tolist() == [[1, 3, 5, 1], [3, 5, 1, 3], [5, 1, 3, 5]]


def test_what_is_no_word_does_not_matter():
    network = awake(attngan_generator(**SMALL))
    given = inputs_of(network)
    other = given["words"] + 100 * ~given["mask"][..., None]
    right, again = network(given, training=False), network({**given, "words": other}, training=False)
    assert all(largest(right[name], again[name]) < 1e-5 for name in right)
    attention = np.asarray(right["attention_16"])
    assert attention.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_an_unknown_order_of_masks_is_refused():
    sentence = refusal(lambda: attngan_generator(**SMALL, mask_order="sideways"))
    assert sentence == 'there is no mask_order "sideways": choose one of aligned, as_released'


def test_the_last_image_alone():
    network = attngan_generator(**SMALL, final_image_only=True)
    assert generators.images_of(network) == {"image_32": 32}
    assert {"attention_8", "attention_16"} <= set(network.output)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def recur(found: dict, name: str, words: np.ndarray) -> list[np.ndarray]:
    """The states of an LSTM after each word, by PyTorch's formula."""
    w, u, b, c = (found[f"lstm_{name}/{part}"] for part in ("kernel", "recurrent_kernel", "bias", "recurrent_bias"))
    output = memory = np.zeros(u.shape[0])
    states = []
    for word in words:
        let_in, keep, new, let_out = np.split(word @ w + b + output @ u + c, 4)
        memory = sigmoid(keep) * memory + sigmoid(let_in) * np.tanh(new)
        output = sigmoid(let_out) * np.tanh(memory)
        states.append(output)
    return states


def test_words_and_sentences_by_hand():
    network = word_encoder(vocabulary=9, word_dim=4, text_dim=6)
    found = first_weights(network)
    captions = np.array([[3, 1, 4, 1], [8, 2, 0, 0], [0, 0, 0, 0]])
    made = {name: np.asarray(value) for name, value in network({"captions": captions}).items()}
    assert np.array_equal(made["mask"], captions > 0)
    for row, length in enumerate((4, 2)):
        words = found["embed/embeddings"][captions[row, :length]]
        forward, backward = recur(found, "forward", words), recur(found, "backward", words[::-1])[::-1]
        for place in range(length):
            expected = np.concatenate([forward[place], backward[place]])
            assert largest(made["words"][row, place], expected) < 1e-6
        assert largest(made["sentence"][row], np.concatenate([forward[-1], backward[0]])) < 1e-6
        assert not made["words"][row, length:].any()
    assert not made["words"][2].any() and not made["sentence"][2].any()  # no words


def test_how_the_word_encoder_starts():
    found = first_weights(word_encoder(vocabulary=50, text_dim=32))
    assert 0.09 < np.abs(found.pop("embed/embeddings")).max() <= 0.1
    for path, value in found.items():
        assert 0.2 < np.abs(value).max() <= 16**-0.5, path
    assert len({value.tobytes() for value in found.values()}) == len(found) == 8


@pytest.mark.parametrize("alignment", ["corners", "centres", "first_corner"])
def test_where_a_resized_pixel_comes_from(alignment):
    """Bilinear resizing gives a ramp back exactly, so that it tells the place of each pixel."""
    size = 100
    ramp = np.arange(size, dtype=np.float32)[None, :, None, None] * np.array([1, 0, 1], np.float32)
    ramp = ramp + np.arange(size, dtype=np.float32)[None, None, :, None] * np.array([0, 1, 1], np.float32)
    made = np.asarray(BilinearResize(alignment)(ramp))
    i = np.arange(SIZE)
    place = {
        "corners": i * (size - 1) / (SIZE - 1),
        "centres": (i + 0.5) * size / SIZE - 0.5,
        "first_corner": i * size / SIZE,
    }[alignment].clip(0, size - 1)
    assert largest(made[0, :, 7, 0], place) < 1e-4
    assert largest(made[0, 7, :, 1], place) < 1e-4
    assert largest(made[0, :, :, 2], place[:, None] + place) < 1e-4
    if alignment == "centres":
        theirs = keras.ops.image.resize(ramp, (SIZE, SIZE), interpolation="bilinear", antialias=False)
        assert largest(made, theirs) < 1e-4


def test_regions_and_the_whole_of_images_of_any_size():
    network = region_encoder(text_dim=6)
    images = np.random.default_rng(0).uniform(-1, 1, (2, 64, 80, 3)).astype(np.float32)
    made = network({"image": images}, training=False)
    assert made["regions"].shape == (2, 17, 17, 6) and made["code"].shape == (2, 6)
    found = first_weights(network)
    assert 0.09 < np.abs(found["regions/kernel"]).max() <= 0.1 and 0.09 < np.abs(found["code/kernel"]).max() <= 0.1
