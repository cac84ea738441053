"""The training commands on two dozen images; a mistake ends with one sentence, exit code 2 and nothing spoiled."""

import io
import os
import pickle
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from stackgan_keras import command_line, train_stage1, train_stage2
from stackgan_keras.data import drawn_birds
from stackgan_keras.errors import InputError
from stackgan_keras.models import weights

TINY = [
    *("--run", "tiny", "--discriminator.filters", "2", "--generator.text_dim", "16"),
    *("--generator.condition_dim", "8", "--generator.noise_dim", "8", "--generator.residual_blocks", "1"),
    *("--train.batch_size", "4", "--train.max_steps", "2"),
]
STAGES = {"stage1": train_stage1, "stage2": train_stage2}
SIZES = {  # Stage II is wider than the Stage I it starts from
    "stage1": ["--data.image_size", "16", "--generator.filters", "2"],
    "stage2": ["--data.image_size", "32", "--generator.filters", "3"],
}
LEFT_BEHIND = [  # by both stages, below --output_dir
    f"{folder}/tiny/{name}"
    for stage in STAGES
    for folder, name in [
        ("weights", f"{stage}_gen.weights.h5"),
        ("weights", f"{stage}_dis.weights.h5"),
        ("results", f"{stage}/epoch_00001.png"),
        ("results", f"{stage}/curves.png"),
        ("logs", f"{stage}/config.yaml"),
        ("logs", f"{stage}/metrics.jsonl"),
        ("logs", f"{stage}/checkpoints/ckpt-2.index"),
    ]
]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Birds in the published layout; not to be changed."""
    root = tmp_path_factory.mktemp("drawn") / "birds"
    return drawn_birds.write(root, count=24, classes=4, test_classes=1, embedding_dim=16, workers=1)


@pytest.fixture
def birds(drawn, tmp_path):
    """A copy of the birds to do as one likes with."""
    return shutil.copytree(drawn, tmp_path / "birds")


@pytest.fixture
def out(tmp_path):
    """The output folder of the test's commands."""
    return tmp_path / "out"


@pytest.fixture(scope="module")
def trained(drawn, tmp_path_factory):
    """What both commands leave below their output folder, and what they print; not to be changed."""
    folder, printed = tmp_path_factory.mktemp("trained"), {}
    for stage, module in STAGES.items():
        ended = _run(module.main, _arguments(stage, drawn, folder))
        assert ended.code == 0, ended.errors
        printed[stage] = ended.output
    return folder, printed


@pytest.fixture
def trained_out(trained, out):
    """A copy of it as the output folder of the test's commands."""
    return shutil.copytree(trained[0], out)


@dataclass
class Ended:
    """How a command ended."""

    code: int
    output: str
    errors: str


def _run(main, arguments) -> Ended:
    """Runs `main` as a shell would."""
    output, errors, handler = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        patch.setattr(sys, "argv", ["command", *map(str, arguments)])
        try:
            command_line.run(main)
            code = 0
        except SystemExit as end:
            code = end.code
        finally:
            signal.signal(signal.SIGTERM, handler)
    return Ended(code, output.getvalue(), errors.getvalue())


def _arguments(stage, root, out, *more):
    return ["--output_dir", out, "--data.root", root, *SIZES[stage], *TINY, *more]


@pytest.fixture
def train(out):
    """Trains a stage with tiny networks, unless further arguments say otherwise."""
    return lambda stage, root, *more: _run(STAGES[stage].main, _arguments(stage, root, out, *more))


@pytest.fixture
def refused(train):
    """Trains a stage, which must end with one line on stderr and exit code 2; returns that line."""

    def refuse(*arguments):
        ended = train(*arguments)
        assert ended.code == 2, ended
        sentence = ended.errors.replace("\r", "\n").strip().splitlines()[-1].strip()  # after the bar of decoded images
        assert ended.errors.count("error: ") == 1
        assert sentence.startswith("error: ")
        return sentence

    return refuse


@pytest.fixture(scope="module")
def stage1_file(tmp_path_factory):
    """The weight file of an untrained Stage I in the sizes that `train` asks for."""
    path = tmp_path_factory.mktemp("stage1") / "stage1_gen.weights.h5"
    keywords = {"image_size": 16, "filters": 2, "text_dim": 16, "condition_dim": 8, "noise_dim": 8}
    config = weights.ModelConfig("stage1_generator", keywords)
    weights.save(config.build(), config, path)
    return path


@pytest.fixture
def stage1(stage1_file, out):
    """The same in its place in the output folder."""
    path = out / "weights/tiny/stage1_gen.weights.h5"
    path.parent.mkdir(parents=True)
    return Path(shutil.copy(stage1_file, path))


