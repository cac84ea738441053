"""Which settings are there, and is this file or command line a valid set of them?

Defaults are those of the original release. A setting is written `section.key` in messages, nested in YAML files, and
`--section.key VALUE` on the command line.
"""

import argparse
import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from stackgan_keras.errors import InputError


def _power_of_two(value: int) -> int:
    if value & (value - 1):
        raise ValueError("must be a power of two")
    return value


def _plain_name(value: str) -> str:
    if not value or value.startswith(".") or not all(c.isalnum() or c in "-_." for c in value):
        raise ValueError("must be a name of letters, digits, '-', '_' and '.', not beginning with a dot")
    return value


Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """A group of settings: frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Data(Section):
    root: Path | None = Field(None, description="folder in the published layout; none: birds drawn on the spot")
    image_size: Annotated[int, Field(ge=8, le=1024), AfterValidator(_power_of_two)] = Field(
        64, description="pixels, a power of two: the size of the pictures to make"
    )
    mean_of_captions: Count = Field(1, description="captions whose embeddings are averaged, drawn anew each time")
    cache: Literal["auto", "memory", "disk"] = Field(
        "auto", description="where decoded pictures are kept; auto: in memory if a quarter of it is enough"
    )
    drawn_count: Annotated[int, Field(ge=20)] = Field(2000, description="pictures to draw if there is no data.root")


class Generator(Section):
    filters: Count = Field(128, description="width: channels of the narrowest full block (GF_DIM)")
    text_dim: Count = Field(1024, description="numbers in a sentence's embedding")
    condition_dim: Count = Field(128, description="numbers in the condition drawn from an embedding")
    noise_dim: Count = Field(100, description="numbers in the noise (Stage I)")
    residual_blocks: Annotated[int, Field(ge=0)] = Field(4, description="residual blocks (Stage II)")
    augment_condition: bool = Field(True, description="draw the condition around its mean; no: use the mean")


class Discriminator(Section):
    filters: Count = Field(64, description="width: channels of the first convolution (DF_DIM)")
    text: Literal["mean", "embedding"] = Field(
        "mean", description="the sentence as the generator's mean (release) or compressed anew (paper)"
    )


class Train(Section):
    batch_size: Annotated[int, Field(ge=2)] = Field(64, description="pictures in a step, over all devices together")
    epochs: Count = Field(600, description="passes over the data")
    max_steps: Count | None = Field(None, description="steps after which to end, whatever the epochs")
    generator_learning_rate: Rate = Field(2e-4, description="Adam's, at the start")
    discriminator_learning_rate: Rate = Field(2e-4, description="Adam's, at the start")
    halve_every: Count = Field(100, description="epochs after which both learning rates halve, again and again")
    kl_weight: Annotated[float, Field(ge=0)] = Field(2.0, description="weight of the condition's KL divergence")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="of first weights, order, crops and noise")
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32", description="of the networks' arithmetic; weights stay float32"
    )
    jit_compile: bool = Field(False, description="compile the step with XLA (one device only)")
    sample_every: Count = Field(10, description="epochs between grids of pictures")
    save_every: Count = Field(10, description="epochs between checkpoints")


class Settings(Section):
    """Everything that decides what a training run does."""

    run: Annotated[str, AfterValidator(_plain_name)] = Field("drawn", description="name of the run and its folders")
    data: Data = Data()
    generator: Generator = Generator()
    discriminator: Discriminator = Discriminator()
    train: Train = Train()

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

    Raises `InputError` if there is no such file or it is no mapping.
    """
    file = _find(path)
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise InputError(f"{file} is not valid YAML ({' '.join(str(problem).split())}): correct it") from None
    if not isinstance(values, dict):
        raise InputError(f"{file} holds {_article(values)}, not a mapping of settings such as `train: {{epochs: 10}}`")
    return values


def write(settings: Settings, path: Path) -> None:
    """Saves the settings as YAML that `read` takes."""
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), encoding="utf-8")


def from_command_line(arguments: list[str], *, prog: str, description: str, preset: str, defaults: dict):
    """The settings and output folder that a training command was given.

    Later sources win: the release's defaults, the stage's `defaults` (nested), a YAML file, the command line. The
    YAML file is `--config`, or `preset` if neither `--config` nor `--data.root` is given.
    Returns (`Settings`, output folder). Raises `InputError` for anything that is no valid setting.
    """
    base = _flat(defaults)
    parser = _Parser(prog=prog, description=description, allow_abbrev=False, formatter_class=_help_format())
    parser.add_argument("--config", metavar="FILE", help=f"YAML file of settings; without data: {preset}.yaml")
    parser.add_argument("--output_dir", metavar="DIR", type=Path, default=Path(), help="parent of weights/, results/")
    for section, key, field in _fields():
        name = ".".join(filter(None, (section, key)))
        default = base.get(name, field.default)
        shown = "none" if default is None else default
        parser.add_argument(f"--{name}", metavar=_kind(field.annotation), help=f"{field.description} (default {shown})")
    given, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise InputError(_unknown(unknown[0].removeprefix("--").split("=")[0]))
    overrides = {k: v for k, v in vars(given).items() if v is not None and k not in ("config", "output_dir")}
    file = given.config or (None if "data.root" in overrides else preset)
    values = {**base, **(_flat(_checked(read(file))) if file else {}), **overrides}
    values = {key: None if str(value).lower() in ("none", "null") else value for key, value in values.items()}
    return make(_nested(values)), given.output_dir


def _checked(values: dict) -> dict:
    make(values)  # a fault in the file is named as such before the command line can hide it
    return values


def _find(path: str | Path) -> Path:
    path = Path(path)
    package = Path(__file__).parent
    shipped = [folder / f"{path.stem}.yaml" for folder in (package / "configs", package.parent / "configs")]
    candidates = [path, *(shipped if path.parent == Path() else [])]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    names = sorted({file.stem for folder in {s.parent for s in shipped} for file in folder.glob("*.yaml")})
    raise InputError(f"there is no settings file {path}: give a path, or one of the shipped {', '.join(names)}")


def _fields():
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            for key, inner in field.annotation.model_fields.items():
                yield name, key, inner
        else:
            yield "", name, field


def _names() -> list[str]:
    return [".".join(filter(None, (section, key))) for section, key, _ in _fields()]


def _kind(annotation) -> str:
    choices = [str(c) for c in get_args(annotation) if isinstance(c, str)]
    kinds = {int: "N", float: "X", bool: "yes|no", str: "NAME", Path: "PATH"}
    inner = next((a for a in (annotation, *get_args(annotation)) if a in kinds), None)
    deeper = next((a for part in get_args(annotation) for a in get_args(part) if a in kinds), None)
    return "|".join(choices) or kinds.get(inner or deeper, "VALUE")


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


def _sentence(error: dict) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return _unknown(name)
    reason = error["msg"].removeprefix("Value error, ")
    return f"{name} is {error['input']!r}: {reason[0].lower()}{reason[1:]}"


def _unknown(name: str) -> str:
    names = _names()
    tail = {n.rpartition(".")[2]: n for n in names}
    near = difflib.get_close_matches(name, names, 1, 0.5)
    near = near or [tail[t] for t in difflib.get_close_matches(name.rpartition(".")[2], tail, 1, 0.5)]
    hint = f"the nearest is {near[0]}" if near else "--help lists them all"
    return f"there is no setting {name}: {hint}"


def _article(value) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _help_format():
    return lambda prog: argparse.HelpFormatter(prog, max_help_position=44, width=120)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise InputError(f"{message}: --help shows how each setting is given")
