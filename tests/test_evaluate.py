"""Does `evaluate` score every run by what it draws, beside real birds, and say what is missing?"""

import io
import json
import shutil
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import refusal

from stackgan_keras import evaluate
from stackgan_keras.data import drawn_birds, published
from stackgan_keras.evaluate import table
from stackgan_keras.evaluation import attributes
from stackgan_keras.evaluation.attributes import PARTS
from stackgan_keras.inference import stackgan
from stackgan_keras.models import weights

STAGE1 = {"image_size": 16, "filters": 2, "text_dim": 6, "condition_dim": 3, "noise_dim": 4}
STAGE2 = {"image_size": 32, "filters": 2, "text_dim": 6, "condition_dim": 3, "residual_blocks": 1}
NETWORKS = {
    "text_encoder": weights.ModelConfig("text_encoder", {"filters": 4, "recurrent_dim": 4, "text_dim": 6}),
    "stage1_gen": weights.ModelConfig("stage1_generator", STAGE1),
    "stage2_gen": weights.ModelConfig("stage2_generator", {"stage1": STAGE1, **STAGE2}),
    "judge": weights.ModelConfig("judge", {"image_size": 32, "filters": 2}),
}


BIRDS = {"count": 45, "classes": 15, "test_classes": 3, "embedding_dim": 1}


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
        patch.setattr(sampler, "shipped_homes", lambda: [out / "package"])
        patch.setattr(sys, "argv", ["evaluate", "--output_dir", str(out), *arguments])
        evaluate.main()
    return Called(out, output.getvalue().splitlines())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """An output folder with the weights, at random, of `drawn` (all networks) and `early` (Stage I, no judge)."""
    out = tmp_path_factory.mktemp("runs")
    models = {name: recipe.build() for name, recipe in NETWORKS.items()}
    frozen = models["stage2_gen"].get_layer("stage1_generator")
    frozen.set_weights(models["stage1_gen"].get_weights())
    for name, recipe in NETWORKS.items():
        weights.save(models[name], recipe, out / f"weights/drawn/{name}.weights.h5")
    (out / "weights/early").mkdir()
    for name in ("text_encoder", "stage1_gen"):
        shutil.copy(out / f"weights/drawn/{name}.weights.h5", out / "weights/early")
    return out


@pytest.fixture(scope="module")
def called(runs):
    """The command called for both runs; not to be changed."""
    return call(runs, "--run", "drawn", "--run", "early", "--captions", "7", "--count", "2")


@pytest.fixture
def out(runs, tmp_path):
    """A copy of the runs to do as one likes with."""
    return Path(shutil.copytree(runs / "weights", tmp_path / "weights")).parent


def test_runs_stand_beside_real_birds(called):
    assert called.lines[0].startswith("7 captions of ")
    assert "2 pictures of each" in called.lines[0]
    assert called.lines[1].split() == ["pixels", *PARTS, "all", "diversity"]
    names = ["drawn", "drawn, its sketches", "early", "real drawn birds, 32", "real drawn birds, 16", "chance"]
    rows = called.lines[2:8]
    assert [row[:22].strip() for row in rows] == names
    assert [row[22:].split()[0] for row in rows] == ["32", "16", "16", "32", "16", "-"]
    assert len({len(line) for line in called.lines[1:8]}) == 1  # aligned
    early, drawn = called.figures("early"), called.figures("drawn")
    assert list(drawn["rows"]) == [*names[:2], *names[3:]]
    assert list(early["rows"]) == names[2:]
    assert early["rows"]["chance"] == drawn["rows"]["chance"]
    assert (early["captions"], early["pictures_of_each"]) == (7, 2)
    assert early["judge"] == str(called.out / "weights/drawn/attributes.weights.h5")
    assert early["rows"]["early"]["pixels"] == 16
    assert early["rows"]["early"]["diversity"] > 0
    assert 0.1 < drawn["rows"]["real drawn birds, 32"]["diversity"] <= 1


def test_sketches_score_the_same_alone_and_on_the_way_to_a_picture(called):
    early, drawn = called.figures("early")["rows"]["early"], called.figures("drawn")["rows"]["drawn, its sketches"]
    assert early == pytest.approx(drawn, abs=1e-6, nan_ok=True)


