"""Training steps of AttnGAN's encoders are those of the original program: losses, gradients' norm, and weights.

`attngan_small.npz` has three steps on one batch of four, with a stand-in for Inception: one frozen convolution.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_golden_v2 import Golden, computing_in

from stackgan_keras.models import weights
from stackgan_keras.models.vocabulary import END, Vocabulary
from stackgan_keras.porting import conversion
from stackgan_keras.training import optimizers
from stackgan_keras.training.damsm_encoders import DamsmEncoders, DamsmStep

STEPS = 3
LOSSES = ("words_of_image", "image_of_words", "sentence_of_image", "image_of_sentence")  # in the order of the file


@pytest.fixture(scope="module")
def trained(shared):
    """The golden data, each step's scalars, and the encoders after them."""
    golden = Golden(shared / "golden/attngan_small.npz", "float64")
    with computing_in("float64"):
        encoders = DamsmEncoders(golden.network("text"), stand_in(golden), Vocabulary([END]))
        optimizer = optimizers.make_damsm_adam(2e-3, 0.98, 100)
        step = DamsmStep(encoders, optimizer)
        scalars = [{k: float(v) for k, v in step(batch(golden, number)).items()} for number in range(STEPS)]
    return golden, scalars, encoders


def stand_in(golden, suffix="image"):
    """The golden file's image encoder."""
    state = golden.state(suffix)
    image = keras.Input((256, 256, 3), name="image")
    trunk = keras.layers.Conv2D(6, 15, 15, activation="tanh", trainable=False, name="trunk")(image)
    regions = keras.layers.Conv2D(8, 1, use_bias=False, name="regions")(trunk)
    code = keras.layers.Dense(8, name="code")(keras.layers.GlobalAveragePooling2D()(trunk))
    model = keras.Model({"image": image}, {"regions": regions, "code": code})
    model.get_layer("trunk").set_weights([state["trunk.weight"].transpose(2, 3, 1, 0), state["trunk.bias"]])
    model.get_layer("regions").set_weights([state["emb_features.weight"].transpose(2, 3, 1, 0)])
    model.get_layer("code").set_weights([state["emb_cnn_code.weight"].T, state["emb_cnn_code.bias"]])
    return model


def batch(golden, step):
    arrays = golden.arrays
    order = np.argsort(-arrays["unsorted_lengths"], kind="stable")
    return {
        "image": tf.constant(golden.images("unsorted_real_256")[order]),
        "captions": tf.constant(arrays["captions"][:, None].astype(np.int32)),
        "keep": tf.constant(arrays["damsm_keep"][step][:, None]),
        "class_id": tf.constant(arrays["class_ids"]),
    }


def test_losses(trained):
    golden, scalars, _ = trained
    for step in range(STEPS):
        made = [scalars[step][name] for name in LOSSES]
        np.testing.assert_allclose(made, golden.arrays["damsm_losses"][step], rtol=1e-9, err_msg=str(step))
        assert scalars[step]["joint"] == pytest.approx(sum(made))


def test_norms_before_clipping(trained):
    golden, scalars, _ = trained
    made = [scalars[step]["text_gradient"] for step in range(STEPS)]
    np.testing.assert_allclose(made, golden.arrays["damsm_text_gradient_norms_before_clipping"], rtol=1e-9)


def test_weights(trained):
    golden, _, encoders = trained
    with computing_in("float64"):
        text = conversion.convert(golden.state(f"damsm_text_after_{STEPS}_steps"))[0]
        image = stand_in(golden, f"damsm_image_after_{STEPS}_steps")
        before = golden.network("text"), stand_in(golden)
    for after, was, made in zip((text, image), before, (encoders.text, encoders.image), strict=True):
        expected, first = weights.named_variables(after), weights.named_variables(was)
        for path, variable in weights.named_variables(made).items():
            # what is left is that the file keeps float32
            np.testing.assert_allclose(variable.numpy(), expected[path].numpy(), rtol=1e-7, atol=1e-8, err_msg=path)
            moved = np.abs(expected[path].numpy() - first[path].numpy()).max()
            assert moved > 1e-3 or path.startswith("trunk"), path
