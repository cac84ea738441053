"""A page on this machine: sentences to images, a walk between two sentences, and a training as it goes.

python -m stackgan_keras.app                     opens http://127.0.0.1:7860
python -m stackgan_keras.app --output_dir DIR    with the runs below DIR beside those that are shipped
"""

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stackgan_keras import config
from stackgan_keras.command_line import Parser, quietly, run
from stackgan_keras.config import Folders
from stackgan_keras.data import images
from stackgan_keras.errors import InputError, whole_number
from stackgan_keras.models.runs import find_run, shipped_homes, weight_file

MOST_SENTENCES, MOST_COPIES, MOST_STEPS = 8, 16, 24
STAGES = ("Stage I", "Stage II")
EXAMPLES = (
    "this bird is red with black wings",
    "a small yellow bird with a black crown",
    "a blue bird with a white belly and an orange beak",
)
REFRESH = 5  # seconds between looks at a training
CSS = ".stage1 img {image-rendering: pixelated} footer {display: none}"


class Studio:
    """What the page does, without the page: every method takes what its controls hold and returns what they show."""

    def __init__(self, output_dir: Path):
        self.output_dir = output_dir
        self.scratch = tempfile.TemporaryDirectory()  # images wait here until they are looked at
        self.load = lru_cache(maxsize=2)(self._load)

    def runs(self) -> list[str]:
        """The runs that read sentences, the user's own first."""
        homes = [self.output_dir / "weights", *shipped_homes()]
        folders = [folder for home in homes if home.is_dir() for folder in sorted(home.iterdir())]
        return list(dict.fromkeys(folder.name for folder in folders if weight_file(folder, "text_encoder").is_file()))

    def _load(self, name: str):
        with quietly():
            from stackgan_keras.inference.stackgan import StackGAN
        return StackGAN.load(find_run(self.output_dir, name))

    def draw(self, name, text, count, seed, noise_scale, epsilon_scale, same_noise):
        """Stage I, Stage II (each a list of (file, caption)), and a note on what of the sentences is not read."""
        sentences = [line.strip() for line in str(text or "").split("\n") if line.strip()]
        if not 1 <= len(sentences) <= MOST_SENTENCES:
            raise InputError(f"{len(sentences)} sentences were given: write 1 to {MOST_SENTENCES}, one a line")
        count = whole_number("count", _whole(count), 1, MOST_COPIES)
        scales = {"noise_scale": noise_scale, "epsilon_scale": epsilon_scale}
        made = self.load(name).generate(sentences, count, _whole(seed), **scales, same_noise=bool(same_noise))
        settings = {"run": name, "seed": _whole(seed), **scales, "same_noise": bool(same_noise)}
        shown = {stage: [] for stage in STAGES}
        for stage, pixels in zip(STAGES, _stages(made), strict=False):
            for place, sentence in enumerate(sentences):
                for copy in range(count):
                    facts = {"sentence": sentence, "stage": stage, "place": place + 1, "copy": copy + 1, **settings}
                    caption = f"{sentence[:80]} · seed {settings['seed']}, copy {copy + 1}"
                    shown[stage].append((self._save(pixels[place, copy], facts), caption))
        return *shown.values(), self.note(sentences)

    def note(self, sentences: list[str]) -> str:
        from stackgan_keras.models import text_encoder

        return "\n\n".join(f"“{s[:60]}”: {note}" for s in sentences if (note := text_encoder.unread(s)))

    def walk(self, name, first, second, steps, seed):
        """The strip (height, width, 3) and the GIF's path, of images between two sentences."""
        steps = whole_number("steps", _whole(steps), 2, MOST_STEPS)
        made = _stages(self.load(name).interpolate(str(first or ""), str(second or ""), steps, _whole(seed)))[-1]
        shown = made[np.unique(np.linspace(0, steps - 1, min(steps, 8)).round().astype(int))]
        path = Path(tempfile.mkdtemp(dir=self.scratch.name)) / f"{name}_walk_seed{_whole(seed)}_steps{steps}.gif"
        frames = images.enlarge(made[[*range(steps), *range(steps - 2, 0, -1)]], images.SMALLEST)
        images.write_gif(path, frames, [150] * len(frames))
        return images.grid([shown]), str(path)

    def trainings(self) -> list[str]:
        """The trainings that have left figures, the newest first."""
        logs = self.output_dir / "logs"
        files = sorted(logs.glob("*/*/metrics.jsonl"), key=lambda file: -file.stat().st_mtime)
        return [file.parent.relative_to(logs).as_posix() for file in files]

    def watch(self, training):
        """Its newest image grid, its losses as a table (epoch, loss, value), and how far it is, in a sentence."""
        if training not in self.trainings():
            return None, None, "No training has left any figures yet: the first come after an epoch."
        name, stage = training.split("/")
        folders = Folders(self.output_dir, name)
        grids = sorted((folders.results / stage).glob("*.png"), key=lambda file: file.stat().st_mtime)
        grids = [file for file in grids if file.name != "curves.png"]
        table = pd.read_json(folders.logs / stage / "metrics.jsonl", lines=True)
        losses = table.drop(columns=["step", "pictures_per_second"]).melt("epoch", var_name="loss")
        return (
            (np.asarray(Image.open(grids[-1])) if grids else None),
            losses,
            self._progress(folders.logs / stage, table),
        )

    def _progress(self, folder: Path, table: pd.DataFrame) -> str:
        settings, last = config.make(config.read(folder / "config.yaml")), table.iloc[-1]
        section = settings.text if folder.name == "text" else settings.train
        left = (section.epochs - last["epoch"]) * last["step"] / last["epoch"] * section.batch_size
        hours = left / last["pictures_per_second"] / 3600
        return (
            f"Epoch {last['epoch']:.0f} of {section.epochs}, {last['pictures_per_second']:.1f} pictures a second; "
            + (f"at this pace {hours:.1f} hours are left." if left > 0 else "it is finished.")
        )

    def _save(self, pixels: np.ndarray, facts: dict) -> str:
        """A PNG that carries what makes it again."""
        about = PngInfo()
        for key, value in facts.items():
            about.add_itxt(key, str(value))
        stage = facts["stage"].lower().replace(" ", "_")
        name = f"{facts['run']}_seed{facts['seed']}_{facts['place']:02d}_copy{facts['copy']:02d}_{stage}.png"
        path = Path(tempfile.mkdtemp(dir=self.scratch.name)) / name
        Image.fromarray(pixels).save(path, pnginfo=about)
        return str(path)


