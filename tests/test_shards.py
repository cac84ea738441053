"""Shards: what `prepare --shards` writes, how single records are read, and that trainings see in them what they see."""

import json
import shutil
import sys

import h5py
import numpy as np
import pytest
import tensorflow as tf
from helpers import ended, refusal

from stackgan_keras import prepare, train, train_stage1, train_text
from stackgan_keras.data import drawn_birds, published
from stackgan_keras.data.decoding import decode
from stackgan_keras.data.pipeline import AdversarialStream
from stackgan_keras.data.shards import dataset, folder, making, records
from stackgan_keras.models import weights
from stackgan_keras.models.runs import TEXT_ENCODER

DIM = 8
SIZES = "--shard_sizes", "16,32"
TINY = (
    *(
        "--generator.text_dim",
        DIM,
        "--generator.filters",
        4,
        "--generator.condition_dim",
        4,
        "--generator.noise_dim",
        4,
    ),
    *("--discriminator.filters", 2, "--train.batch_size", 4, "--train.max_steps", 5, "--data.image_size", 16),
)


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    """Synthetic birds, as a folder of images with captions."""
    folder = tmp_path_factory.mktemp("source") / "birds"
    return drawn_birds.write(folder, count=30, classes=6, test_classes=2, embedding_dim=4, workers=1)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """The file of a text encoder that was never trained."""
    file = tmp_path_factory.mktemp("encoder") / TEXT_ENCODER
    keywords = {"variant": "flowers", "filters": 6, "recurrent_dim": 5, "text_dim": DIM}
    model_config = weights.ModelConfig("text_encoder", keywords)
    weights.save(model_config.build(), model_config, file)
    return file


@pytest.fixture(scope="module")
def prepared(birds, encoder, tmp_path_factory):
    """The same birds in the published layout, and in three shards of each split and size; not to be changed."""
    plain, sharded = (tmp_path_factory.mktemp("prepared") / name for name in ("plain", "sharded"))
    given = [str(birds), "--text_encoder", str(encoder)]
    prepare.main([*given, "--out", str(plain)])
    prepare.main([*given, "--out", str(sharded), "--shards", "3", *SIZES])
    return plain, sharded / "shards"


@pytest.fixture
def copied(prepared, tmp_path):
    """A copy of the shards, to be damaged."""
    return shutil.copytree(prepared[1], tmp_path / "copied")


def stream(split, images, **changed):
    given = {"widths": {"noise": 3}, "captions_per_embedding": 2, "wrong": True, "seed": 7} | changed
    return AdversarialStream(split, images, 16, 4, **given)


def test_batches_are_those_of_the_published_layout(prepared):
    plain, sharded = published.read(prepared[0], "train", DIM), dataset.read(str(prepared[1]), "train", 16)
    expected = stream(plain, decode(plain, 16, cache="memory"))
    found = stream(sharded, sharded.images)
    assert found.steps_per_epoch == expected.steps_per_epoch > 3
    for split in ({}, {"replicas": 2, "mine": range(1, 2)}):
        pairs = zip(expected.batches(2, 13, **split), found.batches(2, 13, **split), strict=True)
        for own, other in pairs:
            assert own.keys() == other.keys()
            for name in own:
                np.testing.assert_allclose(other[name], own[name], rtol=0, atol=1e-6 if name == "embedding" else 0)


def test_what_a_split_holds_is_read_as_from_the_published_layout(prepared):
    for split in published.SPLITS:
        plain, sharded = published.read(prepared[0], split, DIM), dataset.read(str(prepared[1]), split, 32)
        assert len(sharded) == len(plain) and sharded.most_captions == plain.most_captions == 10
        assert [*sharded.captions] == [*plain.captions] and (sharded.class_ids == plain.class_ids).all()
        some = sharded.subset([3, 1])
        for place, i in enumerate((3, 1)):
            np.testing.assert_allclose(some.embeddings_of(place), plain.embeddings_of(i), atol=1e-6)
            assert (some.image(place, 38) == plain.image(i, 38)).all()
        assert (sharded.images[np.array([2, 0])] == decode(plain, 32, cache="memory")[[2, 0]]).all()


def test_other_programs_read_the_records(prepared):
    files = sorted(map(str, prepared[1].glob("16/train-*.tfrecord")))
    assert [file[-23:-9] for file in files] == ["00000-of-00003", "00001-of-00003", "00002-of-00003"]
    names = []
    for content in tf.data.TFRecordDataset(files):
        features = {
            "name": tf.io.FixedLenFeature((), tf.string),
            "image": tf.io.FixedLenFeature((), tf.string),
            "class_id": tf.io.FixedLenFeature((), tf.int64),
            "captions": tf.io.VarLenFeature(tf.string),
        }
        example = tf.io.parse_single_example(content, features)
        assert len(example["captions"].values) == 10 and len(example["image"].numpy()) == 19 * 19 * 3
        names.append(example["name"].numpy().decode())
    assert names == [*published.read(prepared[0], "train", None).names]


