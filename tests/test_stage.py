"""A stage from settings to weights: which embeddings it takes, what it leaves, how it goes on."""

import json
import os
import shutil

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import eager, refusal

from stackgan_keras import config, train_text
from stackgan_keras.config import Folders
from stackgan_keras.data import drawn_birds, published
from stackgan_keras.models import runs, sentence_reader, stages, text_encoder, weights
from stackgan_keras.training import run, stage, text
from stackgan_keras.training.trainer import Trainer

SIZES = {"filters": 3, "recurrent_dim": 4, "text_dim": 16}
STAGES = ("stage1", "stage2")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Birds in the published layout with embeddings of 16 dimensions; not to be changed."""
    root = tmp_path_factory.mktemp("drawn") / "birds"
    return drawn_birds.write(root, count=24, classes=4, test_classes=1, embedding_dim=16, workers=1)


@pytest.fixture
def folders(tmp_path):
    made = Folders(tmp_path / "out", "tiny")
    made.weights.mkdir(parents=True)
    return made


def settings(root, size=32, **train):
    return config.make(
        {
            "run": "tiny",
            "data": {"root": str(root), "image_size": size},
            "generator": {"text_dim": 16, "filters": 2, "condition_dim": 8, "noise_dim": 8, "residual_blocks": 1},
            "discriminator": {"filters": 2},
            "text": {"filters": 3, "recurrent_dim": 4, "image_filters": 4, "batch_size": 3, "epochs": 1},
            "train": {"batch_size": 4, "epochs": 1, **train},
        }
    )


def train_stage1(chosen, folders):
    return stage.train(stages.stage1(chosen), chosen, folders)


def stage2_settings(root, **train):
    """Those of a Stage II on top of `settings`."""
    made = settings(root, size=64, **train)
    return made.model_copy(update={"generator": made.generator.model_copy(update={"filters": 4})})


def train_stage2(chosen, folders):
    return stage.train(stages.stage2(chosen, folders), chosen, folders)


def refused_before_data(train):
    """The training, which may neither draw nor read any data."""

    def without_data(*given):
        with pytest.MonkeyPatch.context() as patch:
            for module, name in ((run, "data_root"), (text, "data_root"), (stage, "read_datasets")):
                patch.setattr(module, name, lambda *_: pytest.fail("data was asked for"))
            train(*given)

    return without_data


def put_encoder(folder, seed=0, **sizes):
    keras.utils.set_random_seed(seed)
    model_config = weights.ModelConfig("text_encoder", {**SIZES, **sizes})
    model = model_config.build()
    weights.save(model, model_config, folder / runs.TEXT_ENCODER)
    return model


def embeddings_of(dataset):
    return np.concatenate([dataset.embeddings_of(i) for i in range(len(dataset))])


def expected(model, dataset):
    return text_encoder.embed(model, [caption for captions in dataset.captions for caption in captions])


def weights_of(folders, name):
    return weights.load(runs.weight_file(folders.weights, name)).get_weights()


def assert_equal(*lists):
    for one, other in zip(*lists, strict=True):
        np.testing.assert_array_equal(one, other)


# -- which encoder ------------------------------------------------------------------------------------------------


def test_the_runs_own_encoder_embeds_the_captions(drawn, folders):
    model = put_encoder(folders.weights)
    for dataset in run.read_datasets(settings(drawn), folders):
        np.testing.assert_array_equal(embeddings_of(dataset), expected(model, dataset))


def test_embeddings_are_kept_until_the_encoder_changes(drawn, folders, monkeypatch):
    put_encoder(folders.weights)
    first = [embeddings_of(dataset) for dataset in run.read_datasets(settings(drawn), folders)]
    with monkeypatch.context() as patch:
        patch.setattr(sentence_reader.SentenceReader, "embed", None)  # not called again
        again = [embeddings_of(dataset) for dataset in run.read_datasets(settings(drawn), folders)]
    for mine, theirs in zip(first, again, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    other = put_encoder(folders.weights, seed=1)
    for dataset in run.read_datasets(settings(drawn), folders):
        np.testing.assert_array_equal(embeddings_of(dataset), expected(other, dataset))


def test_an_encoder_that_lies_with_the_data_comes_along(drawn, folders, tmp_path):
    """The data's own embeddings are taken as they are: it made them."""
    root = shutil.copytree(drawn, tmp_path / "birds")
    put_encoder(root)
    (root / runs.IMAGE_ENCODER).write_bytes(b"image encoder")
    read = run.read_datasets(settings(root), folders)
    for name in (runs.TEXT_ENCODER, runs.IMAGE_ENCODER):
        assert (folders.weights / name).read_bytes() == (root / name).read_bytes()
    for dataset, split in zip(read, published.SPLITS, strict=True):
        np.testing.assert_array_equal(embeddings_of(dataset), embeddings_of(published.read(root, split, text_dim=16)))
    model = put_encoder(folders.weights, seed=1)  # now the run has one of its own
    for dataset in run.read_datasets(settings(root), folders):
        np.testing.assert_array_equal(embeddings_of(dataset), expected(model, dataset))


