"""The command `evaluate`: every run scored by what it draws, beside real birds; what is missing is said."""

import io
import json
import shutil
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from helpers import refusal

from stackgan_keras import evaluate
from stackgan_keras.data import drawn_birds, published
from stackgan_keras.data.pipeline import decode
from stackgan_keras.evaluation import attributes
from stackgan_keras.evaluation.attributes import PARTS, Reader
from stackgan_keras.evaluation.diversity import diversity
from stackgan_keras.evaluation.frechet import frechet_distance
from stackgan_keras.evaluation.scores import Evaluation, Scores, spread_captions, table
from stackgan_keras.inference.stackgan import StackGAN
from stackgan_keras.models import runs, weights
from stackgan_keras.models.weights import ModelConfig

STAGE1 = {"image_size": 16, "filters": 2, "text_dim": 6, "condition_dim": 3, "noise_dim": 4}
STAGE2 = {"image_size": 32, "filters": 2, "text_dim": 6, "condition_dim": 3, "residual_blocks": 1}
CLASSIFIER = {**attributes.CLASSIFIER, "image_size": 32, "filters": 2}
NETWORKS = {
    "text_encoder": ModelConfig("text_encoder", {"filters": 4, "recurrent_dim": 4, "text_dim": 6}),
    "stage1_gen": ModelConfig("stage1_generator", STAGE1),
    "stage2_gen": ModelConfig("stage2_generator", {"stage1": STAGE1, **STAGE2}),
    "attribute_classifier": ModelConfig("attribute_classifier", CLASSIFIER),
}
BIRDS = {"count": 18, "classes": 6, "test_classes": 3, "embedding_dim": 1}  # nine to be tested with


@dataclass(frozen=True)
class Called:
    """What a call of the command printed, and the folder it worked in."""

    out: Path
    lines: list[str]

    def figures(self, run: str) -> dict:
        return json.loads((self.out / f"results/{run}/evaluation.json").read_text())


def call(out: Path, *arguments: str) -> Called:
    """Calls the command on few birds and none but the weights below `out`."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as output:
        patch.setattr(evaluate, "BIRDS", BIRDS)
        patch.setattr(runs, "__file__", str(out / "stackgan_keras/models/runs.py"))  # where shipped weights are sought
        patch.setattr(sys, "argv", ["evaluate", "--output_dir", str(out), *arguments])
        evaluate.main()
    return Called(out, output.getvalue().splitlines())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An output folder with random weights of `drawn` (all networks) and `early` (Stage I, no classifier)."""
    out = tmp_path_factory.mktemp("runs")
    models = {name: config.build() for name, config in NETWORKS.items()}
    frozen = models["stage2_gen"].get_layer("stage1_generator")
    frozen.set_weights(models["stage1_gen"].get_weights())
    for name, config in NETWORKS.items():
        weights.save(models[name], config, out / f"weights/drawn/{name}.weights.h5")
    (out / "weights/early").mkdir()
    for name in ("text_encoder", "stage1_gen"):
        shutil.copy(out / f"weights/drawn/{name}.weights.h5", out / "weights/early")
    return out


@pytest.fixture(scope="module")
def called(trained):
    """The command called for both runs; not to be changed."""
    return call(trained, "--run", "drawn", "--run", "early", "--captions", "7", "--count", "2")


@pytest.fixture
def out(trained, tmp_path):
    """A copy of the runs to do as one likes with."""
    return Path(shutil.copytree(trained / "weights", tmp_path / "weights")).parent


