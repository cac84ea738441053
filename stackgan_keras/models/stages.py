"""The networks of a training, as settings ask for them: of Stage I, of Stage II, or of all branches of a successor.

Only this file knows which it is: all that differs is in a `Stage`.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import keras

from stackgan_keras.config import Folders, Settings, flat
from stackgan_keras.errors import InputError
from stackgan_keras.models import weights
from stackgan_keras.models.blocks import ARCHITECTURES
from stackgan_keras.models.gated_blocks import branch_sizes
from stackgan_keras.models.generators import named_by
from stackgan_keras.models.runs import find_run, weight_file
from stackgan_keras.models.weights import ModelConfig

OF_STACKGAN = (
    *("generator.architecture", "generator.min_filters", "generator.read_text_again", "generator.skip_connections"),
    *("generator.augment_condition", "generator.condition_noise_scale", "generator.conditional_batch_norm"),
    *("discriminator.architecture", "train.warmup_epochs", "train.pixel_weight", "train.consistency_weight"),
)
OF_STACKGAN_V2 = ("generator.conditional", "train.colour_weight")
OF_ATTNGAN = ("generator.mask_order", "generator.final_image_only", "train.damsm_weight")
OF_BOTH = ("generator.first_size", "train.unconditional_weight", "train.restart_every")
FAMILY = {  # names for readers, and settings that mean nothing to a member
    "stackgan": ("StackGAN", (*OF_STACKGAN_V2, *OF_ATTNGAN, *OF_BOTH)),
    "stackgan_v2": ("StackGAN++", (*OF_STACKGAN, *OF_ATTNGAN)),
    "attngan": ("AttnGAN", (*OF_STACKGAN, *OF_STACKGAN_V2)),
}


@dataclass(frozen=True)
class Stage:
    """What sets a stage apart: its generator, its images' discriminators, and the Stage I that it holds, if any."""

    name: str  # of its files and folders
    generator: ModelConfig
    discriminators: dict[str, ModelConfig]  # by the name of the generator's image that each sees
    frozen: Path | None = None  # weight file of that Stage I

    @property
    def networks(self) -> dict[str, ModelConfig]:
        """All networks by the names of their weight files, the generator first."""
        of_images = {named_by(image, f"{self.name}_dis"): config for image, config in self.discriminators.items()}
        return {f"{self.name}_gen": self.generator, **of_images}

    def build(self, init_from: str | None, output_dir: Path) -> tuple[keras.Model, dict[str, keras.Model]]:
        """Generator and discriminators, with the frozen Stage I and the weights of the run `init_from`, if any.

        That run is looked for below `output_dir`, then among those shipped, and has a generator. A discriminator that
        it lacks, as runs made to draw with do, starts from random weights.
        """
        generator, *others = (config.build() for config in self.networks.values())
        if init_from is not None:
            home, missing = find_run(output_dir, init_from), self.missing(init_from, output_dir)
            for name, network in zip(self.networks, (generator, *others), strict=True):
                if (file := weight_file(home, name)) not in missing:
                    weights.load_into(network, file)
        if self.frozen is not None:
            weights.load_into(generator.get_layer("stage1_generator"), self.frozen)
        return generator, dict(zip(self.discriminators, others, strict=True))

    def check_start(self, init_from: str | None, output_dir: Path) -> None:
        """Raises `InputError` for a Stage I that cannot be built, and for a run `init_from` that does not fit.

        That lacks the generator, or its networks have other widths. They are not built: `build` finds any other
        difference.
        """
        if self.frozen is not None:
            weights.build(self.frozen)  # as this stage holds a network of the sizes that stand there
        if init_from is None:
            return
        home, missing = find_run(output_dir, init_from), self.missing(init_from, output_dir)
        for name, config in self.networks.items():
            if (file := weight_file(home, name)) in missing:
                continue
            asked, found = _widths(config), _widths(weights.read_config(file, config.network))
            for setting in asked.keys() & found.keys():
                if asked[setting] != found[setting]:
                    raise InputError(
                        f"train.init_from is {init_from}, but {file} has {setting} {found[setting]} where this "
                        f"training has {asked[setting]}: set it to {found[setting]}, or give another run"
                    )

    def missing(self, init_from: str | None, output_dir: Path) -> list[Path]:
        """The discriminators' files that the run `init_from` lacks."""
        if init_from is None:
            return []
        home, (_, *others) = find_run(output_dir, init_from), self.networks
        return [file for name in others if not (file := weight_file(home, name)).is_file()]