def contents(folder):
    """All files below a folder, as bytes."""
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def repickle(path, change):
    path.write_bytes(pickle.dumps(change(pickle.loads(path.read_bytes())), 2))


# -- what goes well -----------------------------------------------------------------------------------------------


def test_both_stages_leave_what_they_should(trained):
    out, printed = trained
    for stage in STAGES:
        assert f"{stage} of run tiny: 18 images" in printed[stage]
        assert f"images: {out}/results/tiny/{stage}/epoch_00001.png" in printed[stage]
    for name in LEFT_BEHIND:
        assert (out / name).stat().st_size > 0
    files = {name: out / f"weights/tiny/{name}.weights.h5" for name in ("stage1_gen", "stage2_gen", "stage2_dis")}
    models = {name: weights.load(path) for name, path in files.items()}
    assert models["stage2_gen"].output["image"].shape[1:] == (32, 32, 3)
    assert set(models["stage2_dis"].output) == {"conditional", "unconditional"}
    sizes = weights.read_config(files["stage2_gen"]).keywords
    assert (sizes["filters"], sizes["stage1"]) == (3, weights.read_config(files["stage1_gen"]).keywords)
    assert sizes["stage1"]["filters"] == 2
    inside = weights.named_variables(models["stage2_gen"])
    for path, variable in weights.named_variables(models["stage1_gen"]).items():
        assert np.array_equal(inside[f"stage1_generator/{path}"], variable)  # frozen, and complete


@pytest.mark.slow
def test_both_stages_of_the_tensorflow_release(train, drawn, out):
    style = ["--generator.architecture", "tensorflow", "--discriminator.architecture", "tensorflow"]
    for stage in STAGES:
        ended = train(stage, drawn, *style, "--discriminator.text", "embedding", "--data.captions_per_embedding", "4")
        assert ended.code == 0, ended.errors
    files = [out / f"weights/tiny/{name}.weights.h5" for name in ("stage2_gen", "stage2_dis")]
    keywords = [weights.read_config(file).keywords for file in files]
    assert keywords[0]["stage1"]["architecture"] == "tensorflow"
    assert [each["architecture"] for each in keywords] == ["tensorflow", "tensorflow"]
    assert set(weights.load(files[1]).output) == {"conditional"}


def test_the_same_command_again_trains_no_further(train, drawn, trained_out):
    before = contents(trained_out / "weights")
    ended = train("stage1", drawn)
    assert ended.code == 0, ended
    assert "already trained for 2 steps" in ended.output
    after = [weights.load(trained_out / f"weights/tiny/stage1_{network}.weights.h5") for network in ("gen", "dis")]
    assert contents(trained_out / "weights").keys() == before.keys()
    assert all(np.isfinite(variable).all() for model in after for variable in model.variables)


@pytest.mark.parametrize("stage", STAGES)
def test_other_settings_would_spoil_the_run(stage, refused, drawn, trained_out):
    before = contents(trained_out)
    sentence = refused(stage, drawn, "--generator.condition_dim", "4", "--train.seed", "5")
    assert "made with generator.condition_dim 8 (now 4), train.seed 0 (now 5): ask for the same" in sentence
    assert contents(trained_out) == before


@pytest.mark.parametrize("name", ["ckpt-2.data-00000-of-00001", "ckpt-2.index"])
def test_a_damaged_checkpoint_is_no_start(name, refused, drawn, trained_out):
    path = trained_out / "logs/tiny/stage1/checkpoints" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = contents(trained_out)
    sentence = refused("stage1", drawn, "--train.max_steps", "3")
    assert "ckpt-2 does not fit this run or is damaged" in sentence
    after = contents(trained_out)
    assert {k for k in after if after[k] != before.get(k)} <= {Path("logs/tiny/stage1/config.yaml")}


# -- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--train.epoch", "5"], "there is no setting train.epoch: the nearest is train.epochs"),
        (["--train.epochs", "many"], "train.epochs is 'many', but must be a whole number"),
        (["--train.epochs"], "--train.epochs: expected one argument"),
        (["--config", "absent.yaml"], "there is no settings file absent.yaml"),
        (["--run", "../elsewhere"], "run is '../elsewhere', but must be a name"),
    ],
)
def test_wrong_settings(arguments, expected, refused, drawn, out):
    for stage in STAGES:
        assert refused(stage, drawn, *arguments).startswith(f"error: {expected}")
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("- epochs", "holds a list, not a mapping"),
    ],
)
def test_wrong_settings_files(content, expected, refused, drawn, tmp_path, out):
    (tmp_path / "mine.yaml").write_text(f"{content}\n")
    sentence = refused("stage1", drawn, "--config", tmp_path / "mine.yaml")
    assert f"mine.yaml: {expected}" in sentence or f"mine.yaml {expected}" in sentence
    assert not out.exists()