def test_a_row_is_what_the_judge_reads(called):
    """The figures of the run, computed again from its pictures."""
    row, weights_of = called.figures("drawn")["rows"]["drawn"], called.out / "weights/drawn"
    birds = published.read(called.out / f"data/evaluation_birds_{evaluate.SEED}", "test", text_dim=None)
    sentences = [birds.captions[k * len(birds) // 7][k] for k in range(7)]
    pictures = stackgan.StackGAN.load(weights_of).generate(sentences, count=2, seed=evaluate.SEED)["image"]
    asked = [attributes.named_parts(sentence) for sentence in sentences for _ in range(2)]
    seen = attributes.read(weights.load(weights_of / "attributes.weights.h5"), pictures.reshape(14, 32, 32, 3))
    for part, share in attributes.agreement(asked, seen).items():
        assert row[part] == (None if np.isnan(share) else pytest.approx(share)), part
    assert row["diversity"] == pytest.approx(np.mean([attributes.metrics.diversity(copies) for copies in pictures]))


@pytest.mark.slow
def test_the_same_call_gives_the_same_figures_and_draws_no_birds_again(out):
    first = call(out, "--captions", "3")
    birds = {path: path.stat().st_mtime_ns for path in (out / "data").rglob("*")}
    assert call(out, "--captions", "3") == first
    assert {path: path.stat().st_mtime_ns for path in (out / "data").rglob("*")} == birds
    assert call(out, "--captions", "3", "--seed", "5") != first
    assert len(list((out / "data").iterdir())) == 2


def test_captions_are_spread_over_pictures_and_wordings():
    captions = tuple(tuple(f"{i} {j}" for j in range(10)) for i in range(4))
    assert evaluate._spread(captions, 4) == ["0 0", "1 1", "2 2", "3 3"]
    many = evaluate._spread(captions, 40)
    assert len(set(many)) == 40
    assert {sentence[0] for sentence in many} == set("0123")


def test_real_birds_are_scored_for_what_their_captions_name(tmp_path):
    """A judge that knows the truth agrees with all captions."""
    root = drawn_birds.write(tmp_path / "birds", **BIRDS)
    birds = published.read(root, "test", text_dim=None)
    truth = iter(attributes.truth(root, birds.names))
    given = SimpleNamespace(count=3, seed=0)

    def knows(model, pictures):
        rows = [next(truth) for _ in pictures]
        return {part: np.array([row[part] for row in rows]) for part in PARTS}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "read", knows)
        row = evaluate._score_real(birds, 32, given, judge, None)
    assert row["all"] == 1
    assert row["pixels"] == 32
    assert 0.1 < row["diversity"] < 1


def test_the_table_is_aligned():
    rows = {"a": {"pixels": 64, "all": 0.5}, "a longer name": {"all": 1.0, "diversity": float("nan")}}
    head, first, second = table(rows).splitlines()
    assert len(head) == len(first) == len(second)
    assert first.split() == ["a", "64", *"------", "50.0%", "-"]
    assert second.endswith("100.0%          -")


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


def test_no_judge_anywhere(out):
    (out / "weights/drawn/attributes.weights.h5").unlink()
    sentence = refusal(call, out, "--run", "early")
    assert f"there is no judge at {out / 'weights/early/attributes.weights.h5'}" in sentence
    assert "train_attributes --run early" in sentence


def test_another_network_for_the_judge(out):
    shutil.copy(out / "weights/drawn/stage1_gen.weights.h5", out / "weights/drawn/attributes.weights.h5")
    assert "holds a stage1_generator where a judge is expected" in refusal(call, out)


def test_the_judge_that_came_with_the_package_is_found(out):
    shipped = out / "package/drawn/attributes.weights.h5"
    shipped.parent.mkdir(parents=True)
    shutil.move(out / "weights/drawn/attributes.weights.h5", shipped)
    assert str(shipped) in call(out, "--run", "early", "--captions", "1", "--count", "2").lines[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--captions", "0"], "--captions: '0' is no whole number from 1 to 4000"),
        (["--captions", "4001"], "'4001' is no whole number"),
        (["--count", "1"], "--count: '1' is no whole number from 2 to 100"),
        (["--seed", "-3"], "--seed"),
        (["--caption", "3"], "unrecognized arguments: --caption 3"),
        (["--run"], "--run: expected one argument"),
    ],
)
def test_wrong_arguments(out, arguments, expected):
    assert expected in refusal(call, out, *arguments)
    assert not (out / "data").exists()
