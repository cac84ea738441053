"""Training steps of StackGAN++ are those of the original program: losses, gradients, weights and moving statistics.

In float64, as `test_golden` says. `stackgan_v2_small.npz` has three steps on one batch of four, also with the colour
term and without the unconditional losses.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from test_golden_v2 import SIZES, Golden, computing_in

from stackgan_keras import config
from stackgan_keras.models import weights
from stackgan_keras.porting import conversion
from stackgan_keras.training import objective, optimizers
from stackgan_keras.training.train_step import TrainStep

STEPS = 3
LOSSES = ("real", "mismatched", "fake")  # in the order of the file
KINDS = ("train", "train_color", "train_no_uncond")
TOLERANCE = 1e-6  # relative, of losses and of gradients' norms: what is left is the rounding of what was kept


@pytest.fixture(scope="module", params=KINDS)
def trained(request, shared):
    """The golden data, which of its trainings, each step's scalars and gradients' norms, and the networks after."""
    kind = request.param
    golden = Golden(shared / "golden/stackgan_v2_small.npz", "float64")
    coefficients = json.loads(str(golden.arrays["config"]))["training"]
    unconditional, colour = coefficients["uncond_and_color"][kind]
    settings = config.make(
        {
            "generator": {"family": "stackgan_v2"},
            "train": {"kl_weight": coefficients["kl"], "unconditional_weight": unconditional, "colour_weight": colour},
        }
    )
    with computing_in("float64"):
        generator = golden.network("gen")
        discriminators = {f"image_{size}": _discriminator(golden, size, unconditional) for size in SIZES}
        task = objective.adversarial(generator, discriminators, settings)
        networks = {"generator": generator, **{a.name: a.discriminator for a in task.adversaries}}
        adams = {name: Adam(2e-4, network.trainable_variables) for name, network in networks.items()}
        step_of, average = TrainStep(task, adams), golden.network("gen")
        move = optimizers.make_released_ema(average, generator, coefficients["average"])
        scalars = []
        for step in range(STEPS):
            scalars.append(step_of(_batch(golden, step)))
            move(step + 1)
    return golden, kind, scalars, {name: adam.norms for name, adam in adams.items()}, {**networks, "average": average}


class Adam:
    """Adam with its epsilon where the original has it, beside the corrected root; it remembers gradients' norms."""

    def __init__(self, rate, variables):
        self.rate, self.norms = rate, []
        self.moments = [[tf.zeros_like(variable.value)] * 2 for variable in variables]

    def scale_loss(self, loss):
        return loss

    def apply(self, gradients, variables):
        self.norms.append([float(tf.norm(gradient)) for gradient in gradients])
        step = len(self.norms)
        for moments, gradient, variable in zip(self.moments, gradients, variables, strict=True):
            moments[0] = 0.5 * moments[0] + 0.5 * gradient
            moments[1] = 0.999 * moments[1] + 0.001 * gradient**2
            mean, square = moments[0] / (1 - 0.5**step), moments[1] / (1 - 0.999**step)
            variable.assign_sub(self.rate * mean / (tf.sqrt(square) + 1e-8))


def _discriminator(golden, size, unconditional):
    state = golden.state(f"dis{size}")
    return conversion.convert({name: v for name, v in state.items() if unconditional or "uncond" not in name})[0]


def _batch(golden, step):
    arrays = {"embedding": golden.arrays["embedding"]}
    for name in ("noise", "epsilon"):
        arrays[name] = golden.arrays[f"train_{name}"][step]
    for size in SIZES:
        arrays[f"image_{size}"] = golden.images(f"real_{size}")
        arrays[f"wrong_image_{size}"] = golden.images(f"wrong_{size}")
    batch = {name: tf.constant(values.astype(np.float64)) for name, values in arrays.items()}
    return {"class_id": tf.range(len(arrays["embedding"])), **batch}


