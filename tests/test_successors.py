"""StackGAN++ and AttnGAN as users meet them: trained by `train`, resumed, drawn with and without text, refused."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import ended, pixels, refusal

from stackgan_keras import config, evaluate, generate, train, train_stage1, train_text
from stackgan_keras.config import Folders
from stackgan_keras.data import drawn_birds, uncaptioned
from stackgan_keras.evaluation import scores
from stackgan_keras.inference.stackgan import StackGAN
from stackgan_keras.inference.studio import Studio
from stackgan_keras.models import blocks, stages, weights
from stackgan_keras.models.runs import TEXT_ENCODER
from stackgan_keras.models.weights import ModelConfig
from stackgan_keras.training import objective, optimizers, stage
from stackgan_keras.training.train_step import TrainStep

RED, BLUE = "a red bird", "a blue bird with white wings"
BRANCHES = {"image_16": 16, "image_32": 32, "image_64": 64}
NETWORKS = ("stackgan_v2_gen", *(f"stackgan_v2_dis_{size}" for size in BRANCHES.values()))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Birds in the published layout with embeddings of 16 dimensions; not to be changed."""
    folder = tmp_path_factory.mktemp("drawn") / "birds"
    return drawn_birds.write(folder, count=24, classes=6, test_classes=2, embedding_dim=16, workers=1)


def settings(root, **sections):
    values = {
        "run": "tiny",
        "data": {"root": str(root), "image_size": 64},
        "generator": {"family": "stackgan_v2", "first_size": 16, "filters": 4, "text_dim": 16, "condition_dim": 8},
        "discriminator": {"filters": 2},
        "train": {"batch_size": 4, "epochs": 2, "ema_decay": 0.9},
    }
    values["generator"] |= {"noise_dim": 8, "residual_blocks": 1}
    changed = {name: values[name] | section for name, section in sections.items()}
    return config.make(values | changed)


def run(chosen, output_dir):
    folders = Folders(output_dir, chosen.run)
    folders.weights.mkdir(parents=True, exist_ok=True)
    stage.train(stages.joint(chosen), chosen, folders)
    return folders


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    """An output folder with a run of two epochs by the command, and a text encoder; not to be changed."""
    chosen, output_dir = settings(root), tmp_path_factory.mktemp("out")
    config.write(chosen, output_dir / "tiny.yaml")
    train.main(["--config", str(output_dir / "tiny.yaml"), "--output_dir", str(output_dir)])
    folders = Folders(output_dir, chosen.run)
    encoder = ModelConfig("text_encoder", {"filters": 3, "recurrent_dim": 4, "text_dim": 16})
    weights.save(encoder.build(), encoder, folders.weights / TEXT_ENCODER)
    return folders


def weights_of(folders):
    made = [weights.load(folders.weights / f"{name}.weights.h5").get_weights() for name in NETWORKS]
    return [array for network in made for array in network]


def test_all_branches_train_and_leave_their_weights(trained):
    lines = [json.loads(line) for line in (trained.logs / "stackgan_v2/metrics.jsonl").read_text().splitlines()]
    for size in BRANCHES.values():
        assert {f"discriminator_{size}", f"mismatched_unconditional_{size}"} <= lines[-1].keys()
    assert len(lines) == 2 and lines[-1]["kl"] > 0
    assert (trained.results / "stackgan_v2/epoch_00002.png").is_file()
    generator = weights.load(trained.weights / "stackgan_v2_gen.weights.h5")
    assert [name for name in generator.output if name.startswith("image")] == [*BRANCHES]


