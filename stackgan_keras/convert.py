"""Turns checkpoints of StackGAN's, StackGAN++'s and AttnGAN's releases into weight files of this package.

    python -m stackgan_keras.convert netG_epoch_600.pth --out weights/coco/stage1_gen.weights.h5
    python -m stackgan_keras.convert bird_AttnGAN2.pth --out weights/birds/attngan_gen.weights.h5
    python -m stackgan_keras.convert captions.pickle --out weights/birds
    python -m stackgan_keras.convert birds_model_164000.ckpt --out weights/birds
    python -m stackgan_keras.convert text_encoder.t7 --out weights/birds
    python -m stackgan_keras.convert pt_inception-2015-12-05-6726825d.pth --out weights

Takes `netG` and `netD` files of both stages of the PyTorch release and the char-CNN-RNN of its port (`.pth`, or `.npz`
of the same names), checkpoints of the TensorFlow release, of one file or several, the char-CNN-RNN as Torch 7
saved it, generators and discriminators of StackGAN++ and AttnGAN, AttnGAN's text and image encoders and the words that
they know (`captions.pickle`), and the networks whose features scores compare: pytorch-fid's InceptionV3 and
EfficientNet-Lite0. A file may hold several networks, as a dict of state dicts, under names like `netG/fc.0.weight`, or
as a checkpoint does; then `--out` is a folder. What else is in the file, such as optimizers, is left out and named.
"""

from pathlib import Path

from stackgan_keras.command_line import Parser, quietly, run
from stackgan_keras.errors import InputError

with quietly():
    from stackgan_keras.data import captions_pickle
    from stackgan_keras.models import weights
    from stackgan_keras.models.runs import VOCABULARY
    from stackgan_keras.porting import checkpoints, conversion, tensorflow_release


def _standard_name(group: str, config: weights.ModelConfig) -> str:
    """What the training commands call this network's file."""
    if group in tensorflow_release.SCOPES:
        return group
    keywords = config.keywords
    if config.network in ("word_encoder", "region_encoder"):
        return {"word_encoder": "text_encoder", "region_encoder": "image_encoder"}[config.network]
    if config.network != "discriminator":
        return config.network.replace("_generator", "_gen")
    if "family" in keywords:
        return f"{keywords['family']}_dis_{keywords['image_size']}"
    return f"stage{2 if 'unconditional' in keywords['logits'] else 1}_dis"


def _convert_words(file: Path, out: Path) -> None:
    """Writes the vocabulary of a `captions.pickle`, into a folder or a file of another name."""
    path = out if out.suffix == ".json" else out / VOCABULARY
    vocabulary = captions_pickle.read(file)
    vocabulary.save(path)
    print(f"wrote {path}: the {len(vocabulary):,} words of {file}, for the text encoder that came with it")


def main() -> None:
    parser = Parser(prog="python -m stackgan_keras.convert", description="Turns checkpoints into weight files.")
    parser.add_argument("file", type=Path, help=".pth, .npz, .t7 (needs torchfile), TensorFlow's, captions.pickle")
    parser.add_argument("--out", type=Path, required=True, help="FILE.weights.h5, or a folder for the file's networks")
    arguments = parser.parse_args()
    file, out = arguments.file, arguments.out
    into_folder = not out.name.endswith(".weights.h5")
    if into_folder and (out.is_file() or out.suffix in (".h5", ".hdf5", ".keras", ".weights")):
        raise InputError(f"--out is {out}: give FILE.weights.h5, or a folder for the file's networks")
    if file.suffix == ".pickle":
        _convert_words(file, out)
        return
    states, left = conversion.networks(checkpoints.read(file))
    listed = ", ".join(left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
    if not states:
        raise InputError(f"{file} holds {listed}: {conversion.NO_NETWORK}")
    if len(states) > 1 and not into_folder:
        raise InputError(f"{file} holds {len(states)} networks ({', '.join(states)}): give --out a folder for them")
    converted = {group: conversion.convert(state) for group, state in states.items()}
    names = {group: _standard_name(group, config) for group, (_, config) in converted.items()}
    taken = list(names.values())  # where several are the same network, they keep their names in the file
    names = {g: name if taken.count(name) == 1 else g.replace("/", "_") or name for g, name in names.items()}
    if len(set(names.values())) < len(names):
        raise InputError(f"the networks {', '.join(names)} would get the same file name: convert them one by one")
    for group, (model, config) in converted.items():
        path = out / f"{names[group]}.weights.h5" if into_folder else out
        weights.save(model, config, path)
        print(f"wrote {path}: {group or file.name} is a {config.network} with {config.keywords}")
    if left:
        print(f"left out, as it belongs to no network: {listed}")


if __name__ == "__main__":
    run(main)
