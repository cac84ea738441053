"""Does a run use the text encoder it should, and keep what the settings ask it to keep?"""

import json
import shutil

import numpy as np
import pytest
from helpers import refusal

from stackgan_keras import config, train_text
from stackgan_keras.config import Folders
from stackgan_keras.data import drawn_birds, pipeline, published
from stackgan_keras.models import image_encoder, runs, text_encoder, weights
from stackgan_keras.training import stage, trainer

SIZES = {"filters": 3, "recurrent_dim": 4, "text_dim": 16}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Birds in the published layout with embeddings of 16 numbers; not to be changed."""
    root = tmp_path_factory.mktemp("drawn") / "birds"
    return drawn_birds.write(root, count=24, classes=4, test_classes=1, embedding_dim=16, workers=1)


@pytest.fixture
def folders(tmp_path):
    made = Folders(tmp_path / "out", "tiny")
    made.weights.mkdir(parents=True)
    return made


def settings(root, **train):
    return config.make(
        {
            "run": "tiny",
            "data": {"root": str(root), "image_size": 32},
            "generator": {"text_dim": 16, "filters": 2, "condition_dim": 8, "noise_dim": 8},
            "discriminator": {"filters": 2},
            "text": {"filters": 3, "recurrent_dim": 4, "image_filters": 4, "batch_size": 3, "epochs": 1},
            "train": {"batch_size": 4, "epochs": 1, **train},
        }
    )


def put_encoder(folder, seed=0, **sizes):
    import keras

    keras.utils.set_random_seed(seed)
    recipe = weights.ModelConfig("text_encoder", {**SIZES, **sizes})
    model = recipe.build()
    weights.save(model, recipe, folder / runs.TEXT_ENCODER)
    return model


def embeddings_of(dataset):
    return np.concatenate([dataset.embeddings_of(i) for i in range(len(dataset))])


def expected(model, dataset):
    return text_encoder.embed(model, [caption for captions in dataset.captions for caption in captions])


# -- which encoder ------------------------------------------------------------------------------------------------


def test_the_runs_own_encoder_embeds_the_captions(drawn, folders):
    model = put_encoder(folders.weights)
    for dataset in stage.read_records(settings(drawn), folders):
        np.testing.assert_array_equal(embeddings_of(dataset), expected(model, dataset))


def test_embeddings_are_kept_until_the_encoder_changes(drawn, folders, monkeypatch):
    put_encoder(folders.weights)
    first = [embeddings_of(dataset) for dataset in stage.read_records(settings(drawn), folders)]
    with monkeypatch.context() as patch:
        patch.setattr(text_encoder, "embed", None)  # not called again
        again = [embeddings_of(dataset) for dataset in stage.read_records(settings(drawn), folders)]
    for mine, theirs in zip(first, again, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    other = put_encoder(folders.weights, seed=1)
    for dataset in stage.read_records(settings(drawn), folders):
        np.testing.assert_array_equal(embeddings_of(dataset), expected(other, dataset))


def test_an_encoder_that_lies_with_the_data_comes_along(drawn, folders, tmp_path):
    """The data's own embeddings are taken as they are: it made them."""
    import shutil

    root = shutil.copytree(drawn, tmp_path / "birds")
    put_encoder(root)
    (root / runs.IMAGE_ENCODER).write_bytes(b"picture encoder")
    read = stage.read_records(settings(root), folders)
    for name in (runs.TEXT_ENCODER, runs.IMAGE_ENCODER):
        assert (folders.weights / name).read_bytes() == (root / name).read_bytes()
    for dataset, split in zip(read, published.SPLITS, strict=True):
        np.testing.assert_array_equal(embeddings_of(dataset), embeddings_of(published.read(root, split, text_dim=16)))
    model = put_encoder(folders.weights, seed=1)  # now the run has one of its own
    for dataset in stage.read_records(settings(root), folders):
        np.testing.assert_array_equal(embeddings_of(dataset), expected(model, dataset))