def test_without_an_encoder_the_datas_embeddings_serve_and_that_is_told(drawn, folders, capsys):
    chosen, grids = settings(drawn, precision="mixed_bfloat16"), []
    train, _ = run.read_datasets(chosen, folders)
    np.testing.assert_array_equal(embeddings_of(train), embeddings_of(published.read(drawn, "train", text_dim=16)))
    assert grids == [stage.train(stages.stage1(chosen), chosen, folders, grids.append)]
    assert "no text encoder" in capsys.readouterr().out
    assert keras.config.dtype_policy().name == "float32"  # what is built after a training has nothing of its precision


def test_an_encoder_of_another_size_is_refused(drawn, folders):
    put_encoder(folders.weights, text_dim=12)
    for refuse in (run.read_datasets, refused_before_data(train_stage1)):
        sentence = refusal(refuse, settings(drawn), folders)
        assert "12 dimensions" in sentence and "generator.text_dim is 16" in sentence


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("discriminator", {"features": "vgg16"}, "has not the blocks of EfficientNet-Lite0"),
        ("discriminator", {"features": "nowhere.keras"}, "there is no feature extractor nowhere.keras"),
        ("generator", {"family": "attngan", "filters": 4, "first_size": 16}, "holds no text encoder of words"),
    ],
)
def test_what_no_data_can_mend_is_refused_before_any_is_drawn(section, changes, message, drawn, folders):
    chosen = settings(drawn)
    chosen = chosen.model_copy(update={section: getattr(chosen, section).model_copy(update=changes)})
    if section == "generator":
        discriminator = chosen.discriminator.model_copy(update={"text": "embedding"})
        chosen = chosen.model_copy(update={"discriminator": discriminator})
    made = stages.joint(chosen) if section == "generator" else stages.stage1(chosen)
    assert message in refusal(refused_before_data(stage.train), made, chosen, folders)


# -- training the encoder -----------------------------------------------------------------------------------------


def test_train_text_leaves_what_the_stages_need(drawn, tmp_path, capsys):
    folders, chosen, grids = Folders(tmp_path, "tiny"), settings(drawn), []
    config.write(chosen, tmp_path / "tiny.yaml")
    arguments = ["--config", str(tmp_path / "tiny.yaml"), "--output_dir", str(tmp_path)]
    train_text.main(arguments, grids.append)
    assert "all test images are of one class" in capsys.readouterr().out  # of which a share would be no figure
    assert weights.load(folders.weights / runs.TEXT_ENCODER).output_shape == (None, 16)
    assert grids == [folders.results / "text/epoch_00001.png"] and grids[0].is_file()

    (folders.weights / "stage1_gen.weights.h5").write_bytes(b"a stage that reads its embeddings")
    before = (folders.weights / runs.TEXT_ENCODER).read_bytes()
    train_text.main([*arguments, "--text.epochs", "2"])
    assert "left as it is" in capsys.readouterr().out
    assert (folders.weights / runs.TEXT_ENCODER).read_bytes() == before


