"""Take a run elsewhere: a SavedModel that draws strings, and its generators as ONNX and LiteRT.

python -m stackgan_keras.export                                          the run `drawn`, everything
python -m stackgan_keras.export --run mine --format onnx litert          some of it
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from stackgan_keras.command_line import Parser, quietly, run, without_notices
from stackgan_keras.errors import InputError
from stackgan_keras.files import atomic_write

NEEDS = {"saved_model": (), "onnx": ("tf2onnx", "onnxruntime"), "litert": ("ai_edge_litert",)}
TRIED = 3  # pictures by which what was written is compared with what it was made of
SENTENCES = ["this bird is red with black wings", "a small yellow bird", "a blue bird with a white belly"]


def main() -> None:
    given = _arguments(sys.argv[1:])
    formats = list(dict.fromkeys(given.format or NEEDS))
    for name in formats:
        if missing := [package for package in NEEDS[name] if find_spec(package) is None]:
            raise InputError(
                f"{name} needs {' and '.join(missing)}, which is not installed: pip install 'stackgan_keras[{name}]', "
                f"or ask for the others with --format {' '.join(other for other in NEEDS if other != name)}"
            )
    with quietly():  # only now, as it takes seconds: help and wrong arguments answer at once
        from stackgan_keras import sampler

    weights = sampler.find_run(given.output_dir, given.run)
    out = given.output_dir / "exported" / given.run if given.out is None else given.out
    print(f"weights: {weights}")
    if "saved_model" in formats:
        _write_saved_model(sampler.StackGAN.load(weights), out / "saved_model" / "1")
    for name, generator in sampler.generators(weights).items():
        picture = _picture(generator)
        if "onnx" in formats:
            _write_onnx(picture, out / f"{name}.onnx")
        if "litert" in formats:
            _write_litert(picture, {kind: out / f"{name}_{kind}.tflite" for kind in ("float32", "float16")})


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m stackgan_keras.export",
        description="Writes a run for other runtimes: a SavedModel from strings to pixels, its generators as ONNX and "
        "LiteRT. Each is read again by its own runtime and compared.",
    )
    parser.add_argument("--run", metavar="NAME", default="drawn", help="run to take (default drawn, which is shipped)")
    parser.add_argument("--output_dir", metavar="DIR", type=Path, default=Path(), help="parent of weights/ (default .)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="where to (default exported/<run> below --output_dir)")
    parser.add_argument(
        "--format", nargs="+", choices=NEEDS, metavar="NAME", help=f"of {', '.join(NEEDS)} (default all)"
    )
    return parser.parse_args(arguments)


# -- one format each ----------------------------------------------------------------------------------------------


def _write_saved_model(model, folder: Path) -> None:
    import tensorflow as tf

    from stackgan_keras import serving

    with _whole_folder(folder) as unfinished:
        serving.archive(model).write_out(str(unfinished), verbose=False)
        loaded = tf.saved_model.load(str(unfinished))
        served = loaded.serve(tf.constant(SENTENCES), tf.constant(0))
    made = serving.draw(model, tf.constant(SENTENCES), tf.constant(0))
    apart = max(int(np.abs(served[name].numpy().astype(int) - made[name].numpy()).max()) for name in made)
    _tell(folder, f"its pictures differ from those of the Keras models by {apart} of 255 at most")


def _write_onnx(picture, path: Path) -> None:
    import onnxruntime

    with atomic_write(path) as unfinished, without_notices():
        picture.export(str(unfinished), format="onnx", verbose=False)
        session = onnxruntime.InferenceSession(str(unfinished), providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    _compare(picture, path, lambda inputs: session.run(None, {name: inputs[name] for name in names})[0])


def _write_litert(picture, paths: dict[str, Path]) -> None:
    """One file for each precision, all from one SavedModel, which is where its converter starts."""
    import keras
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    shapes = {name: tf.TensorSpec((1, *x.shape[1:]), tf.float32, name) for name, x in picture.input.items()}
    archive = keras.export.ExportArchive()
    archive.track(picture)
    archive.add_endpoint("serve", lambda inputs: {"image": picture(inputs, training=False)}, [shapes])

    def draw(runner, inputs: dict) -> np.ndarray:
        rows = [{name: values[i : i + 1] for name, values in inputs.items()} for i in range(TRIED)]
        return np.concatenate([runner(**row)["image"] for row in rows])

    with tempfile.TemporaryDirectory() as folder:
        with without_notices():
            archive.write_out(folder, verbose=False)
        for precision, path in paths.items():
            with atomic_write(path) as unfinished, without_notices():
                converter = tf.lite.TFLiteConverter.from_saved_model(folder)
                if precision == "float16":
                    converter.optimizations = [tf.lite.Optimize.DEFAULT]
                    converter.target_spec.supported_types = [tf.float16]
                unfinished.write_bytes(converter.convert())
            _compare(picture, path, partial(draw, Interpreter(str(path)).get_signature_runner()))


def _picture(generator):
    """A generator that gives its picture alone."""
    import keras

    picture = keras.Model(generator.input, generator.output["image"], name=generator.name)
    picture({name: np.zeros((1, *x.shape[1:]), np.float32) for name, x in generator.input.items()})  # Keras wants it so
    return picture


# -- what came out ------------------------------------------------------------------------------------------------


def _compare(picture, path: Path, draw: Callable[[dict], np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=(TRIED, *x.shape[1:])).astype(np.float32) for name, x in picture.input.items()}
    with without_notices():
        apart = np.abs(draw(inputs) - np.asarray(picture(inputs, training=False))).max()
    _tell(path, f"its pictures differ from those of the Keras model by {apart:.1e} at most, where they go from -1 to 1")


def _tell(path: Path, comparison: str) -> None:
    files = path.rglob("*") if path.is_dir() else [path]
    print(f"{path}: {sum(file.stat().st_size for file in files) / 1e6:.1f} MB; {comparison}", flush=True)


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that takes its place once it is whole, whatever stood there."""
    unfinished, former = (folder.with_name(f".{folder.name}.{state}") for state in ("unfinished", "former"))
    for leftover in (unfinished, former):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        if folder.exists():
            folder.rename(former)
        unfinished.rename(folder)
    finally:
        for leftover in (unfinished, former):
            shutil.rmtree(leftover, ignore_errors=True)


if __name__ == "__main__":
    run(main)
