"""The page without gradio: checks the values of its controls and makes the files, captions and commands beside them."""

import shlex
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from stackgan_keras.command_line import quietly
from stackgan_keras.data import grids, rgb
from stackgan_keras.errors import InputError, whole_number
from stackgan_keras.files import read_text
from stackgan_keras.inference import attention
from stackgan_keras.models.runs import find_run, runs_in, shipped_homes

MOST_SENTENCES, MOST_LETTERS, MOST_COPIES, MOST_STEPS = 8, 10_000, 16, 24
COLUMNS = 6  # images in a row of a walk's strip
MILLISECONDS = 150  # of a frame of its animation
EXAMPLES = {  # by a part of the run's name
    "flower": ("this flower has pink petals and a yellow center", "a white flower", "the petals are red and long"),
    "": ("this bird is red with black wings", "a small yellow bird with a black crown", "a blue bird with white wings"),
}


class Studio:
    """What the page does, without the page: methods take what its controls hold and return what these are to hold."""

    def __init__(self, output_dir: Path):
        self.output_dir = output_dir
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self._temporary.name)  # for files, until the program ends
        self.loaded = lru_cache(maxsize=2)(self._loaded)

    def runs(self) -> list[str]:
        """The runs that read sentences and draw."""
        homes = [self.output_dir / "weights", *shipped_homes()]
        return [name for name in runs_in(homes) if name in runs_in(homes, ["text_encoder"])]

    def examples(self, run: str) -> list[str]:
        """Sentences that suit a run: the lines of `examples.txt` beside its weights, or those of its kind."""
        file = self._folder(run) / "examples.txt"
        lines = read_text(file).split("\n") if file.is_file() else ()
        return [s for s in lines if s.strip()] or list(next(s for kind, s in EXAMPLES.items() if kind in run.lower()))

    def load(self, run: str) -> Any:
        """A run's `StackGAN`, anew where a training has written newer weights."""
        folder = self._folder(run)
        return self.loaded(folder, max(file.stat().st_mtime for file in folder.glob("*.weights.h5")))

    def _folder(self, run: str) -> Path:
        names = self.runs()
        if run not in names:
            raise InputError(f"there is no run {str(run)[:40]!r}: choose one of {', '.join(names)}")
        return find_run(self.output_dir, run)

    def _loaded(self, folder: Path, _written: float):
        with quietly():
            from stackgan_keras.inference.stackgan import StackGAN
        return StackGAN.load(folder)

    def unread(self, run: str, sentences: str) -> str:
        """What the run's text encoder does not read, sentence by sentence, or why it reads nothing."""
        try:
            notes = [(place, self.load(run).unread(s)) for place, s in enumerate(_lines(sentences), start=1)]
        except InputError as problem:
            return f"{problem}."
        return "\n\n".join(f"Sentence {place}: {note}." for place, note in notes if note)

    def draw(
        self,
        run: str,
        sentences: str,
        count: float,
        seed: float,
        noise_scale: float,
        epsilon_scale: float,
        same_noise: bool,
    ) -> tuple[dict[str, list[tuple[str, str]]], str]:
        """Images by title, each a list of (PNG, caption), and the command that makes the same images.

        Of the run's images they are the smallest and the final one; of AttnGAN's the final one, and where its words
        were looked at.
        """
        lines, copies, key = _lines(sentences), whole_number("count", _whole(count), 1, MOST_COPIES), _whole(seed)
        asked = {"noise_scale": noise_scale, "epsilon_scale": epsilon_scale, "same_noise": same_noise is True}
        made = self._drawn(self.load(run), lines, copies, key, asked)
        files: dict[str, list[tuple[str, str]]] = {title: [] for title in made}
        folder = self._emptied()
        for stage, images in made.items():
            for place, sentence in enumerate(lines):
                for copy in range(copies):
                    file = folder / f"{run}_seed{key}_{place + 1:02d}_copy{copy + 1:02d}_{stage.replace(' ', '')}.png"
                    about = {"sentence": sentence, "place": place + 1, "copy": copy + 1, "stage": stage, "run": run}
                    rgb.write(file, images[place * copies + copy], about | {"seed": key} | asked)
                    caption = f"seed {key}, copy {copy + 1}"
                    files[stage].append((str(file), caption if len(lines) == 1 else f"{sentence[:60]}, {caption}"))
        scales = [word for scale, value in list(asked.items())[:2] for word in (f"--{scale}", str(value)) if value != 1]
        words = ["--count", str(copies), *scales, *(["--same_noise"] if same_noise is True else [])]
        return files, self._command(run, key, words, lines)

    @staticmethod
    def _drawn(model: Any, lines: list[str], copies: int, key: int, asked: dict) -> dict[str, list[np.ndarray]]:
        """The images to show by title, those of all copies of the first sentence first."""
        words = "words" in model.takes
        made = [*model.images(lines, copies, key, **asked, attention=words)]
        names = [name for name in made[0] if not name.startswith("attention_")]
        titles, ends = grids.titles_of(names), names[-1:] if words else dict.fromkeys((names[0], names[-1]))
        found = {titles[name]: [images[name] for images in made] for name in ends}
        if words:
            *_, weights = made[0]  # the largest map
            sentences = [sentence for sentence in lines for _ in range(copies)]
            found["Words"] = [
                attention.maps(images[names[-1]], model.words_of(sentence), images[weights])
                for sentence, images in zip(sentences, made, strict=True)
            ]
        return found

    def walk(self, run: str, first: str, second: str, steps: float, seed: float) -> tuple[str, str, str]:
        """A strip (PNG) and an animation (GIF) of images between two sentences, and the command that makes them."""
        ends = [_text(sentence) for sentence in (first, second)]
        number, key = whole_number("steps", _whole(steps), 2, MOST_STEPS), _whole(seed)
        *_, made = self.load(run).interpolate(*ends, number, key).values()
        stem = self._emptied() / f"{run}_walk_seed{key}_steps{number}"
        strip, animation = stem.with_suffix(".png"), stem.with_suffix(".gif")
        about = {"from": ends[0], "to": ends[1], "steps": number, "run": run, "seed": key}
        rgb.write(strip, grids.grid([made[i : i + COLUMNS] for i in range(0, number, COLUMNS)]), about)
        frames = made[rgb.there_and_back(number)]
        rgb.write_gif(animation, grids.enlarge(frames, 256), [MILLISECONDS] * len(frames))
        return str(strip), str(animation), self._command(run, key, ["--interpolate", "--steps", str(number)], ends)

    def _command(self, run: str, seed: int, words: list[str], sentences: list[str]) -> str:
        below = [] if self.output_dir == Path() else ["--output_dir", str(self.output_dir)]
        words = ["--run", run, *below, "--seed", str(seed), *words, "--", *sentences]
        return f"python -m stackgan_keras.generate {shlex.join(words)}"

    def _emptied(self) -> Path:
        """The folder of the images asked for last: the page has copied those before."""
        folder = self.folder / "made"
        shutil.rmtree(folder, ignore_errors=True)
        return folder


def is_example(text: str) -> bool:
    return any(text in sentences for sentences in EXAMPLES.values())


def _text(given: str) -> str:
    if not isinstance(given, str) or len(given) > MOST_LETTERS:
        raise InputError(f"the sentences are no text of at most {MOST_LETTERS:,} characters: write less")
    if not given.strip():
        raise InputError("there is no sentence: write what the image is to show, or choose an example")
    return given.encode("utf-8", "replace").decode()  # half an emoji is no text that can be sent back


def _lines(text: str) -> list[str]:
    """The sentences of the box, one a line."""
    lines = [line.strip() for line in _text(text).split("\n") if line.strip()]
    if len(lines) > MOST_SENTENCES:
        raise InputError(f"{len(lines)} sentences were given: write at most {MOST_SENTENCES}, one a line")
    return lines


def _whole(value: Any) -> Any:
    """Numbers come from a page as floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
