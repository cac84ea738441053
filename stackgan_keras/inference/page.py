"""The page that `app` opens: three tabs of gradio's controls, each tied to a method of the studio."""

import random
from functools import partial, wraps
from typing import Any

import gradio as gr

from stackgan_keras.errors import InputError
from stackgan_keras.inference.calls import Listeners
from stackgan_keras.inference.studio import MOST_COPIES, MOST_STEPS, Studio, is_example
from stackgan_keras.training import progress

REFRESH = 5  # seconds between looks at a training
MOST_COLUMNS = 4  # of a gallery
BUTTONS: list[Any] = ["download", "fullscreen"]
THEME = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])  # other fonts come over the net
CSS = """
.stage1 img {image-rendering: pixelated}
.stages .grid-wrap {min-height: 0; max-height: none; padding-top: 2.4rem}
.stages .caption-label {left: 0; right: 0; max-width: none; text-align: center; opacity: .85}
.framed .image-container {padding-top: 2.4rem}
.dice {min-width: 7rem !important; max-width: 7rem}
.same {align-content: center}
@media (max-width: 640px) {.stages .grid-container {grid-template-columns: repeat(2, 1fr) !important}}
footer {display: none !important}
"""
# the studio checks all values
MODEL: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1, "preprocess": False}
HIDDEN: dict[str, Any] = {"api_visibility": "private"}
_slider = partial(gr.Slider, min_width=280)
_command = partial(gr.Textbox, label="The command that makes these again", buttons=["copy"], interactive=False)


def page(studio: Studio, name: str, listeners: Listeners) -> gr.Blocks:
    """The page, on which the run `name` is chosen at first. It draws only where `listeners` knows who awaits it."""
    with gr.Blocks(title="StackGAN", analytics_enabled=False, delete_cache=(600, 3600)) as made:
        with gr.Row(equal_height=True):
            with gr.Column(min_width=320):
                gr.Markdown("# StackGAN\nA sentence becomes a small image (Stage I), and that a larger one (Stage II).")
            run = gr.Dropdown(studio.runs(), value=name, label="Run", min_width=280)
        with gr.Tab("Draw"):
            text, examples, draw = _draw_tab(studio, run, made, listeners)
        with gr.Tab("Walk") as tab:
            boxes = [text, *_walk_tab(studio, run, tab, listeners)]
        with gr.Tab("Training") as tab:
            _training_tab(studio, tab)

        def suit(run, *texts):
            """The runs that are there now, the run's examples, and these in the boxes that hold another run's."""
            own = studio.examples(run)
            places = zip(texts, (own[0], own[0], own[-1]), strict=True)
            fitting = [gr.skip() if text in own or not is_example(text) else sentence for text, sentence in places]
            return gr.Dropdown(studio.runs()), gr.Dataset(samples=[[sentence] for sentence in own]), *fitting

        suiting = {"fn": _or_notice(suit), "inputs": [run, *boxes], "outputs": [run, examples, *boxes], **HIDDEN}
        made.load(**suiting)
        run.change(**suiting).then(**draw, **HIDDEN)
    return made


def _or_notice(method):
    """The method; what it refuses becomes a notice on the page."""

    @wraps(method)
    def answer(*values):
        try:
            return method(*values)
        except InputError as problem:
            raise gr.Error(str(problem), title="Please change this", print_exception=False) from None

    return answer