def test_losses_of_the_discriminators(trained):
    golden, kind, scalars, _, _ = trained
    names = ["discriminator", *LOSSES, *(f"{name}_unconditional" for name in LOSSES)]
    expected = golden.arrays[f"{kind}_dis_losses"]
    for step in range(STEPS):
        for place, size in enumerate(SIZES):
            made = [float(scalars[step][f"{name}_{size}"]) for name in names[: expected.shape[-1]]]
            np.testing.assert_allclose(made, expected[step, place], rtol=TOLERANCE, err_msg=f"{step} {size}")


def test_losses_of_the_generator(trained):
    golden, kind, scalars, _, _ = trained
    for step in range(STEPS):
        of_images = golden.arrays[f"{kind}_gen_losses"][step].sum()
        np.testing.assert_allclose(float(scalars[step]["generator"]), of_images, rtol=TOLERANCE)
        kl = golden.arrays[f"{kind}_kl_losses"][step]
        np.testing.assert_allclose(2 * float(scalars[step]["kl"]), kl, rtol=TOLERANCE)
        if kind == "train_color":
            means, covariances = golden.arrays["train_color_color_losses"][step].reshape(2, 2).sum(axis=0)
            np.testing.assert_allclose(float(scalars[step]["colour"]), means + 5 * covariances, rtol=TOLERANCE)


def test_gradients(trained):
    golden, kind, _, norms, networks = trained
    for name in networks.keys() - {"average"}:
        network_of = {"generator": "gen"}.get(name, name.replace("discriminator_", "dis"))
        expected = golden.arrays[f"{kind}_{network_of}_gradient_norms"]
        for step in range(STEPS):
            theirs = sorted(expected[step][expected[step] > 0])  # 0: of heads that took no part
            np.testing.assert_allclose(sorted(norms[name][step]), theirs, rtol=TOLERANCE, err_msg=f"{name} {step}")


def test_weights_and_moving_statistics(trained):
    golden, kind, _, _, networks = trained
    if kind != "train":
        pytest.skip("the file keeps the weights after this training alone")
    for name, network in networks.items():
        if name == "average":
            continue
        network_of = {"generator": "gen"}.get(name, name.replace("discriminator_", "dis"))
        after = weights.named_variables(golden.network(f"{network_of}_after_{STEPS}_steps"))
        before = weights.named_variables(golden.network(network_of))
        for path, variable in weights.named_variables(network).items():
            np.testing.assert_allclose(variable.numpy(), after[path].numpy(), rtol=1e-5, atol=1e-6, err_msg=path)
            assert np.abs(after[path].numpy() - before[path].numpy()).max() > 1e-4, path


def test_the_average(trained):
    golden, kind, _, _, networks = trained
    if kind != "train":
        pytest.skip("the file keeps the average of the first training alone")
    first, changes = golden.state("gen"), golden.state("ema_change_after_3_steps")
    expected = {name: first[name].astype(np.float64) + changes.get(name, 0) for name in first}
    with computing_in("float64"):
        after = weights.named_variables(conversion.convert(expected)[0])
        before = weights.named_variables(golden.network("gen"))
    generator = weights.named_variables(networks["generator"])
    for path, variable in weights.named_variables(networks["average"]).items():
        if "moving" in path:
            np.testing.assert_array_equal(variable.numpy(), generator[path].numpy())
        else:
            made, theirs = (each.numpy() - before[path].numpy() for each in (variable, after[path]))
            np.testing.assert_allclose(made, theirs, rtol=1e-3, atol=1e-11, err_msg=path)


