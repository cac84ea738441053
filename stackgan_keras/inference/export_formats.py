"""A run's files for other runtimes: SavedModel, ONNX and LiteRT, each read again by its own runtime and compared."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import keras
import numpy as np

from stackgan_keras.command_line import without_notices
from stackgan_keras.files import atomic_write
from stackgan_keras.inference import saved_model
from stackgan_keras.inference.stackgan import StackGAN
from stackgan_keras.models.generators import images_of

TRIED = 3  # images by which what was written is compared with what it was made of
SENTENCES = ["this bird is red with black wings", "a small yellow bird", "a blue bird with a white belly"]


def write_saved_model(model: StackGAN, folder: Path) -> None:
    import tensorflow as tf

    with _whole_folder(folder) as unfinished:
        saved_model.archive(model).write_out(str(unfinished), verbose=False)
        loaded = tf.saved_model.load(str(unfinished))
        served = loaded.serve(tf.constant(SENTENCES), tf.constant(0))
    made = saved_model.generate(model, tf.constant(SENTENCES), tf.constant(0))
    apart = max(int(np.abs(served[name].numpy().astype(int) - made[name].numpy()).max()) for name in made)
    _tell(folder, f"its images differ from those of the Keras models by {apart} of 255 at most")


def write_onnx(image: keras.Model, path: Path) -> None:
    import onnxruntime

    with atomic_write(path) as unfinished, without_notices():
        image.export(str(unfinished), format="onnx", verbose=False)
        session = onnxruntime.InferenceSession(str(unfinished), providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    _compare(image, path, lambda inputs: session.run(None, {name: inputs[name] for name in names})[0])


def write_litert(image: keras.Model, paths: dict[str, Path]) -> None:
    """One file for each precision, all from one SavedModel, which is where its converter starts."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    shapes = {name: tf.TensorSpec((1, *x.shape[1:]), tf.float32, name) for name, x in image.input.items()}
    archive = keras.export.ExportArchive()
    archive.track(image)
    archive.add_endpoint("serve", lambda inputs: {"image": image(inputs, training=False)}, [shapes])

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
            _compare(image, path, partial(draw, Interpreter(str(path)).get_signature_runner()))


def image_of(generator: keras.Model) -> keras.Model:
    """A generator that gives its image alone."""
    image = keras.Model(generator.input, generator.output[[*images_of(generator)][-1]], name=generator.name)
    image({name: np.zeros((1, *x.shape[1:]), np.float32) for name, x in generator.input.items()})  # Keras wants it so
    return image


# -- what came out ------------------------------------------------------------------------------------------------


def _compare(image: keras.Model, path: Path, draw: Callable[[dict], np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=(TRIED, *x.shape[1:])).astype(np.float32) for name, x in image.input.items()}
    with without_notices():
        apart = np.abs(draw(inputs) - np.asarray(image(inputs, training=False))).max()
    _tell(path, f"its images differ from those of the Keras model by {apart:.1e} at most, where they go from -1 to 1")


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