@pytest.mark.usefixtures("eagerly")
def test_encoders_can_init_from_those_of_another_run(drawn, tmp_path):
    first, second = Folders(tmp_path, "first"), Folders(tmp_path, "second")
    text.train(settings(drawn), first)
    values = settings(drawn, init_from="first").model_dump()
    values["text"]["learning_rate"] = 1e-9
    text.train(config.make(values), second)
    for name in (runs.TEXT_ENCODER, runs.IMAGE_ENCODER):
        made = [weights.load(folders.weights / name) for folders in (first, second)]
        for mine, theirs in zip(*(model.trainable_variables for model in made), strict=True):
            np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-3, atol=1e-5, err_msg=mine.path)
    (tmp_path / "weights" / "empty").mkdir()
    for name, found in (("empty", "holds no text encoder"), ("gone", "is not there")):
        start = settings(drawn, init_from=name)
        sentence = refusal(refused_before_data(text.train), start, Folders(tmp_path, "third"))
        assert found in sentence and "first" in sentence and "train_text --run" in sentence
    start = settings(drawn, init_from="first")
    start = start.model_copy(update={"text": start.text.model_copy(update={"filters": 5})})
    sentence = refusal(refused_before_data(text.train), start, Folders(tmp_path, "third"))
    assert "has text.filters 3 where this training has 5: set it to 3" in sentence


# -- what a stage leaves ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("eagerly")
def test_interpolation_wants_two_sentences_on_each_device(drawn, folders):
    class FourDevices:
        num_replicas_in_sync = 4

    chosen = settings(drawn, interpolation_weight=0.5)
    first = stages.stage1(chosen)
    sentence = refusal(stage.StageTraining.of, first, chosen, folders, (None, None), FourDevices())
    assert "train.batch_size 4 gives each of 4 devices only one: ask for 8 or more" in sentence


def test_nothing_is_replaced_unless_asked_for(drawn, folders, tmp_path):
    """Neither a run of other settings, nor weights that came from elsewhere."""
    train_stage1(settings(drawn, sample_every=1), folders)
    (folders.results / "stage1/epoch_00099.png").touch()  # of a longer training
    old, other = weights_of(folders, "stage1_gen"), settings(drawn, seed=1)
    assert "or --fresh to start over" in refusal(train_stage1, other, folders)
    shutil.rmtree(folders.logs / "stage1")
    assert "give another --run, or --fresh to replace it" in refusal(train_stage1, other, folders)
    assert_equal(weights_of(folders, "stage1_gen"), old)
    grid = stage.train(stages.stage1(other), other, folders, fresh=True)
    assert grid.name == "epoch_00001.png"
    assert not np.array_equal(weights_of(folders, "stage1_gen")[0], old[0])
    again = stage.train(stages.stage1(other), other, Folders(tmp_path / "again", "tiny"))
    assert grid.read_bytes() == again.read_bytes()  # it began anew, not from what was there


def test_what_killed_trainings_had_not_finished_is_removed(drawn, folders):
    text = folders.logs / "text/checkpoints/ckpt-4_temp/part-00000-of-00001.index.tempstate15"
    old = [
        folders.weights / ".node-1.example.17.stage1_gen.weights.h5",
        folders.logs / "stage1/.host.17.metrics.jsonl",
        folders.logs / "cache/.host.17.images.npy",
        folders.results / "stage1/.host.17.curves.png",
        text,
    ]
    kept = [folders.weights / ".host.18.stage1_dis.weights.h5", folders.weights / "notes.txt"]
    for file in (*old, *kept):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("half")
    for path in (*old, text.parent, kept[1]):
        os.utime(path, (0, 0))  # nobody writes it any more
    train_stage1(settings(drawn, max_steps=1), folders)
    assert not any(file.exists() for file in (*old, text.parent))
    assert all(file.exists() for file in kept)


