"""Published sets through tensorflow-datasets."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from posixpath import basename

from stackgan_keras.command_line import quietly
from stackgan_keras.data.sources.source import Example, Source, stem
from stackgan_keras.errors import InputError, first_line


def hub_rows(source: Source, name: str, folder: Path | None, file_name: str, *features: str):
    """Name without suffix, as in "class/name", and `features` of each example in the data set `name`.

    The feature `file_name` is where the name is from; an image is the bytes of its file. The set is downloaded into
    `folder` if it is not there. `source` takes its pictures from it, in the data set's own order.
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

    def pictures(examples: Sequence[Example]) -> Iterator[tuple[Example, bytes]]:
        wanted = {basename(example.name): example for example in examples}
        for name, row in rows("image") if wanted else ():
            if example := wanted.get(basename(name)):
                yield example, row["image"]

    source.pictures = pictures
    return rows(*features)
