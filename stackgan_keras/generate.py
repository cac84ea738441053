"""Generate images of sentences from a run's weights: both stages as PNGs, and a grid of all of them."""

import argparse
import hashlib
import re
import sys
import unicodedata
from pathlib import Path

import numpy as np
from tqdm import tqdm

from stackgan_keras.command_line import Parser, quietly, run
from stackgan_keras.config import Folders
from stackgan_keras.data import grids, images
from stackgan_keras.errors import InputError
from stackgan_keras.files import decode
from stackgan_keras.models.runs import find_run
from stackgan_keras.porting import embedded_sentences

COLUMNS = 8  # copies side by side on a grid
SHOWN = 64  # copies of one sentence on a grid
PAGE = 96  # pictures on a grid, after which another begins
CAPTION = 201  # characters of a sentence on a grid: as many as the text encoder reads
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
  from the weights of a run of your own; sentences that another program has embedded
    python -m stackgan_keras.generate --run birds --output_dir DIR "a red bird"
    python -m stackgan_keras.generate --run birds --embedded example_captions.t7

results/<run>/generated/ then holds 01_a-red-bird_seed0_copy01_stage1.png and so on, and a grid of all of them. Names
carry everything that was asked for (a sentence too long or too odd for a file name by a short code at its end), so
other sentences, seeds or scales make other files, and the same call makes the same files again.
"""


def main() -> None:
    arguments = _arguments()
    if arguments.embedded is None:
        sentences = given = _sentences(arguments)
    elif arguments.file is None and not arguments.sentences:
        sentences, given = embedded_sentences.read(arguments.embedded)
    else:
        raise InputError("--embedded brings sentences of its own: leave out the others")
    if not arguments.interpolate and arguments.steps is not None:
        raise InputError("--steps belongs to --interpolate: give that and two sentences, or leave it out")
    if arguments.interpolate and len(sentences) != 2:
        raise InputError(f"--interpolate goes from one sentence to another, but {len(sentences)} were given: give two")
    if arguments.interpolate and arguments.count is not None:
        raise InputError("--interpolate draws one row of images: leave out --count, and give --steps for a longer one")
    with quietly():  # only now, as it takes seconds: help and missing sentences answer at once
        from stackgan_keras.inference.stackgan import StackGAN

    weights = find_run(arguments.output_dir, arguments.run)
    model = StackGAN.load(weights, embedded=arguments.embedded is not None)
    print(f"weights: {weights}")
    for place, sentence in enumerate([] if arguments.embedded else sentences, start=1):
        if note := model.unread(sentence):
            print(f"note: sentence {place}: {note}")
    if "stage1_image" not in model.generator.output:
        print(
            "note: this run has no Stage II yet, so these are its Stage-I images: "
            f"python -m stackgan_keras.train_stage2 --run {arguments.run} makes the rest"
        )
    folder = Folders(arguments.output_dir, arguments.run).results / "generated"
    write = _write_interpolation if arguments.interpolate else _write_pictures
    write(model, arguments, given, sentences, folder)


def _arguments() -> argparse.Namespace:
    parser = Parser(
        formatter=argparse.RawDescriptionHelpFormatter,
        prog="python -m stackgan_keras.generate",
        description="Generates images of sentences, of Stage I and Stage II, and a grid of all of them.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add("sentences", nargs="*", metavar="SENTENCE", help="in quotes, after -- if it begins with a dash; or from stdin")
    add("--file", metavar="FILE", help="text file of one sentence a line, blank lines are skipped; -: standard input")
    add("--embedded", metavar="FILE", help="sentences embedded already, instead: .t7 of the old tools, .npy, .npz")
    add("--run", metavar="NAME", default="drawn", help="run whose weights draw (default drawn, which is shipped)")
    add("--output_dir", metavar="DIR", type=Path, default=Path(), help="parent of weights/ and results/ (default .)")
    add("--count", metavar="N", type=int, help="pictures of each sentence (default 4)")
    add("--seed", metavar="N", type=int, default=0, help="same seed, same pictures (default 0)")
    scale = {"metavar": "X", "type": float, "default": 1.0}
    add("--epsilon_scale", **scale, help="how far a sentence's reading may stray; 0: not at all (default 1)")
    add("--noise_scale", **scale, help="how far the noise, which decides the pose, may stray (default 1)")
    add("--same_noise", action="store_true", help="copy k of every sentence gets the same noise and epsilons")
    add("--interpolate", action="store_true", help="from the first of two sentences to the second: a strip and a GIF")
    add("--steps", metavar="N", type=int, help="images of an interpolation (default 8)")
    words = sys.argv[1:]
    dashes = words.index("--") if "--" in words else len(words)  # argparse would forget them on its second look
    arguments = parser.parse_intermixed_args(words[:dashes])
    arguments.sentences += words[dashes + 1 :]
    return arguments


def _sentences(arguments: argparse.Namespace) -> list[str]:
    if arguments.file is not None:
        name = "standard input" if arguments.file == "-" else arguments.file
        return arguments.sentences + _lines(name, arguments.file)
    if arguments.sentences:
        return arguments.sentences
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError('there is no sentence: give one, such as "this bird is red with black wings", or --file FILE')
    return _lines("standard input", "-")


def _lines(name: str, file: str) -> list[str]:
    """The sentences of a file or of standard input (`-`), one a line. Raises `InputError` if there is none."""
    try:
        if file == "-":
            text = decode(b"" if sys.stdin is None else sys.stdin.buffer.read())
        else:
            text = decode(Path(file).expanduser().read_bytes())
    except (FileNotFoundError, IsADirectoryError) as problem:
        found = f"there is no file {file}" if isinstance(problem, FileNotFoundError) else f"{file} is a folder"
        raise InputError(f"{found}: give a text file of one sentence a line") from None
    control = sum(unicodedata.category(character) == "Cc" and not character.isspace() for character in text)
    if control > len(text) // 10:
        raise InputError(f"{name} is no text: give a text file of one sentence a line")
    sentences = [line.strip() for line in text.split("\n") if line.strip()]
    if not sentences:
        raise InputError(f"{name} holds no sentence: write one a line")
    return sentences


def _write_pictures(model, arguments: argparse.Namespace, given, sentences: list[str], folder: Path) -> None:
    """One PNG a picture as they are drawn, and grids of as many sentences as go well on one."""
    count = 4 if arguments.count is None else arguments.count
    scales = {"epsilon_scale": arguments.epsilon_scale, "noise_scale": arguments.noise_scale}
    drawn = model.pictures(given, count, arguments.seed, **scales, same_noise=arguments.same_noise)
    number, shown = len(sentences), min(count, SHOWN)
    per_page = max(1, PAGE // shown)
    suffix = _suffix(arguments, given)
    others = f"-and-{number - 1}-more-{_code(chr(10).join(sentences))}" if number > 1 else ""
    stem = folder / f"grid_{_tag(sentences[0])}{others}_{suffix}_copies{count}"
    grids, captions, blocks = [], [], []
    with tqdm(desc="drawing", total=number * count, unit=" pictures", leave=False, disable=None) as bar:
        for place, sentence in enumerate(sentences, start=1):
            kept = []
            for copy in range(1, count + 1):
                stages = _by_stage(next(drawn))
                for stage, pixels in stages.items():
                    name = f"{place:02d}_{_tag(sentence)}_{suffix}_copy{copy:02d}_{stage}.png"
                    images.write(folder / name, pixels)
                if copy <= SHOWN:
                    kept.append(stages)
                bar.update()
            captions.append(f"{place}. {_caption(sentence)}")
            starts = range(0, len(kept), COLUMNS)  # in each of these rows, Stage I stands above Stage II
            blocks.append([np.stack([made[s] for made in kept[i : i + COLUMNS]]) for i in starts for s in kept[0]])
            if len(blocks) == per_page or place == number:
                names = [f"{STAGES[s]}\n{len(kept[0][s])} pixels" for _ in starts for s in kept[0]]
                page = f"_page{len(grids) + 1}" if number > per_page else ""
                grids.append(Path(f"{stem}{page}.png"))
                images.write(grids[-1], grids.block_grid(captions, blocks, names))
                captions, blocks = [], []
    print(f"pictures: {folder}: {count} of each stage for each of {number} sentence{'s' * (number > 1)}")
    if count > shown:
        print(f"note: the grid shows the first {shown} of {count} copies")
    for grid in grids:
        print(f"grid: {grid}")


def _write_interpolation(model, arguments: argparse.Namespace, given, sentences: list[str], folder: Path) -> None:
    """The strip, Stage-I images above those of Stage II, and the GIF, there and back."""
    steps = 8 if arguments.steps is None else arguments.steps
    scales = {"epsilon_scale": arguments.epsilon_scale, "noise_scale": arguments.noise_scale}
    made = _by_stage(model.interpolate(*given, steps, arguments.seed, **scales))
    pictures = list(made.values())[-1]
    first, last = sentences
    stem = folder / f"interpolation_{_tag(first)}_to_{_tag(last)}_{_suffix(arguments, given)}_steps{steps}"
    shown = np.unique(np.linspace(0, steps - 1, min(steps, STRIP)).round().astype(int))
    captions = [_caption(first), *[""] * (len(shown) - 2), _caption(last)]
    rows = [grids.enlarge(row[shown], pictures.shape[1]) for row in made.values()]
    images.write(Path(f"{stem}.png"), grids.labelled_grid(rows, captions, max_lines=None))
    there_and_back = [*range(steps), *range(steps - 2, 0, -1)]
    times = [END_MILLISECONDS if step in (0, steps - 1) else STEP_MILLISECONDS for step in there_and_back]
    images.write_gif(Path(f"{stem}.gif"), grids.enlarge(pictures[there_and_back], grids.SMALLEST), times)
    print(f"strip: {stem}.png\nanimation: {stem}.gif")


def _caption(sentence: str) -> str:
    """The sentence for a label."""
    text = " ".join(sentence[:CAPTION].split()) or "(nothing)"
    return text + (" …" if len(sentence) > CAPTION else "")


def _by_stage(made: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Pictures under the name of the stage that drew them, the first stage first."""
    if "stage1_image" in made:
        return {"stage1": made["stage1_image"], "stage2": made["image"]}
    return {"stage1": made["image"]}


def _suffix(arguments: argparse.Namespace, given: list[str] | np.ndarray) -> str:
    """The part of a file's name that says how the noise was drawn."""
    scales = {"epsilon": arguments.epsilon_scale, "noise": arguments.noise_scale}
    parts = [f"seed{arguments.seed}", *(f"{name}{scale}" for name, scale in scales.items() if scale != 1)]
    if isinstance(given, np.ndarray):
        parts.append(f"embedded-{_code(given.tobytes())}")
    return "_".join([*parts, *["samenoise"] * arguments.same_noise])


def _tag(sentence: str) -> str:
    """A sentence for a file name: a to z, digits and dashes, at most 49 of them; with a code unless they say it all."""
    plain = unicodedata.normalize("NFKD", sentence).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain)[:40].strip("-")
    says_it_all = slug and slug.replace("-", " ") == sentence.lower()
    return slug if says_it_all else f"{slug}-{_code(sentence)}".lstrip("-")


def _code(content: str | bytes) -> str:
    content = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return hashlib.sha256(content).hexdigest()[:8]


if __name__ == "__main__":
    run(main)
