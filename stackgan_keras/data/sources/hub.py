"""Published sets, unpacked or through tensorflow-datasets: their options, and the rows of the latter."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from posixpath import basename

from stackgan_keras.command_line import quietly
from stackgan_keras.data.sources.reader import Option, Reader
from stackgan_keras.data.sources.source import Example, Source, stem
from stackgan_keras.errors import InputError, first_line

OPTIONS = (
    Option("pictures", "DIR", "unpacked archive; without it: tensorflow-datasets", must_exist=True),
    Option(
        "captions",
        "PATH",
        "Reed's text_c10/, or COCO's JSON (default: in --pictures)",
        must_exist=True,
        with_folder=True,
    ),
    Option("tfds_dir", "DIR", "where tensorflow-datasets keeps its data"),
)


def published_reader(
    name: str, order: int, recognises: Callable[[Path], bool], read: Callable[..., Source], config: str
) -> Reader:
    """The `Reader` of a published set, by its read(images, captions, tfds_dir)."""

    def read_unpacked_or_hub(folder: Path | None, out: Path, *, pictures, captions, tfds_dir) -> Source:
        return read(folder or pictures, captions, tfds_dir)

    return Reader(name, order, recognises, read_unpacked_or_hub, OPTIONS, config=config)


def hub_rows(
    source: Source, name: str, folder: Path | None, file_name: str, *features: str
) -> Iterator[tuple[str, dict]]:
    """Name without suffix, as in "class/name", and `features` of each example in the data set `name`.

    The feature `file_name` is where the name is from; an image is the bytes of its file. The set is downloaded into
    `folder` if it is not there. `source` takes its images from it, in the data set's own order.
    """
    try:
        with quietly():
            import tensorflow_datasets as tfds

        builder = tfds.builder(name, data_dir=folder)
        builder.download_and_prepare()
    except Exception as problem:  # a missing package, no network, a dead address, a full disk: it has a kind for each
        raise InputError(
            f"tensorflow-datasets could not get {name} ({first_line(problem)}): pip install 'stackgan_keras[hub]' if "
            "a package is missing, or give --pictures an unpacked folder, or --tfds_dir one that has the data set"
        ) from None

    def rows(*features: str) -> Iterator[tuple[str, dict]]:
        decoders = {"image": tfds.decode.SkipDecoding()} if "image" in features else {}
        partial = tfds.decode.PartialDecoding(dict.fromkeys((file_name, *features), True), decoders=decoders)
        for split in sorted(builder.info.splits):
            for row in tfds.as_numpy(builder.as_dataset(split=split, decoders=partial)):
                yield "/".join(stem(row[file_name].decode()).split("/")[-2:]), row

    def images(examples: Sequence[Example]) -> Iterator[tuple[Example, bytes]]:
        wanted = {basename(example.name): example for example in examples}
        for name, row in rows("image") if wanted else ():
            if example := wanted.get(basename(name)):
                yield example, row["image"]

    source.images = images
    return rows(*features)
