"""Scores of runs on any data: how real their pictures are, how well they fit their sentences, how much they differ.

python -m stackgan_keras.evaluate                               the run `drawn`, on synthetic birds drawn once
python -m stackgan_keras.evaluate --run mine --data.root DIR    a run on the test captions of a data folder
python -m stackgan_keras.evaluate --run mine --run drawn        two runs in one table

A run draws a picture of every caption. What a feature extractor, the run's own encoders and, on synthetic birds, the
attribute classifier read in these pictures is compared with what they read in real ones, which stand beside the run.
"""

import argparse
import hashlib
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from stackgan_keras.command_line import Parser, quietly, run
from stackgan_keras.config import Folders
from stackgan_keras.errors import InputError, whole_number
from stackgan_keras.files import atomic_write
from stackgan_keras.models.runs import CLASSIFIER, GENERATORS, IMAGE_ENCODER, TEXT_ENCODER, find_run, shipped_homes

BIRDS = {"count": 600, "classes": 60, "test_classes": 40, "embedding_dim": 1}  # 400 are of the 40 test species
SEED = 2017  # other birds than those of any shipped config
METRICS = {  # and their names in sentences
    "independent_kid": "KID by VGG16",
    "fid": "FID",
    "kid": "KID",
    "inception_score": "Inception Score",
    "r_precision": "R-precision",
    "diversity": "diversity",
    "attributes": "attribute accuracy",
}
OF_EXTRACTOR = {"fid", "kid", "inception_score"}
EXTRACTOR = "efficientnet_lite0"
INDEPENDENT = "vgg16"
NEIGHBOURS = 8  # pictures whose nearest training pictures are shown


def main(arguments: list[str] | None = None) -> None:
    """What the command does with these arguments, else with its own."""
    given = _arguments(sys.argv[1:] if arguments is None else arguments)
    folders = {name: find_run(given.output_dir, name) for name in given.run or ["drawn"]}
    with quietly():  # only now, as it takes seconds: help and wrong arguments answer at once
        from stackgan_keras.evaluation.frechet import Gaussian
        from stackgan_keras.evaluation.scores import Evaluation, Run, table
        from stackgan_keras.inference.stackgan import StackGAN

    reference = None if given.reference is None else Gaussian.read(given.reference)
    readers, classifier = _readers(given, list(folders.values()), reference)
    models = {
        name: StackGAN.load(folder, embedded=not (folder / TEXT_ENCODER).is_file()) for name, folder in folders.items()
    }
    runs = [Run(name, model, _encoders(given, folders[name], model, readers)) for name, model in models.items()]
    root, dataset, others, asked = _data(given, runs)
    if "r_precision" not in given.metrics:
        runs = [Run(run.name, run.model) for run in runs]
    cache = given.output_dir / "data" / "features"
    evaluation = Evaluation(
        readers, frozenset(given.metrics), dataset, others, asked, given.seed, cache, reference, given.notes
    )
    if readers.extractor is not None and given.metrics & {"fid", "kid"}:
        given.notes += [note for name, folder in folders.items() if (note := _read_by(readers.extractor, name, folder))]
    print(f"{len(asked)} captions of {root} ({given.split})", flush=True)
    for extractor in (readers.independent, readers.extractor):
        if extractor is not None:
            print(f"features: {extractor.name}, images {extractor.preprocessing}", flush=True)
    rows = evaluation.rows(runs)
    print(table(rows))
    if given.neighbours:
        _write_neighbours(given, evaluation, runs)
    for note in given.notes:
        print(f"note: {note}")
    about = {
        "data": str(root),
        "split": given.split,
        "captions": len(asked),
        "seed": given.seed,
        "extractor": None if readers.extractor is None else _about(readers.extractor),
        "independent_extractor": None if readers.independent is None else _about(readers.independent),
        "reference": _file(given.reference),
        "classifier": _file(classifier),
        "notes": given.notes,
    }
    for name, folder in folders.items():
        path = Folders(given.output_dir, name).results / "evaluation.json"
        mine = {key: row for key, row in rows.items() if key.split(",")[0] not in {*folders} - {name}}
        _write(path, {**about, "weights": _weights(folder), "rows": mine})
        print(f"figures: {path}")


def _read_by(extractor, name: str, folder: Path) -> str | None:
    """Says so where a run's training has read the extractor that scores it."""
    from stackgan_keras.models import weights
    from stackgan_keras.models.runs import weight_file

    files = [file for network in GENERATORS if (file := weight_file(folder, network)).is_file()]
    readers = {"discriminator": [weights.read_training(file).get("discriminator_features") for file in files]}
    if (folder / IMAGE_ENCODER).is_file():
        readers["text encoder"] = [weights.read_config(folder / IMAGE_ENCODER).keywords.get("network")]
    found = [reader for reader, networks in readers.items() if extractor.name in networks]
    if not found:
        return None
    return (
        f"the {' and the '.join(found)} of {name} learned from {extractor.name}, whose FID and KID flatter it: compare "
        f"by {INDEPENDENT}, which no training reads"
    )