def test_a_training_ends_with_the_weights_of_one_from_the_published_layout(prepared, tmp_path, monkeypatch, capfd):
    for name, data in (("plain", ("--data.root", prepared[0])), ("sharded", ("--data.shards", prepared[1]))):
        given = ["--output_dir", tmp_path / name, "--run", "r", *data, *TINY]
        code, _, errors = ended(train_stage1.main, given, monkeypatch, capfd)
        assert code == 0, errors
    files = [tmp_path / name / "weights/r/stage1_gen.weights.h5" for name in ("plain", "sharded")]
    for own, other in zip(*map(values, files), strict=True):
        np.testing.assert_allclose(other, own, rtol=0, atol=1e-5)
    assert (tmp_path / "sharded/weights/r" / TEXT_ENCODER).is_file()


def values(file):
    """All arrays in a weight file."""
    found = []
    with h5py.File(file) as opened:
        opened.visititems(lambda _, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    return found


@pytest.mark.slow
def test_attngan_learns_from_shards_as_from_the_published_layout(prepared, birds, tmp_path, monkeypatch, capfd):
    text = ("--text.loss", "damsm", "--text.filters", 3, "--text.image_filters", 4, "--text.batch_size", 4)
    words = tmp_path / "words"
    given = ["--output_dir", words, "--run", "r", "--data.root", prepared[0], *TINY, *text]
    assert ended(train_text.main, given, monkeypatch, capfd)[0] == 0
    own = words / "weights/r" / TEXT_ENCODER
    prepare.main([str(birds), "--out", str(tmp_path / "s"), "--text_encoder", str(own), "--shards", "2", *SIZES])
    tiny = [*TINY, "--generator.family", "attngan", "--generator.first_size", 8, "--train.damsm_weight", 5]
    tiny += ["--discriminator.text", "embedding"]
    for name, data in (("plain", ("--data.root", prepared[0])), ("sharded", ("--data.shards", tmp_path / "s/shards"))):
        shutil.copytree(words / "weights", tmp_path / name / "weights")
        given = ["--output_dir", tmp_path / name, "--run", "r", *data, *tiny]
        code, _, errors = ended(train.main, given, monkeypatch, capfd)
        assert code == 0, errors
    files = [tmp_path / name / "weights/r/attngan_gen.weights.h5" for name in ("plain", "sharded")]
    for one, other in zip(*map(values, files), strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-5)


def test_damaged_shards_are_named(copied):
    read = lambda: dataset.read(str(copied), "train", 16)  # noqa: E731
    shard, index = copied / "16/train-00001-of-00003.tfrecord", copied / "16/train-00001-of-00003.index"
    whole = read()
    first = np.flatnonzero(whole.shards == 1)[0]
    content = bytearray(shard.read_bytes())
    content[200] ^= 1
    shard.write_bytes(content)
    assert "train-00001-of-00003.tfrecord cannot be read" in refusal(read().image, first, 19)
    whole.image(first - 1, 19)  # others are as they were
    shard.write_bytes(content[:-10])
    assert "does not belong to" in refusal(read)
    shard.unlink()
    assert "train-00001-of-00003 cannot be read" in refusal(read)
    index.write_bytes(index.read_bytes()[:-1])
    shard.write_bytes(content)
    assert "no whole rows" in refusal(read)
    index.unlink()
    assert "prepare --shards again" in refusal(read)


def test_folders_that_do_not_fit_are_refused(copied, encoder, tmp_path, monkeypatch, capfd):
    told = json.loads((copied / "shards.json").read_text())
    assert "holds images for 16 and 32 pixels" in refusal(dataset.read, str(copied), "train", 64)
    assert "give data.shards the folder" in refusal(dataset.read, str(tmp_path), "train", 16)
    for wrong in ("{", json.dumps(told | {"text_dim": 0}), json.dumps(told | {"more": 1})):
        (copied / "shards.json").write_text(wrong)
        assert "is damaged" in refusal(dataset.read, str(copied), "train", 16)
    told["splits"]["train"]["images"] += 1
    (copied / "shards.json").write_text(json.dumps(told))
    assert "expected" in refusal(dataset.read, str(copied), "train", 16)
    own = tmp_path / "weights/r" / TEXT_ENCODER
    own.parent.mkdir(parents=True)
    own.write_bytes(encoder.read_bytes() + b" ")
    for more, sentence in (
        ((), "is not the text encoder that made the embeddings"),
        (("--data.root", tmp_path), "give one of them"),
        (("--generator.text_dim", 9), "text_dim"),
    ):
        given = ["--output_dir", tmp_path, "--run", "r", "--data.shards", copied, *TINY, *more]
        code, _, errors = ended(train_stage1.main, given, monkeypatch, capfd)
        assert code == 2 and sentence in errors and "Traceback" not in errors, errors
    given = ["--output_dir", tmp_path, "--run", "new", "--data.shards", copied, *TINY]
    code, _, errors = ended(train_text.main, given, monkeypatch, capfd)
    assert code == 2 and "learns from data.root" in errors
    without_text = ["--generator.family", "stackgan_v2", "--generator.conditional", "no", "--generator.first_size", 8]
    given = ["--output_dir", tmp_path, "--run", "free", "--data.shards", copied, *TINY, *without_text]
    code, _, errors = ended(train.main, given, monkeypatch, capfd)
    assert code == 2 and "give data.root, not data.shards" in errors


def test_a_shard_that_is_there_is_kept(prepared, birds, encoder, tmp_path):
    rows = [{"name": "a", "path": str(next(birds.rglob("*.jpg"))), "box": None, "class_id": 1, "captions": ["a bird"]}]
    (tmp_path / "images").write_text(json.dumps(rows[0]))
    job = making.Job(str(tmp_path / "images"), str(tmp_path / "out/train-0"), 16, encoder)
    making.make(job)
    before = (tmp_path / "out/train-0.tfrecord").stat().st_mtime_ns
    making.make(job)
    assert (tmp_path / "out/train-0.tfrecord").stat().st_mtime_ns == before
    (tmp_path / "out/train-0.index").unlink()  # as of a process that was killed
    making.make(job)
    assert (tmp_path / "out/train-0.tfrecord").stat().st_mtime_ns > before
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["train-0.index", "train-0.tfrecord"]


def test_a_stopped_command_goes_on_unless_the_captions_changed(birds, encoder, tmp_path, monkeypatch):
    source = shutil.copytree(birds, tmp_path / "source")
    given = [str(source), "--out", str(tmp_path / "s"), "--text_encoder", str(encoder), "--shards", "1", *SIZES]
    stop = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)  # noqa: E731
    written = []
    for round_ in range(3):
        if round_ == 2:
            file = next(source.glob("text_c10/*/*.txt"))
            file.write_text("another caption\n")
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(making, "in_processes", lambda jobs: [making.make(job) for job in jobs])
            patch.setattr(folder, "write", stop)
            prepare.main(given)
        written.append({file.name: file.stat().st_mtime_ns for file in (tmp_path / "s/shards/16").iterdir()})
    assert written[0] == written[1] != written[2]
    prepare.main(given)
    captions = [*dataset.read(str(tmp_path / "s/shards"), "train", 16).captions]
    captions += [*dataset.read(str(tmp_path / "s/shards"), "test", 16).captions]
    assert ("another caption",) in captions