def test_an_encoder_from_elsewhere_is_replaced_only_if_asked_for(drawn, folders):
    put_encoder(folders.weights, text_dim=16)
    before = (folders.weights / runs.TEXT_ENCODER).read_bytes()
    assert "or --fresh to replace it" in refusal(text.train, settings(drawn), folders)
    assert (folders.weights / runs.TEXT_ENCODER).read_bytes() == before
    text.train(settings(drawn), folders, fresh=True)
    assert (folders.weights / runs.TEXT_ENCODER).read_bytes() != before


def test_the_moving_average_is_what_is_saved(drawn, tmp_path):
    saved = {}
    for decay in (0.0, 0.9):
        folders = Folders(tmp_path / str(decay), "tiny")
        train_stage1(settings(drawn, ema_decay=decay), folders)
        saved[decay] = weights.load(folders.weights / "stage1_gen.weights.h5").trainable_variables
    for last, mean in zip(saved[0.0], saved[0.9], strict=True):
        assert 0 < np.abs(last.numpy() - mean.numpy()).max() < 0.05  # the same training, seen through its average


@pytest.mark.usefixtures("eagerly")
def test_r1_is_logged(drawn, folders):
    train_stage1(settings(drawn, r1_weight=0.1), folders)
    assert '"r1"' in (folders.logs / "stage1/metrics.jsonl").read_text()


def test_what_is_for_stage2_alone_is_refused_for_stage1(drawn):
    for name, value in (("warmup_epochs", 1), ("pixel_weight", 10.0), ("consistency_weight", 1.0)):
        sentence = refusal(stages.stage1, settings(drawn, **{name: value}))
        assert f"train.{name} is {value}" in sentence and "Stage II alone" in sentence


def with_features(made, network):
    discriminator = made.discriminator.model_copy(update={"features": str(network), "batch_norm": False})
    return made.model_copy(update={"discriminator": discriminator})


@pytest.mark.usefixtures("eagerly")
def test_a_frozen_network_is_in_no_file(drawn, network, folders):
    train_stage1(with_features(settings(drawn, max_steps=1), network), folders)
    discriminator = weights.load(runs.weight_file(folders.weights, "stage1_dis"))
    assert not [path for path in weights.named_variables(discriminator) if "block" in path]
    read = [weights.read_training(runs.weight_file(folders.weights, f"stage1_{name}")) for name in ("gen", "dis")]
    assert read == [{"discriminator_features": str(network)}, {}]
    saved = tf.train.list_variables(tf.train.latest_checkpoint(str(folders.logs / "stage1/checkpoints")))
    assert sum(np.prod(shape) for _, shape in saved) < 2.5e6  # EfficientNet-Lite0 has 4.6 million weights


@pytest.mark.slow
def test_with_features_stopped_and_continued_equals_unbroken_to_the_bit(drawn, network, tmp_path):
    unbroken, stopped = (Folders(tmp_path / name, "tiny") for name in ("unbroken", "stopped"))
    train_stage1(with_features(settings(drawn, max_steps=4, augmentation="translation,cutout"), network), unbroken)
    for steps in (3, 4):
        chosen = settings(drawn, max_steps=steps, augmentation="translation,cutout")
        train_stage1(with_features(chosen, network), stopped)
    for name in ("stage1_gen", "stage1_dis"):
        files = [runs.weight_file(folders.weights, name) for folders in (unbroken, stopped)]
        one, other = (weights.named_variables(weights.load(file)) for file in files)
        for path, variable in one.items():
            np.testing.assert_array_equal(variable, other[path], err_msg=path)