def _leave_out(given: argparse.Namespace, metrics: set[str], problem: InputError) -> None:
    """Notes why there are no such figures; raises the problem if one of them was asked for by name."""
    if given.chosen & metrics:
        raise problem
    left_out = [name for metric, name in METRICS.items() if metric in given.metrics & metrics]
    given.metrics -= metrics
    given.notes.append(f"no {', '.join(left_out)}: {problem}")


def _readers(given: argparse.Namespace, folders: list[Path], reference):
    """The networks that read pictures for all runs, and the classifier's file."""
    from stackgan_keras.evaluation.attributes import Reader
    from stackgan_keras.evaluation.checks import check_comparable
    from stackgan_keras.evaluation.readings import Readers
    from stackgan_keras.models import weights
    from stackgan_keras.porting import extractors

    extractor = independent = classifier = reader = None
    if "independent_kid" in given.metrics:
        try:
            independent = extractors.load(INDEPENDENT)
        except InputError as problem:
            _leave_out(given, {"independent_kid"}, problem)
    if given.metrics & OF_EXTRACTOR or given.neighbours:
        try:
            extractor = extractors.load(given.extractor or EXTRACTOR, given.output_dir / "weights")
        except InputError as problem:
            if given.extractor or given.neighbours or reference is not None:
                raise
            _leave_out(given, OF_EXTRACTOR, problem)
    if extractor is not None:
        outputs = extractor.model.output
        if "inception_score" in given.metrics and "probabilities" not in outputs:
            _leave_out(given, {"inception_score"}, InputError(f"{extractor.name} gives no probabilities of classes"))
        if reference is not None:
            check_comparable(outputs["features"].shape[-1], len(reference.mean))
    if "attributes" in given.metrics:
        try:
            classifier = _find_classifier(given.output_dir / "weights", folders)
            weights.read_config(classifier, "attribute_classifier")
            reader = Reader(weights.load(classifier))
        except InputError as problem:
            _leave_out(given, {"attributes"}, problem)
    return Readers(extractor, independent, reader), classifier


def _find_classifier(weights: Path, folders: list[Path]) -> Path:
    """The classifier of the first run that has one, else that of `drawn`: one classifier reads all runs."""
    files = [folder / CLASSIFIER for folder in (*folders, *(home / "drawn" for home in (weights, *shipped_homes())))]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise InputError(
            f"there is no attribute classifier at {' or '.join(map(str, dict.fromkeys(files)))}: train one with "
            f"python -m stackgan_keras.train_attributes --run {folders[0].name} and the same --output_dir"
        )
    return found


def _encoders(given: argparse.Namespace, folder: Path, model, readers):
    """The run's encoders, by which its R-precision is measured, or None."""
    from stackgan_keras.training.encoders import Encoders

    if "r_precision" not in given.metrics:
        return None
    try:
        return Encoders.load(folder, given.output_dir / "weights", model.encoder, readers.extractor)
    except InputError as problem:
        if "r_precision" in given.chosen:
            raise
        given.notes.append(f"no R-precision of {folder.name}: {problem}")
        return None


def _data(given: argparse.Namespace, runs: list):
    """The data's folder, the split that is asked for and the other one, and (picture, caption) of what is asked."""
    from stackgan_keras.data import drawn_birds, published
    from stackgan_keras.evaluation.scores import others_of, spread_captions

    text_dim = _text_dim([run for run in runs if run.model.encoder is None])
    root = given.data_root
    if root is None:
        if text_dim is not None:
            raise InputError(
                f"a run without {TEXT_ENCODER} cannot read the captions of synthetic birds: copy the file into its "
                "folder of weights, or give --data.root with the embeddings that it was trained on"
            )
        root = given.output_dir / "data" / f"evaluation_birds_{given.seed}"
        drawn_birds.write(root, seed=given.seed, **BIRDS, progress=True)
    dataset = published.read(root, given.split, text_dim=text_dim)
    if "attributes" in given.metrics or any(run.model.encoder is not None for run in runs):
        dataset = dataset.captioned()
    captions = dataset.captions
    if text_dim is not None:  # then the embeddings that come with the data are asked, one for each caption
        captions = tuple(("",) * len(dataset.embeddings_of(i)) for i in range(len(dataset)))
        if any(dataset.captions) and [*map(len, dataset.captions)] != [*map(len, captions)]:
            raise InputError(f"{root} has not as many embeddings as captions: have prepare make it again")
    asked = spread_captions(captions, given.count)
    if min(len(asked), len(dataset)) < 2:
        raise InputError(f"{root} has 1 picture or caption in {given.split}/: scores need two or more, give --split")
    if all(run.encoders is None for run in runs):
        given.metrics -= {"r_precision"}
    else:
        try:
            others_of(dataset, np.unique(dataset.class_ids, return_index=True)[1], given.seed)
        except InputError as problem:
            _leave_out(given, {"r_precision"}, problem)
    return root, dataset, _others(given, root), asked


def _text_dim(runs: list) -> int | None:
    """The size of the embeddings that these runs read, or None if there are none."""
    sizes = sorted({run.model.generator.input["embedding"].shape[1] for run in runs})
    if len(sizes) > 1:
        raise InputError(
            f"the runs have no {TEXT_ENCODER} and read embeddings of {' and '.join(map(str, sizes))} numbers, but a "
            "data folder has those of one size: evaluate one run at a time"
        )
    return sizes[0] if sizes else None


