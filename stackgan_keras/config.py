"""Which settings are there, and is this file or command line a valid set of them?

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


def _at_most(name: str, value, info):
    """`value`, or none, where it is no more than the section's setting of that full name, which is asked first."""
    most = info.data.get(name.split(".")[1])  # not there if it is wrong itself
    if value is not None and most is not None and value > most:
        raise ValueError(f"must be at most {name}, which is {most}")
    return value


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
        None, description="folder in the published layout; none: birds drawn on the spot"
    )
    image_size: Annotated[int, Field(ge=8, le=1024), AfterValidator(_power_of_two)] = Field(
        64, description="height and width of the pictures to make, in pixels; a power of two"
    )
    mean_of_captions: Count = Field(1, description="captions whose embeddings are averaged, drawn anew each time")
    fewest_captions: Annotated[Count | None, BeforeValidator(_none_as_word)] = Field(
        None, description="any number of captions is averaged, this at least and mean_of_captions at most; none: those"
    )
    cache: Literal["auto", "memory", "disk"] = Field(
        "auto", description="where decoded pictures are kept; auto: in memory if a quarter of it is enough"
    )
    drawn_count: Annotated[int, Field(ge=50)] = Field(2000, description="pictures to draw if there is no data.root")
    drawn_classes: Annotated[int, Field(ge=10, le=20_000)] = Field(
        50, description="species to draw if there is no data.root; a fifth of them, at most 40, for the test"
    )

    @field_validator("fewest_captions")
    @classmethod
    def _fewest_are_not_more_than_most(cls, fewest, info):
        return _at_most("data.mean_of_captions", fewest, info)


class Generator(Section):
    architecture: Literal["pytorch", "tensorflow"] = Field(
        "pytorch", description="of whose release; the published birds and flowers are of the tensorflow one"
    )
    filters: Count = Field(128, description="width: channels of the narrowest full block (GF_DIM)")
    text_dim: Count = Field(1024, description="numbers in a sentence's embedding")
    condition_dim: Count = Field(128, description="numbers in the condition drawn from an embedding")
    noise_dim: Count = Field(100, description="numbers in the noise (Stage I)")
    flow_steps: CountOrZero = Field(
        0, description="steps of a normalizing flow that brings noise where real pictures have theirs (Stage I)"
    )
    residual_blocks: CountOrZero = Field(4, description="residual blocks (Stage II)")
    augment_condition: bool = Field(True, description="draw the condition around its mean; no: use the mean")
    noise_spread: Annotated[float, Field(gt=0)] = Field(
        1.0, description="factor on the noise that goes into the flow; below 1, fewer pictures that could not be"
    )
    condition_spread: Annotated[float, Field(gt=0)] = Field(
        1.0, description="factor on how far the condition is drawn around its mean; released deviations are 1 or more"
    )
    conditional_norm: bool = Field(False, description="scale and shift the channels of every up-block by the condition")
    palette: bool = Field(False, description="the sentence chooses a colour for each part, of which there are 16")


class Discriminator(Section):
    architecture: Literal["pytorch", "tensorflow"] = Field(
        "pytorch", description="of whose release; that of tensorflow has discriminator.text embedding"
    )
    filters: Count = Field(64, description="width: channels of the first convolution (DF_DIM)")
    text: Literal["mean", "embedding"] = Field(
        "mean", description="how it reads a sentence: the generator's mean (release), or the embedding compressed anew"
    )


