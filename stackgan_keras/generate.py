"""Generate images of sentences from a run's weights: PNGs of each stage or size, and a grid of all of them."""

import argparse
import sys
from pathlib import Path
from typing import Any

from stackgan_keras.command_line import Parser, quietly, run
from stackgan_keras.config import Folders
from stackgan_keras.errors import InputError
from stackgan_keras.inference import image_files, request
from stackgan_keras.models import hugging_face
from stackgan_keras.models.runs import TEXT_ENCODER, find_run


def main() -> None:
    given = _arguments()
    is_remote = hugging_face.is_address(given.run)
    weights = hugging_face.download(given.run) if is_remote else find_run(given.output_dir, given.run)
    if not (weights / TEXT_ENCODER).is_file() and not (given.sentences or given.file or given.embedded):
        given.sentences = [hugging_face.plain_name(given.run)]  # of a run without text, which reads no sentence
    asked = request.read(given)
    with quietly():  # only now, as it takes seconds: help and wrong arguments answer at once
        from stackgan_keras.inference.stackgan import StackGAN

    model = StackGAN.load(weights, embedded=given.embedded is not None)
    print(f"weights: {weights}")
    for place, sentence in enumerate([] if given.embedded else asked.sentences, start=1):
        if note := model.unread(sentence):
            print(f"note: sentence {place}: {note}")
    if model.generator.name == "stage1_generator":
        rest = "" if is_remote else f": python -m stackgan_keras.train_stage2 --run {given.run} makes the rest"
        print(f"note: this run has no Stage II yet, so these are its Stage-I images{rest}")
    folder = Folders(given.output_dir, hugging_face.plain_name(given.run)).results / "generated"
    if asked.steps is not None:
        first, second = asked.conditions
        walk = model.interpolate(first, second, asked.steps, asked.seed, **asked.scales)
        lines = image_files.write_interpolation(walk, asked, folder)
    else:
        if asked.attention and "words" not in model.takes:
            raise InputError(f"--attention: {given.run} reads no words, as only AttnGAN does; leave it out")
        how = {**asked.scales, "same_noise": asked.same_noise, "attention": asked.attention}
        made = model.images(asked.conditions, asked.count, asked.seed, **how)
        lines = image_files.write_images(made, asked, folder, model.words_of)
    print("\n".join(lines))


def _arguments() -> argparse.Namespace:
    parser = Parser(
        formatter=argparse.RawDescriptionHelpFormatter,
        prog="python -m stackgan_keras.generate",
        description="Generates images of sentences, of each stage or size that the run has, and a grid of all of them.",
        epilog=request.EXAMPLES,
    )
    add = parser.add_argument
    add("sentences", nargs="*", metavar="SENTENCE", help="in quotes, after -- if it begins with a dash; or from stdin")
    add("--file", metavar="FILE", help="text file of one sentence a line, blank lines are skipped; -: standard input")
    add("--embedded", metavar="FILE", help="sentences embedded already, instead: .t7 of the old tools, .npy, .npz")
    add(
        "--run",
        metavar="NAME",
        default="flowers",
        help="run whose weights draw, or hf://owner/name (default flowers, which is shipped)",
    )
    add("--output_dir", metavar="DIR", type=Path, default=Path(), help="parent of weights/ and results/ (default .)")
    add("--count", metavar="N", type=int, help="images of each sentence (default 4)")
    add("--yes", action="store_true", help="draw more than a thousand images, too")
    add("--seed", metavar="N", type=int, default=0, help="same seed, same images (default 0)")
    scale: dict[str, Any] = {"metavar": "X", "type": float, "default": 1.0}
    add("--epsilon_scale", **scale, help="how far a sentence's reading may stray; 0: not at all (default 1)")
    add("--noise_scale", **scale, help="how far the noise, which decides the pose, may stray (default 1)")
    add("--same_noise", action="store_true", help="copy k of every sentence gets the same noise and epsilons")
    add("--attention", action="store_true", help="AttnGAN: another PNG of each image, with where its words were seen")
    add("--interpolate", action="store_true", help="from the first of two sentences to the second: a strip and a GIF")
    add("--steps", metavar="N", type=int, help="images of an interpolation (default 8)")
    words = sys.argv[1:]
    dashes = words.index("--") if "--" in words else len(words)  # argparse would forget them on its second look
    arguments = parser.parse_intermixed_args(words[:dashes])
    arguments.sentences += words[dashes + 1 :]
    return arguments


if __name__ == "__main__":
    run(main)