def _others(given: argparse.Namespace, root: Path):
    """The other split, with whose pictures real ones are compared, or None."""
    from stackgan_keras.data import published

    if not (given.neighbours or given.metrics & {"independent_kid", "fid", "kid"}):
        return None
    (split,) = {*published.SPLITS} - {given.split}
    try:
        others = published.read(root, split, text_dim=None)
        if len(others) < 2:
            raise InputError(f"{root} has 1 picture in {split}/")
    except InputError as problem:
        given.notes.append(f"no FID and KID of real pictures: {problem}")
        return None
    return others


def _write_neighbours(given: argparse.Namespace, evaluation, runs: list) -> None:
    """A sheet for each run: some of its pictures, of sentences that are evenly spread, beside training pictures."""
    from stackgan_keras.data import images
    from stackgan_keras.evaluation.neighbours import sheet

    train_set = evaluation.dataset if given.split == "train" else evaluation.others
    if train_set is None:
        raise InputError("--neighbours needs the training pictures of the data, which cannot be read: see the notes")
    chosen = replace(evaluation, asked=evaluation.asked[:: max(1, len(evaluation.asked) // NEIGHBOURS)][:NEIGHBOURS])
    for run_ in runs:
        made = [picture["image"] for picture in run_.model.pictures(chosen.embeddings(run_), 1, given.seed)]
        sentences = [(evaluation.dataset.captions[i] or ("",) * (j + 1))[j] for i, j in chosen.asked]
        pixels = sheet(np.stack(made), sentences, train_set, evaluation.readers, given.seed, evaluation.cache)
        path = Folders(given.output_dir, run_.name).results / "neighbours.png"
        images.write(path, pixels)
        print(f"nearest training pictures: {path}")


def _about(extractor) -> dict:
    return {"name": extractor.name, "sha256": extractor.digest, "preprocessing": extractor.preprocessing}


def _weights(folder: Path) -> dict:
    files = [*(f"{name}.weights.h5" for name in GENERATORS), TEXT_ENCODER, IMAGE_ENCODER]
    return {name: _digest(folder / name) for name in files if (folder / name).is_file()}


def _file(path: Path | None) -> dict | None:
    return None if path is None else {"file": str(path), "sha256": _digest(path)}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write(path: Path, figures: dict) -> None:
    """JSON, in which a figure that there is not is null; an older file is replaced in one move."""
    rows = {
        name: {key: None if math.isnan(value) else value for key, value in row.items()}
        for name, row in figures["rows"].items()
    }
    with atomic_write(path) as unfinished:
        unfinished.write_text(json.dumps({**figures, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m stackgan_keras.evaluate",
        description="Scores of runs on any data: how real their pictures are, how well they fit their sentences, and "
        "how much they differ.",
    )
    add = parser.add_argument
    add("--run", metavar="NAME", action="append", help="run to evaluate, may be given several times (default drawn)")
    add(
        "--output_dir", metavar="DIR", type=Path, default=Path(), help="parent of weights/, results/, data/ (default .)"
    )
    add("--data.root", dest="data_root", metavar="DIR", type=Path, help="data folder (default: synthetic birds)")
    add("--split", choices=("train", "test"), default="test", help="whose captions and pictures (default test)")
    add("--count", metavar="N", help="captions, evenly spread (default: every one)")
    add("--metrics", metavar="A,B", help=f"of {', '.join(METRICS)} (default: all that can be had)")
    add("--extractor", metavar="NAME", help="efficientnet_lite0 (default), fid_inception, inception, or a Keras file")
    add(
        "--reference", metavar="FILE", type=Path, help=".npz with mu and sigma for FID, in place of the data's pictures"
    )
    add("--neighbours", action="store_true", help="write results/<run>/neighbours.png: the nearest training pictures")
    add("--seed", metavar="N", default=SEED, help=f"of noise, crops and synthetic birds (default {SEED})")
    given = parser.parse_args(arguments)
    if given.count is not None:
        given.count = whole_number("--count", given.count, 2)
    given.seed = whole_number("--seed", given.seed, 0, 2**31 - 1)
    given.chosen = set() if given.metrics is None else {*given.metrics.replace(" ", "").split(",")}
    if unknown := given.chosen - {*METRICS}:
        raise InputError(f"--metrics has {min(unknown)!r}: give some of {','.join(METRICS)}")
    given.metrics, given.notes = {*(given.chosen or METRICS)}, []
    if given.reference is not None and "fid" not in given.metrics:
        raise InputError("--reference is for FID, which --metrics leaves out: add fid, or leave the file out")
    is_drawn = given.data_root is None or (given.data_root / "truth.jsonl").is_file()
    if not is_drawn:
        if "attributes" in given.chosen:
            raise InputError(
                f"attributes are those of synthetic birds, but {given.data_root} has no truth.jsonl: leave it out"
            )
        given.metrics -= {"attributes"}
    return given


if __name__ == "__main__":
    run(main)