def test_runs_stand_beside_real_birds(called):
    assert called.lines[0].startswith("7 captions of ")
    assert "2 pictures of each" in called.lines[0]
    assert called.lines[1].split() == ["pixels", *PARTS, "all", "diversity", "frechet"]
    names = ["drawn", "drawn, Stage I", "early", "real drawn birds, 32", "real drawn birds, 16", "chance"]
    rows = called.lines[2:8]
    assert [row[:20].strip() for row in rows] == names
    assert [row[20:].split()[0] for row in rows] == ["32", "16", "16", "32", "16", "-"]
    assert len({len(line) for line in called.lines[1:8]}) == 1  # aligned
    assert called.lines[8:] == [f"figures: {called.out}/results/{run}/evaluation.json" for run in ("drawn", "early")]
    early, drawn = called.figures("early"), called.figures("drawn")
    assert list(drawn["rows"]) == [*names[:2], *names[3:]]
    assert list(early["rows"]) == names[2:]
    assert early["rows"]["chance"] == drawn["rows"]["chance"]
    assert (early["captions"], early["pictures_of_each"], early["seed"]) == (7, 2, evaluate.SEED)
    assert early["classifier"] == str(called.out / "weights/drawn/attribute_classifier.weights.h5")
    assert early["rows"]["early"]["pixels"] == 16
    assert early["rows"]["early"]["diversity"] > 0
    assert early["rows"]["early"]["frechet"] > 0
    assert 0.1 < drawn["rows"]["real drawn birds, 32"]["diversity"] <= 1
    assert "frechet" not in drawn["rows"]["real drawn birds, 32"]


def test_stage1_images_score_the_same_alone_and_on_the_way_to_stage2(called):
    early, drawn = called.figures("early")["rows"]["early"], called.figures("drawn")["rows"]["drawn, Stage I"]
    assert early == pytest.approx(drawn, abs=1e-6, nan_ok=True)


