"""Files of every format that is read, damaged at random: they are read or refused in a sentence, and nothing else.

`STACKGAN_FUZZ_CASES` says how many of each are made, and then other ones each time; `make fuzz` sets it. Nothing is
executed meanwhile, no memory is taken beyond a limit, and no name leads out of its folder.
"""

import csv
import io
import json
import os
import pickle
import resource
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
import yaml
from PIL import Image
from test_torch7 import Encoder, Tensor, Writer, table

from stackgan_keras import config, weights
from stackgan_keras.data import captions_pickle, photographs, pickles, published, writing
from stackgan_keras.data.shards import dataset, records
from stackgan_keras.data.shards import folder as shards
from stackgan_keras.data.sources import captioned_folder, coco, cub, drawn
from stackgan_keras.errors import InputError
from stackgan_keras.evaluation.frechet import Gaussian
from stackgan_keras.models.vocabulary import END, Vocabulary
from stackgan_keras.porting import checkpoints, embedded_sentences, extractors, torch7, torch_files

hypothesis = pytest.importorskip("hypothesis", reason="pip install 'stackgan_keras[test]'")
from hypothesis import HealthCheck, Phase, settings, strategies  # noqa: E402

ASKED = os.environ.get("STACKGAN_FUZZ_CASES")
CASES = int(ASKED or 12)
MOST_MEMORY = 2**20  # KB that reading the damaged files of a format may add to the most that this process took
RUNNING = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect", "ctypes.dlopen"}
LARGE = [b"\xff" * 8, b"\x7f" * 4, b"99999999999999", b"-1", b"\x00" * 8, b"1e308", b"NaN"]
OUTSIDE = [
    b"../",
    b"../../../../../etc/passwd",
    b"/etc/passwd",
    b"C:\\",
    b"\x00",
    b"\xff",
    b"\n",
    b"\r",
    b'"',
    b"[" * 500,
]


class Reader(NamedTuple):
    """How a format is read."""

    whole: dict[str, bytes]  # the files, by their names in a folder
    read: Callable[[Path], object]  # what reads a folder with them
    pieces: tuple[bytes, ...] | list[bytes] = ()  # that are put into them, beside any bytes
    damaged: str = ""  # the only file that is damaged, where it is one
    own: tuple = (InputError,)  # what it raises
    times: float = 1.0  # as many cases as of other formats; of what is slow, fewer


# -- how files are damaged ----------------------------------------------------------------------------------------


def damages(pieces: list[bytes]) -> strategies.SearchStrategy:
    piece = strategies.binary(min_size=1, max_size=4) | strategies.sampled_from([*pieces, *LARGE])
    kind = strategies.sampled_from(["put", "insert", "delete", "cut", "repeat"])
    place = strategies.floats(0, 1, exclude_max=True)
    return strategies.lists(strategies.tuples(kind, place, piece), min_size=1, max_size=5)


def damage(whole: bytes, changes: list) -> bytes:
    content = bytearray(whole)
    for kind, share, piece in changes:
        place = int(share * len(content))
        if kind == "put":
            content[place : place + len(piece)] = piece
        elif kind == "insert":
            content[place:place] = piece
        elif kind == "delete":
            del content[place : place + len(piece)]
        elif kind == "cut":
            del content[place:]
        else:
            content[place:place] = 50 * content[place : place + 2 * len(piece)]
    return bytes(content)


executed: list[str] = []  # while files were read
watching = False


def watch(event: str, arguments: tuple) -> None:
    if watching and event in RUNNING:
        executed.append(f"{event} {arguments}")


sys.addaudithook(watch)


@contextmanager
def nothing_runs() -> Iterator[None]:
    global watching
    watching = True
    try:
        yield
    finally:
        watching = False
    assert not executed


# -- formats ------------------------------------------------------------------------------------------------------

OPCODES = [
    bytes([code])
    for code in b"\x80\x93\x94\x95\x96\x97\x98\x81\x92\x85\x86\x87\x8a\x8b\x8c\x8e\x8f\x90\x91()]}RbQPtlduesa0122hjqr."
]
NAMES = [
    b"cos\nsystem\n",
    b"cbuiltins\neval\n",
    b"c__builtin__\nbytearray\n",
    b"c_codecs\nencode\n",
    b"cnumpy\ndtype\n",
]
CALLS = [
    b"(I3000000000\ntR",
    b"(S'ls'\ntR",
    b"r\xff\xff\xff\x7f",
    b"p99999999\n",
    b"\x96" + b"\x00\x00\x00\x00\x02\x00\x00\x00",
]
VALUE = [
    np.arange(6, dtype="f4").reshape(2, 3),
    "002.crow/a_1",
    bytearray(b"ab\n"),
    {"k": (1, 2.5)},
    {1, 2},
    np.int64(3),
    b"x" * 300,
]
PICKLED = [*OPCODES, *NAMES, *CALLS]