@pytest.mark.parametrize("name", ["pixel_weight", "warmup_epochs"])
def test_settings_for_stage2_alone(name, refused, drawn, out):
    sentence = refused("stage1", drawn, f"--train.{name}", "1")
    assert f"train.{name} is 1" in sentence and "is for Stage II alone: leave it out for Stage I" in sentence
    assert not out.exists()


# -- data ---------------------------------------------------------------------------------------------------------


def _empty_folder(root):
    shutil.rmtree(root)
    root.mkdir()


def _no_folder(root):
    shutil.rmtree(root)


def _file_for_folder(root):
    shutil.rmtree(root)
    root.write_text("birds")


def _no_test_split(root):
    shutil.rmtree(root / "test")


def _no_images(root):
    shutil.rmtree(root / "CUB_200_2011/images")


def _no_embeddings(root):
    (root / "train/char-CNN-RNN-embeddings.pickle").unlink()


def _fewer_names(root):
    repickle(root / "train/filenames.pickle", lambda names: names[:-1])


def _fewer_classes(root):
    repickle(root / "train/class_info.pickle", lambda numbers: numbers[:-1])


def _fewer_embeddings(root):
    repickle(root / "train/char-CNN-RNN-embeddings.pickle", lambda rows: rows[:-1])


def _half_a_pickle(root):
    path = root / "train/char-CNN-RNN-embeddings.pickle"
    path.write_bytes(path.read_bytes()[:999])


def _code_in_pickle(root):
    (root / "train/class_info.pickle").write_bytes(b"cos\nsystem\n(S'touch was_run'\ntR.")


def _first_image(root):
    return root / "CUB_200_2011/images" / f"{pickle.loads((root / 'train/filenames.pickle').read_bytes())[0]}.jpg"


def _half_a_image(root):
    path = _first_image(root)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _no_image(root):
    _first_image(root).write_bytes(b"<html>404</html>")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_empty_folder, "birds holds nothing, but no folder train/"),
        (_no_folder, "there is no folder"),
        (_file_for_folder, "there is no folder"),
        (_no_test_split, "but no folder test/"),
        (_no_images, "18 of 18 photographs are missing"),
        (_no_embeddings, "there is no file"),
        (_fewer_names, "rows but filenames.pickle lists 17: download both files again"),
        (_fewer_classes, "class_info.pickle holds 17 rows but filenames.pickle lists 18"),
        (_fewer_embeddings, "embeddings.pickle holds 17 rows but filenames.pickle lists 18"),
        (_half_a_pickle, "char-CNN-RNN-embeddings.pickle"),
        (_code_in_pickle, "class_info.pickle"),
        (_half_a_image, "_0001.jpg cannot be read"),
        (_no_image, "_0001.jpg cannot be read"),
    ],
)
def test_data_that_is_not_whole(spoil, expected, refused, birds, out):
    spoil(birds)
    sentence = refused("stage1", birds)
    assert expected in sentence
    assert str(birds) in sentence or "download both" in sentence
    assert not list(out.rglob("*.h5"))
    assert not list(out.rglob("config.yaml"))
    assert not Path("was_run").exists()


def test_embeddings_of_another_length(refused, drawn):
    sentence = refused("stage1", drawn, "--generator.text_dim", "1024")
    assert "have 16 dimensions but 1024 are expected: set generator.text_dim to 16" in sentence


def test_a_batch_larger_than_the_data(refused, drawn):
    sentence = refused("stage1", drawn, "--train.batch_size", "19")
    assert "train.batch_size is 19 but the data holds 18 images: ask for a batch of at most 18" in sentence


# -- Stage I for Stage II -----------------------------------------------------------------------------------------


def test_stage2_without_stage1_says_what_to_run(refused, drawn, out):
    sentence = refused("stage2", drawn)
    assert f"there is no Stage I of the run tiny at {out}/weights/tiny/stage1_gen.weights.h5" in sentence
    assert "run python -m stackgan_keras.train_stage1 --run tiny first" in sentence
    assert not out.exists()


