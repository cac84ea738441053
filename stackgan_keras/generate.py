"""Generate images of sentences from a run's weights: both stages as PNGs, and a grid of all of them."""

import argparse
import hashlib
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

import numpy as np
from tqdm import tqdm

from stackgan_keras.command_line import Parser, quietly, run
from stackgan_keras.config import Folders
from stackgan_keras.data import images
from stackgan_keras.errors import InputError
from stackgan_keras.files import decode
from stackgan_keras.models.runs import find_run
from stackgan_keras.porting import embedded_sentences

COLUMNS = 8  # copies side by side on a grid
SHOWN = 64  # copies of one sentence on a grid
PAGE = 96  # pictures on a grid, after which another begins
STRIP = 12  # pictures in an interpolation's strip
STEP_MILLISECONDS, END_MILLISECONDS = 150, 750  # a frame of a GIF is shown, and the two at its ends
STAGES = {"stage1": "Stage I", "stage2": "Stage II"}

EXAMPLES = """\
examples:
  two sentences, four pictures of each, from the weights that came with the package
    python -m stackgan_keras.generate "this bird is red with black wings" "a small yellow bird"
  eight pictures of every line of a file, or of another command's output
    python -m stackgan_keras.generate --file sentences.txt --count 8
    echo "a blue bird with a white belly" | python -m stackgan_keras.generate
  other pictures of the same sentence; calmer ones, nearer to what is typical
    python -m stackgan_keras.generate "a red bird" --seed 1
    python -m stackgan_keras.generate "a red bird" --epsilon_scale 0.5 --noise_scale 0.7
  the same pose for every sentence, only what they say changes
    python -m stackgan_keras.generate "a red bird" "a blue bird" "a green bird" --same_noise
  from one sentence to another, as a strip and an animated GIF
    python -m stackgan_keras.generate --interpolate "a red bird" "a blue bird" --steps 12
  from the weights of a run of your own
    python -m stackgan_keras.generate --run birds --output_dir DIR "a red bird"
  of sentences that another program has embedded: .t7 of the old tools, .npy or .npz
    python -m stackgan_keras.generate --run birds --embedded example_captions.t7

what is where: results/<run>/generated/ holds
  01_a-red-bird_seed0_copy01_stage1.png     sentence 1, copy 1: the Stage-I image,
  01_a-red-bird_seed0_copy01_stage2.png     and the Stage-II image
  grid_a-red-bird_seed0_copies4.png         all of them with their sentences
  interpolation_a-red-bird_to_a-blue-bird_seed0_steps12.png and .gif
Names carry everything that was asked for (a sentence too long or too odd for a file name by a short code at its end),
so other sentences, seeds or scales make other files, and the same call makes the same files again.
"""


@dataclass(frozen=True)
class Call:
    """What decides the pictures of one call, beside the weights: sentences, and how their noise is drawn."""

    given: list[str] | np.ndarray  # the sentences, or their embeddings
    sentences: list[str]
    captions: list[str]  # the sentences as far as they are read
    draws: dict  # seed, epsilon_scale, noise_scale
    same_noise: bool

    @property
    def suffix(self) -> str:
        """The part of a file's name that says how the noise was drawn."""
        scales = {name: self.draws[f"{name}_scale"] for name in ("epsilon", "noise")}
        parts = [f"seed{self.draws['seed']}", *(f"{name}{scale}" for name, scale in scales.items() if scale != 1)]
        if isinstance(self.given, np.ndarray):
            parts.append(f"embedded-{_code(self.given.tobytes())}")
        return "_".join([*parts, *["samenoise"] * self.same_noise])


