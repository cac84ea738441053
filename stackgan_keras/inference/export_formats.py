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
from stackgan_keras.models.attngan import with_aligned_masks
from stackgan_keras.models.generators import images_of
from stackgan_keras.models.vocabulary import READ

TRIED = 3  # images by which what was written is compared with what it was made of
SENTENCES = ["this bird is red with black wings", "a small yellow bird", "a blue bird with a white belly"]


def write_saved_model(model: StackGAN, folder: Path) -> None:
    import tensorflow as tf

    graph, seed = saved_model.Graph(model), tf.constant(0)
    without_text = graph.read is None
    asked = tf.constant(TRIED if without_text else SENTENCES)
    with _whole_folder(folder) as unfinished, without_notices():
        graph.archive().write_out(str(unfinished), verbose=False)
        loaded = tf.saved_model.load(str(unfinished))
        served = loaded.serve(asked, seed)
        made = graph.of_count(asked, seed) if without_text else graph.of_sentences(asked, seed)
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

    shapes = {name: tf.TensorSpec(x.shape, x.dtype, name) for name, x in _inputs(image, 1).items()}
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
    """A generator that gives its image alone; the words of AttnGAN's sentences have masks of their own in any batch."""
    generator = with_aligned_masks(generator)
    image = keras.Model(generator.input, generator.output[[*images_of(generator)][-1]], name=generator.name)
    image(_inputs(image, 1))  # Keras wants it so
    return image


# -- what came out ------------------------------------------------------------------------------------------------


def _compare(image: keras.Model, path: Path, draw: Callable[[dict], np.ndarray]) -> None:
    inputs = _inputs(image, TRIED)
    with without_notices():
        apart = np.abs(draw(inputs) - np.asarray(image(inputs, training=False))).max()
    _tell(path, f"its images differ from those of the Keras model by {apart:.1e} at most, where they go from -1 to 1")


def _inputs(image: keras.Model, count: int) -> dict[str, np.ndarray]:
    """Random inputs of a generator, `count` rows each; sentences of AttnGAN's have as many words as are read of any."""
    rng, made = np.random.default_rng(0), {}
    for name, x in image.input.items():
        values = rng.normal(size=(count, *(READ if n is None else n for n in x.shape[1:])))
        made[name] = values > 0 if x.dtype == "bool" else values.astype(np.float32)
    return made


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
