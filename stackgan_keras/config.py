"""Settings: a YAML file and a command line to one checked object.

Defaults are those of the original release. A setting is written `section.key` in messages, nested in YAML files, and
`--section.key VALUE` on the command line.
"""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from stackgan_keras.command_line import Parser
from stackgan_keras.errors import InputError
from stackgan_keras.files import atomic_write


def _power_of_two(value: int) -> int:
    if value & (value - 1):
        raise ValueError("must be a power of two")
    return value


def _plain_name(value: str) -> str:
    if not value or value.startswith(".") or not all(c.isalnum() or c in "-_." for c in value):
        raise ValueError("must be a name of letters, digits, '-', '_' and '.', not beginning with a dot")
    return value


def _none_as_word(value):
    return None if isinstance(value, str) and value.lower() in ("none", "null") else value


def _at_home(value: Path | None) -> Path | None:
    return value.expanduser() if value and value.parts[:1] == ("~",) else value


Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
Architecture = Literal["pytorch", "tensorflow"]


class Section(BaseModel):
    """A group of settings: frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value, info):
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError("must not be yes or no")
        return value


class Data(Section):
    root: Annotated[Path | None, BeforeValidator(_none_as_word), AfterValidator(_at_home)] = Field(
        None, description="folder in the published layout; none: synthetic birds, drawn once"
    )
    image_size: Annotated[int, Field(ge=8, le=1024), AfterValidator(_power_of_two)] = Field(
        64, description="height and width of the generated images, in pixels; a power of two"
    )
    captions_per_embedding: Count = Field(
        1, description="a sentence's embedding is the mean over so many captions of its picture, drawn anew each time"
    )
    cache: Literal["auto", "memory", "disk"] = Field(
        "auto", description="where decoded pictures are kept; auto: in memory if a quarter of it is enough"
    )
    synthetic_count: Annotated[int, Field(ge=50)] = Field(2000, description="pictures to draw if there is no data.root")
    synthetic_classes: Annotated[int, Field(ge=10, le=20_000)] = Field(
        50, description="species to draw if there is no data.root; a fifth of them, at most 40, for the test"
    )


class Generator(Section):
    architecture: Architecture = Field(
        "pytorch", description="the release whose network it is; published birds and flowers: tensorflow"
    )
    filters: Count = Field(128, description="width: channels of the narrowest full block (GF_DIM)")
    text_dim: Count = Field(1024, description="dimensions of a sentence's embedding")
    condition_dim: Count = Field(128, description="dimensions of the condition drawn from an embedding")
    noise_dim: Count = Field(100, description="dimensions of the noise (Stage I)")
    residual_blocks: CountOrZero = Field(4, description="residual blocks (Stage II)")
    augment_condition: bool = Field(True, description="conditioning augmentation; no: the condition is its mean")
    condition_noise_scale: Annotated[float, Field(gt=0)] = Field(
        1.0, description="factor on the condition's noise around its mean; released deviations are 1 or more"
    )
    conditional_batch_norm: bool = Field(
        False, description="scale and shift the channels of every up-block by the condition"
    )


class Discriminator(Section):
    architecture: Architecture = Field(
        "pytorch", description="the release whose network it is; tensorflow wants discriminator.text embedding"
    )
    filters: Count = Field(64, description="width: channels of the first convolution (DF_DIM)")
    text: Literal["mean", "embedding"] = Field(
        "mean", description="its text input: the generator's mean (PyTorch release), or the embedding compressed anew"
    )
    batch_norm: bool = Field(
        True, description="batch norm after its convolutions; no: each image counts alone, as R1 supposes"
    )


class Train(Section):
    batch_size: Annotated[int, Field(ge=2)] = Field(64, description="pictures in a step, over all devices together")
    epochs: Count = Field(600, description="passes over the data with both networks training")
    max_steps: Annotated[Count | None, BeforeValidator(_none_as_word)] = Field(
        None, description="steps after which to end, whatever the epochs"
    )
    init_from: Annotated[str | None, BeforeValidator(_none_as_word)] = Field(
        None, description="run, of your own or shipped, whose weights a new training starts from"
    )
    generator_learning_rate: Rate = Field(2e-4, description="step size of the generator's Adam at the start")
    discriminator_learning_rate: Rate = Field(2e-4, description="step size of the discriminator's Adam at the start")
    lr_decay_epochs: Count = Field(100, description="epochs after which both learning rates halve, again and again")
    kl_weight: Weight = Field(2.0, description="weight of the KL divergence of the conditioning augmentation")
    r1_weight: Weight = Field(0.0, description="weight of the R1 gradient penalty at real pictures")
    warmup_epochs: CountOrZero = Field(
        0, description="epochs before these in which Stage II learns by the pixel loss alone"
    )
    pixel_weight: Weight = Field(
        0.0, description="weight of the pixel loss of Stage II on real pictures made small, beside its discriminator"
    )
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="decay of the moving average of the generator's weights that is kept instead of them; 0: none"
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        0, description="decides initial weights, order, crops, captions and noise"
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32", description="numbers that the networks compute with; weights stay float32"
    )
    jit_compile: bool = Field(False, description="compile the step with XLA (one device only)")
    sample_every: Count = Field(10, description="epochs between image grids")
    save_every: Count = Field(10, description="epochs between checkpoints")


class Text(Section):
    loss: Literal["hinge", "cross_entropy"] = Field(
        "hinge", description="of wrong pairs: hinge with a margin of 1 (release), or cross-entropy"
    )
    variant: Literal["birds", "flowers"] = Field(
        "birds", description="of the release's two text encoders: gated recurrence (birds) or plain (flowers)"
    )
    filters: Count = Field(384, description="channels of the first convolution; the second has 4/3 as many")
    recurrent_dim: Count = Field(512, description="channels of the third convolution and of the recurrence")
    image_encoder: Literal["small", "MobileNetV2", "ResNet50", "InceptionV3", "EfficientNetB0"] = Field(
        "small", description="what reads the pictures: a small network trained along, or one of Keras (downloaded)"
    )
    image_filters: Count = Field(32, description="width of the small image encoder")
    batch_size: Annotated[int, Field(ge=2)] = Field(40, description="pictures in a step, of different classes")
    captions: Count = Field(1, description="captions of each picture in a step: more cost little and teach a lot")
    epochs: Count = Field(300, description="passes over the data")
    learning_rate: Rate = Field(7e-4, description="step size of RMSProp at the start")
    lr_decay: Annotated[float, Field(gt=0, le=1)] = Field(0.98, description="factor on it after each epoch")
    embedding_scale: Annotated[float, Field(gt=0)] = Field(
        0.144, description="standard deviation of an embedding's entries; the published ones have 0.144"
    )
    whiten: bool = Field(False, description="in the end, whiten the embeddings of sentences")


RENAMED = {  # settings of version 0.1
    "data.mean_of_captions": "data.captions_per_embedding",
    "data.drawn_count": "data.synthetic_count",
    "data.drawn_classes": "data.synthetic_classes",
    "generator.condition_spread": "generator.condition_noise_scale",
    "generator.conditional_norm": "generator.conditional_batch_norm",
    "train.start_from": "train.init_from",
    "train.halve_every": "train.lr_decay_epochs",
    "train.penalty_weight": "train.r1_weight",
    "train.anew_weight": "train.pixel_weight",
    "train.alone_epochs": "train.warmup_epochs",
    "train.average": "train.ema_decay",
    "text.form": "text.variant",
    "text.decay": "text.lr_decay",
    "text.spread": "text.embedding_scale",
}
GONE = {  # settings of version 0.1 that trained without a discriminator, or helped to
    "data.fewest_captions", "generator.flow_steps", "generator.noise_spread", "generator.palette",
    "train.likeness_weight", "train.edges_weight", "train.noise_kl_weight", "train.most_captions_epochs",
    "train.alike_epochs", "train.alike_weight", "train.flow_epochs", "train.flow_learning_rate", "train.recolour",
    "text.learns",
}  # fmt: skip


class Settings(Section):
    """Everything that decides what a training run does."""

    run: Annotated[str, AfterValidator(_plain_name)] = Field("mine", description="name of the run and its folders")
    data: Data = Data()
    generator: Generator = Generator()
    discriminator: Discriminator = Discriminator()
    train: Train = Train()
    text: Text = Text()

    def changed(self, other: "Settings") -> dict[str, tuple]:
        """The settings in which `other` differs, as {"section.key": (mine, other's)}."""
        mine, theirs = _flat(self.model_dump(mode="json")), _flat(other.model_dump(mode="json"))
        return {key: (mine[key], theirs[key]) for key in mine if mine[key] != theirs[key]}


@dataclass(frozen=True)
class Folders:
    """Where a run keeps what it makes."""

    output_dir: Path
    run: str

    @property
    def weights(self) -> Path:
        return self.output_dir / "weights" / self.run

    @property
    def results(self) -> Path:
        return self.output_dir / "results" / self.run

    @property
    def logs(self) -> Path:
        return self.output_dir / "logs" / self.run


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
        values = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as problem:
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


def from_command_line(arguments: list[str], *, prog: str, description: str, preset: str, defaults: dict):
    """The settings and output folder that a training command was given.

    Later sources win: the release's defaults, the stage's `defaults` (nested), a YAML file, the command line. The
    YAML file is `--config`, or `preset` if neither `--config` nor `--data.root` is given.
    Returns (`Settings`, output folder). Raises `InputError` for anything that is no valid setting.
    """
    base = _flat(defaults)
    usage = f"{prog}\n           [--config FILE] [--output_dir DIR] [--section.key VALUE ...]"
    parser = Parser(prog=prog, usage=usage, description=description)
    parser.add_argument(
        "--config", metavar="FILE", help=f"YAML file of settings, or the name of a shipped one; without data: {preset}"
    )
    parser.add_argument(
        "--output_dir", metavar="DIR", type=Path, default=Path(), help="parent of weights/, results/, logs/ (default .)"
    )
    groups = {"": parser}
    for section, key, field in _fields():
        name = _joined(section, key)
        if section not in groups:
            groups[section] = parser.add_argument_group(section)
        text = f"{field.description} (default {_shown(base.get(name, field.default))})"
        groups[section].add_argument(f"--{name}", metavar=_kind(field.annotation), help=text)
    given, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise InputError(_unknown(unknown[0].removeprefix("--").split("=")[0]))
    overrides = {k: v for k, v in vars(given).items() if v is not None and k not in ("config", "output_dir")}
    brings_data = _none_as_word(overrides.get("data.root", "none")) is not None
    file = given.config or (None if brings_data else preset)
    return make(_nested({**base, **(_flat(read(file)) if file else {}), **overrides})), given.output_dir


class _Loader(yaml.SafeLoader):
    """YAML in which no key may stand twice: PyYAML would silently take the last."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands there twice", key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


def _find(path: str | Path) -> Path:
    path = Path(path)
    package = Path(__file__).parent
    folders = (package / "configs", package.parent / "configs")
    shipped = [folder / f"{path.name.removesuffix('.yaml')}.yaml" for folder in folders]
    for candidate in [path, *(shipped if path.parent == Path() else [])]:
        if candidate.is_file():
            return candidate
    names = sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})
    raise InputError(f"there is no settings file {path}: give a path, or one of the shipped {', '.join(names)}")


def _fields():
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            for key, inner in field.annotation.model_fields.items():
                yield name, key, inner
        else:
            yield "", name, field


def _kind(annotation) -> str:
    choices = [str(c) for c in get_args(annotation) if isinstance(c, str)]
    kinds = {int: "N", float: "X", bool: "yes|no", str: "NAME", Path: "PATH"}
    inner = next((a for a in (annotation, *get_args(annotation)) if a in kinds), None)
    deeper = next((a for part in get_args(annotation) for a in get_args(part) if a in kinds), None)
    return "|".join(choices) or kinds.get(inner or deeper, "VALUE")


def _shown(value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _joined(section: str, key: str) -> str:
    return f"{section}.{key}" if section else key


def _flat(values: dict) -> dict:
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update({f"{key}.{inner}": v for inner, v in value.items()})
        else:
            flat[key] = value
    return flat


def _nested(values: dict) -> dict:
    nested: dict = {}
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[key] = value
    return nested


# -- sentences ----------------------------------------------------------------------------------------------------

WRONG_TYPE = {  # what pydantic calls it, and what the setting must be
    "int": "a whole number",
    "float": "a number",
    "finite_number": "a finite number",
    "bool": "yes or no",
    "string": "text; write it in quotes",
    "path": "a path",
}


def _sentence(error: dict) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] in ("extra_forbidden", "invalid_key"):
        return _unknown(name)
    if error["type"] == "model_type":
        return f"{name} is {error['input']!r}, but {name} is a section: write its settings below it, as `epochs: 10`"
    kind = error["type"].removesuffix("_type").removesuffix("_parsing").removesuffix("_from_float")
    reason = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{name} is {error['input']!r}, but " + (f"must be {WRONG_TYPE[kind]}" if kind in WRONG_TYPE else reason)


def _unknown(name: str) -> str:
    names = [_joined(section, key) for section, key, _ in _fields()]
    if name in RENAMED:
        return f"{name} is now called {RENAMED[name]}: change the name"
    if name in GONE:
        return f"{name} is no more, as both stages are trained against their discriminators alone: leave it out"
    if name in names:  # in a file, with its dot
        section, _, key = name.partition(".")
        return f"{name} stands in one word: nest it, as `{section}: {{{key}: …}}`"
    tails = [n.rpartition(".")[2] for n in names]
    tail = name.rpartition(".")[2]
    near = [n for n, t in zip(names, tails, strict=True) if t == tail]
    near = near or difflib.get_close_matches(name, [*names, *Settings.model_fields], 1)
    near = near or [n for n, t in zip(names, tails, strict=True) if t in difflib.get_close_matches(tail, tails, 1)]
    hint = f"the nearest is {' or '.join(near)}" if near else "--help lists them all"
    return f"there is no setting {name}: {hint}"