def test_without_an_encoder_the_datas_embeddings_serve_and_that_is_told(drawn, folders, capsys):
    chosen = settings(drawn)
    train, _ = stage.read_records(chosen, folders)
    np.testing.assert_array_equal(embeddings_of(train), embeddings_of(published.read(drawn, "train", text_dim=16)))
    stage.train(stage1(chosen), chosen, folders)
    assert "no text encoder" in capsys.readouterr().out


def test_an_encoder_of_another_size_is_refused(drawn, folders):
    put_encoder(folders.weights, text_dim=12)
    sentence = refusal(stage.read_records, settings(drawn), folders)
    assert "12 numbers" in sentence and "generator.text_dim is 16" in sentence


# -- training the encoder -----------------------------------------------------------------------------------------


def test_train_text_leaves_what_the_stages_need(drawn, tmp_path, capsys, monkeypatch):
    folders, chosen = Folders(tmp_path, "tiny"), settings(drawn)
    config.write(chosen, tmp_path / "tiny.yaml")
    arguments = ["command", "--config", str(tmp_path / "tiny.yaml"), "--output_dir", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    train_text.main()
    assert "find their class" in capsys.readouterr().out
    assert weights.load(folders.weights / runs.TEXT_ENCODER).output_shape == (None, 16)
    assert (folders.results / "text/epoch_00001.png").is_file()

    (folders.weights / "stage1_gen.weights.h5").write_bytes(b"a stage that reads its embeddings")
    before = (folders.weights / runs.TEXT_ENCODER).read_bytes()
    monkeypatch.setattr("sys.argv", [*arguments, "--text.epochs", "2"])
    train_text.main()
    assert "left as it is" in capsys.readouterr().out
    assert (folders.weights / runs.TEXT_ENCODER).read_bytes() == before


# -- what a stage keeps -------------------------------------------------------------------------------------------


def stage1(chosen):
    recipe = weights.ModelConfig("stage1_generator", stage.stage1_keywords(chosen))
    return stage.Stage("stage1", recipe, heads=("matched",))


def test_the_average_is_what_is_saved(drawn, tmp_path):
    saved = {}
    for average in (0.0, 0.9):
        folders = Folders(tmp_path / str(average), "tiny")
        chosen = settings(drawn, average=average, pixel_weight=1.0)
        stage.train(stage1(chosen), chosen, folders)
        files = [folders.weights / f"{name}.weights.h5" for name in ("stage1_gen", "noise_encoder")]
        saved[average] = [variable.numpy() for file in files for variable in weights.load(file).trainable_variables]
    for last, mean in zip(saved[0.0], saved[0.9], strict=True):
        assert 0 < np.abs(last - mean).max() < 0.05  # the same training, seen through its average


def test_reading_pictures_needs_the_picture_encoder(drawn, folders):
    chosen = settings(drawn, likeness_weight=1.0, r1_weight=0.1)
    message = refusal(stage.train, stage1(chosen), chosen, folders)
    assert "train_text --run tiny" in message and "set train.likeness_weight to 0" in message
    put_picture_encoder(folders.weights)
    stage.train(stage1(chosen), chosen, folders)
    logged = (folders.logs / "stage1/metrics.jsonl").read_text()
    assert '"likeness"' in logged and '"penalty"' in logged


def test_reading_pictures_of_a_generator_alone_needs_it_too(drawn, folders):
    chosen = settings(drawn, max_steps=1, warmup_epochs=1, alike_epochs=1)
    message = refusal(stage.train, stage1(chosen), chosen, folders)
    assert "train.alike_epochs is 1" in message and "set train.alike_epochs to 0" in message
    put_picture_encoder(folders.weights)
    stage.train(stage1(chosen), chosen, folders)
    logs, results = folders.logs / "stage1", folders.results / "stage1"
    logged = {place: (logs / place / "metrics.jsonl").read_text() for place in ("", "alone", "alike")}
    assert [place for place, text in logged.items() if '"likeness"' in text] == ["alike"]
    assert [place for place, text in logged.items() if '"anew"' in text] == ["alone", "alike"]
    assert {"alone_00001.png", "alike_00001.png", "epoch_00001.png"} <= {path.name for path in results.iterdir()}


def test_a_generator_that_learns_alone_needs_no_play_and_may_have_it_later(drawn, folders, capsys):
    put_picture_encoder(folders.weights)
    chosen = settings(drawn, epochs=0, warmup_epochs=1, alike_epochs=2)
    grid = stage.train(stage1(chosen), chosen, folders)
    said = capsys.readouterr().out
    assert "run tiny has no text encoder" in said and "trainable weights: generator" in said
    assert "discriminator" not in said.split("trainable weights: ")[1].splitlines()[0]
    assert grid == folders.results / "stage1/alike_00002.png" and grid.is_file()
    assert not (folders.weights / "stage1_dis.weights.h5").exists()
    alone = weights.load(folders.weights / "stage1_gen.weights.h5").get_weights()
    stage.train(stage1(chosen), chosen, folders)
    for one, other in zip(alone, weights.load(folders.weights / "stage1_gen.weights.h5").get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    chosen = settings(drawn, epochs=1, warmup_epochs=1, alike_epochs=2)
    assert stage.train(stage1(chosen), chosen, folders).name == "epoch_00001.png"
    assert (folders.weights / "stage1_dis.weights.h5").is_file()


def with_generator(chosen, **update):
    return chosen.model_copy(update={"generator": chosen.generator.model_copy(update=update)})


def test_a_flow_catches_up_by_itself_before_the_play(drawn, folders):
    made = {}
    for epochs in (0, 20):
        chosen = settings(drawn, epochs=0, warmup_epochs=2, flow_epochs=epochs, save_every=100)
        chosen = with_generator(chosen, flow_steps=2)
        other = Folders(folders.output_dir, f"flow_{epochs}")
        grid = stage.train(stage1(chosen), chosen, other)
        made[epochs] = [weights.load(other.weights / f"{name}.weights.h5") for name in ("stage1_gen", "noise_encoder")]
    assert grid == other.results / "stage1/flow_00020.png" and grid.is_file()
    lines = [json.loads(line) for line in (other.logs / "stage1/flow/metrics.jsonl").read_text().splitlines()]
    assert "noise_kl" in lines[0] and not {"anew", "kl"} & set(lines[0])
    assert lines[-1]["noise_kl"] < lines[0]["noise_kl"]
    assert [line["step"] for line in lines] == list(range(1, 21))  # each of 16 of the 18 pictures, not of 4
    for one, other in zip(*made.values(), strict=True):  # the generators, then the encoders
        for name, variable in weights.named_variables(one).items():
            stayed = np.array_equal(variable.numpy(), weights.named_variables(other)[name].numpy())
            assert stayed == ("noise_flow" not in name), name


def test_a_flow_that_nothing_is_read_for_is_refused(drawn, folders):
    for chosen, said in (
        (settings(drawn, warmup_epochs=1, flow_epochs=1), "generator.flow_steps is 0, so there is no noise flow"),
        (
            with_generator(settings(drawn, flow_epochs=1), flow_steps=2),
            "give train.warmup_epochs, or set train.flow_epochs to 0",
        ),
    ):
        assert said in refusal(stage.train, stage1(chosen), chosen, folders)
    chosen = settings(drawn, max_steps=1)
    stage.train(stage1(chosen), chosen, folders)
    chosen = stage2_settings(drawn, warmup_epochs=1, flow_epochs=1)
    assert "leave it 0 for stage2" in refusal(stage.train, stage2_of(chosen, folders), chosen, folders)


def test_a_stage_without_any_epochs_is_refused(drawn, folders):
    chosen = settings(drawn, epochs=0)
    assert "nothing would be trained" in refusal(stage.train, stage1(chosen), chosen, folders)


def test_a_phase_begins_with_what_the_one_before_it_left(drawn, folders, monkeypatch):
    """Both of a stage's phases, unbroken, and stopped after the first one and within the second."""
    put_picture_encoder(folders.weights)
    chosen = settings(drawn, epochs=1, warmup_epochs=1, alike_epochs=2, save_every=1)
    epoch, begun = trainer.Trainer._epoch, []

    def stopping(run, number, *others):
        begun.append((run.folder.name, number))
        if len(begun) in stops:
            raise KeyboardInterrupt
        return epoch(run, number, *others)

    monkeypatch.setattr(trainer.Trainer, "_epoch", stopping)
    made = []
    for run, stops in (("whole", ()), ("stopped", (2, 4))):
        begun.clear()
        other = Folders(folders.output_dir, run)
        other.weights.mkdir(parents=True)
        shutil.copy(folders.weights / runs.IMAGE_ENCODER, other.weights)
        for _ in stops:
            with pytest.raises(KeyboardInterrupt):
                stage.train(stage1(chosen), chosen, other)
        stage.train(stage1(chosen), chosen, other)
        made.append(weights.load(other.weights / "stage1_gen.weights.h5").get_weights())
        if not stops:
            assert begun == [("alone", 0), ("alike", 0), ("alike", 1), ("stage1", 0)]
    for one, other in zip(*made, strict=True):
        np.testing.assert_array_equal(one, other)
    assert begun == [("alone", 0), ("alike", 0), ("alike", 0), ("alike", 1), ("alike", 1), ("stage1", 0)]


def test_no_phase_sees_what_another_saw(drawn, folders, monkeypatch):
    put_picture_encoder(folders.weights)
    chosen = settings(drawn, epochs=1, warmup_epochs=1, alike_epochs=1)
    streams, call = [], trainer.Trainer.__call__
    monkeypatch.setattr(trainer.Trainer, "__call__", lambda run: streams.append(run.batches.__self__) or call(run))
    stage.train(stage1(chosen), chosen, folders)
    firsts = [next(iter(pipeline.batches(0, 1))) for stream in streams]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        for name in ("image", "embedding", "noise"):
            assert not np.allclose(firsts[one][name], firsts[other][name]), (one, other, name)


def put_picture_encoder(folder):
    recipe = weights.ModelConfig("image_encoder", {"text_dim": 16, "image_size": 32, "filters": 2})
    weights.save(image_encoder.image_encoder(**recipe.keywords), recipe, folder / runs.IMAGE_ENCODER)


def test_the_picture_encoder_alone_is_trained_for_a_text_encoder_there_is(drawn, folders, capsys):
    values = settings(drawn).model_dump()
    alone = config.make({**values, "text": {**values["text"], "learns": "pictures", "epochs": 2}})
    assert "there is no text encoder" in refusal(stage.train_text, alone, folders)
    put_encoder(folders.weights, text_dim=8)
    assert "embeddings of 8 numbers but generator.text_dim is 16" in refusal(stage.train_text, alone, folders)
    put_encoder(folders.weights)
    text = (folders.weights / runs.TEXT_ENCODER).read_bytes()
    made = stage.train_text(alone, folders)
    assert made == folders.weights / runs.IMAGE_ENCODER and "find their class" in capsys.readouterr().out
    assert (folders.weights / runs.TEXT_ENCODER).read_bytes() == text
    first = weights.load(made).get_weights()
    assert weights.load(made).output_shape == (None, 16)
    longer = config.make({**alone.model_dump(), "run": "tiny", "train": {**values["train"], "seed": 1}})
    assert "made with train.seed 0" in refusal(stage.train_text, longer, folders)
    stage.train_text(alone, folders)  # already trained: nothing changes
    for mine, theirs in zip(first, weights.load(made).get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_encoders_can_init_from_those_of_another_run(drawn, tmp_path):
    first, second = Folders(tmp_path, "first"), Folders(tmp_path, "second")
    stage.train_text(settings(drawn), first)
    values = settings(drawn, init_from="first").model_dump()
    values["text"]["learning_rate"] = 1e-9
    stage.train_text(config.make(values), second)
    for name in (runs.TEXT_ENCODER, runs.IMAGE_ENCODER):
        made = [weights.load(folders.weights / name) for folders in (first, second)]
        for mine, theirs in zip(*(model.trainable_variables for model in made), strict=True):
            np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-3, atol=1e-5, err_msg=mine.path)
    (tmp_path / "weights" / "empty").mkdir()
    for name, found in (("empty", "holds no text encoder"), ("gone", "is not there")):
        sentence = refusal(stage.train_text, settings(drawn, init_from=name), Folders(tmp_path, "third"))
        assert found in sentence and "first" in sentence and "train_text --run" in sentence


def test_a_training_can_init_from_the_weights_of_another(drawn, tmp_path, capsys):
    chosen = settings(drawn, pixel_weight=1.0)
    first, second = Folders(tmp_path, "first"), Folders(tmp_path, "tiny")
    stage.train(stage1(chosen), chosen, first)
    slow = {"pixel_weight": 1.0, "max_steps": 1, "generator_learning_rate": 1e-9}
    chosen = settings(drawn, init_from="first", **slow)
    stage.train(stage1(chosen), chosen, second)
    assert "random weights" not in capsys.readouterr().out
    for name in ("stage1_gen", "stage1_dis", "noise_encoder"):
        theirs, mine = (weights.load(at.weights / f"{name}.weights.h5").trainable_variables for at in (first, second))
        for one, other in zip(theirs, mine, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-3 if name == "stage1_dis" else 1e-7)

    sentence = refusal(stage.train, stage1(chosen), settings(drawn, init_from="none such"), Folders(tmp_path, "x"))
    assert "none such" in sentence

    for name in ("stage1_dis", "noise_encoder"):  # as runs are passed on that are there to draw with
        (first.weights / f"{name}.weights.h5").unlink()
    third = Folders(tmp_path, "third")
    stage.train(stage1(chosen), chosen, third)
    said = capsys.readouterr().out
    assert all(f"the {role} starts from random weights" in said for role in ("discriminator", "noise encoder"))
    made = [weights.load(at.weights / "stage1_gen.weights.h5").trainable_variables for at in (second, third)]
    for one, other in zip(*made, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-7)


def test_weights_of_another_width_are_no_start(drawn, tmp_path):
    chosen = settings(drawn)
    stage.train(stage1(chosen), chosen, Folders(tmp_path, "first"))
    wider = config.make({**chosen.model_dump(), "generator": {**chosen.generator.model_dump(), "filters": 4}})
    wider = config.make({**wider.model_dump(), "train": {**wider.train.model_dump(), "init_from": "first"}})
    assert "give a file of the same network and sizes" in refusal(
        stage.train, stage1(wider), wider, Folders(tmp_path, "second")
    )


def stage2_of(chosen, folders):
    """Settings for a Stage II after a run's Stage I, and the stage."""
    frozen = folders.weights / "stage1_gen.weights.h5"
    sketch = weights.read_config(frozen, "stage1_generator").keywords
    keywords = {**stage.text_keywords(chosen), "stage1": sketch, "residual_blocks": 1}
    return stage.Stage(
        "stage2",
        weights.ModelConfig("stage2_generator", keywords),
        heads=("matched", "real"),
        prepare=lambda model: weights.load_into(model.get_layer("stage1_generator"), frozen),
    )


def stage2_settings(root, **train):
    values = settings(root, **train).model_dump()
    values["data"]["image_size"], values["generator"]["filters"] = 64, 8
    return config.make(values)


def test_stage2_keeps_the_runs_own_stage1_whatever_it_starts_from(drawn, tmp_path):
    for run, seed in (("first", 0), ("tiny", 1)):
        chosen = settings(drawn, seed=seed, max_steps=1)
        stage.train(stage1(chosen), chosen, Folders(tmp_path, run))
    sketchers = {run: Folders(tmp_path, run).weights / "stage1_gen.weights.h5" for run in ("first", "tiny")}
    for run, start in (("first", None), ("tiny", "first")):
        chosen = stage2_settings(drawn, max_steps=1, init_from=start, pixel_weight=1.0)
        stage.train(stage2_of(chosen, Folders(tmp_path, run)), chosen, Folders(tmp_path, run))
    made = weights.load(Folders(tmp_path, "tiny").weights / "stage2_gen.weights.h5")
    inner, own = made.get_layer("stage1_generator").get_weights(), weights.load(sketchers["tiny"]).get_weights()
    for mine, theirs in zip(inner, own, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_stage2_begins_with_its_generator_alone(drawn, folders, monkeypatch):
    chosen = settings(drawn, max_steps=1)
    stage.train(stage1(chosen), chosen, folders)
    seen = []  # the folder of each training, and its generator's weights before and after

    def watched(run, train=trainer.Trainer.__call__):
        before = run.trained["generator"].get_weights()
        train(run)
        seen.append((run.folder, before, run.trained["generator"].get_weights()))

    monkeypatch.setattr(trainer.Trainer, "__call__", watched)
    chosen = stage2_settings(drawn, max_steps=3, warmup_epochs=1, recolour=True)
    stage.train(stage2_of(chosen, folders), chosen, folders)
    (alone, first, learned), (together, start, _) = seen
    assert (alone, together) == (folders.logs / "stage2" / "alone", folders.logs / "stage2")
    assert any((a != b).any() for a, b in zip(first, learned, strict=True))
    for a, b in zip(learned, start, strict=True):
        np.testing.assert_array_equal(a, b)
    (figures,) = [json.loads(line) for line in (alone / "metrics.jsonl").read_text().splitlines()]
    assert {"anew", "kl"} < set(figures) and not {"discriminator", "noise_kl"} & set(figures)
    assert (folders.results / "stage2" / "alone_00001.png").is_file()

    seen.clear()
    stage.train(stage2_of(chosen, folders), chosen, folders)  # the networks have begun: it does not begin again
    assert [folder for folder, *_ in seen] == [together]
    other = stage2_settings(drawn, max_steps=3, warmup_epochs=1)
    assert "train.recolour True (now False)" in refusal(stage.train, stage2_of(other, folders), other, folders)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_what_is_made_anew_is_recoloured_where_it_is_used(drawn, folders, monkeypatch, weight):
    seen = []
    monkeypatch.setattr(trainer.Trainer, "__call__", lambda run: seen.append(next(iter(run.batches(0, 1)))))
    asked = {"max_steps": 1, "warmup_epochs": 1, "recolour": True, "r1_weight": 0.1, "pixel_weight": weight}
    for recolour in (False, True):
        chosen = settings(drawn, **asked | {"recolour": recolour})
        stage.train(stage1(chosen), chosen, Folders(folders.output_dir, f"first_{recolour}"))
    plain, _, alone, together = seen
    assert np.abs(plain["sketch"] - plain["image"]).max() == 0  # as large as the sketch
    assert np.abs(alone["sketch"] - alone["image"]).mean(axis=(1, 2, 3)).min() > 0.05
    assert ("sketch" in together) == (weight > 0)
    assert "direction" in together and "direction" not in alone

    seen.clear()
    monkeypatch.undo()
    chosen = settings(drawn, max_steps=1)
    stage.train(stage1(chosen), chosen, folders)
    monkeypatch.setattr(trainer.Trainer, "__call__", lambda run: seen.append(run.batches.__self__))
    chosen = stage2_settings(drawn, **asked)
    stage.train(stage2_of(chosen, folders), chosen, folders)
    assert [(pipeline.sketch_size, pipeline.recoloured) for stream in seen] == [
        (32, "patches"),
        (32, "patches") if weight else (None, None),
    ]


def test_stage1_begins_with_its_generator_alone_and_a_noise_encoder(drawn, folders):
    chosen = settings(drawn, max_steps=3, warmup_epochs=1, recolour=True)
    stage.train(stage1(chosen), chosen, folders)
    logs = folders.logs / "stage1"
    (alone,), (together,) = ((place / "metrics.jsonl").read_text().splitlines() for place in (logs / "alone", logs))
    assert {"anew", "kl", "noise_kl"} < set(json.loads(alone))
    assert "discriminator" in json.loads(together)
    names = [f"{name}.weights.h5" for name in ("noise_encoder", "stage1_dis", "stage1_gen")]
    assert sorted(path.name for path in folders.weights.iterdir()) == names


def test_what_noise_tells_of_pictures_costs_what_the_settings_say(drawn, folders):
    asked = {
        "epochs": 3,
        "warmup_epochs": 3,
        "pixel_weight": 1.0,
        "edges_weight": 0.01,
        "generator_learning_rate": 1e-2,
    }
    told = []
    for weight in (0.0, 10.0):
        chosen = settings(drawn, noise_kl_weight=weight, **asked)
        dear = Folders(folders.output_dir, f"costs_{weight:g}")
        stage.train(stage1(chosen), chosen, dear)
        logs = dear.logs / "stage1"
        lines = [(place / "metrics.jsonl").read_text().splitlines()[-1] for place in (logs / "alone", logs)]
        told.append([json.loads(line)["noise_kl"] for line in lines])
        assert all("edges" in json.loads(line) for line in lines)
    assert np.all(np.less(told[1], 0.3 * np.array(told[0]))), told


def test_the_first_epochs_alone_are_told_by_the_most_captions(drawn, folders, monkeypatch):
    asked = {"max_steps": 2, "warmup_epochs": 3, "most_captions_epochs": 2}
    chosen = settings(drawn, **asked)
    streams, call = [], trainer.Trainer.__call__
    monkeypatch.setattr(trainer.Trainer, "__call__", lambda run: streams.append(run.batches.__self__) or call(run))
    stage.train(stage1(chosen), chosen, folders)
    alone, play = streams
    assert (alone.fewer_from, play.fewer_from) == (2 * alone.steps_per_epoch, 0)


@pytest.mark.parametrize("warmup_epochs", [0, 1])
def test_a_stage1_that_goes_on_making_pictures_anew_can_be_stopped(drawn, tmp_path, warmup_epochs):
    whole, stopped = Folders(tmp_path, "whole"), Folders(tmp_path, "stopped")
    for folders, ends in ((whole, [2]), (stopped, [1, 2])):
        for end in ends:
            chosen = settings(
                drawn, epochs=end, warmup_epochs=warmup_epochs, flow_epochs=warmup_epochs, pixel_weight=10.0
            )
            chosen = with_generator(chosen, flow_steps=2, palette=True)
            stage.train(stage1(chosen), chosen, folders)
    made = [weights.load(folders.weights / "stage1_gen.weights.h5") for folders in (whole, stopped)]
    assert models.find_flow(made[0]) and made[0].get_layer("palette_dense")
    made = [model.get_weights() for model in made]
    for one, other in zip(*made, strict=True):
        np.testing.assert_array_equal(one, other)
    figures = [(folders.logs / "stage1/metrics.jsonl").read_text() for folders in (whole, stopped)]
    assert all('"noise_kl"' in text for text in figures)


def test_a_stop_while_the_generator_is_alone_goes_on_there(drawn, folders, monkeypatch):
    chosen = settings(drawn, max_steps=1)
    stage.train(stage1(chosen), chosen, folders)
    chosen = stage2_settings(drawn, epochs=1, warmup_epochs=2, save_every=1)
    whole, stopped = (Folders(folders.output_dir, run) for run in ("whole", "stopped"))
    for run in (whole, stopped):
        run.weights.mkdir(parents=True)
        shutil.copy(folders.weights / "stage1_gen.weights.h5", run.weights)
    stage.train(stage2_of(chosen, whole), chosen, whole)

    epoch = trainer.Trainer._epoch
    with monkeypatch.context() as patch:

        def stop(run, number, *rest):
            if number == 1:
                raise KeyboardInterrupt
            epoch(run, number, *rest)

        patch.setattr(trainer.Trainer, "_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            stage.train(stage2_of(chosen, stopped), chosen, stopped)
    other = stage2_settings(drawn, epochs=1, warmup_epochs=3, save_every=1)
    assert "train.warmup_epochs 2 (now 3)" in refusal(stage.train, stage2_of(other, stopped), other, stopped)
    stage.train(stage2_of(chosen, stopped), chosen, stopped)
    made = [weights.load(run.weights / "stage2_gen.weights.h5").get_weights() for run in (whole, stopped)]
    for one, other in zip(*made, strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_colours_need_something_to_finish(drawn, folders):
    chosen = settings(drawn, max_steps=1)
    stage.train(stage1(chosen), chosen, folders)
    chosen = stage2_settings(drawn, recolour=True)
    assert "give train.warmup_epochs or train.pixel_weight" in refusal(
        stage.train, stage2_of(chosen, folders), chosen, folders
    )