def test_no_discriminator_at_all_is_refused(drawn):
    made = settings(drawn)
    made = made.model_copy(update={"discriminator": made.discriminator.model_copy(update={"filters": 0})})
    assert "discriminator.filters is 0" in refusal(stages.stage1, made)


@pytest.fixture(scope="module")
def with_stage1(drawn, tmp_path_factory):
    """A folder with a trained Stage I; not to be changed."""
    folders = Folders(tmp_path_factory.mktemp("stage1"), "tiny")
    with eager():
        train_stage1(settings(drawn, max_steps=1), folders)
    return folders


@pytest.fixture
def second(with_stage1, tmp_path):
    """New folders that hold that Stage I."""
    return copy_of(with_stage1, tmp_path, "tiny")


def copy_of(with_stage1, output_dir, name):
    folders = Folders(output_dir, name)
    folders.weights.mkdir(parents=True)
    shutil.copy(with_stage1.weights / "stage1_gen.weights.h5", folders.weights)
    return folders


@pytest.mark.usefixtures("eagerly")
def test_a_stage2_without_the_sentence_trains_and_draws(drawn, second):
    chosen = stage2_settings(drawn, warmup_epochs=1, pixel_weight=1.0, max_steps=2)
    alone = chosen.model_copy(
        update={
            "generator": chosen.generator.model_copy(update={"read_text_again": False}),
            "discriminator": chosen.discriminator.model_copy(update={"text": "embedding"}),
        }
    )
    train_stage2(alone, second)
    metrics = json.loads((second.logs / "stage2/metrics.jsonl").read_text())
    assert metrics["kl"] == 0 and metrics["pixel"] > 0
    generator = weights.load(second.weights / "stage2_gen.weights.h5")
    assert "epsilon" not in generator.input and "mean" not in generator.output
    mean = alone.model_copy(update={"discriminator": chosen.discriminator.model_copy(update={"text": "mean"})})
    assert "Stage II has no condition: set" in refusal(train_stage2, mean, second)


def test_a_warm_up_comes_before_the_discriminator_and_has_draws_of_its_own(drawn, second, monkeypatch):
    streams, call = [], Trainer.__call__
    monkeypatch.setattr(Trainer, "__call__", lambda trainer: streams.append(trainer.stream) or call(trainer))
    chosen = stage2_settings(drawn, warmup_epochs=1, pixel_weight=1.0, max_steps=2)
    assert train_stage2(chosen, second).name == "epoch_00001.png"
    logs, results = second.logs / "stage2", second.results / "stage2"
    warm_up, adversarial = (json.loads((f / "metrics.jsonl").read_text()) for f in (logs / "warmup", logs))
    assert "pixel" in warm_up and "discriminator" not in warm_up
    assert {"pixel", "discriminator", "real_unconditional", "kl"} <= set(adversarial)
    assert {path.name for path in results.iterdir()} == {"warmup_00001.png", "epoch_00001.png", "curves.png"}
    first, then = (next(iter(stream.batches(0, 1))) for stream in streams)
    for name in ("image", "embedding", "noise"):
        assert not np.allclose(first[name], then[name]), name


@pytest.mark.usefixtures("eagerly")
def test_stopped_in_its_warm_up_and_after_it_equals_unbroken(drawn, with_stage1, tmp_path, monkeypatch):
    chosen = stage2_settings(drawn, warmup_epochs=2, epochs=1, save_every=1)
    epoch, begun = Trainer._epoch, []

    def stopping(trainer, number, *others):
        begun.append((trainer.folder.name, number))
        if len(begun) in stops:
            raise KeyboardInterrupt
        return epoch(trainer, number, *others)

    monkeypatch.setattr(Trainer, "_epoch", stopping)
    made = []
    for name, stops in (("whole", ()), ("stopped", (2, 4))):
        begun.clear()
        folders = copy_of(with_stage1, tmp_path, name)
        for _ in stops:
            with pytest.raises(KeyboardInterrupt):
                train_stage2(chosen, folders)
        train_stage2(chosen, folders)
        made.append(weights_of(folders, "stage2_gen"))
    assert begun == [("warmup", 0), ("warmup", 1), ("warmup", 1), ("stage2", 0), ("stage2", 0)]
    assert_equal(*made)
    other = stage2_settings(drawn, warmup_epochs=3, epochs=1, save_every=1)
    assert "train.warmup_epochs 2 (now 3)" in refusal(train_stage2, other, folders)