@pytest.mark.slow
def test_stopped_and_continued_equals_unbroken_to_the_bit(root, trained, tmp_path):
    run(settings(root, train={"max_steps": 5}), tmp_path)
    again = run(settings(root), tmp_path)
    for mine, theirs in zip(weights_of(again), weights_of(trained), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_images_of_all_branches_are_drawn(trained, monkeypatch, capsys):
    model = StackGAN.load(trained.weights)
    made = model.generate([RED, BLUE], 2)
    assert {name: values.shape[2] for name, values in made.items()} == BRANCHES
    arguments = ("--run", "tiny", "--output_dir", trained.output_dir, "--count", 2, RED, BLUE)
    code, printed, errors = ended(generate.main, arguments, monkeypatch, capsys)
    assert code == 0, errors
    assert "2 of each size for each of 2 sentences" in printed and "Stage II" not in printed
    folder = trained.results / "generated"
    for name, size in BRANCHES.items():
        files = sorted(folder.glob(f"02_*copy02_{size}.png"))
        assert np.array_equal(pixels(files[0]), made[name][1, 1])
    code, printed, errors = ended(generate.main, (*arguments[:4], "--interpolate", RED, BLUE), monkeypatch, capsys)
    assert code == 0 and "animation: " in printed, errors


def test_every_branch_is_a_row_of_scores(root, trained, monkeypatch, capsys):
    monkeypatch.setattr(scores, "PAIRS", 4)
    arguments = ("--run", "tiny", "--output_dir", trained.output_dir, "--data.root", root, "--metrics", "diversity")
    arguments = (*arguments, "--count", 4)
    code, printed, errors = ended(evaluate.main, arguments, monkeypatch, capsys)
    assert code == 0, errors
    rows = json.loads((trained.results / "evaluation.json").read_text())["rows"]
    assert [name for name in rows if name.startswith("tiny")] == ["tiny", "tiny, 32 pixels", "tiny, 16 pixels"]
    assert "Stage I" not in printed


def test_restarts_from_the_average_are_as_often_as_asked_for():
    """The average is slow; at a restart the live weights are its own."""
    slow, fast = (keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]) for _ in range(2))
    slow.set_weights([np.zeros((2, 1)), np.zeros(1)])
    move = optimizers.make_released_ema(slow, fast, 0.5, restart_every=3)
    seen = []
    for step in range(1, 7):
        fast.set_weights([np.ones((2, 1)), np.ones(1)])
        move(step)
        seen.append([float(np.ravel(model.get_weights()[0])[0]) for model in (slow, fast)])
    assert seen[0] == [0.5, 1] and seen[1] == [0.75, 1] and seen[2] == [0.875, 0.875] and seen[3] == [0.9375, 1]
    assert seen[5][0] == seen[5][1] < 1


# -- without text -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def without_text(root, tmp_path_factory):
    changed = {"generator": {"conditional": False}, "data": {"image_size": 32}, "train": {"epochs": 1}}
    return run(settings(root / "CUB_200_2011/images", **changed), tmp_path_factory.mktemp("plain"))