def of_pickles(protocol: int) -> Reader:
    return Reader(
        {"a.pickle": pickle.dumps(VALUE, protocol)}, lambda folder: pickles.load(folder / "a.pickle"), PICKLED
    )


def published_folder() -> dict[str, bytes]:
    names = ["001.crow/one", "002.duck/two"]
    image = encoded("JPEG")
    boxes = b"".join(b"%d %d 2.0 30.0 40.0\n" % (i, i) for i in (1, 2))
    return {
        "train/filenames.pickle": pickle.dumps(names, 2),
        "train/class_info.pickle": pickle.dumps([1, 2], 2),
        "train/char-CNN-RNN-embeddings.pickle": pickle.dumps([np.ones((2, 4), "f4"), np.ones((1, 4), "f4")], 2),
        **{f"CUB_200_2011/images/{name}.jpg": image for name in names},
        "CUB_200_2011/images.txt": "".join(f"{i} {name}.jpg\n" for i, name in enumerate(names, 1)).encode(),
        "CUB_200_2011/bounding_boxes.txt": boxes,
        **{f"text_c10/{name}.txt": b"a black crow\na bird\n" for name in names},
    }


def of_published(damaged: str) -> Reader:
    def read(folder: Path) -> None:
        dataset = published.read(folder, "train", 4)
        assert all(path.resolve().is_relative_to(folder.resolve()) for path in dataset.paths)
        assert np.isfinite(dataset.embeddings).all()

    return Reader(published_folder(), read, [*PICKLED, *OUTSIDE], damaged)


def inside(source, folder: Path) -> None:
    """Nothing is read from outside a source's folder, and nothing will be written outside that which is made of it."""
    for example in source.examples:
        assert example.file.resolve().is_relative_to(folder.resolve())
        assert ".." not in example.name.split("/") and not example.name.startswith("/"), example.name


def captioned(table: str, content: bytes) -> Reader:
    whole = {f"{name}.png": encoded("PNG") for name in ("a", "b", "c")}
    read = lambda folder: inside(captioned_folder.read(folder), folder)  # noqa: E731
    return Reader({**whole, table: content}, read, [*OUTSIDE, b",", b";", b"file_name", b"{", b"]"], table)


def tables() -> tuple[bytes, bytes]:
    rows = [{"file_name": f"{name}.png", "text": [f"a bird {name}", "one"]} for name in "abc"]
    made = io.StringIO()
    writer = csv.DictWriter(made, ["file_name", "text"])
    writer.writeheader()
    writer.writerows({**row, "text": json.dumps(row["text"])} for row in rows)
    return "\n".join(map(json.dumps, rows)).encode(), made.getvalue().encode()


def of_coco() -> Reader:
    content = {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in range(3)],
        "annotations": [{"image_id": i, "caption": f"a bird {i}"} for i in range(3)],
    }
    whole = {f"{i}.png": encoded("PNG") for i in range(3)} | {"captions_train.json": json.dumps(content).encode()}
    return Reader(whole, lambda folder: inside(coco.read(folder, folder, None), folder), OUTSIDE, "captions_train.json")


def of_drawn(damaged: str) -> Reader:
    names = ["001.crow/one", "002.duck/two"]
    truth = [{"name": n, "box": [1, 2, 30, 40], "split": "train", "class_id": i} for i, n in enumerate(names)]
    whole = published_folder() | {"truth.jsonl": "\n".join(map(json.dumps, truth)).encode()}
    return Reader(whole, lambda folder: inside(drawn.read(folder), folder), OUTSIDE, damaged)


def of_cub(damaged: str) -> Reader:
    return Reader(published_folder(), lambda folder: inside(cub.read(folder, folder, None), folder), OUTSIDE, damaged)