@pytest.mark.usefixtures("eagerly")
def test_stage2_holds_its_stage1_as_it_was(drawn, second):
    before = weights_of(second, "stage1_gen")
    train_stage2(stage2_settings(drawn, pixel_weight=1.0), second)
    inner = weights.load(second.weights / "stage2_gen.weights.h5").get_layer("stage1_generator")
    assert_equal(inner.get_weights(), before)


def test_a_stage1_that_does_not_fit_is_refused(drawn, second, folders):
    chosen = stage2_settings(drawn)
    assert "there is no Stage I of the run tiny" in refusal(stages.stage2, chosen, folders)
    for section, key, value, message in (
        ("generator", "text_dim", 8, "reads embeddings of 16 dimensions but generator.text_dim is 8"),
        ("data", "image_size", 16, "data.image_size is 16 but the images of"),
        ("generator", "architecture", "tensorflow", "is a Stage I of generator.architecture pytorch"),
    ):
        changed = getattr(chosen, section).model_copy(update={key: value})
        assert message in refusal(stages.stage2, chosen.model_copy(update={section: changed}), second)


def test_a_stage1_larger_than_its_file_is_refused_before_anything_is_built(drawn, second, folders):
    shutil.copy(second.weights / "stage1_gen.weights.h5", folders.weights)
    with h5py.File(folders.weights / "stage1_gen.weights.h5", "a") as file:
        asked = json.loads(file.attrs[weights.CONFIG])
        asked["keywords"]["filters"] = 10**8
        file.attrs[weights.CONFIG] = json.dumps(asked)
    sentence = refusal(refused_before_data(train_stage2), stage2_settings(drawn), folders)
    assert "cannot be built (it is larger than the file)" in sentence


# -- weights to start from ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("eagerly")
def test_a_training_can_start_from_the_weights_of_another(drawn, tmp_path, capsys):
    first, second, third = (Folders(tmp_path, name) for name in ("first", "tiny", "third"))
    train_stage1(settings(drawn), first)
    slow = settings(drawn, init_from="first", max_steps=1, generator_learning_rate=1e-9)
    train_stage1(slow, second)
    assert "random weights" not in capsys.readouterr().out
    for name, tolerance in (("stage1_gen", 1e-7), ("stage1_dis", 1e-3)):
        theirs, mine = (weights.load(runs.weight_file(at.weights, name)).trainable_variables for at in (first, second))
        for one, other in zip(theirs, mine, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), atol=tolerance)
    start = settings(drawn, init_from="none such")
    assert "none such" in refusal(refused_before_data(train_stage1), start, Folders(tmp_path, "x"))

    three = (("generator", "filters", 2), ("generator", "text_dim", 16), ("discriminator", "filters", 2))
    for section, key, found in three:
        changed = getattr(slow, section).model_copy(update={key: 32})
        sentence = refusal(refused_before_data(train_stage1), slow.model_copy(update={section: changed}), third)
        assert f"has {section}.{key} {found} where this training has 32: set it to {found}" in sentence

    (first.weights / "stage1_dis.weights.h5").unlink()  # as runs are passed on that are there to draw with
    train_stage1(slow, third)
    assert "the discriminator starts from random weights" in capsys.readouterr().out

    other = slow.model_copy(update={"generator": slow.generator.model_copy(update={"conditional_batch_norm": True})})
    assert "give a file of the same network and sizes" in refusal(train_stage1, other, Folders(tmp_path, "other"))