def test_stage2_with_a_discriminator_for_stage1(refused, drawn, stage1):
    config = weights.ModelConfig("discriminator", {"image_size": 16, "filters": 2, "condition_dim": 8})
    weights.save(config.build(), config, stage1)
    assert "holds a discriminator where a stage1_generator is expected" in refused("stage2", drawn)


def test_stage2_with_half_a_stage1(refused, drawn, stage1):
    stage1.write_bytes(stage1.read_bytes()[:2000])
    assert f"{stage1} is no HDF5 file, or a damaged one" in refused("stage2", drawn)


def test_stage2_with_a_stage1_of_another_embedding(refused, drawn, stage1):
    keywords = {"image_size": 16, "filters": 2, "text_dim": 20, "condition_dim": 8, "noise_dim": 8}
    config = weights.ModelConfig("stage1_generator", keywords)
    weights.save(config.build(), config, stage1)
    sentence = refused("stage2", drawn)
    assert "reads embeddings of 20 dimensions but generator.text_dim is 16: give both stages the same data" in sentence


def test_stage2_with_a_stage1_of_the_other_release(refused, drawn, stage1):
    sentence = refused("stage2", drawn, "--generator.architecture", "tensorflow")
    expected = f"{stage1} is a Stage I of generator.architecture pytorch but Stage II is asked for with tensorflow"
    assert expected in sentence


def test_stage2_smaller_than_its_stage1(refused, drawn, stage1):
    sentence = refused("stage2", drawn, "--data.image_size", "8")
    assert f"data.image_size is 8 but the images of {stage1} have 16 pixels" in sentence


# -- folders, memory, interruptions -------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_output_below_a_file(stage, refused, drawn, tmp_path, stage1_file):
    (tmp_path / "file").write_text("mine")
    sentence = refused(stage, drawn, "--output_dir", tmp_path / "file/out")
    assert str(tmp_path / "file") in sentence
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("stage", STAGES)
def test_output_that_may_not_be_written(stage, refused, drawn, disk, tmp_path, stage1_file):
    folder = tmp_path / "locked"
    if os.geteuid() == 0:  # who may write wherever a disk can be written
        folder = disk("size=1m")
    path = folder / "weights/tiny/stage1_gen.weights.h5"
    path.parent.mkdir(parents=True)
    shutil.copy(stage1_file, path)
    if os.geteuid() == 0:
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    else:
        folder.chmod(0o500)
    assert "give another --output_dir" in refused(stage, drawn, "--output_dir", folder)


def test_a_disk_too_small_for_decoded_images(refused, drawn, disk):
    folder = disk("size=8k")
    sentence = refused("stage1", drawn, "--output_dir", folder, "--data.cache", "disk")
    assert f"{folder}/logs/tiny/cache/images_19" in sentence and "the disk is full: make room" in sentence
    assert not list(folder.rglob("*images*"))


def test_a_disk_that_becomes_full_in_training(refused, drawn, disk):
    folder = disk("size=60k")
    sentence = refused("stage1", drawn, "--output_dir", folder)
    assert f"the checkpoint could not be written to {folder}/logs/tiny/stage1 ({folder}" in sentence
    assert "No space left on device" in sentence and "the same command then goes on" in sentence


@pytest.mark.parametrize(
    ("problem", "code", "message"),
    [
        (InputError("a is b: do c"), 2, "error: a is b: do c\n"),
        (OSError(28, "No space left on device", "x.h5"), 2, "error: x.h5: No space left on device; the disk is full"),
        (OSError("odd"), 2, "error: a file: odd; check the path"),
        (MemoryError(), 2, "error: the memory is full: lower train.batch_size"),
        (tf.errors.ResourceExhaustedError(None, None, "OOM"), 2, "error: the memory is full: lower train.batch_size"),
        (tf.errors.ResourceExhaustedError(None, None, "a.v2; No space left on device"), 2, "error: the disk is full: "),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_how_commands_end(problem, code, message):
    def main():
        raise problem

    ended = _run(main, [])
    assert (ended.code, ended.output) == (code, "")
    assert ended.errors.startswith(message)
    assert ended.errors.count("\n") == bool(message)


def test_a_fault_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        _run(lambda: 1 / 0, [])


def test_a_polite_kill_ends_like_ctrl_c():
    assert _run(lambda: os.kill(os.getpid(), signal.SIGTERM), []).code == 130


def test_a_shell_sees_one_line(tmp_path):
    """Nothing of what TensorFlow says of itself stands before the sentence."""
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    ended = subprocess.run(
        [sys.executable, "-m", "stackgan_keras.train_stage1", *TINY, "--data.root", "absent"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(Path(command_line.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: there is no f")
    assert ended.stderr.count("\n") == 1