def test_a_folder_of_images_is_enough_without_text(without_text, monkeypatch, capsys):
    lines = (without_text.logs / "stackgan_v2/metrics.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    assert {"real_unconditional_32", "fake_unconditional_32"} <= last.keys() and "mismatched_32" not in last
    arguments = ("--run", "tiny", "--output_dir", without_text.output_dir, "--count", 5)
    code, _, errors = ended(generate.main, arguments, monkeypatch, capsys)
    assert code == 0, errors
    files = sorted((without_text.results / "generated").glob("01_tiny_*_32.png"))
    assert len(files) == 5 and len({pixels(file).tobytes() for file in files}) == 5


def test_runs_without_text_are_scored(root, without_text, monkeypatch, capsys):
    arguments = ("--run", "tiny", "--output_dir", without_text.output_dir, "--metrics", "diversity", "--count", 4)
    folder = root / "CUB_200_2011/images"
    code, _, errors = ended(evaluate.main, (*arguments, "--data.root", folder), monkeypatch, capsys)
    assert code == 0, errors


def test_all_images_of_a_folder_are_in_one_of_its_splits(root, tmp_path):
    train_set, test_set = uncaptioned.read(root)
    assert len(train_set) + len(test_set) == 24 and len(test_set) > 0
    assert not {*train_set.names} & {*test_set.names}
    assert len({*train_set.class_ids, *test_set.class_ids}) == 24  # each is of a class of its own
    assert "holds 0 images" in refusal(uncaptioned.read, tmp_path)


# -- AttnGAN ------------------------------------------------------------------------------------------------------


def of_words(root, **train):
    changed = {"generator": {"family": "attngan"}, "discriminator": {"text": "embedding"}, "data": {"image_size": 32}}
    chosen = settings(root, **changed, train={"damsm_weight": 5, "kl_weight": 1, **train})
    text = {"loss": "damsm", "image_filters": 4, "batch_size": 4, "epochs": 1, "words": 8}
    return chosen.model_copy(update={"text": config.make({"text": text}).text})


def train_words(chosen, output_dir):
    folders = Folders(output_dir, chosen.run)
    arguments = ["--run", chosen.run, "--output_dir", str(output_dir), "--data.root", str(chosen.data.root)]
    text = chosen.text.model_dump(include={"loss", "image_filters", "batch_size", "epochs", "words"})
    arguments += [word for name, value in text.items() for word in (f"--text.{name}", str(value))]
    train_text.main([*arguments, "--generator.text_dim", str(chosen.generator.text_dim), "--data.image_size", "32"])
    return folders


@pytest.fixture(scope="module")
def attngan(root, tmp_path_factory):
    """An output folder with encoders of words and an AttnGAN of two epochs; not to be changed."""
    chosen, output_dir = of_words(root), tmp_path_factory.mktemp("words")
    train_words(chosen, output_dir)
    return run(chosen, output_dir)


@pytest.mark.slow
def test_attngan_learns_by_its_words_and_leaves_its_encoders_as_they_were(root, attngan, tmp_path):
    lines = [json.loads(line) for line in (attngan.logs / "attngan/metrics.jsonl").read_text().splitlines()]
    assert all(line["damsm"] > 0 for line in lines)
    again = train_words(of_words(root), tmp_path)
    for name in ("text_encoder.weights.h5", "image_encoder.weights.h5"):
        mine, theirs = (weights.load(folders.weights / name).get_weights() for folders in (again, attngan))
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_attngan_stopped_and_continued_equals_unbroken_to_the_bit(root, attngan, tmp_path):
    train_words(of_words(root), tmp_path)
    run(of_words(root, max_steps=5), tmp_path)
    again = run(of_words(root), tmp_path)
    mine, theirs = (weights.load(f.weights / "attngan_gen.weights.h5").get_weights() for f in (again, attngan))
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_sentence_alone_is_drawn_as_beside_longer_ones(attngan):
    model = StackGAN.load(attngan.weights)
    alone, beside = model.generate(RED, 1), model.generate([RED, BLUE], 1)
    for name in ("image_16", "image_32"):
        np.testing.assert_array_equal(alone[name][0], beside[name][0])
    assert "zebra" in model.unread("a red zebra") and model.words_of("a red zebra bird") == ["a", "red", "bird"]


@pytest.mark.slow
def test_attndcgan_makes_and_judges_the_largest_image_alone(root, attngan, tmp_path):
    encoders = tmp_path / "weights" / attngan.run
    encoders.mkdir(parents=True)
    for file in attngan.weights.glob("*_encoder*"):
        shutil.copy(file, encoders)
    shutil.copy(attngan.weights / "vocabulary.json", encoders)
    chosen = of_words(root, max_steps=2, unconditional_weight=0)
    generator = chosen.generator.model_copy(update={"final_image_only": True, "residual_blocks": 0})
    folders = run(chosen.model_copy(update={"generator": generator}), tmp_path)
    made = next(StackGAN.load(folders.weights).images([RED], 1, attention=True))
    assert set(made) == {"image_32", "attention_16"}
    assert {file.name for file in folders.weights.glob("attngan_dis*")} == {"attngan_dis_32.weights.h5"}
    assert set(weights.load(folders.weights / "attngan_dis_32.weights.h5").output) == {"conditional"}


def test_attention_maps_are_written_beside_the_images(attngan, monkeypatch, capsys):
    arguments = ("--run", "tiny", "--output_dir", attngan.output_dir, "--count", 1, "--attention", RED)
    code, _, errors = ended(generate.main, arguments, monkeypatch, capsys)
    assert code == 0, errors
    assert len([*(attngan.results / "generated").glob("01_*_attention.png")]) == 1
    (made,) = StackGAN.load(attngan.weights).images(RED, 1, attention=True)
    weights_ = made["attention_16"]
    np.testing.assert_allclose(weights_.sum(axis=0), 1, atol=1e-3)
    assert np.abs(weights_[len(RED.split()) :]).max() < 1e-6  # nothing past the sentence's end


def test_attngan_is_scored_by_its_own_encoders(root, attngan, monkeypatch, capsys):
    monkeypatch.setattr(scores, "PAIRS", 4)
    arguments = ("--run", "tiny", "--output_dir", attngan.output_dir, "--data.root", root, "--split", "train")
    arguments = (*arguments, "--metrics", "r_precision,diversity", "--count", 4)
    code, _, errors = ended(evaluate.main, arguments, monkeypatch, capsys)
    rows = json.loads((attngan.results / "evaluation.json").read_text())
    assert code == 0, errors
    assert 0 <= rows["rows"]["tiny"]["r_precision"] <= 1 or rows["notes"]


def test_the_page_shows_where_words_were_looked_at(attngan):
    images, command = Studio(attngan.output_dir).draw("tiny", f"{RED}\n{BLUE}", 2, 0, 1, 1, False)
    assert [*images] == ["32 pixels", "Words"] and len(images["Words"]) == 4 and "--run tiny" in command
    assert pixels(images["Words"][0][0]).shape[1] > pixels(images["32 pixels"][0][0]).shape[1]


def test_without_words_there_is_no_attention(trained, monkeypatch, capsys):
    arguments = ("--run", "tiny", "--output_dir", trained.output_dir, "--attention", RED)
    code, _, errors = ended(generate.main, arguments, monkeypatch, capsys)
    assert code == 2 and "reads no words" in errors


def test_attngan_without_encoders_of_words_is_refused(root, tmp_path):
    chosen = of_words(root)
    assert "run python -m stackgan_keras.train_text --text.loss damsm" in refusal(run, chosen, tmp_path)


# -- what StackGAN's training has ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("family", ["stackgan_v2", "attngan"])
def test_features_augmentation_and_r1_go_together_and_on_to_the_bit(root, network, family, tmp_path):
    def chosen(steps):
        train = {"max_steps": steps, "augmentation": "translation,cutout", "r1_weight": 0.5}
        made = of_words(root, **train) if family == "attngan" else settings(root, train=train)
        changed = {"features": str(network), "batch_norm": False}
        data = made.data.model_copy(update={"image_size": 32})
        return made.model_copy(update={"data": data, "discriminator": made.discriminator.model_copy(update=changed)})

    if family == "attngan":
        train_words(chosen(4), tmp_path / "unbroken")
        shutil.copytree(tmp_path / "unbroken", tmp_path / "stopped")
    made = []
    for name, ends in (("unbroken", (4,)), ("stopped", (3, 4))):
        folders = [run(chosen(steps), tmp_path / name) for steps in ends][-1]
        files = [folders.weights / f"{family}_{part}.weights.h5" for part in ("gen", "dis_16", "dis_32")]
        made.append([array for file in files for array in weights.load(file).get_weights()])
    lines = [json.loads(line) for line in (folders.logs / family / "metrics.jsonl").read_text().splitlines()]
    assert {"r1_16", "r1_32", "mismatched_32", "generator"} <= lines[-1].keys()
    assert all(np.isfinite(value) for value in lines[-1].values())
    for mine, theirs in zip(*made, strict=True):
        np.testing.assert_array_equal(mine, theirs)


# -- what does not go together ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "changed", "words"),
    [
        (
            "generator",
            {"skip_connections": True},
            "generator.skip_connections is True, which means nothing",
        ),
        ("train", {"pixel_weight": 1}, "train.pixel_weight is 1.0, which means nothing to StackGAN++"),
        ("generator", {"family": "stackgan"}, "run train_stage1, then train_stage2"),
        ("generator", {"first_size": 128}, "128"),
    ],
)
def test_settings_of_another_member_of_the_family_are_refused(root, section, changed, words):
    assert words in refusal(stages.joint, settings(root, **{section: changed}))