def encoded(kind: str) -> bytes:
    content = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def of_images(kind: str) -> Reader:
    def read(folder: Path) -> None:
        assert photographs.read(folder / "a.jpg", None, 16).shape == (16, 16, 3)
        writing.write_image(folder / "a.jpg", folder / "copy", upright=True)

    own = (InputError, writing.BadImage)
    return Reader({"a.jpg": encoded(kind)}, read, [b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xff\xd8\xff\xe1"], own=own)


def of_settings() -> Reader:
    content = yaml.safe_dump(config.Settings().model_dump(mode="json")).encode()
    pieces = [
        b"&a [*a, *a]",
        b"&a ",
        b"*a ",
        b"!!python/object/apply:os.system [ls]",
        b"<<: ",
        b": ",
        b"{",
        b"1:1:1:1",
        b"2001-99-99",
    ]
    return Reader({"a.yaml": content}, lambda folder: config.read(folder / "a.yaml"), [*pieces, *OUTSIDE])


def of_vocabularies() -> Reader:
    content = json.dumps([END, "a", "red", "bird"]).encode()
    return Reader({"a.json": content}, lambda folder: Vocabulary.load(folder / "a.json").encode(["a bird"]), OUTSIDE)


def of_captions_pickles() -> Reader:
    words = {0: END, 1: "red", 2: "bird"}
    content = [[[1, 2]], [[2]], words, {word: number for number, word in words.items()}]
    return Reader({"a": pickle.dumps(content, 2)}, lambda folder: captions_pickle.read(folder / "a"), PICKLED)


def of_arrays(name: str) -> Reader:
    content = io.BytesIO()
    if name.endswith(".npz"):
        np.savez_compressed(content, embeddings=np.ones((2, 4), "f4"), sentences=["one", "two"])
    else:
        np.save(content, np.ones((2, 4), "f4"))
    pieces = [b"'|O'", b"(9999999999, 4)", b"True"]
    return Reader({name: content.getvalue()}, lambda folder: embedded_sentences.read(folder / name), pieces)


def of_statistics() -> Reader:
    content = io.BytesIO()
    np.savez(content, mu=np.ones(3), sigma=np.eye(3))
    return Reader(
        {"a.npz": content.getvalue()}, lambda folder: Gaussian.read(folder / "a.npz"), [b"'|O'", b"(9999999999,)"]
    )


def of_torch_7() -> Reader:
    flat = np.arange(8, dtype=np.float32)
    content = {"raw_txt": table("one", "two"), "fea_txt": table(Tensor(flat, 0, (4,)), Tensor(flat, 4, (4,)))}
    whole = b"".join(Writer().add(content).parts)
    return Reader({"a.t7": whole}, lambda folder: embedded_sentences.read(folder / "a.t7"), [b"tds.Hash", b"tds.Vec"])


def of_torch_7_encoders() -> Reader:
    whole = b"".join(Writer().add(Encoder("flowers").network).parts)
    return Reader({"a.t7": whole}, lambda folder: torch7.encoder(torch7.read(folder / "a.t7")), times=0.2)


def of_torch(zipped: bool, read: Callable) -> Reader:
    torch = pytest.importorskip("torch", reason="damages what PyTorch writes")
    content = io.BytesIO()
    state = {"net": {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2).half()}, "epoch": 3}
    torch.save(state, content, _use_new_zipfile_serialization=zipped)
    return Reader({"a.pth": content.getvalue()}, lambda folder: read(folder / "a.pth"), PICKLED)


def of_weights() -> Reader:
    keywords = {"variant": "flowers", "filters": 3, "recurrent_dim": 2, "text_dim": 2}
    made = weights.ModelConfig("text_encoder", keywords)
    whole = saved("a.weights.h5", lambda path: weights.save(made.build(), made, path))
    return Reader(whole, lambda folder: weights.load(folder / "a.weights.h5"), times=0.2)


def of_keras(name: str) -> Reader:
    image = keras.Input((8, 8, 3))
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3)(image))
    model = keras.Model(image, keras.layers.Dense(3, "softmax")(features))
    pieces = [b"Lambda", b"__lambda__", b"os", b"TFSMLayer", b"subprocess", b"2147483647"]
    return Reader(saved(name, model.save), lambda folder: extractors.load(folder / name), pieces, times=0.2)


