"""Turns checkpoints of StackGAN's, StackGAN++'s and AttnGAN's releases into weight files of this package.

    python -m stackgan_keras.convert netG_epoch_600.pth --out weights/coco/stage1_gen.weights.h5
    python -m stackgan_keras.convert bird_AttnGAN2.pth --out weights/published_birds/attngan_gen.weights.h5
    python -m stackgan_keras.convert captions.pickle --out weights/published_birds
    python -m stackgan_keras.convert birds_model_164000.ckpt --out weights/published_birds
    python -m stackgan_keras.convert text_encoder.t7 --out weights/published_birds
    python -m stackgan_keras.convert pt_inception-2015-12-05-6726825d.pth --out weights

Takes `netG` and `netD` files of both stages of the PyTorch release and the char-CNN-RNN of its port (`.pth`, or `.npz`
of the same names), checkpoints of the TensorFlow release, of one file or several, the char-CNN-RNN as Torch 7
saved it, generators and discriminators of StackGAN++ and AttnGAN, AttnGAN's text and image encoders and the words that
they know (`captions.pickle`), and the networks whose features scores compare: pytorch-fid's InceptionV3 and
EfficientNet-Lite0. A file may hold several networks, as a dict of state dicts, under names like `netG/fc.0.weight`, or
as a checkpoint does; then `--out` is a folder. What else is in the file, such as optimizers, is left out and named.
"""

import glob
from pathlib import Path

from stackgan_keras.command_line import Parser, quietly, run
from stackgan_keras.data import captions_pickle
from stackgan_keras.errors import InputError
from stackgan_keras.models.runs import VOCABULARY


def main() -> None:
    parser = Parser(prog="python -m stackgan_keras.convert", description="Turns checkpoints into weight files.")
    parser.add_argument("file", type=Path, help=".pth, .npz, .t7 (needs torchfile), TensorFlow's, captions.pickle")
    parser.add_argument("--out", type=Path, required=True, help="FILE.weights.h5, or a folder for the file's networks")
    arguments = parser.parse_args()
    file, out = arguments.file, arguments.out
    if not any(file.parent.glob(f"{glob.escape(file.stem)}*")):  # the files of one of TensorFlow's have many endings
        raise InputError(f"there is no file {file}: give the path of a checkpoint")
    into_folder = not out.name.endswith(".weights.h5")
    if into_folder and (out.is_file() or out.suffix in (".h5", ".hdf5", ".keras", ".weights")):
        raise InputError(f"--out is {out}: give FILE.weights.h5, or a folder for the file's networks")
    if file.suffix == ".pickle":
        _convert_words(file, out if out.suffix == ".json" else out / VOCABULARY)
        return
    with quietly():  # only now, as it takes seconds: help and wrong arguments answer at once
        from stackgan_keras.porting import whole_files

    whole_files.convert(file, out, into_folder=into_folder)


def _convert_words(file: Path, out: Path) -> None:
    """Writes the vocabulary of a `captions.pickle`."""
    vocabulary = captions_pickle.read(file)
    vocabulary.save(out)
    print(f"wrote {out}: the {len(vocabulary):,} words of {file}, for the text encoder that came with it")


if __name__ == "__main__":
    run(main)
