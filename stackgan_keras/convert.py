"""Turns checkpoints of StackGAN's PyTorch and TensorFlow releases into weight files of this package.

    python -m stackgan_keras.convert netG_epoch_600.pth --out weights/coco/stage1_gen.weights.h5
    python -m stackgan_keras.convert everything.pth --out weights/coco
    python -m stackgan_keras.convert birds_model_164000.ckpt --out weights/birds
    python -m stackgan_keras.convert text_encoder.t7 --out weights/birds

Takes `netG` and `netD` files of both stages of the PyTorch release and the char-CNN-RNN of its port, in torch's old and
new formats, `.npz` files of the same names, checkpoints of the TensorFlow release, of one file or several, and the
char-CNN-RNN as Torch 7 saved it. A file may hold several networks, as a dict of state dicts, under names like
`netG/fc.0.weight`, or as a checkpoint does; then `--out` is a folder. What else is in the file, such as optimizers or
the epoch, is left out and named.
"""

from collections import Counter
from pathlib import Path

from stackgan_keras.command_line import Parser, quietly, run
from stackgan_keras.errors import InputError

with quietly():
    from stackgan_keras.models import weights
    from stackgan_keras.porting import checkpoints, conversion, tensorflow_release

FILE = (
    "netG, netD or text encoder as .pth (needs torch) or .npz, several of them, a text encoder as .t7 (needs "
    "torchfile), or a TensorFlow checkpoint"
)
OUT = (
    "FILE.weights.h5 to write, or a folder, where files are called stage1_gen.weights.h5 and so on, or by their names "
    "in the checkpoint where two are the same network"
)


def _standard_name(group: str, config: weights.ModelConfig) -> str:
    """What the training commands call this network's file."""
    if group in tensorflow_release.SCOPES:
        return group
    if config.network == "text_encoder":
        return config.network
    stage2 = config.network == "stage2_generator" or "unconditional" in config.keywords.get("logits", ())
    return f"stage{2 if stage2 else 1}_{'dis' if config.network == 'discriminator' else 'gen'}"


def _file_names(configs: dict[str, weights.ModelConfig]) -> dict[str, str]:
    """A file name for each group: what the network is, or the group's own name where several are the same."""
    names = {group: _standard_name(group, config) for group, config in configs.items()}
    count = Counter(names.values())
    names = {g: name if count[name] == 1 else g.replace("/", "_") or name for g, name in names.items()}
    if len(set(names.values())) < len(names):
        raise InputError(f"the networks {', '.join(configs)} would get the same file name: convert them one by one")
    return {group: f"{name}.weights.h5" for group, name in names.items()}


def main() -> None:
    parser = Parser(
        prog="python -m stackgan_keras.convert",
        description="Turns checkpoints of StackGAN's older releases into weight files of this package.",
    )
    parser.add_argument("file", type=Path, help=FILE)
    parser.add_argument("--out", type=Path, required=True, help=OUT)
    arguments = parser.parse_args()
    file, out = arguments.file, arguments.out
    into_folder = not out.name.endswith(".weights.h5")
    if into_folder and (out.is_file() or out.suffix in (".h5", ".hdf5", ".keras", ".weights")):
        raise InputError(f"--out is {out}: give FILE.weights.h5, or a folder for the file's networks")

    states, left = conversion.networks(checkpoints.read(file))
    if not states:
        raise InputError(f"{file} holds {', '.join(left[:3])}…, which is {conversion.NO_NETWORK}")
    if len(states) > 1 and not into_folder:
        raise InputError(f"{file} holds {len(states)} networks ({', '.join(states)}): give --out a folder for them")
    converted = {group: conversion.convert(state) for group, state in states.items()}
    names = _file_names({group: config for group, (_, config) in converted.items()})
    for group, (model, config) in converted.items():
        path = out / names[group] if into_folder else out
        weights.save(model, config, path)
        print(f"wrote {path}: {group or file.name} is a {config.network} with {config.keywords}")
    if left:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        print(f"left out, as it belongs to no network: {', '.join(left[:3])}{more}")


if __name__ == "__main__":
    run(main)