def test_the_stages_refuse_successors(root, trained, tmp_path, monkeypatch, capsys):
    arguments = ("--config", trained.output_dir / "tiny.yaml", "--output_dir", tmp_path)
    code, _, errors = ended(train_stage1.main, arguments, monkeypatch, capsys)
    assert code == 2 and "run train in place of train_stage1" in errors
    chosen = settings(root, generator={"family": "stackgan"})
    assert "generator.first_size is 16, which means nothing to StackGAN" in refusal(stages.stage1, chosen)


# -- several devices ----------------------------------------------------------------------------------------------

REPLICAS = """
import sys
import numpy as np
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
sys.path.insert(0, {tests!r})
from test_successors import train_on
alone, together = (tf.distribute.MirroredStrategy(devices) for devices in (["CPU:0"], ["CPU:0", "CPU:1"]))
(one, ones), (two, twos) = (train_on(strategy, {family!r}) for strategy in (alone, together))
for name in one:
    np.testing.assert_allclose(one[name], two[name], rtol=1e-6, err_msg=name)
for mine, theirs in zip(ones, twos, strict=True):
    np.testing.assert_allclose(mine, theirs, atol=2e-6)
print("two replicas equal one")
"""


def train_on(strategy, family):
    """The scalars of a third step in float64, summed over the replicas, and all weights after it."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    keras.utils.set_random_seed(0)
    text = {"text": "embedding" if family == "attngan" else "mean"}
    chosen = settings(".", generator={"family": family}, discriminator=text, data={"image_size": 32})
    chosen = chosen.model_copy(update={"train": chosen.train.model_copy(update={"r1_weight": 0.5})})
    with strategy.scope():
        generator, discriminators = stages.joint(chosen).build(None, Path())
        task = objective.adversarial(generator, discriminators, chosen)
        if family == "attngan":
            task = replace(task, terms=(*task.terms, objective.damsm_term(5.0, _regions, "image_32")))
        networks = {"generator": generator, **{a.name: a.discriminator for a in task.adversaries}}
        adams = {name: optimizers.make_adam(2e-4, 100) for name in networks}
        for name, network in networks.items():
            adams[name].build(network.trainable_variables)
            if strategy.num_replicas_in_sync > 1:
                blocks.synchronize(network)
        step = TrainStep(task, adams)
    advance = tf.function(lambda data: strategy.run(step, args=(data,)))
    for seed in range(3):
        batch, size = _batch(generator, seed), 6 // strategy.num_replicas_in_sync

        def mine(context, batch=batch, size=size):
            first = context.replica_id_in_sync_group * size
            return {name: values[first : first + size] for name, values in batch.items()}

        scalars = advance(strategy.experimental_distribute_values_from_function(mine))
    sums = {name: float(strategy.reduce("SUM", value, axis=None)) for name, value in scalars.items()}
    return sums, [array for network in networks.values() for array in network.get_weights()]


def _regions(images):
    """Regions and a code of images, by nothing that is trained."""
    small = tf.reshape(tf.nn.avg_pool2d(images, 8, 8, "VALID"), (-1, 16, 3))
    to_text = tf.constant(np.random.default_rng(1).normal(size=(3, 16)))
    regions = tf.reshape(tf.reshape(small, (-1, 3)) @ to_text, (-1, 16, 16))
    return {"regions": regions, "code": tf.reduce_mean(regions, axis=1)}


def _batch(generator, seed):
    random = np.random.default_rng(seed)
    shapes = {name: (6, *(4 if n is None else n for n in x.shape[1:])) for name, x in generator.input.items()}
    for size in (16, 32):
        shapes |= {f"{kind}_{size}": (6, size, size, 3) for kind in ("image", "wrong_image", "direction")}
    values = {name: random.normal(size=shape) for name, shape in shapes.items()}
    batch = {name: tf.constant(array) for name, array in values.items()} | {"class_id": tf.constant([1, 1, 2, 3, 3, 4])}
    return batch | ({"mask": tf.sequence_mask([4, 1, 2, 3, 4, 2], 4)} if "mask" in batch else {})


@pytest.mark.slow
@pytest.mark.parametrize("family", ["stackgan_v2", "attngan"])
def test_two_replicas_equal_one(request, family):
    """The losses of words compare all sentences with all images, of whichever device."""
    script = REPLICAS.format(tests=str(request.path.parent), family=family)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "two replicas equal one" in done.stdout, done.stderr[-3000:]