def _stages(made: dict) -> list[np.ndarray]:
    return [made[name] for name in ("stage1_image", "image") if name in made]


def _whole(value):
    """Numbers come from a page as floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def page(studio: Studio):
    """The page: three tabs of controls, each tied to a method of the studio."""
    import gradio as gr

    def told(method: Callable) -> Callable:
        @wraps(method)
        def answer(*values):
            try:
                return method(*values)
            except InputError as problem:
                raise gr.Error(str(problem), title="Please change this", print_exception=False) from None

        return answer

    names = studio.runs()
    with gr.Blocks(title="StackGAN", analytics_enabled=False) as made:
        gr.Markdown("# StackGAN\nA sentence becomes a 64-pixel image (Stage I), and from that a larger one (Stage II).")
        name = gr.Dropdown(names, value="drawn" if "drawn" in names else names[0], label="Run")
        with gr.Tab("Draw"):
            text = gr.Textbox(EXAMPLES[0], lines=3, label="Sentences, one a line", max_length=10_000)
            gr.Examples([[sentence] for sentence in EXAMPLES], text, label="Examples")
            with gr.Row():
                count = gr.Slider(1, MOST_COPIES, 4, step=1, label="Images of each")
                seed = gr.Number(0, precision=0, label="Seed")
                dice = gr.Button("🎲 another seed")
            with gr.Row():
                noise = gr.Slider(0, 2, 1, step=0.05, label="Noise", info="decides the pose; 0: the typical one")
                epsilon = gr.Slider(0, 2, 1, step=0.05, label="Condition", info="how freely the sentence is read")
                same = gr.Checkbox(label="Same pose, other colours", info="one noise for all sentences")
            go = gr.Button("Draw", variant="primary")
            note = gr.Markdown()
            with gr.Row():
                stage1, stage2 = (
                    gr.Gallery(label=stage, columns=2, object_fit="contain", format="png", elem_classes=kind)
                    for stage, kind in zip(STAGES, ("stage1", "stage2"), strict=True)
                )
            controls = [name, text, count, seed, noise, epsilon, same]
            gr.on([go.click, made.load], told(studio.draw), controls, [stage1, stage2, note], api_name="draw")
            dice.click(lambda: random.randrange(2**31), None, seed, api_name=False)
        with gr.Tab("Walk"):
            first, second = gr.Textbox("a red bird", label="From"), gr.Textbox("a blue bird", label="To")
            steps = gr.Slider(2, MOST_STEPS, 12, step=1, label="Images")
            start = gr.Button("Walk", variant="primary")
            strip, animation = gr.Image(label="Strip", format="png"), gr.Image(label="Animation", type="filepath")
            start.click(told(studio.walk), [name, first, second, steps, seed], [strip, animation], api_name="walk")
        with gr.Tab("Training"):
            training = gr.Dropdown(studio.trainings(), label="Training", allow_custom_value=True)
            progress = gr.Markdown()
            grid, losses = gr.Image(label="Newest grid", format="png"), gr.LinePlot(x="epoch", y="value", color="loss")
            gr.on(
                [gr.Timer(REFRESH).tick, training.change],
                told(studio.watch), training, [grid, losses, progress], api_name="watch",
            )  # fmt: skip
    return made


def main() -> None:
    given = _arguments(sys.argv[1:])
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio as gr
    except ImportError:
        raise InputError("the page needs gradio, which is not installed: pip install 'stackgan_keras[app]'") from None
    studio = Studio(given.output_dir)
    if not studio.runs():
        raise InputError(f"there is no run that reads sentences below {given.output_dir / 'weights'}: train one")
    plain = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])  # others come over the net
    page(studio).queue(default_concurrency_limit=1).launch(
        server_name=given.host, server_port=given.port, theme=plain, css=CSS, share=False, quiet=False
    )


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m stackgan_keras.app",
        description="Opens a page on this machine on which sentences become images.",
    )
    add = parser.add_argument
    add(
        "--output_dir", metavar="DIR", type=Path, default=Path(), help="parent of weights/, results/, logs/ (default .)"
    )
    add("--host", metavar="NAME", default="127.0.0.1", help="address to listen on (default 127.0.0.1: this machine)")
    add("--port", metavar="N", default=7860, help="port to listen on (default 7860)")
    given = parser.parse_args(arguments)
    given.port = whole_number("--port", given.port, 1, 65535)
    return given


if __name__ == "__main__":
    run(main)
