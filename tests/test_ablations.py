"""The program of the paper's comparisons: it trains, goes on where it was stopped, scores, and prints its table."""

import json
from pathlib import Path

import keras
import pytest
from helpers import benchmark, ended

from stackgan_keras.evaluation import evaluation_set
from stackgan_keras.training import stage
from stackgan_keras.training.outputs import AdversarialOutputs

BIRDS = {"count": 30, "classes": 6, "test_classes": 4, "embedding_dim": 1}  # twenty to be scored with
TINY = [
    *("--data.synthetic_count", "60", "--data.synthetic_classes", "50", "--train.batch_size", "8"),
    *("--generator.filters", "4", "--generator.condition_dim", "4", "--discriminator.filters", "2"),
]  # 50 images to learn from: an epoch has 6 steps


@pytest.fixture
def ablations(monkeypatch):
    module = benchmark("ablations")
    monkeypatch.setattr(evaluation_set, "BIRDS", BIRDS)
    monkeypatch.setattr(module, "CAPTIONS", 20)
    return module


def extractor(path: Path) -> Path:
    """A feature extractor of few features: means over the image of a convolution."""
    pixels = keras.Input((None, None, 3))
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, strides=2)(pixels / 255))
    keras.Model(pixels, features).save(path)
    return path


@pytest.mark.slow
def test_it_goes_on_where_it_was_stopped_and_keeps_its_scores(ablations, tmp_path, monkeypatch, capsys):
    words = ["--output_dir", tmp_path, "--pictures", "64", "--seeds", "0", "--only", "mini_no_text_stage2", *TINY]
    monkeypatch.setattr(ablations, "EXTRACTOR", extractor(tmp_path / "small.keras"))
    figures = AdversarialOutputs.figures

    def stop_in_stage2(outputs):
        if outputs.stage.name == "stage2":
            raise KeyboardInterrupt  # after the steps of an epoch, before they are logged
        return figures(outputs)

    with monkeypatch.context() as patch:
        patch.setattr(AdversarialOutputs, "figures", stop_in_stage2)
        assert ended(ablations.main, words, monkeypatch, capsys)[0] == 130
    assert (tmp_path / "results/mini_stage1_64_0/scores.json").is_file()
    code, out, _ = ended(ablations.main, words, monkeypatch, capsys)
    logged = (tmp_path / "logs/mini_no_text_stage2_64_0/stage2/metrics.jsonl").read_text().splitlines()
    assert code == 0 and [json.loads(line)["step"] for line in logged] == [8]  # not again the 6 before

    def rows(printed):
        return [[c.strip() for c in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("| ")]

    head, of_training, *others = rows(out)
    assert head[2:4] == ["FID (small.keras)", "KID (small.keras)"] and of_training[0] == "mini_no_text_stage2"
    assert "-" not in of_training and all(float(cell.rstrip("%")) >= 0 for cell in of_training[2:])
    assert [each[0] for each in others] == ["real images, 64", "real images, 128", "by chance"]

    monkeypatch.setattr(ablations, "EXTRACTOR", tmp_path / "missing.keras")  # scores of before stay
    monkeypatch.setattr(stage, "train", None)
    words[words.index("mini_no_text_stage2")] = "mini_stage1"
    code, out, _ = ended(ablations.main, words, monkeypatch, capsys)
    assert code == 0 and rows(out)[1][0] == "mini_stage1" and "-" not in rows(out)[1]
    code, _, error = ended(ablations.main, [*words, "--train.r1_weight", "1"], monkeypatch, capsys)
    assert code == 2 and "train.r1_weight 0.05 (now 1.0)" in error


@pytest.mark.slow
def test_the_family_is_compared_on_the_same_birds(ablations, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ablations, "EXTRACTOR", tmp_path / "missing.keras")
    words = ["--output_dir", tmp_path, "--pictures", "16", "--seeds", "0", "--family", *TINY]
    code, out, _ = ended(ablations.main, words, monkeypatch, capsys)
    assert code == 0 and [out.count(f"| {name} |") for name in ablations.FAMILY] == [1, 1, 1]
    assert (tmp_path / "logs/mini_attngan_16_0/text/metrics.jsonl").is_file()
    assert len(list((tmp_path / "data").glob("drawn_*"))) == 1


def test_without_an_extractor_its_scores_are_left_out_and_why_is_told(ablations, tmp_path, monkeypatch):
    monkeypatch.setattr(ablations, "EXTRACTOR", tmp_path / "missing.keras")
    evaluation = ablations.Bench(tmp_path, None, []).evaluation
    assert evaluation.metrics == {"attributes", "diversity"} and "missing.keras" in evaluation.notes[0]
    kept = {"extractor": None, "rows": {"mini_stage2": {"attributes": 0.5}, "chance": {"attributes": 0.1}}}
    printed = [line.split(" | ") for line in ablations.table({"mini_stage2": [kept, kept]})]
    assert printed[2][2:5] == ["-, -", "-, -", "50.0%, 50.0%"] and printed[3][0] == "| chance"


def test_every_variant_has_settings_and_differs_in_what_it_says(ablations, tmp_path):
    bench = ablations.Bench(tmp_path, None, [])
    for name, variant in ablations.VARIANTS.items():
        settings = bench.settings(name, 1)
        assert settings.train.seed == 1 and settings.run == bench.folders(name, 1).run
        base = bench.settings({"drawn_stage1": "all", "demo_stage2": "pixel_loss"}.get(variant.config, name), 1)
        changed = {f"--{key}" for key in base.changed(settings)} - {"--run", "--train.max_steps"}
        assert changed == {word for word in variant.change.split() if word.startswith("--")} - {
            word for word in ablations.NARROW.split() if word.startswith("--")
        }
        train, count = settings.train, settings.data.synthetic_count
        seen = train.max_steps * train.batch_size + train.warmup_epochs * count
        assert 0 <= variant.images - seen < train.batch_size