class Train(Section):
    batch_size: Annotated[int, Field(ge=2)] = Field(64, description="pictures in a step, over all devices together")
    epochs: CountOrZero = Field(600, description="passes over the data in which both players play")
    max_steps: Annotated[Count | None, BeforeValidator(_none_as_word)] = Field(
        None, description="steps after which to end, whatever the epochs"
    )
    start_from: Annotated[str | None, BeforeValidator(_none_as_word)] = Field(
        None, description="run, of your own or shipped, whose weights (players or encoders) a new training starts from"
    )
    generator_learning_rate: Rate = Field(2e-4, description="step size of the generator's Adam at the start")
    discriminator_learning_rate: Rate = Field(2e-4, description="step size of the discriminator's Adam at the start")
    halve_every: Count = Field(100, description="epochs after which both learning rates halve, again and again")
    penalty_weight: Weight = Field(
        0.0, description="weight, for the discriminator, of how steep its logits are at real pictures"
    )
    kl_weight: Weight = Field(2.0, description="weight of the condition's KL divergence")
    likeness_weight: Weight = Field(
        0.0, description="weight, for the generator, of how far the picture encoder reads its pictures from real ones"
    )
    anew_weight: Weight = Field(
        0.0, description="weight, for the generator, of how far real pictures that it makes anew are off, all along"
    )
    edges_weight: Weight = Field(
        0.0, description="beside 1 for the pixels of what is made anew, the weight of the steps from each to the next"
    )
    noise_kl_weight: Weight = Field(
        0.001,
        description="beside 1 for the pixels of what is made anew, the weight of how much is read in pictures as noise "
        "of Stage I: the less, the truer they are, the more, the likelier any noise is that of a picture",
    )
    alone_epochs: CountOrZero = Field(
        0, description="epochs at the start in which the generator alone learns to make real pictures anew"
    )
    most_captions_epochs: CountOrZero = Field(
        0, description="of these, those at the start that average data.mean_of_captions captions and no fewer"
    )
    alike_epochs: CountOrZero = Field(
        0, description="epochs after these in which, still alone, it also pays for how the picture encoder reads them"
    )
    alike_weight: Annotated[float, Field(gt=0)] = Field(
        0.1, description="weight of that, as train.likeness_weight, beside 1 for how far the pictures are off"
    )
    flow_epochs: CountOrZero = Field(
        0, description="epochs after these in which only the noise flow learns, of noise read in pictures (Stage I)"
    )
    flow_learning_rate: Rate = Field(4e-3, description="step size of its Adam at the start of these")
    recolour: bool = Field(
        False, description="recolour what real pictures are made anew of, so that sentences must tell the colours"
    )
    average: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="decay of the moving average that is kept instead of the generator's weights; 0: none"
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        0, description="decides first weights, order, crops, captions and noise"
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32", description="numbers the networks compute with; weights stay float32"
    )
    jit_compile: bool = Field(False, description="compile the step with XLA (one device only)")
    sample_every: Count = Field(10, description="epochs between grids of pictures")
    save_every: Count = Field(10, description="epochs between checkpoints")

    @property
    def makes_anew(self) -> bool:
        """Whether the generator ever learns to make real pictures anew."""
        return bool(self.alone_epochs or self.alike_epochs or self.anew_weight)

    @field_validator("most_captions_epochs")
    @classmethod
    def _these_are_epochs_alone(cls, epochs, info):
        return _at_most("train.alone_epochs", epochs, info)


class Text(Section):
    learns: Literal["both", "pictures"] = Field(
        "both", description="which encoders are trained: both, or the pictures' alone, for a text encoder that is there"
    )
    loss: Literal["hinge", "cross_entropy"] = Field(
        "hinge", description="what a wrong pair costs: what it lacks to a distance of 1 (release), or cross-entropy"
    )
    form: Literal["birds", "flowers"] = Field(
        "birds", description="of the release's two text encoders: gated recurrence (birds) or plain (flowers)"
    )
    filters: Count = Field(384, description="channels of the first convolution; the second has 4/3 as many")
    recurrent_dim: Count = Field(512, description="channels of the third convolution and of the recurrence")
    image_encoder: Literal["small", "MobileNetV2", "ResNet50", "InceptionV3", "EfficientNetB0"] = Field(
        "small", description="what reads the pictures: a small network trained along, or one of Keras (downloaded)"
    )
    image_filters: Count = Field(32, description="width of the small picture encoder")
    batch_size: Annotated[int, Field(ge=2)] = Field(40, description="pictures in a step, of different classes")
    captions: Count = Field(1, description="captions of each picture in a step: more cost little and teach a lot")
    epochs: Count = Field(300, description="passes over the data")
    learning_rate: Rate = Field(7e-4, description="step size of RMSProp at the start")
    decay: Annotated[float, Field(gt=0, le=1)] = Field(0.98, description="factor on the step size after each epoch")
    spread: Annotated[float, Field(gt=0)] = Field(
        0.144, description="standard deviation of an embedding's entries; the published ones have 0.144"
    )
    whiten: bool = Field(
        False, description="in the end, turn and stretch the embeddings of sentences so that all directions count alike"
    )


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