def saved(name: str, save: Callable) -> dict[str, bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save(Path(folder, name))
        return {name: Path(folder, name).read_bytes()}


def of_tensorflow(damaged: str) -> Reader:
    import tempfile

    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        tf.train.Checkpoint(a=tf.Variable(tf.ones((2, 3))), b=tf.Variable(2.0)).write(f"{folder}/model")
        whole = {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}
    return Reader(whole, lambda folder: checkpoints.read(folder / "model"), damaged=damaged)


def of_shards(damaged: str) -> Reader:
    import tempfile

    def read(home: Path) -> None:
        split = dataset.read(str(home), "train", 16)
        assert split.image(len(split) - 1, 16).shape == (16, 16, 3)
        assert all(split.captions[0]) and split.embeddings_of(0).shape == (1, 4)

    image = np.zeros((19, 19, 3), np.uint8)
    rows = [records.Record(f"{i}", image, i, (f"bird {i}",), np.ones((1, 4), np.float32)) for i in range(2)]
    told = shards.Split(images=2, shards=1, most_captions=1, most_words=2)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "16").mkdir()
        records.write(records.file_of(f"{folder}/16", "train", 0, 1), rows)
        shards.write(folder, shards.Content(sizes=(16,), text_dim=4, splits={"train": told}))
        whole = {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*.*")}
    return Reader(whole, read, OUTSIDE, damaged)


JSON_LINES, COMMAS = tables()
READERS: dict[str, Callable[[], Reader]] = {
    **{f"pickle, protocol {protocol}": lambda n=protocol: of_pickles(n) for protocol in (0, 2, 4, 5)},
    "filenames.pickle": lambda: of_published("train/filenames.pickle"),
    "class_info.pickle": lambda: of_published("train/class_info.pickle"),
    "embeddings": lambda: of_published("train/char-CNN-RNN-embeddings.pickle"),
    "captions.pickle": of_captions_pickles,
    "captions of an image": lambda: of_published("text_c10/001.crow/one.txt"),
    "CUB's boxes, published": lambda: of_published("CUB_200_2011/bounding_boxes.txt"),
    "CUB's images.txt, published": lambda: of_published("CUB_200_2011/images.txt"),
    "CUB's boxes, prepared": lambda: of_cub("CUB_200_2011/bounding_boxes.txt"),
    "metadata.jsonl": lambda: captioned("metadata.jsonl", JSON_LINES),
    "metadata.csv": lambda: captioned("metadata.csv", COMMAS),
    "captions beside an image": lambda: captioned("a.txt", b"a bird\na red bird\n"),
    "COCO's captions": of_coco,
    "truth.jsonl of drawn birds": lambda: of_drawn("truth.jsonl"),
    **{f"image, {kind}": lambda kind=kind: of_images(kind) for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")},
    "settings, YAML": of_settings,
    "vocabulary.json": of_vocabularies,
    **{f"embedded sentences, {name}": lambda name=name: of_arrays(f"a{name}") for name in (".npy", ".npz")},
    "statistics of features, .npz": of_statistics,
    "embedded sentences, .t7": of_torch_7,
    "text encoder, .t7": of_torch_7_encoders,
    ".pth, zip": lambda: of_torch(True, torch_files.read),
    ".pth, older": lambda: of_torch(False, torch_files.read),
    ".pth by torch, zip": lambda: of_torch(True, checkpoints.read),
    ".pth by torch, older": lambda: of_torch(False, checkpoints.read),
    ".weights.h5": of_weights,
    "Keras model, .keras": lambda: of_keras("a.keras"),
    "Keras model, .h5": lambda: of_keras("a.h5"),
    "TensorFlow checkpoint, index": lambda: of_tensorflow("model.index"),
    "TensorFlow checkpoint, data": lambda: of_tensorflow("model.data-00000-of-00001"),
    "shard, TFRecord": lambda: of_shards("16/train-00000-of-00001.tfrecord"),
    "shard, index": lambda: of_shards("16/train-00000-of-00001.index"),
    "shards.json": lambda: of_shards("shards.json"),
}


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused(name, tmp_path, capfd):
    reader = READERS[name]()
    for file, content in reader.whole.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(content)
    reader.read(tmp_path)  # whole, it is read
    damaged = reader.damaged or next(iter(reader.whole))
    taken, outcomes = memory(), {"read": 0, "refused": 0}

    @settings(
        max_examples=max(1, int(CASES * reader.times)),
        deadline=None,
        database=None,
        derandomize=ASKED is None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(damages(reader.pieces))
    def outcome(changes):
        (tmp_path / damaged).write_bytes(damage(reader.whole[damaged], changes))
        try:
            with nothing_runs(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                reader.read(tmp_path)
            outcomes["read"] += 1
        except reader.own as problem:
            assert "\n" not in str(problem)
            assert len(str(problem)) < 2000
            outcomes["refused"] += 1

    outcome()
    more = memory() - taken
    assert more < MOST_MEMORY
    assert "exported buffers" not in capfd.readouterr().err
    if ASKED:
        figures = (sum(outcomes.values()), outcomes["read"], outcomes["refused"], more // 1024)
        with capfd.disabled():
            print("|", name, "|", " | ".join(f"{figure:,}" for figure in figures), "|")


def memory() -> int:
    """The most that this process took so far, in KB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
