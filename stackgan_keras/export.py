"""Take a run elsewhere: a SavedModel that draws strings, and its generators as ONNX and LiteRT.

python -m stackgan_keras.export                                          the run `flowers`, everything
python -m stackgan_keras.export --run mine --format onnx litert          some of it
"""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from stackgan_keras.command_line import Parser, quietly, run
from stackgan_keras.errors import InputError
from stackgan_keras.models.runs import GENERATORS, find_run, weight_file

NEEDS = {"saved_model": (), "onnx": ("tf2onnx", "onnxruntime"), "litert": ("ai_edge_litert",)}


def main() -> None:
    given = _arguments(sys.argv[1:])
    folder = find_run(given.output_dir, given.run)
    formats = list(dict.fromkeys(given.format or NEEDS))
    for name in formats:
        if missing := [package for package in NEEDS[name] if find_spec(package) is None]:
            raise InputError(
                f"{name} needs {' and '.join(missing)}, which is not installed: pip install 'stackgan_keras[{name}]', "
                f"or ask for the others with --format {' '.join(other for other in NEEDS if other != name)}"
            )
    with quietly():  # only now, as it takes seconds: help and wrong arguments answer at once
        from stackgan_keras.inference import export_formats
        from stackgan_keras.inference.stackgan import StackGAN
        from stackgan_keras.models import weights

    out = given.output_dir / "exported" / given.run if given.out is None else given.out
    print(f"weights: {folder}")
    if "saved_model" in formats:
        export_formats.write_saved_model(StackGAN.load(folder), out / "saved_model" / "1")
    for name in GENERATORS:
        if not weight_file(folder, name).is_file() or formats == ["saved_model"]:
            continue
        generator = export_formats.image_of(weights.load(weight_file(folder, name)))
        if "onnx" in formats:
            export_formats.write_onnx(generator, out / f"{name}.onnx")
        if "litert" in formats:
            paths = {kind: out / f"{name}_{kind}.tflite" for kind in ("float32", "float16")}
            export_formats.write_litert(generator, paths)


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m stackgan_keras.export",
        description="Writes a run for other runtimes: a SavedModel from strings to pixels, its generators as ONNX and "
        "LiteRT. Each is read again by its own runtime and compared.",
    )
    parser.add_argument("--run", metavar="NAME", default="flowers", help="run to take (default flowers, as shipped)")
    parser.add_argument("--output_dir", metavar="DIR", type=Path, default=Path(), help="parent of weights/ (default .)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="where to (default exported/<run> below --output_dir)")
    parser.add_argument(
        "--format", nargs="+", choices=NEEDS, metavar="NAME", help=f"of {', '.join(NEEDS)} (default all)"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(main)
