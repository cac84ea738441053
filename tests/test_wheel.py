"""The package as people install it: a wheel, away from the checkout, turns a sentence into an image."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from helpers import pixels

REPOSITORY = Path(__file__).resolve().parents[1]
RUNS = re.findall(r"!/(weights/\w+)/", (REPOSITORY / ".gitignore").read_text(encoding="utf-8"))
BUILT_FROM = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "stackgan_keras", "configs", *RUNS)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy of the sources: in the checkout an older build/ would stand in for what is missing."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "sources"
    copy.mkdir()
    for name in BUILT_FROM:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    pip(sys.executable, "wheel", "--no-build-isolation", "--wheel-dir", folder, copy)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """The Python of a new environment with the wheel, which sees the packages it needs but not the checkout."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home)
    program = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip(program, "install", "--no-index", wheel)
    own = Path(run(program, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip())
    # folders named in a .pth file are searched last, and .pth files in them, such as the checkout's, are not read
    needed = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (own / "needed.pth").write_text("".join(f"{folder}\n" for folder in needed))
    return program


def pip(python, command, *words):
    call = [sys.executable, "-m", "pip", "--python", python, command, "--quiet", "--no-deps"]
    subprocess.run([*call, *words], check=True)


def run(python, *words, cwd) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([python, *words], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_settings_and_weights_are_in_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    files = [*REPOSITORY.glob("configs/*.yaml"), *(path for run in RUNS for path in REPOSITORY.glob(f"{run}/*.h5"))]
    assert len(RUNS) >= 2 and {f"stackgan_keras/{path.relative_to(REPOSITORY).as_posix()}" for path in files} <= held


def test_an_installed_package_generates(python, tmp_path):
    printed = run(python, "-m", "stackgan_keras.generate", "--run", "drawn", "a red bird", "--count", "1", cwd=tmp_path)
    assert f"weights: {python.parents[1]}" in printed  # and not those of the checkout
    made = tmp_path / "results/drawn/generated/01_a-red-bird_seed0_copy01_stage2.png"
    assert pixels(made).shape == (256, 256, 3)


def test_an_installed_package_reads_its_settings(python, tmp_path):
    program = "from stackgan_keras import config; config.read('birds_stage1'); print(config.__file__)"
    assert run(python, "-c", program, cwd=tmp_path).startswith(str(python.parents[1]))
