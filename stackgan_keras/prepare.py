"""Prepare a training folder: captioned images of any source, in the published layout, with their embeddings.

python -m stackgan_keras.prepare IMAGES --out DIR                            a folder of your own
python -m stackgan_keras.prepare drawn --out DIR --count 10000 --classes 2000  birds drawn on the spot
python -m stackgan_keras.prepare cub --out DIR --pictures DIR --captions DIR   CUB-200-2011, unpacked

A text encoder is trained on the captions (settings as for train_text), or a given one is used. Stop it whenever you
like: the same command goes on.
"""

import sys
from pathlib import Path

from stackgan_keras.command_line import Parser, quietly, run
from stackgan_keras.data import sources
from stackgan_keras.data.preparing import folder, record, request
from stackgan_keras.data.preparing.summary import RETRIEVAL, next_command, summary
from stackgan_keras.data.published import Dataset
from stackgan_keras.data.sources.reader import UNFINISHED
from stackgan_keras.models.runs import TEXT_ENCODER


def main(arguments: list[str] | None = None) -> None:
    """What the command does with these arguments, else with its own."""
    asked_for = request.parse(_parser(), sys.argv[1:] if arguments is None else arguments)
    asked = record.asked(asked_for)

    def train(datasets: tuple[Dataset, Dataset]) -> None:
        with quietly():
            from stackgan_keras.training import text
        out = asked_for.out
        text.train_encoders(
            datasets, asked_for.settings, text.TextFolders(out, out / UNFINISHED / "text", out / RETRIEVAL)
        )

    made = record.find(asked_for.out, asked)
    if made is None:
        made = folder.make(asked_for, asked, train)
        print(summary(made, asked_for.out))
    else:
        folder.check_unchanged(asked_for, made)
        print(f"{asked_for.out} is finished and was prepared with the same settings: left as it is")
    print(f"next: {next_command(made, asked_for.out)}")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m stackgan_keras.prepare",
        usage="python -m stackgan_keras.prepare SOURCE --out DIR [...] [--config FILE] [--text.key VALUE ...]",
        description="Makes a training folder, embeddings included, out of captioned images.",
        epilog="A folder of your own holds NAME.txt beside NAME.jpg (a caption in each line), or metadata.jsonl or "
        "metadata.csv with file_name and text. Folders in it are classes, train/ and test/ are splits; both may be "
        "missing. The text encoder is trained with the settings of train_text, such as --text.epochs 50 or "
        "--generator.text_dim 256; `train_text --help` lists them.",
    )
    names = ", ".join(name for name, reader in sources.readers().items() if reader.by_name)
    add = parser.add_argument
    add("source", metavar="SOURCE", help=f"{names}, or a folder of captioned images")
    add("--out", metavar="DIR", type=Path, required=True, help="folder to make")
    add("--text_encoder", metavar="FILE", type=Path, help=f"{TEXT_ENCODER}, or a run's folder, such as weights/flowers")
    shards = parser.add_argument_group("data past one machine's memory (docs/sharded.md)")
    add = shards.add_argument
    add("--shards", metavar="N", type=int, help="write TFRecord shards, N of a split, for --data.shards of trainings")
    add("--shard_sizes", metavar="PIXELS", default="64,256", help="sizes of the images to train on (default 64,256)")
    add("--beam", metavar="OPTIONS", help="make them by Apache Beam, with these options of its command line")
    request.add_options(parser)
    return parser


if __name__ == "__main__":
    run(main)
