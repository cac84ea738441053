"""The `prepare` command: folders that train, what is left out and refused, and going on after a stop."""

import errno
import io
import json
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import refusal
from PIL import Image

from stackgan_keras import prepare
from stackgan_keras.data import drawn_birds, published, sources, writing
from stackgan_keras.data.preparing.record import RECORD
from stackgan_keras.data.preparing.summary import RETRIEVAL, next_command
from stackgan_keras.data.sources.reader import UNFINISHED
from stackgan_keras.errors import InputError
from stackgan_keras.models import sentence_reader, text_encoder, weights
from stackgan_keras.models.runs import TEXT_ENCODER

DIM = 8
TINY = {"variant": "flowers", "filters": 6, "recurrent_dim": 5, "text_dim": DIM}
TRAINING = (  # of a text encoder, as short as can be
    "--generator.text_dim", "8", "--text.variant", "flowers", "--text.filters", "6", "--text.recurrent_dim", "5",
    "--text.image_filters", "2", "--data.image_size", "16", "--text.batch_size", "4", "--train.max_steps", "2",
)  # fmt: skip


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """The folder of an encoder that was never trained."""
    folder = tmp_path_factory.mktemp("encoder")
    model_config = weights.ModelConfig("text_encoder", TINY)
    weights.save(model_config.build(), model_config, folder / TEXT_ENCODER)
    return folder


