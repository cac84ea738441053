"""What the paper compares, and what each of our own settings brings: trainings on synthetic birds, scored in one table.

python benchmarks/ablations.py --output_dir DIR              the paper's comparisons in miniature: configs mini_...
python benchmarks/ablations.py --output_dir DIR --helpers 1  one setting of `drawn_stage1` changed
python benchmarks/ablations.py --output_dir DIR --helpers 2  one setting of `demo_stage2` changed
python benchmarks/ablations.py --output_dir DIR --family     StackGAN, StackGAN++ and AttnGAN in miniature

Every training starts from random weights, or Stage II from a Stage I made here, and sees the same number of images.
The text encoder is that of the shipped run; AttnGAN's, which reads words, is trained before it. A setting behind these
options (--train.precision mixed_bfloat16) holds for all trainings. The same command goes on where it was stopped; to
score a training again, delete its scores.json.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from stackgan_keras import command_line
from stackgan_keras.config import Folders, Settings
from stackgan_keras.data import published
from stackgan_keras.errors import InputError
from stackgan_keras.evaluation.evaluation_set import SEED, EvaluationSet, draw_birds, spread_captions
from stackgan_keras.evaluation.features import AttributePredictor, Networks
from stackgan_keras.evaluation.inputs import EXTRACTOR
from stackgan_keras.evaluation.scores import Evaluation, Run
from stackgan_keras.files import atomic_write
from stackgan_keras.inference.stackgan import StackGAN
from stackgan_keras.models import stages, weights
from stackgan_keras.models.runs import CLASSIFIER, TEXT_ENCODER, find_run, weight_file
from stackgan_keras.porting import extractors
from stackgan_keras.training import stage, text
from stackgan_keras.training.precision import settled
from stackgan_keras.training.run import check_same_run

CAPTIONS = 400
COLUMNS = {
    "FID": ("fid", "{:.2f}"),
    "KID": ("kid", "{:.4f}"),
    "attribute accuracy": ("attributes", "{:.1%}"),
    "Fréchet distance of attributes": ("attribute_frechet", "{:.2f}"),
    "diversity": ("diversity", "{:.2f}"),
    "images/s": ("images_per_second", "{:.0f}"),
}


@dataclass(frozen=True)
class Variant:
    """A training: a shipped config, perhaps changed."""

    about: str  # what it is, or the source of the change
    config: str
    change: str = ""  # settings as on a command line
    stage1: str | None = None  # the variant on whose Stage I this one, a Stage II, stands
    text: str | None = None  # the config of its own text encoder, if it does not read by the shipped one
    images: int = 40_000  # seen in training, those of a warm-up included


PAPER = {  # section 4, figure 1 (its vanilla GAN); Reed et al. 2016
    "mini_no_augmentation_stage1": "64 pixels, Stage I without conditioning augmentation",
    "mini_stage1": "64 pixels, Stage I",
    "mini_gan_int_cls_stage1": "64 pixels, GAN-INT-CLS",
    "mini_single_no_augmentation_stage1": "128 pixels, a single stage without conditioning augmentation",
    "mini_single_stage1": "128 pixels, a single stage",
    "mini_no_text_stage2": "128 pixels, StackGAN, the sentence given to Stage I alone",
    "mini_stage2": "128 pixels, StackGAN",
}
STAGE1 = {  # the change, and its source
    "all": ("", ""),
    "batch_64": ("--train.batch_size 64", "the release's batch"),
    "equal_rates": ("--train.discriminator_learning_rate 2e-4", "Heusel et al. 2017"),
    "no_r1": ("--train.r1_weight 0", "Mescheder et al. 2018"),
    "batch_norm": ("--discriminator.batch_norm yes", "Gulrajani et al. 2017"),
    "no_ema": ("--train.ema_decay 0", "Karras et al. 2018"),
    "no_conditional_batch_norm": ("--generator.conditional_batch_norm no", "de Vries et al. 2017"),
    "condition_noise_1": ("--generator.condition_noise_scale 1", "the release's scale"),
    "kl_weight_2": ("--train.kl_weight 2", "the release's weight"),
    "text_mean": ("--discriminator.text mean", "the PyTorch release's text input"),
    "captions_1": ("--data.captions_per_embedding 1", "the PyTorch release's one caption"),
    "captions_4": ("--data.captions_per_embedding 4", "the TensorFlow release's four captions"),
}
_WARMUP = "--train.warmup_epochs 1 --train.warmup_learning_rate 1e-3"
STAGE2 = {  # adversarial training at 128 pixels, with a pixel loss beside it
    "pixel_loss": ("", "Ledig et al. 2017"),
    "pixel_loss_250": ("--train.pixel_weight 250", "Ledig et al. 2017"),
    "no_pixel_loss": ("--train.pixel_weight 0", "as released"),
    "warmup": (_WARMUP, "Ledig et al. 2017"),
    "warmup_alone": (f"{_WARMUP} --train.pixel_weight 0", ""),
}
FAMILY = ("mini_stage2", "mini_stackgan_v2", "mini_attngan")
NARROW = "--generator.filters 16 --discriminator.filters 16"
VARIANTS = {
    **{
        name: Variant(about, name, stage1="mini_stage1" if name.endswith("stage2") else None)
        for name, about in PAPER.items()
    },
    **{name: Variant(source, "drawn_stage1", f"{NARROW} {change}") for name, (change, source) in STAGE1.items()},
    **{name: Variant(source, "demo_stage2", change, "all", 9_000) for name, (change, source) in STAGE2.items()},
    "mini_stackgan_v2": Variant("128 pixels, StackGAN++", "mini_stackgan_v2"),
    "mini_attngan": Variant("128 pixels, AttnGAN", "mini_attngan", text="mini_attngan_text"),
}


def main() -> None:
    parser = command_line.Parser(prog="python benchmarks/ablations.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--output_dir", metavar="DIR", type=Path, required=True, help="parent of weights/, results/, logs/, data/")
    add("--helpers", type=int, choices=(1, 2), help="our settings of this stage in place of the paper's comparisons")
    add("--family", action="store_true", help="StackGAN beside its successors in place of the paper's comparisons")
    add("--pictures", metavar="N", type=int, help="seen in each training (default 40,000; with --helpers 2 9,000)")
    add("--seeds", metavar="N", type=int, nargs="+", default=[0, 1], help="a training each (default 0 1)")
    add("--only", metavar="NAME", choices=VARIANTS, nargs="+", help=f"some of {', '.join(VARIANTS)}")
    given, words = parser.parse_known_args()
    bench = Bench(given.output_dir, given.pictures, words)
    names = given.only or (FAMILY if given.family else {None: PAPER, 1: STAGE1, 2: STAGE2}[given.helpers])
    kept = {name: [bench.scores(name, seed) for seed in given.seeds] for name in names}
    print("\n".join(table(kept)))
    for note in dict.fromkeys(note for scores in kept.values() for each in scores for note in each["notes"]):
        print(f"\nnote: {note}")


@dataclass(frozen=True)
class Bench:
    """Where all trainings are, and what they have in common."""

    output_dir: Path
    images: int | None  # if not as many as each variant says
    words: list[str]  # settings on the command line

    def scores(self, name: str, seed: int) -> dict:
        """The scores of a training, which is made, or gone on with, if there are none yet."""
        variant, folders, settings = VARIANTS[name], self.folders(name, seed), self.settings(name, seed)
        logs = folders.logs / trained_by(variant, settings)
        check_same_run(settled(settings, logs, chief=False), logs)
        file = folders.results / "scores.json"
        if not file.is_file():
            self.train(variant, settings, folders)
            rows = self.evaluation.rows([Run(name, StackGAN.load(folders.weights))])
            rows[name]["images_per_second"] = images_per_second(logs / "metrics.jsonl")
            extractor = self.evaluation.networks.extractor
            of = {"extractor": extractor and extractor.name, "notes": self.evaluation.notes}
            with atomic_write(file) as unfinished:
                unfinished.write_text(json.dumps({"rows": rows, **of}, indent=1) + "\n", encoding="utf-8")
        return json.loads(file.read_text(encoding="utf-8"))

    def train(self, variant: Variant, settings: Settings, folders: Folders) -> None:
        folders.weights.mkdir(parents=True, exist_ok=True)
        if variant.text:
            seed = str(settings.train.seed)
            text.train(
                read(["--config", variant.text, *self.words, "--run", settings.run, "--train.seed", seed]), folders
            )
        else:
            shutil.copy(self.shipped / TEXT_ENCODER, folders.weights)
            share_embeddings(folders)
        if variant.stage1:
            self.scores(variant.stage1, settings.train.seed)  # trains it
            home = self.folders(variant.stage1, settings.train.seed).weights
            shutil.copy(weight_file(home, "stage1_gen"), folders.weights)
        commands = {"stage1": "train_stage1", "stage2": "train_stage2"}
        made = stages.of_command(commands.get(trained_by(variant, settings), "train"), settings, folders)
        stage.train(made, settings, folders)

    def folders(self, name: str, seed: int) -> Folders:
        return Folders(self.output_dir, f"{name}_{self.images or VARIANTS[name].images}_{seed}")

    def settings(self, name: str, seed: int) -> Settings:
        """The variant's config with all changes, for so many images."""
        variant = VARIANTS[name]
        words = ["--config", variant.config, *variant.change.split(), *self.words, "--train.seed", str(seed)]
        words += ["--run", self.folders(name, seed).run, "--train.save_every", "1", "--train.sample_every", "1000"]
        settings = read(words)
        adversarial = self.images or variant.images
        adversarial -= settings.train.warmup_epochs * settings.data.synthetic_count
        steps = adversarial // settings.train.batch_size
        return read([*words, "--train.epochs", "1000", "--train.max_steps", str(steps)])

    @cached_property
    def shipped(self) -> Path:
        return find_run(self.output_dir, "drawn", holding=["text_encoder"])

    @cached_property
    def evaluation(self) -> Evaluation:
        """As `evaluate` scores a run without data of its own, by all that does not need the run's encoders."""
        extractor, metrics, notes = None, {"attributes", "diversity"}, []
        try:
            extractor = extractors.load(EXTRACTOR, self.output_dir / "weights")
            metrics |= {"fid", "kid"}
        except InputError as problem:
            notes.append(f"no FID and KID: {problem}")
        root = draw_birds(self.output_dir, SEED)
        birds, others = (published.read(root, split, text_dim=None) for split in ("test", "train"))
        captions = spread_captions(birds.captions, CAPTIONS)
        classifier = AttributePredictor(weights.load(self.shipped / CLASSIFIER, "attribute_classifier"))
        return Evaluation(
            Networks(extractor, classifier=classifier),
            frozenset(metrics),
            EvaluationSet(root, "test", birds, others, captions, SEED),
            self.output_dir / "data" / "features",
            notes,
        )


