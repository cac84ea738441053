"""Where are the networks, captions and real images that a request needs? Metrics that lack their own are left out."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from stackgan_keras.data import published, uncaptioned
from stackgan_keras.data.published import Dataset
from stackgan_keras.errors import InputError
from stackgan_keras.evaluation.checks import check_comparable
from stackgan_keras.evaluation.evaluation_set import EvaluationSet, draw_birds, spread_captions
from stackgan_keras.evaluation.features import AnyEncoders, AttributePredictor, Networks
from stackgan_keras.evaluation.metrics import METRICS
from stackgan_keras.evaluation.request import Request
from stackgan_keras.evaluation.scores import Evaluation, Run
from stackgan_keras.models import weights
from stackgan_keras.models.runs import CLASSIFIER, GENERATORS, IMAGE_ENCODER, TEXT_ENCODER, shipped_homes, weight_file
from stackgan_keras.porting import extractors
from stackgan_keras.porting.extractors import Extractor
from stackgan_keras.training.damsm_encoders import DamsmEncoders
from stackgan_keras.training.encoders import Encoders

EXTRACTOR = "efficientnet_lite0"
INDEPENDENT = "vgg16"  # which no training reads


def load_networks(request: Request) -> Networks:
    """The networks that all runs share. Raises `InputError` where one is missing that was asked for by name."""
    metrics, homes = request.metrics, request.output_dir / "weights"
    independent = metrics.load("independent", partial(extractors.load, INDEPENDENT))
    load_extractor = partial(extractors.load, request.extractor or EXTRACTOR, homes)
    by_name = request.extractor or request.reference is not None
    extractor: Extractor | None
    if request.neighbours or (by_name and metrics.needing("extractor")):
        extractor = load_extractor()
    else:
        extractor = metrics.load("extractor", load_extractor)
    if extractor is not None:
        outputs, of_classes = extractor.model.output, metrics.needing("probabilities")
        if of_classes and "probabilities" not in outputs:
            metrics.leave_out(of_classes, InputError(f"{extractor.name} gives no probabilities of classes"))
        if request.reference is not None:
            check_comparable(outputs["features"].shape[-1], len(request.reference.mean))
    load_classifier = partial(_load_classifier, homes, [*request.folders.values()])
    return Networks(extractor, independent, metrics.load("classifier", load_classifier))


def _load_classifier(homes: Path, folders: list[Path]) -> AttributePredictor:
    """The classifier of the first run that has one, else that of `drawn`: one for all runs."""
    files = [folder / CLASSIFIER for folder in (*folders, *(home / "drawn" for home in (homes, *shipped_homes())))]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise InputError(
            f"there is no attribute classifier at {' or '.join(map(str, dict.fromkeys(files)))}: train one with "
            f"python -m stackgan_keras.train_attributes --run {folders[0].name} and the same --output_dir"
        )
    return AttributePredictor(weights.load(found, "attribute_classifier"), found)


def prepare(request: Request, networks: Networks, models: dict[str, Any]) -> tuple[Evaluation, list[Run]]:
    """The evaluation, and what it is of: the `StackGAN` of each run by its name.

    Raises `InputError` for data that cannot be read or do not suffice.
    """
    metrics = request.metrics
    runs = [
        Run(name, model, _load_encoders(request, name, model, networks.extractor)) for name, model in models.items()
    ]
    evaluation_set = _evaluation_set(request, runs)
    if not metrics.needing("encoders"):
        runs = [Run(run.name, run.model) for run in runs]
    if networks.extractor is not None and metrics.needing("extractor", "other_split"):
        notes = (_training_note(networks.extractor, name, folder) for name, folder in request.folders.items())
        metrics.notes.extend(filter(None, notes))
    cache = request.output_dir / "data" / "features"
    return Evaluation(networks, frozenset(metrics.names), evaluation_set, cache, metrics.notes), runs


def _load_encoders(request: Request, name: str, model: Any, extractor: Extractor | None) -> AnyEncoders | None:
    """The encoders by which metrics of a run, a `StackGAN`, are measured; None if they are missing or not needed."""
    homes, metrics = request.output_dir / "weights", request.metrics
    if "words" in model.takes:
        return metrics.load("encoders", partial(DamsmEncoders.load, request.folders[name]), run=name)
    load = partial(Encoders.load, request.folders[name], homes, model.encoder, extractor)
    return metrics.load("encoders", load, run=name)


def _training_note(extractor: Extractor, name: str, folder: Path) -> str | None:
    """A note for a run whose training has used the extractor that scores it."""
    files = [file for network in GENERATORS if (file := weight_file(folder, network)).is_file()]
    learned_from = {"discriminator": [weights.read_training(file).get("discriminator_features") for file in files]}
    if (folder / IMAGE_ENCODER).is_file():
        learned_from["text encoder"] = [weights.read_config(folder / IMAGE_ENCODER).keywords.get("network")]
    found = [part for part, networks in learned_from.items() if extractor.name in networks]
    if not found:
        return None
    return (
        f"the {' and the '.join(found)} of {name} learned from {extractor.name}, whose FID and KID flatter it: compare "
        f"by {INDEPENDENT}, which no training reads"
    )


def _evaluation_set(request: Request, runs: list[Run]) -> EvaluationSet:
    """The captions and real images that the runs are evaluated on."""
    metrics, root = request.metrics, request.data_root
    text_dim = _text_dim([run for run in runs if run.model.encoder is None])
    if root is None:
        if text_dim is not None:
            raise InputError(
                f"a run without {TEXT_ENCODER} cannot read the captions of synthetic birds: copy the file into its "
                "folder of weights, or give --data.root with the embeddings that it was trained on"
            )
        root = draw_birds(request.output_dir, request.seed)
    dataset = _read(root, request.split, text_dim)
    if metrics.needing("classifier") or any(run.model.encoder is not None for run in runs):
        dataset = dataset.captioned()
    captions = dataset.captions
    if text_dim is not None:  # then the embeddings that come with the data are taken, one for each caption
        captions = tuple(("",) * len(dataset.embeddings_of(i)) for i in range(len(dataset)))
        if any(dataset.captions) and [*map(len, dataset.captions)] != [*map(len, captions)]:
            raise InputError(f"{root} has not as many embeddings as captions: have prepare make it again")
    chosen = spread_captions(captions, request.count)
    if min(len(chosen), len(dataset)) < 2:
        raise InputError(f"{root} has 1 image or caption in {request.split}/: scores need two or more, give --split")
    few = request.count if request.count is not None and request.count < len(dataset) else None
    made = EvaluationSet(root, request.split, dataset, None, chosen, request.seed, few, request.reference)
    if all(run.encoders is None for run in runs):
        metrics.names -= metrics.needing("encoders")
    for name, metric in METRICS.items():
        if name in metrics.names and metric.check is not None:
            try:
                metric.check(made)
            except InputError as problem:
                metrics.leave_out({name}, problem)
    return replace(made, others=_read_others(request, root, text_dim))


def _read(root: Path, split: str, text_dim: int | None) -> Dataset:
    """A split of published data or, for runs that read no text, of any folder of images."""
    if text_dim == 0:
        return uncaptioned.read(root)[published.SPLITS.index(split)]
    return published.read(root, split, text_dim=text_dim)


def _text_dim(runs: list[Run]) -> int | None:
    """The size of the embeddings that these runs read, or None if there are none."""
    sizes = sorted({run.model.text_dim for run in runs})
    if len(sizes) > 1:
        raise InputError(
            f"the runs have no {TEXT_ENCODER} and read embeddings of {' and '.join(map(str, sizes))} numbers, but a "
            "data folder has those of one size: evaluate one run at a time"
        )
    return sizes[0] if sizes else None


def _read_others(request: Request, root: Path, text_dim: int | None) -> Dataset | None:
    """The other split, with whose real images those of the split are compared, or None."""
    if not (request.neighbours or request.metrics.needing("other_split")):
        return None
    (split,) = {*published.SPLITS} - {request.split}
    try:
        others = _read(root, split, 0 if text_dim == 0 else None)
        if len(others) < 2:
            raise InputError(f"{root} has 1 image in {split}/")
    except InputError as problem:
        request.metrics.notes.append(f"no FID and KID of real images: {problem}")
        return None
    return others