@pytest.fixture
def folder(tmp_path):
    """Images of five classes with one to twelve captions each, and what people leave between them."""
    root = tmp_path / "my images"
    rng = np.random.default_rng(0)
    for number, kind in enumerate(("wren", "blåmeis", "owl", "jay", "red finch")):
        (root / kind).mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / kind / f"no {i}.{'JPG' if i else 'webp'}", "JPEG" if i else "WEBP")
            count = 12 if i == 1 else 1 + number
            (root / kind / f"no {i}.txt").write_text("".join(f"{kind} {i} wing {j}\n" for j in range(count)), "utf-16")
    (root / "owl" / "fake.jpg").write_text("no image")
    (root / "owl" / "fake.txt").write_text("an owl")
    (root / "jay" / "silent.png").write_bytes((root / "jay" / "no 1.JPG").read_bytes())
    return root


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command with these arguments and returns what it printed."""

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["prepare", *map(str, arguments)])
        prepare.main()
        return capsys.readouterr().out

    return command


@pytest.fixture
def refused(run):
    return lambda *arguments: refusal(run, *arguments)


def contents(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def is_complete(root):
    """Whether `published` takes either split for complete."""
    complete = []
    for split in published.SPLITS:
        try:
            complete.append(len(published.read(root, split, text_dim=DIM)) > 0)
        except InputError:
            complete.append(False)
    return any(complete)


# -- what is made


def test_a_folder_of_ones_own(run, folder, encoder, tmp_path):
    out = tmp_path / "out"
    printed = run(folder, "--out", out, "--text_encoder", encoder)
    model = weights.load(out / TEXT_ENCODER)
    splits = {split: published.read(out, split, text_dim=DIM) for split in published.SPLITS}
    for records in splits.values():
        assert records.boxes is None
        for i, name in enumerate(records.names):
            kind, _, number = name.partition("/no ")
            count = 12 if number == "1" else len(records.captions[i])
            assert records.captions[i] == tuple(f"{kind} {number} wing {j}" for j in range(count))
            embedded = text_encoder.embed(model, records.captions[i])
            np.testing.assert_allclose(records.embeddings_of(i), embedded, atol=1e-5)
            source = folder / kind / f"no {number}.{'webp' if number == '0' else 'JPG'}"
            with Image.open(records.paths[i]) as mine, Image.open(source) as theirs:
                np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs.convert("RGB")))
            assert number == "0" or records.paths[i].read_bytes() == source.read_bytes()
    assert sorted(n for r in splits.values() for n in r.names) == sorted(
        f"{kind}/no {i}" for kind in ("wren", "blåmeis", "owl", "jay", "red finch") for i in range(4)
    )
    assert set(splits["train"].class_ids) == {1, 2, 3, 4, 5} > set(splits["test"].class_ids)
    assert "2 of 20 images, chosen by their names, as the 5 classes are few" in printed
    assert not (out / UNFINISHED).exists()
    for split in published.SPLITS:
        for name in ("filenames", "class_info", "char-CNN-RNN-embeddings"):
            content = (out / split / f"{name}.pickle").read_bytes()
            assert content[:2] == b"\x80\x02"
            assert len(pickle.loads(content)) == len(splits[split])

    counts = {split: sum(map(len, records.captions)) for split, records in splits.items()}
    assert f"captions {counts['train']} {counts['test']}" in " ".join(printed.split())
    assert "skipped files that are no whole images: 1 (owl/fake (cannot identify" in printed
    assert "skipped images without captions: 1 (jay/silent.png)" in printed
    assert printed.rstrip().endswith(
        "next: python -m stackgan_keras.train_stage1 --config few_stage1 --train.epochs 2223 "
        f"--train.lr_decay_epochs 834 --data.root {out} --generator.text_dim {DIM} --run out"
    )
    record = json.loads((out / RECORD).read_text())
    assert record["splits"]["train"]["captions per image (least, median, most)"][2] == 12


def test_drawn_birds_keep_boxes_splits_and_truth(run, encoder, tmp_path):
    out = tmp_path / "out"
    run("drawn", "--out", out, "--count", 12, "--classes", 10, "--seed", 3, "--text_encoder", encoder)
    drawn = drawn_birds.write(tmp_path / "d", 12, 10, 2, seed=3, embedding_dim=1)
    for split in published.SPLITS:
        mine, theirs = published.read(out, split, text_dim=DIM), published.read(drawn, split, text_dim=1)
        assert mine.names == theirs.names
        assert mine.captions == theirs.captions
        np.testing.assert_array_equal(mine.boxes, theirs.boxes)
        np.testing.assert_array_equal(mine.class_ids, theirs.class_ids)
        assert [a.read_bytes() for a in mine.paths] == [b.read_bytes() for b in theirs.paths]
    assert (out / "truth.jsonl").read_bytes() == (drawn / "truth.jsonl").read_bytes()
    tables = ("images.txt", "bounding_boxes.txt", "classes.txt", "image_class_labels.txt")
    for table in tables:
        assert (out / "CUB_200_2011" / table).read_bytes() == (drawn / "CUB_200_2011" / table).read_bytes()
    assert not (out / UNFINISHED).exists()
    again = tmp_path / "again"
    run(drawn, "--out", again, "--text_encoder", encoder)  # a folder of drawn birds is one of them
    assert published.read(again, "test", text_dim=DIM).names == published.read(out, "test", text_dim=DIM).names


def test_the_real_birds(shared, run, encoder, tmp_path):
    printed = run("cub", "--pictures", shared / "birds", "--out", tmp_path / "out", "--text_encoder", encoder)
    for split in published.SPLITS:
        mine = published.read(tmp_path / "out", split, text_dim=DIM)
        theirs = published.read(shared / "birds", split)
        assert sorted(mine.names) == sorted(theirs.names)
        order = [theirs.names.index(name) for name in mine.names]
        np.testing.assert_array_equal(mine.boxes, theirs.boxes[order])
        np.testing.assert_array_equal(mine.class_ids, theirs.class_ids[order])
        assert mine.captions == tuple(theirs.captions[i] for i in order)
    assert "captions 2150 2090" in " ".join(printed.split())
    assert "note: 215 training images are few" in printed
    assert "--config few_stage1 --train.epochs 187 --train.lr_decay_epochs 71 --data.root" in printed


def test_flowers_are_found_under_their_published_names(run, encoder, tmp_path):
    for number in range(1, 11):
        path = tmp_path / "flowers" / "jpg" / f"image_{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9)).save(path)
        text = tmp_path / f"flowers/text_c10/class_{number:05d}/image_{number:05d}.txt"
        text.parent.mkdir(parents=True)
        text.write_text(f"flower {number}\n")
    run(tmp_path / "flowers", "--out", tmp_path / "out", "--text_encoder", encoder)
    records = published.read(tmp_path / "out", "test", text_dim=DIM)
    assert records.names == ("jpg/image_00005", "jpg/image_00010")
    assert records.captions == (("flower 5",), ("flower 10",))
    assert records.class_ids.tolist() == [5, 10]


@pytest.mark.parametrize("source, images", [("cub", 2000), ("drawn", 20)])
def test_many_images_and_drawn_ones_get_the_published_widths(source, images):
    asked = {"source": source}
    record = {"asked": asked, "splits": {"train": {"images": images}}, "text_dim": 8, "run": "mine"}
    command = next_command(record, Path("out"))
    assert f"--config {sources.readers()[source].config} --data.root out" in command and "epochs" not in command


@pytest.mark.parametrize("images, batch", [(14, "--train.batch_size 14"), (16, "")])
def test_no_batch_is_larger_than_few_images(images, batch):
    record = {"asked": {"source": "folder"}, "splits": {"train": {"images": images}}, "text_dim": 8, "run": "mine"}
    command = next_command(record, Path("out"))
    assert batch in command and ("batch_size" in command) == bool(batch)


def test_real_flowers_are_the_same_from_their_archive_and_from_a_captioned_folder(shared, run, encoder, tmp_path):
    """Classes, splits and captions as published, and as folders with a metadata.jsonl; some captions are missing."""
    names = {split: published.read(shared / "flowers", split, text_dim=None).names for split in published.SPLITS}
    archive, own = tmp_path / "archive", tmp_path / "own"
    texts = {path.stem: path for path in (shared / "flowers/text_c10").glob("*/*.txt")}
    for split in published.SPLITS:
        rows = []
        for i, name in enumerate(names[split][:: len(names[split]) // 40]):
            name = name.rpartition("/")[2]
            kind = texts[name].parent.name
            for home in (archive / "jpg", own / split / kind):
                home.mkdir(parents=True, exist_ok=True)
                shutil.copy(shared / f"flowers/jpg/{name}.jpg", home)
            if i % 7:
                (archive / "text_c10" / kind).mkdir(parents=True, exist_ok=True)
                shutil.copy(texts[name], archive / "text_c10" / kind)
                rows.append({"file_name": f"{kind}/{name}.jpg", "text": texts[name].read_text().splitlines()})
        (own / split / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (archive / "test").mkdir()
    shutil.copy(shared / "flowers/test/class_info.pickle", archive / "test")
    made = {}
    for source in (archive, own):
        out = tmp_path / f"from_{source.name}"
        printed = run(source, "--out", out, "--text_encoder", encoder)
        assert "skipped images without captions: 12" in printed
        records = {split: published.read(out, split, text_dim=DIM) for split in published.SPLITS}
        made[source] = {
            r.paths[i].read_bytes(): (split, r.captions[i], r.embeddings_of(i).tobytes(), numbered(r, i))
            for split, r in records.items()
            for i in range(len(r))
        }
    assert made[archive] == made[own] and len(made[own]) > 60


def numbered(records, i):
    """The first image of the same class, whatever number that has."""
    return records.paths[records.class_ids.tolist().index(records.class_ids[i])].stem


SOURCE = """
from stackgan_keras.data.sources.reader import Option, Reader
from stackgan_keras.data.sources.source import Example, Source