def main() -> None:
    words = sys.argv[1:]
    dashes = words.index("--") if "--" in words else len(words)  # argparse would forget them on its second look
    arguments = _parser().parse_intermixed_args(words[:dashes])
    if arguments.embedded is not None:
        if arguments.file is not None or arguments.sentences or words[dashes + 1 :]:
            raise InputError("--embedded brings sentences of its own: leave out the others")
        sentences, given = embedded_sentences.read(arguments.embedded)
    else:
        sentences = given = _sentences(arguments, words[dashes + 1 :])
    _check_interpolation(arguments, len(sentences))
    with quietly():  # only now, as it takes seconds: help and missing sentences answer at once
        from stackgan_keras.inference.stackgan import StackGAN
        from stackgan_keras.models import text_encoder

    weights = find_run(arguments.output_dir, arguments.run)
    model = StackGAN.load(weights, embedded=arguments.embedded is not None)
    print(f"weights: {weights}")
    for place, sentence in enumerate([] if arguments.embedded else sentences, start=1):
        if note := text_encoder.unread(sentence):
            print(f"note: sentence {place}: {note}")
    if "stage1_image" not in model.generator.output:
        print(
            "note: this run has no Stage II yet, so these are its Stage-I images: "
            f"python -m stackgan_keras.train_stage2 --run {arguments.run} makes the rest"
        )
    call = Call(
        given,
        sentences,
        [_caption(sentence, text_encoder.LENGTH) for sentence in sentences],
        {name: getattr(arguments, name) for name in ("seed", "epsilon_scale", "noise_scale")},
        arguments.same_noise,
    )
    folder = Folders(arguments.output_dir, arguments.run).results / "generated"
    if arguments.interpolate:
        _write_interpolation(model, call, 8 if arguments.steps is None else arguments.steps, folder)
    else:
        _write_pictures(model, call, 4 if arguments.count is None else arguments.count, folder)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m stackgan_keras.generate",
        description="Generates images of sentences, of Stage I and Stage II, and a grid of all of them.",
        epilog=EXAMPLES,
    )
    parser.formatter_class = lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=30)
    add = parser.add_argument
    add(
        "sentences",
        nargs="*",
        metavar="SENTENCE",
        help="in quotes, after -- if it begins with a dash; without any, standard input is read",
    )
    add("--file", metavar="FILE", help="text file of one sentence a line, blank lines are skipped; -: standard input")
    add(
        "--embedded",
        metavar="FILE",
        help="sentences that are embedded already, instead: .t7 of the old tools, .npy, .npz",
    )
    add("--run", metavar="NAME", default="drawn", help="run whose weights draw (default drawn, which is shipped)")
    add("--output_dir", metavar="DIR", type=Path, default=Path(), help="parent of weights/ and results/ (default .)")
    add("--count", metavar="N", type=int, help="pictures of each sentence (default 4)")
    add("--seed", metavar="N", type=int, default=0, help="same seed, same pictures (default 0)")
    add(
        "--epsilon_scale",
        metavar="X",
        type=float,
        default=1.0,
        help="how far the reading of a sentence may stray: 0 not at all, 1 as in training (default 1)",
    )
    add(
        "--noise_scale",
        metavar="X",
        type=float,
        default=1.0,
        help="how far the noise, which decides the pose, may stray (default 1)",
    )
    add("--same_noise", action="store_true", help="copy k of every sentence gets the same noise and epsilons")
    add("--interpolate", action="store_true", help="from the first of two sentences to the second: a strip and a GIF")
    add("--steps", metavar="N", type=int, help="images of an interpolation (default 8)")
    return parser


# -- what goes in -------------------------------------------------------------------------------------------------


def _sentences(arguments: argparse.Namespace, after_dashes: list[str]) -> list[str]:
    sentences = [*arguments.sentences, *after_dashes]
    if arguments.file is not None:
        sentences += _lines("standard input" if arguments.file == "-" else arguments.file, arguments.file)
    elif not sentences:
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError(
                'there is no sentence: give one, such as "this bird is red with black wings", or --file FILE'
            )
        sentences = _lines("standard input", "-")
    return sentences