def test_an_image_that_vanished_is_named_and_no_half_shard_stays(encoder, tmp_path):
    row = {"name": "a", "path": str(tmp_path / "gone.jpg"), "box": None, "class_id": 1, "captions": ["a bird"]}
    (tmp_path / "images").write_text(json.dumps(row))
    job = making.Job(str(tmp_path / "images"), str(tmp_path / "out/train-0"), 16, encoder)
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):
        making.make(job)
    assert not [*(tmp_path / "out").iterdir()]


def test_beam_makes_the_same_shards(prepared, birds, encoder, tmp_path):
    pytest.importorskip("apache_beam", reason="Apache Beam is not installed (extra beam)")
    given = [str(birds), "--out", str(tmp_path / "s"), "--text_encoder", str(encoder), "--shards", "3", *SIZES]
    prepare.main([*given, "--beam=--runner=DirectRunner"])
    for file in prepared[1].rglob("*"):
        if file.is_file():
            assert (tmp_path / "s/shards" / file.relative_to(prepared[1])).read_bytes() == file.read_bytes()


def test_beam_that_is_not_installed_is_named(birds, encoder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    given = [str(birds), "--out", str(tmp_path / "s"), "--text_encoder", str(encoder), "--shards", "3", *SIZES]
    assert "stackgan_keras[beam]" in refusal(prepare.main, [*given, "--beam=--runner=DirectRunner"])


def test_impossible_shards_are_refused(birds, encoder, tmp_path):
    given = [str(birds), "--out", str(tmp_path / "s"), "--text_encoder", str(encoder)]
    assert "--shards is 0" in refusal(prepare.main, [*given, "--shards", "0"])
    assert "powers of two" in refusal(prepare.main, [*given, "--shards", "2", "--shard_sizes", "48"])
    assert "--shard_sizes is 'x'" in refusal(prepare.main, [*given, "--shards", "2", "--shard_sizes", "64,x"])


def test_a_record_of_another_size_is_refused(tmp_path):
    image = np.zeros((19, 19, 3), np.uint8)
    path = str(tmp_path / "s")
    records.write(path, [records.Record("a", image, 1, ("a bird",), np.zeros((1, 4), np.float32))])
    (row,) = records.read_index(path)
    assert records.read(path, row, 19, 4).captions == ("a bird",)
    for size, text_dim in ((38, 4), (19, 3)):
        assert "cannot be read" in refusal(records.read, path, row, size, text_dim)