def of_command(name: str, settings: Settings, folders: Folders) -> Stage:
    """What the command `train_stage1`, `train_stage2` or `train` trains."""
    if name == "train_stage2":
        return stage2(settings, folders)
    return stage1(settings) if name == "train_stage1" else joint(settings)


def stage1(settings: Settings) -> Stage:
    """Stage I. Raises `InputError` for settings that are about Stage II, or a successor, alone."""
    _check_family(settings, joint=False)
    for name in ("warmup_epochs", "pixel_weight", "consistency_weight"):
        if value := getattr(settings.train, name):
            raise InputError(f"train.{name} is {value}, which is for Stage II alone: leave it out for Stage I")
    keywords = {**_generator_keywords(settings), "noise_dim": settings.generator.noise_dim}
    generator = ModelConfig("stage1_generator", keywords)
    return Stage("stage1", generator, {"image": _discriminator(settings, ("conditional",))})


def stage2(settings: Settings, folders: Folders) -> Stage:
    """Stage II on the run's own Stage I. Raises `InputError` where that is missing or does not fit the settings."""
    _check_family(settings, joint=False)
    file = weight_file(folders.weights, "stage1_gen")
    if not file.is_file():
        raise InputError(
            f"there is no Stage I of the run {settings.run} at {file}: "
            f"run python -m stackgan_keras.train_stage1 --run {settings.run} first, with the same --output_dir"
        )
    inner = weights.read_config(file, "stage1_generator").keywords
    if inner["text_dim"] != settings.generator.text_dim:
        raise InputError(
            f"{file} reads embeddings of {inner['text_dim']} dimensions but generator.text_dim is "
            f"{settings.generator.text_dim}: give both stages the same data and the same generator.text_dim"
        )
    if settings.data.image_size < inner["image_size"]:
        raise InputError(
            f"data.image_size is {settings.data.image_size} but the images of {file} have "
            f"{inner['image_size']} pixels: ask Stage II for as many or more"
        )
    if inner.get("architecture", "pytorch") != settings.generator.architecture:
        raise InputError(
            f"{file} is a Stage I of generator.architecture {inner.get('architecture', 'pytorch')} but Stage II is "
            f"asked for with {settings.generator.architecture}: give both the same"
        )
    names = ("residual_blocks", "read_text_again", "skip_connections")
    keywords = {**_generator_keywords(settings), **{name: getattr(settings.generator, name) for name in names}}
    _check_text(settings)
    generator = ModelConfig("stage2_generator", {**keywords, "stage1": inner})
    logits = ARCHITECTURES[settings.discriminator.architecture].stage2_logits
    return Stage("stage2", generator, {"image": _discriminator(settings, logits)}, frozen=file)


def joint(settings: Settings) -> Stage:
    """All branches of StackGAN++ or AttnGAN, trained together. Raises `InputError` for settings that mean nothing."""
    generator, name = settings.generator, settings.generator.family
    _check_family(settings, joint=True)
    sizes = ("filters", "first_size", "text_dim", "condition_dim", "noise_dim", "residual_blocks")
    names = (*sizes, *(["conditional"] if name == "stackgan_v2" else ["mask_order", "final_image_only"]))
    keywords = {"image_size": settings.data.image_size, **{each: getattr(generator, each) for each in names}}
    logits = ("conditional",) * generator.conditional
    if settings.train.unconditional_weight or not generator.conditional:
        logits = (*logits, "unconditional")
    discriminators = {}
    branches = branch_sizes(generator.first_size, settings.data.image_size)
    for size in branches[-1:] if generator.final_image_only else branches:
        of_image = _discriminator(settings, logits)
        discriminators[f"image_{size}"] = replace(of_image, keywords={**of_image.keywords, "image_size": size})
    return Stage(name, ModelConfig(f"{name}_generator", keywords), discriminators)