def test_a_row_is_what_the_classifier_reads(called):
    """The figures of the run, computed again from its pictures."""
    row, weights_of = called.figures("drawn")["rows"]["drawn"], called.out / "weights/drawn"
    birds = published.read(called.out / f"data/evaluation_birds_{evaluate.SEED}", "test", text_dim=None)
    sentences = [birds.captions[k * len(birds) // 7][k] for k in range(7)]
    pictures = StackGAN.load(weights_of).generate(sentences, count=2, seed=evaluate.SEED)["image"]
    asked = [attributes.named_parts(sentence) for sentence in sentences for _ in range(2)]
    reader = Reader(weights.load(weights_of / "attribute_classifier.weights.h5"))
    seen, features = reader(pictures.reshape(14, 32, 32, 3))
    for part, share in attributes.accuracy(asked, seen).items():
        assert row[part] == (None if np.isnan(share) else pytest.approx(share)), part
    assert row["diversity"] == pytest.approx(np.mean([diversity(copies) for copies in pictures]))
    loaded = decode(birds, 32, cache="memory")  # the real birds, species by species as they stand in the set
    framed = [attributes.crops(loaded[birds.class_ids == i], 32, evaluate.SEED) for i in np.unique(birds.class_ids)]
    assert row["frechet"] == pytest.approx(frechet_distance(features, reader(np.concatenate(framed))[1]), rel=1e-3)


def test_the_same_call_gives_the_same_figures_and_draws_no_birds_again(out):
    asked = ("--run", "early", "--captions", "3", "--count", "2")
    first = call(out, *asked)
    birds = {path: path.stat().st_mtime_ns for path in (out / "data").rglob("*")}
    assert call(out, *asked) == first
    assert {path: path.stat().st_mtime_ns for path in (out / "data").rglob("*")} == birds
    assert call(out, *asked, "--seed", "5").lines[2:] != first.lines[2:]
    assert len(list((out / "data").iterdir())) == 2


def test_captions_are_spread_over_pictures_and_wordings():
    captions = tuple(tuple(f"{i} {j}" for j in range(10)) for i in range(4))
    assert spread_captions(captions, 4) == ["0 0", "1 1", "2 2", "3 3"]
    many = spread_captions(captions, 40)
    assert len(set(many)) == 40
    assert {sentence[0] for sentence in many} == set("0123")


def test_real_birds_are_scored_for_what_their_captions_name(tmp_path):
    """A reader that knows the truth agrees with all captions."""
    root = drawn_birds.write(tmp_path / "birds", **BIRDS)
    birds = published.read(root, "test", text_dim=None)
    truth = iter(attributes.truth(root, [birds.names[i] for i in np.argsort(birds.class_ids, kind="stable")]))

    def knows(pictures):
        rows = [next(truth) for _ in pictures]
        return {part: np.array([row[part] for row in rows]) for part in PARTS}, pictures.mean(axis=(1, 2))

    scores = Evaluation(knows, birds, [], count=3, seed=0)._score_real(32)
    assert next(truth, None) is None  # all were asked for
    row = scores.row(scores)
    assert row["all"] == 1
    assert row["pixels"] == 32
    assert 0.1 < row["diversity"] < 1
    assert row["frechet"] == pytest.approx(0, abs=1e-6)


def test_scores_gather_groups():
    reader = Reader(NETWORKS["attribute_classifier"].build())
    pictures = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    seen, features = reader(pictures)
    scores = Scores(reader)
    scores.add([{"crown": str(seen["crown"][i])} for i in (0, 1)], pictures[:2])
    other = {"crown": "red" if seen["crown"][2] != "red" else "blue"}
    scores.add([other, {"crown": str(seen["crown"][3])}], pictures[[2, 3]])
    row = scores.row()
    assert (row["pixels"], row["crown"], row["all"]) == (32, 0.75, 0.75)
    assert row["diversity"] == pytest.approx(np.mean([diversity(pictures[:2]), diversity(pictures[2:])]))
    assert "frechet" not in row
    real = Scores(reader)
    real.add([{}] * 4, pictures[::-1] // 2)
    assert scores.row(real)["frechet"] == pytest.approx(frechet_distance(features, reader(pictures // 2)[1]), rel=1e-3)


def test_the_table_is_aligned():
    figures = {"pixels": 64, "all": 0.5, "diversity": 0.1234, "frechet": 45.678}
    rows = {"a": figures, "a longer name": {"all": 1.0, "diversity": float("nan")}}
    head, first, second = table(rows).splitlines()
    assert len(head) == len(first) == len(second)
    assert head.split() == ["pixels", *PARTS, "all", "diversity", "frechet"]
    assert first.split() == ["a", "64", *"------", "50.0%", "0.123", "45.68"]
    assert second.split() == ["a", "longer", "name", "-", *"------", "100.0%", "-", "-"]


# Bad input


def test_a_run_that_is_not_there(out):
    sentence = refusal(call, out, "--run", "absent")
    assert str(out / "weights/absent") in sentence
    assert "take one of the runs drawn, early" in sentence
    assert not (out / "data").exists()


def test_a_run_without_encoder_or_generator(out):
    (out / "weights/early/text_encoder.weights.h5").unlink()
    assert "no text_encoder.weights.h5" in refusal(call, out, "--run", "early")
    (out / "weights/drawn/stage1_gen.weights.h5").unlink()
    (out / "weights/drawn/stage2_gen.weights.h5").unlink()
    assert "holds no generator" in refusal(call, out)
    assert not (out / "data").exists()


def test_no_classifier_anywhere(out):
    (out / "weights/drawn/attribute_classifier.weights.h5").unlink()
    sentence = refusal(call, out, "--run", "early")
    assert f"there is no attribute classifier at {out / 'weights/early/attribute_classifier.weights.h5'}" in sentence
    assert "train_attributes --run early" in sentence


def test_another_network_for_the_classifier(out):
    shutil.copy(out / "weights/drawn/stage1_gen.weights.h5", out / "weights/drawn/attribute_classifier.weights.h5")
    assert "holds a stage1_generator where a attribute_classifier is expected" in refusal(call, out)


def test_the_classifier_that_came_with_the_package_is_found(out):
    shipped = out / "stackgan_keras/weights/drawn/attribute_classifier.weights.h5"
    shipped.parent.mkdir(parents=True)
    shutil.move(out / "weights/drawn/attribute_classifier.weights.h5", shipped)
    assert str(shipped) in call(out, "--run", "early", "--captions", "1", "--count", "2").lines[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--captions", "0"], "--captions is '0': give a whole number from 1 to 4,000"),
        (["--captions", "4001"], "--captions is '4001': give a whole number"),
        (["--count", "1"], "--count is '1': give a whole number from 2 to 100"),
        (["--seed", "-3"], "--seed is '-3': give a whole number from 0"),
        (["--caption", "3"], "unrecognized arguments: --caption 3"),
        (["--run"], "--run: expected one argument"),
    ],
)
def test_wrong_arguments(out, arguments, expected):
    assert expected in refusal(call, out, *arguments)
    assert not (out / "data").exists()