def _lines(name: str, file: str) -> list[str]:
    """The sentences of a file or of standard input, one a line. Raises `InputError` if there is none."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", _decoded(_bytes(file), name))]
    sentences = [line for line in lines if line]
    if not sentences:
        raise InputError(f"{name} holds no sentence: write one a line")
    return sentences


def _bytes(file: str) -> bytes:
    if file == "-":
        return b"" if sys.stdin is None else sys.stdin.buffer.read()
    path = Path(file).expanduser()
    if path.is_dir():
        raise InputError(f"{file} is a folder: give a text file of one sentence a line")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"there is no file {file}: give a text file of one sentence a line") from None


def _decoded(data: bytes, name: str) -> str:
    """Text, as `files.decode` reads it. Raises `InputError` if it is none."""
    text = decode(data)
    control = sum(unicodedata.category(character) == "Cc" and not character.isspace() for character in text)
    if control > len(text) // 10:
        raise InputError(f"{name} is no text: give a text file of one sentence a line")
    return text


def _check_interpolation(arguments: argparse.Namespace, sentences: int) -> None:
    if not arguments.interpolate and arguments.steps is not None:
        raise InputError("--steps belongs to --interpolate: give that and two sentences, or leave it out")
    if arguments.interpolate and sentences != 2:
        raise InputError(f"--interpolate goes from one sentence to another, but {sentences} were given: give two")
    if arguments.interpolate and arguments.count is not None:
        raise InputError("--interpolate draws one row of images: leave out --count, and give --steps for a longer one")


def _caption(sentence: str, length: int) -> str:
    """A sentence as far as it is read, for a label."""
    text = " ".join(sentence[:length].split()) or "(nothing)"
    return text + (" …" if len(sentence) > length else "")


# -- what comes out -----------------------------------------------------------------------------------------------


def _write_pictures(model, call: Call, count: int, folder: Path) -> None:
    """One PNG a picture as they are drawn, and grids of as many sentences as go well on one."""
    drawn = model.pictures(call.given, count, **call.draws, same_noise=call.same_noise)
    number, shown = len(call.sentences), min(count, SHOWN)
    per_page = max(1, PAGE // shown)
    stem = f"grid_{_tag_of_all(call.sentences)}_{call.suffix}_copies{count}"
    grids = []
    with tqdm(drawn, "drawing", number * count, unit=" pictures", leave=False, disable=None) as bar:
        written = _written(bar, call, count, folder)
        for first in range(0, number, per_page):
            places = range(first, min(first + per_page, number))
            page = f"_page{len(grids) + 1}" if number > per_page else ""
            grids.append(folder / f"{stem}{page}.png")
            images.write(grids[-1], _sheet(call, places, [_rows(islice(written, count)) for _ in places]))
    print(f"pictures: {folder}: {count} of each stage for each of {number} sentence{'s' * (number > 1)}")
    if count > shown:
        print(f"note: the grid shows the first {shown} of {count} copies")
    for grid in grids:
        print(f"grid: {grid}")


def _written(drawn: Iterable[dict], call: Call, count: int, folder: Path) -> Iterator[dict[str, np.ndarray]]:
    """Every picture of the call by its stages, once its files are written."""
    for made, (place, copy) in zip(drawn, product(range(len(call.sentences)), range(count)), strict=True):
        stages = _by_stage(made)
        stem = f"{place + 1:02d}_{_tag(call.sentences[place])}_{call.suffix}_copy{copy + 1:02d}"
        for stage, pixels in stages.items():
            images.write(folder / f"{stem}_{stage}.png", pixels)
        yield stages


def _sheet(call: Call, places: range, blocks: list[list[tuple[str, np.ndarray]]]) -> np.ndarray:
    """The grid of the sentences at `places`, each with its rows of pictures."""
    captions = [f"{place + 1}. {call.captions[place]}" for place in places]
    names = [f"{STAGES[stage]}\n{row.shape[1]} pixels" for stage, row in blocks[0]]
    return images.block_sheet(captions, [[row for _, row in rows] for rows in blocks], names)


def _rows(copies: Iterable[dict[str, np.ndarray]]) -> list[tuple[str, np.ndarray]]:
    """The first copies by rows of at most `COLUMNS`, a first stage's above the second's, with the stages' names."""
    kept = [made for copy, made in enumerate(copies) if copy < SHOWN]
    starts = range(0, len(kept), COLUMNS)
    return [(stage, np.stack([made[stage] for made in kept[i : i + COLUMNS]])) for i in starts for stage in kept[0]]


def _write_interpolation(model, call: Call, steps: int, folder: Path) -> None:
    """The strip, sketches above pictures, and the GIF, there and back."""
    made = _by_stage(model.interpolate(*call.given, steps, **call.draws))
    pictures = list(made.values())[-1]
    stem = folder / f"interpolation_{_tag(call.sentences[0])}_to_{_tag(call.sentences[1])}_{call.suffix}_steps{steps}"
    shown = np.unique(np.linspace(0, steps - 1, min(steps, STRIP)).round().astype(int))
    captions = [call.captions[0], *[""] * (len(shown) - 2), call.captions[1]]
    rows = [images.enlarge(row[shown], pictures.shape[1]) for row in made.values()]
    images.write(Path(f"{stem}.png"), images.labelled_grid(rows, captions, max_lines=None))
    there_and_back = [*range(steps), *range(steps - 2, 0, -1)]
    times = [END_MILLISECONDS if step in (0, steps - 1) else STEP_MILLISECONDS for step in there_and_back]
    images.write_gif(Path(f"{stem}.gif"), images.enlarge(pictures[there_and_back], images.SMALLEST), times)
    print(f"strip: {stem}.png\nanimation: {stem}.gif")


def _by_stage(made: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Pictures under the name of the stage that drew them, the first stage first."""
    if "stage1_image" in made:
        return {"stage1": made["stage1_image"], "stage2": made["image"]}
    return {"stage1": made["image"]}


# -- names of files -----------------------------------------------------------------------------------------------


def _tag(sentence: str) -> str:
    """A sentence for a file name: a to z, digits and dashes, at most 49 of them; with a code unless they say it all."""
    plain = unicodedata.normalize("NFKD", sentence).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain)[:40].strip("-")
    says_it_all = slug and slug.replace("-", " ") == sentence.lower()
    return slug if says_it_all else f"{slug}-{_code(sentence)}".lstrip("-")


def _tag_of_all(sentences: list[str]) -> str:
    if len(sentences) == 1:
        return _tag(sentences[0])
    return f"{_tag(sentences[0])}-and-{len(sentences) - 1}-more-{_code(chr(10).join(sentences))}"


def _code(content: str | bytes) -> str:
    content = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return hashlib.sha256(content).hexdigest()[:8]


if __name__ == "__main__":
    run(main)
