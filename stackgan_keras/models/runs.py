"""Where a run's weight files are: below an output folder, or among those that came with the package."""

from collections.abc import Iterable
from pathlib import Path

from stackgan_keras import config
from stackgan_keras.errors import InputError

# names of files, without their ending; the best first
GENERATORS = ("attngan_gen", "stackgan_v2_gen", "stage2_gen", "stage1_gen")
TEXT_ENCODER = "text_encoder.weights.h5"  # in a run's folder, and beside prepared data
VOCABULARY = "vocabulary.json"  # of a text encoder of words
IMAGE_ENCODER = "image_encoder.weights.h5"  # with which it learned
CLASSIFIER = "attribute_classifier.weights.h5"


def find_run(output_dir: Path, name: str, *, holding: Iterable[str] = GENERATORS) -> Path:
    """The folder with a run's weights: below `output_dir`, else of those that came with the package.

    It holds one at least of the networks in `holding`, which are names of weight files without their ending. Raises
    `InputError`, listing the runs that are there, if there is none of this name.
    """
    config.make({"run": name})
    homes = [Path(output_dir) / "weights", *shipped_homes()]
    found = next((home / name for home in homes if has_weights(home / name, holding)), None)
    if found is None:
        raise InputError(missing_run(homes[0] / name, holding))
    return found


def shipped_homes() -> list[Path]:
    """Where the weights that came with the package are: inside it once installed, beside it in the repository."""
    package = Path(__file__).parents[1]
    return [package / "weights", package.parent / "weights"]


def places_of(folder: Path) -> list[Path]:
    """Where a run's folder of weights may be: as given, and of a relative `weights/<run>` also in `shipped_homes`."""
    folder = folder.expanduser()
    return [folder, *(home / folder.name for home in shipped_homes() if folder.parts[:-1] == ("weights",))]


def weight_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.weights.h5"


def has_weights(folder: Path, names: Iterable[str] = GENERATORS) -> bool:
    return any(weight_file(folder, name).is_file() for name in names)


def runs_in(homes: Iterable[Path], names: Iterable[str] = GENERATORS) -> list[str]:
    """The runs, by their names in order, that hold one at least of the networks in `names`."""
    folders = [folder for home in homes if home.is_dir() for folder in home.iterdir()]
    return sorted({folder.name for folder in folders if has_weights(folder, names)})


def missing_run(folder: Path, names: Iterable[str] = GENERATORS) -> str:
    """The sentence for a run whose weights are not in `folder`."""
    if folder.parent.name != "weights":
        found = "holds no generator (…_gen.weights.h5)" if folder.exists() else "is not there"
        return f"{folder} {found}: give the folder weights/NAME of a run"
    runs = runs_in((folder.parent, *shipped_homes()), names)
    remedy = f"take one of the runs {', '.join(runs)}, or train it" if runs else "train it"
    kind, command = ("text encoder", "train_text") if "text_encoder" in names else ("generator", "train_stage1")
    found = f"holds no {kind}" if folder.exists() else "is not there"
    return f"{folder} {found}: {remedy} with python -m stackgan_keras.{command} --run {folder.name}"
