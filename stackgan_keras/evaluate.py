"""Scores of runs on any data: how real their images are, how well they fit their sentences, how much they differ.

python -m stackgan_keras.evaluate                               the run `drawn`, on synthetic birds drawn once
python -m stackgan_keras.evaluate --run mine --data.root DIR    a run on the test captions of a data folder
python -m stackgan_keras.evaluate --run mine --run drawn        two runs in one table

A run generates an image of every caption. What a feature extractor, the run's own encoders and, on synthetic birds, the
attribute classifier give for these images is compared with what they give for real ones, which stand beside the run.
"""

import sys
from pathlib import Path

from stackgan_keras.command_line import Parser, quietly, run
from stackgan_keras.evaluation.evaluation_set import SEED
from stackgan_keras.evaluation.metrics import METRICS
from stackgan_keras.evaluation.request import Request
from stackgan_keras.models.runs import TEXT_ENCODER


def main(arguments: list[str] | None = None) -> None:
    """What the command does with these arguments, else with its own."""
    request = _request(sys.argv[1:] if arguments is None else arguments)
    with quietly():  # only now, as it takes seconds: help and wrong arguments answer at once
        from stackgan_keras.evaluation import inputs, neighbours, report
        from stackgan_keras.inference.stackgan import StackGAN

    networks = inputs.load_networks(request)
    models = {
        name: StackGAN.load(folder, embedded=not (folder / TEXT_ENCODER).is_file())
        for name, folder in request.folders.items()
    }
    evaluation, runs = inputs.prepare(request, networks, models)
    data = evaluation.evaluation_set
    print(f"{len(data.captions)} captions of {data.root} ({data.split})", flush=True)
    for extractor in filter(None, (networks.independent, networks.extractor)):
        print(f"features: {extractor.name}, images {extractor.preprocessing}", flush=True)
    rows = evaluation.rows(runs)
    print(report.table(rows))
    for each in runs if request.neighbours else ():
        print(f"nearest training images: {neighbours.write(request, evaluation, each)}")
    for note in evaluation.notes:
        print(f"note: {note}")
    for name in models:
        print(f"figures: {report.write(request, evaluation, rows, name)}")


def _request(arguments: list[str]) -> Request:
    parser = Parser(
        prog="python -m stackgan_keras.evaluate",
        description="Scores of runs on any data: how real their images are, how well they fit their sentences, and "
        "how much they differ.",
    )
    add = parser.add_argument
    add("--run", metavar="NAME", action="append", help="run to evaluate, may be given several times (default drawn)")
    add(
        "--output_dir", metavar="DIR", type=Path, default=Path(), help="parent of weights/, results/, data/ (default .)"
    )
    add("--data.root", dest="data_root", metavar="DIR", type=Path, help="data folder (default: synthetic birds)")
    add("--split", choices=("train", "test"), default="test", help="whose captions and images (default test)")
    add("--count", metavar="N", help="captions, evenly spread, beside as many real images at most (default: all)")
    add("--metrics", metavar="A,B", help=f"of {', '.join(METRICS)} (default: all that can be had)")
    add("--extractor", metavar="NAME", help="efficientnet_lite0 (default), fid_inception, inception, or a Keras file")
    add("--reference", metavar="FILE", type=Path, help=".npz with mu and sigma for FID, in place of the data's images")
    add("--neighbours", action="store_true", help="write results/<run>/neighbours.png: the nearest training images")
    add("--seed", metavar="N", default=SEED, help=f"of noise, crops and synthetic birds (default {SEED})")
    return Request.of(parser.parse_args(arguments))


if __name__ == "__main__":
    run(main)
