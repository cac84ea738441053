"""Where the real data is, if it is there, and the environment in which TensorFlow starts."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as for users: some tests import TensorFlow before the package
with suppress(ImportError):
    import triton  # noqa: F401  PyTorch's compiler: where LiteRT is loaded before it, the process dies

import pytest
from helpers import eager

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real birds and golden outputs; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("STACKGAN_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set STACKGAN_SHARED to the folder that holds birds/ and golden/")
    return folder


@pytest.fixture(scope="session")
def network(tmp_path_factory) -> Path:
    """The file of a pretrained network, whose weights are random."""
    import keras  # only here: tests without TensorFlow start faster

    from stackgan_keras.models import weights

    path = tmp_path_factory.mktemp("network") / "network.weights.h5"
    keras.utils.set_random_seed(5)
    made = weights.ModelConfig("efficientnet_lite0", {})
    weights.save(made.build(), made, path)
    return path


@pytest.fixture
def eagerly():
    """Trainings of a few steps, which are over before TensorFlow would have compiled them, run without that."""
    with eager():
        yield


@pytest.fixture
def disk(tmp_path):
    """A function that makes a disk in memory with these options; the test skips where that is forbidden."""
    mounted = []

    def mount(options):
        folder = tmp_path / "disk"
        folder.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True).returncode:
            pytest.skip("only root may mount a disk")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)  # TensorBoard's file may be open