def read(folder, out, *, colours):
    source = Source("plain")
    for i in range(int(colours)):
        (out / "made").mkdir(parents=True, exist_ok=True)
        image = out / f"made/{i}.ppm"
        image.write_bytes(b"P6 4 4 255 " + bytes([i, 0, 0] * 16))
        source.add(Example(f"plain/{i}", "plain", (f"colour {i}",), file=image))
    return source.finished()


READER = Reader(
    "plain", 7, recognises=lambda folder: False, read=read, options=(Option("colours", "N", "how many", str, "4"),)
)
"""


def test_a_file_in_the_folder_of_sources_is_a_source(run, refused, encoder, tmp_path, monkeypatch, capsys):
    (tmp_path / "more").mkdir()
    (tmp_path / "more/plain_colours.py").write_text(SOURCE)
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(tmp_path / "more")])
    with pytest.raises(SystemExit):
        run("--help")
    printed = " ".join(capsys.readouterr().out.split())
    assert "drawn, cub, oxford102, coco, plain, or a folder" in printed and "plain: --colours N how many" in printed
    out = tmp_path / "out"
    assert "written" in run("plain", "--out", out, "--colours", 5, "--text_encoder", encoder)
    assert len(published.read(out, "train", text_dim=DIM)) == 4
    assert "colours 5 (now 4)" in refused("plain", "--out", out, "--text_encoder", encoder)
    assert "--colours does not belong" in refused("drawn", "--out", out, "--colours", 5)


def test_a_text_encoder_that_came_with_the_package(run, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(folder, "--out", "out", "--text_encoder", "weights/flowers")
    shipped = Path(__file__).parents[1] / "weights/flowers" / TEXT_ENCODER
    assert Path("out", TEXT_ENCODER).read_bytes() == shipped.read_bytes()


# -- going on


def test_a_finished_folder_is_left_as_it_is(run, refused, folder, encoder, tmp_path):
    out = tmp_path / "out"
    run(folder, "--out", out, "--text_encoder", encoder)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    printed = run(folder, "--out", out, "--text_encoder", encoder / TEXT_ENCODER)
    assert "left as it is" in printed
    assert "next: python -m stackgan_keras.train_stage1" in printed
    assert "text.filters" in refused(folder, "--out", out, *TRAINING)
    (folder / "owl" / "no 1.txt").write_text("another caption")
    assert "has changed" in refused(folder, "--out", out, "--text_encoder", encoder)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def steps(monkeypatch, calls):
    """Stops the command after so many of its steps that write images, embeddings or pickles."""
    left = [calls]

    def counted(function):
        def call(*arguments, **keywords):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return function(*arguments, **keywords)

        return call

    for name in ("write_image", "write_embeddings", "write_pickle"):
        monkeypatch.setattr(writing, name, counted(getattr(writing, name)))


def test_stopped_anywhere_it_goes_on_to_the_same_end(run, folder, encoder, tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    run(folder, "--out", whole, "--text_encoder", encoder)
    expected = contents(whole)
    out = tmp_path / "out"
    arguments = (folder, "--out", out, "--text_encoder", encoder)
    kept = {}
    for stop in range(2, 12):  # each time a little later, after what the times before left
        with monkeypatch.context() as patch:
            steps(patch, stop)
            try:
                run(*arguments)
                break
            except KeyboardInterrupt:
                missing = expected.keys() - contents(out).keys()
                assert not is_complete(out) or missing <= {RECORD, "test/filenames.pickle"}
        assert {path: path.stat().st_mtime_ns for path in kept} == kept  # no image is written twice
        kept = {path: path.stat().st_mtime_ns for path in (out / "images").rglob("*.*")}
    assert 6 <= stop < 11
    mine = contents(out)
    assert mine.keys() == expected.keys()
    assert [name for name in mine if mine[name] != expected[name]] in ([], [RECORD])  # the run's own name


def test_embeddings_that_are_there_are_kept_unless_captions_change(run, folder, encoder, tmp_path, monkeypatch):
    arguments = (folder, "--out", tmp_path / "out", "--text_encoder", encoder)

    def stop_at_pickles(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writing, "write_pickle", stop_at_pickles)
        with pytest.raises(KeyboardInterrupt):
            run(*arguments)
        patch.setattr(sentence_reader.SentenceReader, "embed", stop_at_pickles)  # nor is anything embedded again
        with pytest.raises(KeyboardInterrupt):
            run(*arguments)
    assert not is_complete(tmp_path / "out")
    (folder / "wren" / "no 2.txt").write_text("something else")
    printed = run(*arguments).rpartition("reading")[2]
    assert printed.count("kept") == 1  # the split of the wren is made anew
    records = {split: published.read(tmp_path / "out", split, text_dim=DIM) for split in published.SPLITS}
    captions = [r.captions[r.names.index("wren/no 2")] for r in records.values() if "wren/no 2" in r.names]
    assert captions == [("something else",)]


def test_an_encoder_is_trained_where_none_is_given_and_goes_on(run, folder, tmp_path, monkeypatch):
    arguments = (folder, "--out", tmp_path / "out", *TRAINING[:-1])

    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writing, "write_embeddings", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(*arguments, 2)
    assert weights.read_config(tmp_path / "out" / TEXT_ENCODER).keywords == TINY
    assert any((tmp_path / "out" / UNFINISHED / "text").iterdir())  # checkpoints lie in the folder itself
    printed = run(*arguments, 3)  # more steps are no other settings
    records = published.read(tmp_path / "out", "train", text_dim=DIM)
    model = weights.load(tmp_path / "out" / TEXT_ENCODER)
    np.testing.assert_allclose(records.embeddings_of(0), text_encoder.embed(model, records.captions[0]), atol=1e-5)
    assert "find their class" in printed
    assert list((tmp_path / "out" / RETRIEVAL).glob("*.png"))


@pytest.mark.parametrize("loss", ["cross_entropy", "damsm"])
def test_captions_that_the_text_encoder_cannot_read(run, refused, folder, tmp_path, loss):
    texts = sorted(folder.rglob("*.txt"))
    (folder / "wren/no 1.txt").write_text("a small red bird\n" * 3 + "红色的鸟\n" + "long " * 3000 + "\n")
    arguments = (folder, "--out", tmp_path / "out", *TRAINING, "--text.loss", loss)
    printed = run(*arguments)
    assert "in part and 1 not at all, such as " in printed and " captions the text encoder reads " in printed
    for text in texts:
        text.write_text("红色的鸟\n")
    assert "reads nothing of any caption, such as '红色的鸟'" in refused(
        folder, "--out", tmp_path / "none", *arguments[3:]
    )
    assert not (tmp_path / "none" / TEXT_ENCODER).exists()


def test_an_unfinished_folder_takes_no_other_settings(run, refused, folder, encoder, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        steps(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            run(folder, "--out", tmp_path / "out", "--text_encoder", encoder)
    assert "was begun with" in refused(folder, "--out", tmp_path / "out", *TRAINING)


def test_a_full_disk_loses_nothing(run, folder, encoder, tmp_path, monkeypatch):
    out, arguments = tmp_path / "out", (folder, "--out", tmp_path / "out", "--text_encoder", encoder)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pickle, "Pickler", full)
        with pytest.raises(OSError, match="char-CNN-RNN-embeddings"):
            run(*arguments)
    before = contents(out)
    assert len(list((out / "images").rglob("*.jpg"))) == 15
    assert not list(out.rglob(".*.pickle"))
    run(*arguments)
    assert {name: before[name] for name in before if "images/" in name}.items() <= contents(out).items()


def test_what_a_killed_command_left_goes(run, folder, encoder, tmp_path):
    leftover = tmp_path / "out" / "images" / "owl" / ".a-machine.home.123.no 1.jpg"
    arguments = (folder, "--out", tmp_path / "out", "--text_encoder", encoder)
    with pytest.MonkeyPatch.context() as patch:
        steps(patch, 20)
        with pytest.raises(KeyboardInterrupt):
            run(*arguments)
    leftover.write_bytes(b"half")
    run(*arguments)
    assert not leftover.exists()


# -- what is refused


def test_arguments_that_cannot_be(refused, folder, encoder, tmp_path):
    out = ("--out", tmp_path / "out")
    assert "--out" in refused(folder)
    assert "nowhere" in refused(tmp_path / "nowhere", *out)
    assert "--count" in refused(folder, *out, "--count", 5)
    assert "--pictures" in refused("drawn", *out, "--pictures", folder)
    assert "--captions" in refused("cub", *out, "--captions", tmp_path / "nowhere")
    assert "--frames" in refused(folder, *out, "--frames", 3)
    assert "text.filtres" in refused(folder, *out, "--text.filtres", 3)
    assert "text.epochs" in refused(folder, *out, "--text_encoder", encoder, "--text.epochs", 3)
    assert TEXT_ENCODER in refused(folder, *out, "--text_encoder", folder)
    assert "classes" in refused("drawn", *out, "--classes", 2, "--text_encoder", encoder)
    assert not (tmp_path / "out" / "images").exists()


def test_folders_that_cannot_be_made(refused, folder, encoder, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    given = ("--text_encoder", encoder)
    assert "is a file" in refused(folder, "--out", tmp_path / "file", *given)
    assert "already holds mine.txt" in refused(folder, "--out", tmp_path / "full", *given)
    assert "another folder" in refused(folder, "--out", folder, *given)
    assert "another folder" in refused(folder, "--out", tmp_path, *given)


def test_a_folder_made_inside_the_source_is_no_part_of_it(run, folder, encoder):
    out = folder / "prepared"
    run(folder, "--out", out, "--text_encoder", encoder)
    assert "left as it is" in run(folder, "--out", out, "--text_encoder", encoder)


def test_a_weight_file_of_another_network(refused, folder, tmp_path):
    tiny = {"image_size": 8, "filters": 1, "text_dim": 4, "condition_dim": 2}
    model_config = weights.ModelConfig("stage1_generator", tiny)
    path = tmp_path / "stage1_gen.weights.h5"
    weights.save(model_config.build(), model_config, path)
    assert "stage1_generator" in refused(folder, "--out", tmp_path / "out", "--text_encoder", path)
    assert not (tmp_path / "out").exists()


def test_outside_names_and_links_are_refused_before_anything_is_made(refused, folder, encoder, tmp_path):
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (folder / "metadata.jsonl").write_text('{"file_name": "../secret.jpg", "text": "x"}\n')
    assert "../secret.jpg" in refused(folder, "--out", tmp_path / "out", "--text_encoder", encoder)
    (folder / "metadata.jsonl").unlink()
    (folder / "owl" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    assert "link.jpg" in refused(folder, "--out", tmp_path / "out", "--text_encoder", encoder)
    assert not (tmp_path / "out").exists()


def test_only_bad_images(refused, tmp_path, encoder):
    for name in "abc":
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{name}.jpg").write_text("no image")
        (tmp_path / "in" / f"{name}.txt").write_text("a caption")
    assert "0 usable images" in refused(tmp_path / "in", "--out", tmp_path / "out", "--text_encoder", encoder)


def test_a_damaged_record(refused, folder, encoder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / RECORD).write_text("[]")
    assert "damaged" in refused(folder, "--out", tmp_path / "out", "--text_encoder", encoder)


def test_names_that_a_terminal_cannot_show(run, encoder, tmp_path, monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), "utf-8")
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        Image.new("RGB", (5, 5)).save(tmp_path / "in" / f"{name}.png")
        (tmp_path / "in" / f"{name}.txt").write_text("x")
    (tmp_path / "in" / "odd\udce9.txt").write_text("nobody")
    terminal.write(run(tmp_path / "in", "--out", tmp_path / "out", "--text_encoder", encoder))
