"""The text encoder reads sentences as the original program does."""

import keras
import numpy as np
import pytest
from helpers import refusal
from keras import ops

from stackgan_keras.models import text_encoder, weights
from stackgan_keras.models.text_encoder import ALPHABET, LENGTH, embed, encode
from stackgan_keras.porting import checkpoints, conversion

SMALL = {"filters": 6, "recurrent_dim": 5, "text_dim": 7}
SENTENCES = ["a small yellow bird with a black crown", "the petals are pink", "", "x" * 300]


@pytest.fixture(scope="module")
def golden(shared):
    """The published encoder's weights in our network, the golden sentences and what the original made of them."""
    pytest.importorskip("torch", reason="the golden text encoder is a PyTorch file")
    folder = shared / "golden/text_small"
    model, _ = conversion.convert(checkpoints.read(folder / "birds_icml.pth"))
    with np.load(folder / "io.npz") as io:
        return model, [str(sentence) for sentence in io["sentences"]], io["birds_icml"]


def test_equals_the_golden_embeddings(golden):
    """The port's recurrence mixes the sentences of a batch, and the golden ones were embedded six at a time.

    From its second step on it adds a (B, units) input to a (B, 1, units) state, so that every sentence's state meets
    every sentence's input, and takes the mean over all of that. The same layers, given states of that shape, do so
    too and give the golden numbers; a sentence of its own is what the next test looks at.
    """
    model, sentences, expected = golden
    recurrence = model.get_layer("recurrence")
    features = keras.Model(model.input, model.get_layer("conv3_threshold").output)(encode(sentences))
    given = {name: recurrence._linear(features, f"{name}_input") for name in recurrence.names}
    states = [ops.tanh(given["state"][:, :1])]  # (6, 1, units)
    for step in range(1, features.shape[1]):
        states.append(recurrence._gated_step({k: v[:, step] for k, v in given.items()}, states[-1]))
    mixed = ops.mean(ops.concatenate(states, axis=1), axis=1)
    np.testing.assert_allclose(model.get_layer("project")(mixed), expected, atol=1e-5)


def test_equals_the_port_for_one_sentence(golden):
    """What the port computes for a sentence alone, written out in NumPy from facts.md's section 4."""
    model, sentences, _ = golden
    features = keras.Model(model.input, model.get_layer("conv3_threshold").output)
    ours = embed(model, sentences)
    for sentence, mine in zip(sentences, ours, strict=True):
        x = ops.convert_to_numpy(features(encode([sentence])))[0]
        np.testing.assert_allclose(_port_of_one(model, x), mine, atol=1e-5)


def _port_of_one(model, x):
    layer = model.get_layer("recurrence")
    kernels = {k: v.numpy() for k, v in layer.kernels.items()}
    biases = {k: v.numpy() for k, v in layer.biases.items()}

    def linear(value, key):
        return value @ kernels[key] + biases[key]

    def sigmoid(value):
        return 1 / (1 + np.exp(-value))

    states = [np.tanh(linear(x[0], "state_input"))]
    for step in x[1:]:
        last = states[-1]
        update = sigmoid(linear(step, "update_input") + linear(last, "update_recurrent"))
        reset = sigmoid(linear(step, "reset_input") + linear(last, "reset_recurrent"))
        candidate = np.tanh(linear(step, "state_input") + linear(reset * last, "state_recurrent"))
        states.append(update * candidate + (1 - update) * last)
    return model.get_layer("project")(np.mean(states, axis=0)[None])[0]


def test_a_sentence_does_not_depend_on_its_neighbours():
    model = text_encoder.text_encoder(**SMALL)
    together = embed(model, SENTENCES)
    for row, sentence in zip(together, SENTENCES, strict=True):
        np.testing.assert_allclose(embed(model, [sentence])[0], row, atol=1e-6)


def test_the_steps_of_both_variants():
    for variant, steps, gates in (("birds", 18, 3), ("flowers", 8, 1)):
        model = text_encoder.text_encoder(variant=variant, **SMALL)
        recurrence = model.get_layer("recurrence")
        assert recurrence.output.shape[1:] == (steps, 5)
        assert len(recurrence.weights) == 4 * gates


def test_the_sizes_of_the_release():
    model = text_encoder.text_encoder()
    shapes = {v: tuple(x.shape) for v, x in weights.named_variables(model).items()}
    assert shapes["conv1/kernel"] == (4, 70, 384)
    assert shapes["conv2/kernel"] == (4, 384, 512)
    assert shapes["conv3/kernel"] == (4, 512, 512)
    assert shapes["project/kernel"] == (512, 1024)


def test_plain_recurrence_by_hand():
    layer = text_encoder.Recurrence(2, gated=False)
    x = np.random.default_rng(0).normal(size=(1, 3, 2)).astype(np.float32)
    layer(x)
    w, b, u, c = (variable.numpy() for variable in layer.weights)
    b += 0.3
    c -= 0.2
    layer.set_weights([w, b, u, c])
    first = np.maximum(x[:, 0] @ w + b, 0)  # no word of c: there is no state yet
    second = np.maximum(x[:, 1] @ w + b + first @ u + c, 0)
    third = np.maximum(x[:, 2] @ w + b + second @ u + c, 0)
    np.testing.assert_allclose(layer(x), np.stack([first, second, third], axis=1), atol=1e-6)


def test_codes():
    assert len(ALPHABET) == 70
    codes = encode(["Ab-9 é", "", "z" * 500])
    assert codes.shape == (3, LENGTH) and codes.dtype == np.int32
    minus = 60  # it stands at 37 and at 60, and the later place counts
    assert codes[0, :7].tolist() == [1, 2, minus, 36, 70, 70, 0]
    assert ALPHABET[36] == ALPHABET[minus - 1] == "-"
    assert not codes[1].any()
    assert (codes[2] == 26).all()


def test_padding_is_no_character():
    """All zeros where nothing stands: a kernel that sees only padding gives its bias."""
    model = text_encoder.text_encoder(**SMALL)
    conv = model.get_layer("conv1")
    before = keras.Model(model.input, conv.output)
    np.testing.assert_allclose(before(encode([""]))[0], np.broadcast_to(conv.bias, (198, 6)), atol=1e-6)
    assert np.abs(before(encode([" "]))[0, 0] - conv.bias).max() > 1e-3


def test_below_the_threshold_is_nothing():
    layer = text_encoder.text_encoder(**SMALL).get_layer("conv1_threshold")
    np.testing.assert_array_equal(layer(np.array([-1, 0, 9e-7, 2e-6, 1], np.float32)), np.float32([0, 0, 0, 2e-6, 1]))


def test_any_string_is_embedded():
    model = text_encoder.text_encoder(**SMALL)
    strange = ["", " ", "🐦", "маленькая птица", "\x00\n\t", "İ", "a" * 1000, "\udc80"]
    made = embed(model, strange)
    assert made.shape == (len(strange), 7) and np.isfinite(made).all()
    assert embed(model, []).shape == (0, 7)


def test_a_weight_file_gives_the_same_encoder(tmp_path):
    config = weights.ModelConfig("text_encoder", {"variant": "flowers", **SMALL})
    model = config.build()
    weights.save(model, config, tmp_path / "text_encoder.weights.h5")
    np.testing.assert_array_equal(
        embed(weights.load(tmp_path / "text_encoder.weights.h5"), SENTENCES), embed(model, SENTENCES)
    )


def test_an_unknown_variant_is_refused():
    assert '"dogs"' in refusal(lambda: text_encoder.text_encoder(variant="dogs"))
