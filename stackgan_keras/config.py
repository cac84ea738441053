"""Settings: nested values, of a YAML file or a command line, to one checked object.

Defaults are those of the original release. A setting is written `section.key` in messages, nested in YAML files, and
`--section.key VALUE` on the command line (`command_line.settings_from`).
"""

import difflib
import re
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from stackgan_keras.errors import InputError
from stackgan_keras.files import atomic_write


def _power_of_two(value: int) -> int:
    if value & (value - 1):
        raise ValueError("must be a power of two")
    return value


def _plain_name(value: str) -> str:
    if not re.fullmatch(r"[\w-][\w.-]*", value):
        raise ValueError("must be a name of letters, digits, '-', '_' and '.', not beginning with a dot")
    return value


def is_none(value: object) -> bool:
    return value is None or (isinstance(value, str) and value.lower() in ("none", "null"))


LONGEST_FILE = 2**16  # bytes of a file of settings
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
BatchSize = Annotated[int, Field(ge=2)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
Scale = Annotated[float, Field(gt=0)]
Architecture = Literal["pytorch", "tensorflow"]
Family = Literal["stackgan", "stackgan_v2", "attngan"]


def setting(default: Any, description: str, **limits: Any) -> Any:  # a field, declared as Pydantic declares its own
    return Field(default, description=description, **limits)


class Section(BaseModel):
    """A group of settings: frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _none_and_yes(cls, value: Any, info) -> Any:
        """`none` is a value where there may be none; yes is no number."""
        annotation = cls.model_fields[info.field_name].annotation
        if isinstance(value, bool) and annotation is not bool:
            raise ValueError("must not be yes or no")
        return None if is_none(value) and NoneType in get_args(annotation) else value


class Data(Section):
    root: Path | None = setting(None, "folder in the published layout; none: synthetic birds, drawn once")
    shards: str | None = setting(None, "folder of shards by prepare, local or gs://…, in place of data.root")
    image_size: Annotated[int, AfterValidator(_power_of_two)] = setting(
        64, "height and width of the generated images, in pixels; a power of two", ge=8, le=1024
    )
    captions_per_embedding: Count = setting(1, "captions whose mean embedding is taken, drawn anew each time")
    cache: Literal["auto", "memory", "disk"] = setting(
        "auto", "where decoded images are kept; auto: in memory if a quarter of it is enough"
    )
    synthetic_count: int = setting(2000, "images to draw if there is no data.root", ge=50)
    synthetic_classes: int = setting(
        50, "species to draw if there is no data.root; a fifth of them, at most 40, for the test", ge=10, le=20_000
    )

    @property
    def is_given(self) -> bool:
        """Whether there is data of one's own; else synthetic birds are drawn."""
        return self.root is not None or self.shards is not None

    @field_validator("root")
    @classmethod
    def _at_home(cls, root: Path | None) -> Path | None:
        return root.expanduser() if root and root.parts[:1] == ("~",) else root


class Generator(Section):
    family: Family = setting("stackgan", "whose networks and training: StackGAN's, StackGAN++'s or AttnGAN's")
    architecture: Architecture = setting("pytorch", "release whose network it is; published birds, flowers: tensorflow")
    filters: Count = setting(128, "width: channels of the narrowest full block (GF_DIM)")
    min_filters: Count = setting(1, "channels that no up-block falls below, however large its map")
    text_dim: Count = setting(1024, "dimensions of a sentence's embedding")
    condition_dim: Count = setting(128, "dimensions of the condition drawn from an embedding")
    mask_order: Literal["aligned", "as_released"] = setting(
        "aligned", "of sentences' masks in AttnGAN's attention, which its release gives to other sentences"
    )
    final_image_only: bool = setting(False, "makes the largest image alone (AttnDCGAN)")
    conditional: bool = setting(True, "draws what a sentence says; no: by noise alone, from images without captions")
    noise_dim: Count = setting(100, "dimensions of the noise (Stage I)")
    first_size: Annotated[int, AfterValidator(_power_of_two)] = setting(
        64, "pixels of the smallest image, which doubles up to data.image_size (StackGAN++)", ge=8, le=1024
    )
    residual_blocks: CountOrZero = setting(4, "residual blocks (Stage II, or each larger image of StackGAN++)")
    read_text_again: bool = setting(True, "Stage II is given the sentence, too; no: the Stage-I image alone")
    skip_connections: bool = setting(False, "Stage II's up-blocks see its encoder's maps of their size, too")
    augment_condition: bool = setting(True, "conditioning augmentation; no: the condition is its mean")
    condition_noise_scale: Scale = setting(1.0, "factor on the condition's noise around its mean")
    conditional_batch_norm: bool = setting(False, "scale and shift the channels of every up-block by the condition")


class Discriminator(Section):
    architecture: Architecture = setting("pytorch", "release whose network it is; tensorflow wants text embedding")
    filters: CountOrZero = setting(64, "width: channels of the first convolution (DF_DIM); 0: only heads on features")
    text: Literal["mean", "embedding"] = setting("mean", "text input: generator's mean, or embedding compressed anew")
    batch_norm: bool = setting(True, "batch norm after its convolutions; no: each image counts alone, as R1 supposes")
    features: str | None = setting(
        None, "frozen network whose features heads beside it read: efficientnet_lite0, or a file of train_extractor"
    )


class Train(Section):
    batch_size: BatchSize = setting(64, "images in a step, over all devices together")
    epochs: Count = setting(600, "passes over the data with both networks training")
    max_steps: int | None = setting(None, "steps after which to end, whatever the epochs", ge=1)
    init_from: str | None = setting(None, "run, of your own or shipped, whose weights a new training starts from")
    generator_learning_rate: Rate = setting(2e-4, "step size of the generator's Adam at the start")
    discriminator_learning_rate: Rate = setting(2e-4, "step size of the discriminator's Adam at the start")
    lr_decay_epochs: Count = setting(100, "epochs after which both learning rates halve, again and again")
    adversarial_loss: Literal["cross_entropy", "hinge"] = setting("cross_entropy", "function of the logits (release)")
    unconditional_weight: Weight = setting(1.0, "weight of the losses on images without their text (successors)")
    colour_weight: Weight = setting(0.0, "weight of how far an image's colours are from a smaller one's (StackGAN++)")
    damsm_weight: Weight = setting(0.0, "weight of how well an image fits its words and sentence (AttnGAN: 5 or 50)")
    kl_weight: Weight = setting(2.0, "weight of the KL divergence of the conditioning augmentation")
    interpolation_weight: Weight = setting(0.0, "weight of the generator's loss on sentences half-way between two")
    r1_weight: Weight = setting(0.0, "weight of the R1 gradient penalty at real images")
    augmentation: Literal["translation,cutout", "color,translation,cutout"] | None = setting(
        None, "differentiable augmentation of all that the discriminator sees, for few images"
    )
    warmup_epochs: CountOrZero = setting(0, "epochs before these in which Stage II learns by the pixel loss alone")
    warmup_learning_rate: Rate = setting(2e-4, "step size of the generator's Adam at their start")
    pixel_weight: Weight = setting(
        0.0, "weight of Stage II's pixel loss on real images made small, beside its GAN loss"
    )
    consistency_weight: Weight = setting(
        0.0, "weight of how far Stage II's images, made small, are from their Stage-I images"
    )
    ema_decay: float = setting(0.0, "decay of the generator's EMA, which is kept in its place; 0: none", ge=0, lt=1)
    restart_every: int | None = setting(
        None, "steps after which the generator goes on from its average (StackGAN++'s release: 2000); none: never", ge=1
    )
    seed: int = setting(0, "decides initial weights, order, crops, captions and noise", ge=0, lt=2**31)
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = setting(
        "float32", "numbers that the networks compute with; auto: what the machine is fast with; weights stay float32"
    )
    jit_compile: bool = setting(False, "compile the step with XLA (one device only)")
    sample_every: Count = setting(10, "epochs between image grids")
    save_every: Count = setting(10, "epochs between checkpoints")


class Text(Section):
    loss: Literal["hinge", "cross_entropy", "damsm"] = setting(
        "hinge", "of wrong pairs; hinge has a margin of 1 (release); damsm: AttnGAN's, of words and of sentences"
    )
    variant: Literal["birds", "flowers"] = setting("birds", "the release's encoder: GRU (birds) or plain RNN (flowers)")
    filters: Count = setting(384, "channels of the first convolution; the second has 4/3 as many")
    recurrent_dim: Count = setting(512, "channels of the third convolution and of the recurrence")
    image_encoder: str = setting(
        "small", "what reads the images: a small network trained along, or the name or file of a feature extractor"
    )
    image_filters: Count = setting(32, "width of the small image encoder")
    batch_size: BatchSize = setting(40, "images in a step, of different classes")
    words: Count = setting(18, "words that are read of a caption in training (damsm)")
    captions: Count = setting(1, "captions of each image in a step: more cost little and teach a lot")
    epochs: Count = setting(300, "passes over the data")
    learning_rate: Rate = setting(7e-4, "step size of RMSProp (damsm: of Adam) at the start")
    lr_decay: float = setting(0.98, "factor on it after each epoch", gt=0, le=1)
    embedding_scale: Scale = setting(0.144, "standard deviation of an embedding's entries; published ones have 0.144")
    whiten: bool = setting(False, "in the end, whiten the embeddings of sentences")


class Settings(Section):
    """Everything that decides what a training run does."""

    run: Annotated[str, AfterValidator(_plain_name)] = setting("mine", "name of the run and its folders")
    data: Data = Data()
    generator: Generator = Generator()
    discriminator: Discriminator = Discriminator()
    train: Train = Train()
    text: Text = Text()

    def changed(self, other: "Settings") -> dict[str, tuple]:
        """The settings in which `other` differs, as {"section.key": (mine, other's)}."""
        mine, theirs = flat(self.model_dump(mode="json")), flat(other.model_dump(mode="json"))
        return {key: (mine[key], theirs[key]) for key in mine if mine[key] != theirs[key]}


class Folders:
    """Where a run keeps what it makes."""

    def __init__(self, output_dir: Path, run: str):
        self.output_dir, self.run = output_dir, run
        self.weights, self.results, self.logs = (output_dir / kind / run for kind in ("weights", "results", "logs"))


def make(values: dict) -> Settings:
    """Settings out of nested plain values. Raises `InputError` naming the setting and the nearest right one."""
    try:
        return Settings.model_validate(values)
    except ValidationError as problem:
        raise InputError(_sentence(problem.errors()[0])) from None


def read(path: str | Path) -> dict:
    """The nested values in a YAML file; a bare name such as `birds_stage1` means the shipped file of that name.

    A section that stands there empty counts as not given. Raises `InputError`, naming the file, if there is no such
    file or its values are no valid settings.
    """
    file = _find(path)
    try:
        with file.open("rb") as opened:
            content = opened.read(LONGEST_FILE + 1)
        if len(content) > LONGEST_FILE:
            raise InputError(
                f"{file} is longer than {LONGEST_FILE:,} bytes, which settings never are: give another file"
            )
        values = yaml.load(content.decode("utf-8"), _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as problem:  # ValueError: no UTF-8, or an impossible date
        raise InputError(f"{file} is not valid YAML ({' '.join(str(problem).split())}): correct it") from None
    if not isinstance(values, dict):
        found = "nothing" if values is None else f"a {type(values).__name__}"
        raise InputError(f"{file} holds {found}, not a mapping: write settings such as `train: {{epochs: 10}}`")
    values = {key: value for key, value in values.items() if value is not None}
    try:
        make(values)  # a fault in the file is told as such before the command line can hide it
    except InputError as problem:
        raise InputError(f"{file}: {problem}") from None
    return values


def write(settings: Settings, path: Path) -> None:
    """Saves the settings as YAML that `read` takes; an older file is replaced in one move."""
    with atomic_write(path) as unfinished:
        unfinished.write_text(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), encoding="utf-8")


class _Loader(yaml.SafeLoader):
    """YAML in which no key may stand twice, where PyYAML silently takes the last, and nothing is repeated by name.

    Ten lines of lists, each of ten times the one before, would be too long for a sentence about them.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, "write out what *aliases stand for", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise yaml.constructor.ConstructorError(None, None, f"{min(twice)} stands there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _find(path: str | Path) -> Path:
    path, package = Path(path), Path(__file__).parent
    folders = (package.parent / "configs", package / "configs")  # in the repository, and once installed
    shipped = {file.stem: file for folder in folders for file in sorted(folder.glob("*.yaml"))}
    if path.is_file():
        return path
    if found := shipped.get(str(path).removesuffix(".yaml")):
        return found
    raise InputError(f"there is no settings file {path}: give a path, or one of the shipped {', '.join(shipped)}")


def fields() -> dict[str, FieldInfo]:
    """All settings by their names, `section.key`."""
    return flat({name: getattr(f.annotation, "model_fields", f) for name, f in Settings.model_fields.items()})


def flat(values: dict) -> dict:
    flat: dict = {}
    for name, value in values.items():
        flat |= {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _sentence(error: ErrorDetails) -> str:
    name, value = ".".join(str(part) for part in error["loc"]), error["input"]
    if error["type"] in ("extra_forbidden", "invalid_key"):
        return unknown(name)
    if error["type"] == "model_type":
        return f"{name} is {value!r}, but {name} is a section: write its settings below it, as `epochs: 10`"
    reason = error["msg"].removeprefix("Value error, ").replace("valid integer", "whole number")
    return f"{name} is {value!r}, but {reason.replace('Input should be', 'must be').replace('Input is', 'is')}"


def unknown(name: str) -> str:
    names, (section, _, key) = fields(), name.rpartition(".")
    if name in names:  # in a file, with its dot
        return f"{name} stands in one word: nest it, as `{section}: {{{key}: …}}`"
    near = [known for known in names if known.rpartition(".")[2] == key]
    near = near or difflib.get_close_matches(name, [*names, *Settings.model_fields], 1)
    hint = f"the nearest is {' or '.join(near)}" if near else "--help lists them all"
    return f"there is no setting {name}: {hint}"