def _check_family(settings: Settings, *, joint: bool) -> None:
    """A member of the family is trained by its own command, with settings that mean something to it."""
    family = settings.generator.family
    if joint and family == "stackgan":
        raise InputError(
            "generator.family is stackgan, whose stages are trained one after the other: run train_stage1, then "
            "train_stage2, or set generator.family stackgan_v2"
        )
    if not joint and family != "stackgan":
        raise InputError(
            f"generator.family is {family}, whose branches are trained together: run train in place of train_stage1 "
            "and train_stage2"
        )
    if family == "attngan" and settings.discriminator.text != "embedding":
        raise InputError("AttnGAN's discriminators read the sentence itself: set discriminator.text embedding")
    title, foreign = FAMILY[family]
    asked, usual = flat(settings.model_dump(mode="json")), flat(Settings().model_dump(mode="json"))
    for key in foreign:
        if asked[key] != usual[key]:
            raise InputError(
                f"{key} is {asked[key]}, which means nothing to {title}: leave it out, or ask for another "
                "generator.family"
            )


def _widths(config: ModelConfig) -> dict[str, int]:
    """What sets the shapes of a network's variables, by the settings that ask for it."""
    names = {"filters": "discriminator.filters"}
    if config.network != "discriminator":
        own = ("filters", "text_dim", "condition_dim", "noise_dim", "residual_blocks", "first_size")
        names = {"image_size": "data.image_size", **{name: f"generator.{name}" for name in own}}
        if not config.keywords.get("conditional", True):  # without text these shape nothing
            del names["text_dim"], names["condition_dim"]
    return {setting: config.keywords[name] for name, setting in names.items() if name in config.keywords}


def _check_text(settings: Settings) -> None:
    """A Stage II that is not given the sentence has no condition that anything else could read."""
    generator = settings.generator
    if generator.read_text_again:
        return
    if generator.conditional_batch_norm or settings.discriminator.text == "mean":
        raise InputError(
            "generator.read_text_again is no, so Stage II has no condition: set generator.conditional_batch_norm no "
            "and discriminator.text embedding"
        )


def _generator_keywords(settings: Settings) -> dict:
    sizes = ("filters", "min_filters", "text_dim", "condition_dim")
    names = (*sizes, "augment_condition", "condition_noise_scale", "conditional_batch_norm", "architecture")
    return {"image_size": settings.data.image_size, **{name: getattr(settings.generator, name) for name in names}}


def _discriminator(settings: Settings, logits: tuple[str, ...]) -> ModelConfig:
    if settings.discriminator.features is not None:
        logits = ("conditional", "unconditional")
    elif not settings.discriminator.filters:
        raise InputError(
            "discriminator.filters is 0, which leaves only the heads on discriminator.features, and there are none: "
            "set discriminator.features efficientnet_lite0, or give it a width"
        )
    keywords = {
        "image_size": settings.data.image_size,
        "filters": settings.discriminator.filters,
        "logits": logits,
        "text": settings.discriminator.text,
        "batch_norm": settings.discriminator.batch_norm,
        "pretrained": settings.discriminator.features is not None,
        "text_dim": settings.generator.text_dim,
        "condition_dim": settings.generator.condition_dim,
        "architecture": settings.discriminator.architecture,
        "family": settings.generator.family,
    }
    return ModelConfig("discriminator", keywords)