def trained_by(variant: Variant, settings: Settings) -> str:
    """The name of its `stages.Stage`."""
    if variant.stage1:
        return "stage2"
    return "stage1" if settings.generator.family == "stackgan" else settings.generator.family


def read(words: list[str]) -> Settings:
    return command_line.settings_from(words, prog="ablations", description="", preset="drawn_stage1", defaults={})[0]


def share_embeddings(folders: Folders) -> None:
    """All trainings have the same sentences and encoder: one cache for all."""
    shared, own = folders.output_dir / "logs" / "cache", folders.logs / "cache"
    shared.mkdir(parents=True, exist_ok=True)
    own.parent.mkdir(parents=True, exist_ok=True)
    if not own.exists():
        own.symlink_to(shared.resolve())


def images_per_second(metrics: Path) -> float:
    """The median of the epochs."""
    lines = metrics.read_text(encoding="utf-8").splitlines()
    return float(np.median([json.loads(line)["images_per_second"] for line in lines]))


def table(kept: dict[str, list[dict]]) -> Iterator[str]:
    """Markdown: a row for each variant with the figures of all seeds, then real images and chance."""
    extractor = next((each["extractor"] for scores in kept.values() for each in scores if each["extractor"]), "-")
    heads = [f"{head} ({extractor})" if head in ("FID", "KID") else head for head in COLUMNS]
    yield f"| training | what it is | {' | '.join(heads)} |"
    yield "|---" * (len(heads) + 2) + "|"
    others = {}
    for name, scores in kept.items():
        yield row(name, VARIANTS[name].about, [each["rows"][name] for each in scores])
        others |= {of: figures for of, figures in scores[0]["rows"].items() if not of.startswith(name)}
    for of in sorted(others, reverse=True):
        yield row(of, "", [others[of]])


def row(name: str, about: str, figures: list[dict]) -> str:
    cells = [", ".join(form.format(of[key]) if key in of else "-" for of in figures) for key, form in COLUMNS.values()]
    return f"| {' | '.join([name, about, *cells])} |"


if __name__ == "__main__":
    command_line.run(main)