# -- AttnGAN ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def attngan(shared):
    """As `trained`, of AttnGAN with its words' and sentences' losses."""
    golden = Golden(shared / "golden/attngan_small.npz", "float64")
    coefficients = json.loads(str(golden.arrays["config"]))["training"]
    settings = config.make(
        {
            "generator": {"family": "attngan"},
            "discriminator": {"text": "embedding"},
            "train": {"kl_weight": coefficients["kl"]},
        }
    )
    with computing_in("float64"):
        generator = golden.network("gen", mask_order="as_released")
        discriminators = {f"image_{size}": golden.network(f"dis{size}") for size in SIZES}
        task = objective.adversarial(generator, discriminators, settings)
        term = objective.damsm_term(coefficients["smooth"]["LAMBDA"], _stand_in(golden), "image_256")
        task = replace(task, terms=(*task.terms, term))
        networks = {"generator": generator, **{a.name: a.discriminator for a in task.adversaries}}
        adams = {name: Adam(2e-4, network.trainable_variables) for name, network in networks.items()}
        step_of = TrainStep(task, adams)
        scalars = [step_of(_sorted_batch(golden, step)) for step in range(STEPS)]
    return golden, scalars, {name: adam.norms for name, adam in adams.items()}, networks


def _stand_in(golden):
    """What the golden file was made with in place of Inception: images to regions and codes."""
    state = {name: tf.constant(values, tf.float64) for name, values in golden.state("image").items()}
    trunk = tf.transpose(state["trunk.weight"], (2, 3, 1, 0))

    def look(images):
        x = tf.tanh(tf.nn.conv2d(images, trunk, 15, "VALID") + state["trunk.bias"])
        code = tf.reduce_mean(x, axis=(1, 2)) @ tf.transpose(state["emb_cnn_code.weight"]) + state["emb_cnn_code.bias"]
        regions = tf.reshape(x, (len(x), -1, x.shape[-1])) @ tf.transpose(state["emb_features.weight"][:, :, 0, 0])
        return {"regions": regions, "code": code}

    return look


def _sorted_batch(golden, step):
    """The batch by falling length of its sentences, as the release sorts it."""
    order = np.argsort(-golden.arrays["unsorted_lengths"])
    values = {"embedding": golden.arrays["sentence"], "words": golden.arrays["words"]}
    values |= {f"image_{size}": golden.images(f"unsorted_real_{size}")[order] for size in SIZES}
    values |= {name: golden.arrays[f"train_{name}"][step] for name in ("noise", "epsilon")}
    batch = {name: tf.constant(array.astype(np.float64)) for name, array in values.items()}
    are_words = tf.constant(~golden.arrays["mask"])  # the release marks what are none
    return {**batch, "mask": are_words, "class_id": tf.constant(golden.arrays["class_ids"])}


def test_losses_of_attngan(attngan):
    golden, scalars, _, _ = attngan
    names = ("discriminator", "real", "fake", "mismatched", "real_unconditional", "fake_unconditional")
    for step in range(STEPS):
        for place, size in enumerate(SIZES):
            made = [float(scalars[step][f"{name}_{size}"]) for name in names]
            np.testing.assert_allclose(made, golden.arrays["train_dis_losses"][step, place], rtol=TOLERANCE)
        made = [float(scalars[step][name]) for name in ("generator", "damsm", "kl")]
        expected = [golden.arrays[f"train_{name}"][step].sum() for name in ("gen_losses", "damsm_losses", "kl_losses")]
        np.testing.assert_allclose(made, expected, rtol=TOLERANCE)


def test_gradients_of_attngan(attngan):
    golden, _, norms, networks = attngan
    for name in networks:
        network_of = {"generator": "gen"}.get(name, name.replace("discriminator_", "dis"))
        expected = golden.arrays[f"train_{network_of}_gradient_norms"]
        for step in range(STEPS):
            np.testing.assert_allclose(sorted(norms[name][step]), sorted(expected[step]), rtol=TOLERANCE, err_msg=name)


def test_weights_and_moving_statistics_of_attngan(attngan):
    golden, _, _, networks = attngan
    for name, network in networks.items():
        network_of = {"generator": "gen"}.get(name, name.replace("discriminator_", "dis"))
        after = weights.named_variables(golden.network(f"{network_of}_after_{STEPS}_steps"))
        for path, variable in weights.named_variables(network).items():
            np.testing.assert_allclose(variable.numpy(), after[path].numpy(), rtol=1e-5, atol=1e-6, err_msg=path)
