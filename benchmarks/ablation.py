"""What helps on synthetic birds: one setting of `drawn_stage1` or `demo_stage2` changed, same pictures seen, two seeds.

python benchmarks/ablation.py --output_dir DIR            trains and scores all variants; goes on where it was stopped
python benchmarks/ablation.py --output_dir DIR --only no_r1
python benchmarks/ablation.py --output_dir DIR --stage 2  on the Stage I of the first variant above

The text encoder is that of the shipped run. Prints a table for the README.
"""

import argparse
import json
import shutil
from pathlib import Path

from stackgan_keras import config
from stackgan_keras.config import Folders
from stackgan_keras.data import drawn_birds, published
from stackgan_keras.evaluation.attributes import Reader
from stackgan_keras.evaluation.readings import Readers
from stackgan_keras.evaluation.scores import Evaluation, Run, spread_captions
from stackgan_keras.inference.stackgan import StackGAN
from stackgan_keras.models import weights
from stackgan_keras.models.runs import CLASSIFIER, TEXT_ENCODER, find_run, weight_file
from stackgan_keras.training import stage

SEEDS = (0, 1)
NARROW = {"generator": {"filters": 16}, "discriminator": {"filters": 16}}
BIRDS = {"count": 600, "classes": 60, "test_classes": 40, "embedding_dim": 1}  # as `evaluate` draws them
STAGE1 = {  # the change, and its source
    "all": ({}, ""),
    "batch_64": ({"train": {"batch_size": 64}}, "the release's batch"),
    "equal_rates": ({"train": {"discriminator_learning_rate": 2e-4}}, "Heusel et al. 2017"),
    "no_r1": ({"train": {"r1_weight": 0.0}}, "Mescheder et al. 2018"),
    "batch_norm": ({"discriminator": {"batch_norm": True}}, "Gulrajani et al. 2017"),
    "no_ema": ({"train": {"ema_decay": 0.0}}, "Karras et al. 2018"),
    "no_conditional_batch_norm": ({"generator": {"conditional_batch_norm": False}}, "de Vries et al. 2017"),
    "condition_noise_1": ({"generator": {"condition_noise_scale": 1.0}}, "the release's scale"),
    "kl_weight_2": ({"train": {"kl_weight": 2.0}}, "the release's weight"),
    "text_mean": ({"discriminator": {"text": "mean"}}, "the PyTorch release's text input"),
    "captions_1": ({"data": {"captions_per_embedding": 1}}, "the PyTorch release's one caption"),
    "captions_4": ({"data": {"captions_per_embedding": 4}}, "the TensorFlow release's four captions"),
}


STAGE2 = {  # adversarial training at 128 pixels, with a pixel loss before and beside it
    "both": ({}, "Ledig et al. 2017"),
    "no_pixel_loss": ({"train": {"pixel_weight": 0.0, "warmup_epochs": 0}}, "as released"),
    "warmup_alone": ({"train": {"pixel_weight": 0.0}}, ""),
    "no_warmup": ({"train": {"warmup_epochs": 0}}, ""),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--stage", type=int, choices=(1, 2), default=1)
    parser.add_argument("--pictures", type=int, help="seen in each training (default 40,000, Stage II 9,000)")
    parser.add_argument("--only", nargs="+", choices=[*STAGE1, *STAGE2])
    given = parser.parse_args()
    variants = {1: STAGE1, 2: STAGE2}[given.stage]
    given.pictures = given.pictures or {1: 40_000, 2: 9_000}[given.stage]
    print("| variant | source | attribute accuracy | diversity | Fréchet distance |\n|---|---|---|---|---|")
    for name in given.only or variants:
        rows = [trained_and_scored(name, seed, given) for seed in SEEDS]
        cells = [" ".join(f"{row[key]:{form}}" for row in rows) for key, form in COLUMNS.items()]
        print("| " + " | ".join([name, variants[name][1], *cells]) + " |", flush=True)


COLUMNS = {"attributes": ".1%", "diversity": ".2f", "attribute_frechet": ".2f"}


def trained_and_scored(name: str, seed: int, given: argparse.Namespace) -> dict[str, float]:
    """The scores of one training, kept in its folder of results."""
    folders = Folders(given.output_dir, f"{name}_{seed}")
    file = folders.results / "scores.json"
    if not file.is_file():
        folders.weights.mkdir(parents=True, exist_ok=True)
        shipped = find_run(given.output_dir, "drawn", holding=["text_encoder"])
        shutil.copy(shipped / TEXT_ENCODER, folders.weights)
        _share_embeddings(folders)
        if given.stage == 1:
            settings = changed("drawn_stage1", {**NARROW, "run": folders.run}, STAGE1[name][0], seed, given.pictures)
            stage.train(stage.stage1(settings), settings, folders)
        else:
            shutil.copy(weight_file(Folders(given.output_dir, f"all_{seed}").weights, "stage1_gen"), folders.weights)
            settings = changed("demo_stage2", {"run": folders.run}, STAGE2[name][0], seed, given.pictures)
            stage.train(stage.stage2(settings, folders), settings, folders)
        file.write_text(json.dumps(score(folders, shipped / CLASSIFIER, given.output_dir)))
    return json.loads(file.read_text())


def _share_embeddings(folders: Folders) -> None:
    """All trainings have the same sentences and encoder: one cache for all."""
    shared, own = folders.output_dir / "logs" / "cache", folders.logs / "cache"
    shared.mkdir(parents=True, exist_ok=True)
    own.parent.mkdir(parents=True, exist_ok=True)
    if not own.exists():
        own.symlink_to(shared.resolve())


def changed(file: str, base: dict, change: dict, seed: int, pictures: int) -> config.Settings:
    """The settings in a shipped file with changes, for so many pictures, those of a warm-up included."""
    values = config.read(file)
    for more in (base, change, {"train": {"seed": seed, "sample_every": 1000, "save_every": 1000}}):
        parts = {key: {**values.get(key, {}), **part} for key, part in more.items() if isinstance(part, dict)}
        values = {**values, **more, **parts}
    settings = config.make(values)
    adversarial = pictures - settings.train.warmup_epochs * settings.data.synthetic_count
    values["train"] |= {"max_steps": adversarial // settings.train.batch_size, "epochs": 1000}
    return config.make(values)


def score(folders: Folders, classifier: Path, output_dir: Path) -> dict[str, float]:
    birds = drawn_birds.write(output_dir / "data" / "evaluation_birds_2017", seed=2017, **BIRDS, progress=True)
    birds = published.read(birds, "test", text_dim=None)
    asked = spread_captions(birds.captions, 400)
    metrics = frozenset({"attributes", "diversity"})
    readers, cache = Readers(attributes=Reader(weights.load(classifier))), output_dir / "data"
    evaluation = Evaluation(readers, metrics, birds, None, asked, 2017, cache)
    return evaluation.rows([Run("it", StackGAN.load(folders.weights))])["it"]


if __name__ == "__main__":
    main()