def _draw_tab(
    studio: Studio, run: gr.Dropdown, page: gr.Blocks, listeners: Listeners
) -> tuple[gr.Textbox, gr.Dataset, dict]:
    """Its box, its examples, and what draws."""
    with gr.Row():
        with gr.Column(scale=3):
            text = gr.Textbox(studio.examples(run.value)[0], lines=3, max_lines=8, label="Sentences, one a line")
            note = gr.Markdown()
        with gr.Column(scale=2):
            samples = [[sentence] for sentence in studio.examples(run.value)]
            examples = gr.Dataset(components=[text], samples=samples, label="Examples", type="values")
    with gr.Row():
        count = _slider(1, MOST_COPIES, 4, step=1, label="Images", info="of each sentence")
        noise = _slider(0, 2, 1, step=0.05, label="Noise strength", info="how far poses stray")
        epsilon = _slider(0, 2, 1, step=0.05, label="Condition strength", info="how freely the sentence is read")
    with gr.Row(equal_height=True):
        seed = gr.Number(0, precision=0, label="Seed", min_width=120)
        dice = gr.Button("Roll dice", elem_classes="dice")
        same = gr.Checkbox(label="Same pose, other colours", elem_classes="same")
        go = gr.Button("Draw", variant="primary")
    with gr.Row():
        stage1, stage2 = (
            gr.Gallery(label=label, columns=2, height="auto", buttons=BUTTONS, elem_classes=["stages", kind])
            for label, kind in (("Stage I", "stage1"), ("Stage II", "stage2"))
        )
    again = _command()
    controls, outputs = [run, text, count, seed, noise, epsilon, same], [stage1, stage2, again]

    def galleries(run, sentences, count, seed, noise_scale, epsilon_scale, same_noise):
        """Both galleries; of several sentences each begins a row."""
        listeners.check_awaited()
        images, command = studio.draw(run, sentences, count, seed, noise_scale, epsilon_scale, same_noise)
        found = [*images.items(), ("", [])][:2]  # a Stage I alone fills one
        columns = 2 if len(found[0][1]) == int(count) else max(2, min(int(count), MOST_COLUMNS))
        shown = [gr.Gallery(files, label=title, columns=columns, visible=bool(files)) for title, files in found]
        return *shown, command

    draw = {"fn": _or_notice(galleries), "inputs": controls, "outputs": outputs, "show_progress_on": again, **MODEL}
    moved = [control.change for control in (count, seed, noise, epsilon, same)]
    gr.on([go.click, page.load, text.submit, *moved], trigger_mode="always_last", api_name="draw", **draw)
    gr.on([text.change, page.load], studio.unread, [run, text], note, api_name="unread", **MODEL)
    examples.click(lambda sample: sample[0], examples, text, **HIDDEN).then(**draw, **HIDDEN)
    dice.click(lambda: random.randrange(2**31), None, seed, **HIDDEN)
    return text, examples, draw


def _walk_tab(studio: Studio, run: gr.Dropdown, tab: gr.Tab, listeners: Listeners) -> list[gr.Textbox]:
    """Its two boxes."""
    with gr.Row():
        own = studio.examples(run.value)
        ends = ((own[0], "From"), (own[-1], "To"))
        first, second = (gr.Textbox(sentence, label=label, min_width=280) for sentence, label in ends)
    with gr.Row(equal_height=True):
        steps = _slider(2, MOST_STEPS, 12, step=1, label="Images")
        seed, go = gr.Number(0, precision=0, label="Seed"), gr.Button("Walk", variant="primary")
    with gr.Row():
        strip, animation = (
            gr.Image(label=label, type="filepath", buttons=BUTTONS, elem_classes="framed", scale=scale)
            for label, scale in (("Strip", 2), ("Animation", 1))
        )
    controls, outputs = [run, first, second, steps, seed], [strip, animation, _command()]

    def walk(run, first, second, steps, seed):
        listeners.check_awaited()
        return studio.walk(run, first, second, steps, seed)

    starts = [tab.select, go.click, first.submit, second.submit]
    gr.on(starts, _or_notice(walk), controls, outputs, trigger_mode="always_last", api_name="walk", **MODEL)
    return [first, second]


def _training_tab(studio: Studio, tab: gr.Tab) -> None:
    training, seen, state = gr.Dropdown([], label="Training"), gr.State(), gr.Markdown()
    with gr.Row():
        grid, losses = (
            gr.Image(label=label, format="png", buttons=BUTTONS, visible=False, elem_classes="framed", min_width=300)
            for label in ("Newest grid", "Losses")
        )

    def follow(training, seen):
        """How far a training is; its image grid and its losses only where they are not those that were `seen`."""
        names = progress.trainings(studio.output_dir)
        training = progress.to_show(studio.output_dir, training, [] if seen is None else seen[0])
        if training is None:
            return gr.skip(), "No training has begun yet.", gr.skip(), gr.skip(), seen
        found = progress.read(studio.output_dir, training)
        newest = [names, training, found.newest]
        if seen == newest:
            return gr.skip(), found.sentence, gr.skip(), gr.skip(), seen
        image, plot = (gr.Image(each, visible=each is not None) for each in (found.grid(), found.curves()))
        return gr.Dropdown(names, value=training), found.sentence, image, plot, newest

    looks, outputs = [gr.Timer(REFRESH).tick, training.change, tab.select], [training, state, grid, losses, seen]
    gr.on(looks, _or_notice(follow), [training, seen], outputs, show_progress="hidden", preprocess=False)
