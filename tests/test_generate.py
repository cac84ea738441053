"""The command `generate`: the images that it writes from a run's weights, and the one sentence where it cannot."""

import io
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stackgan_keras import command_line, generate
from stackgan_keras.data import grids
from stackgan_keras.inference import image_files, sentences
from stackgan_keras.inference.stackgan import StackGAN
from stackgan_keras.models import weights
from stackgan_keras.models.weights import ModelConfig

STAGE1 = {"image_size": 16, "filters": 2, "text_dim": 6, "condition_dim": 3, "noise_dim": 4}
STAGE2 = {"stage1": STAGE1, "image_size": 32, "filters": 2, "text_dim": 6, "condition_dim": 3, "residual_blocks": 1}
ENCODER = {"filters": 3, "recurrent_dim": 4, "text_dim": 6}
RED, BLUE = "this bird is red with black wings", "a blue bird"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An output folder with the weights of the runs `both`, `frozen` and `blind`; not to be changed."""
    out, rng = tmp_path_factory.mktemp("trained"), np.random.default_rng(0)
    networks = {"text_encoder": ENCODER, "stage1_generator": STAGE1, "stage2_generator": STAGE2}
    for name, keywords in networks.items():
        config = ModelConfig(name, keywords)
        model, file = config.build(), f"{name.removesuffix('erator')}.weights.h5"
        for path, variable in weights.named_variables(model).items():
            if path.endswith("kernel"):
                variable.assign(rng.normal(0, 2 / np.sqrt(np.prod(variable.shape[:-1])), variable.shape))
        runs = {"text_encoder": ("both", "frozen"), "stage1_generator": ("both", "frozen", "blind")}
        for run in runs.get(name, ("both",)):
            weights.save(model, config, out / "weights" / run / file)
    return out


@pytest.fixture(scope="module")
def load():
    """`StackGAN.load`, which keeps what it has loaded: its networks are traced once for all tests."""
    original, kept = StackGAN.load, {}

    def load(folder, embedded=False):
        key = Path(folder).resolve(), embedded
        if key not in kept:
            kept[key] = original(folder, embedded=embedded)
        return kept[key]

    return load


@pytest.fixture
def draw(trained, load, tmp_path, monkeypatch):
    """Runs the command on the run `both` with further arguments, as a shell would, in a folder of its own."""
    (tmp_path / "weights").symlink_to(trained / "weights")
    monkeypatch.chdir(tmp_path)

    def run(*arguments, stdin=None):
        output, errors, handler = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
            run = [] if "--run" in arguments else ["--run", "both"]
            patch.setattr(StackGAN, "load", load)
            patch.setattr(sys, "argv", ["generate", *run, *map(str, arguments)])
            patch.setattr(sys, "stdin", Terminal() if stdin is None else io.TextIOWrapper(io.BytesIO(stdin)))
            try:
                command_line.run(generate.main)
                code = 0
            except SystemExit as end:
                code = end.code
            finally:
                signal.signal(signal.SIGTERM, handler)
        return code, output.getvalue(), errors.getvalue()

    return run


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def refused(draw, tmp_path):
    """The command must end with one sentence on stderr and exit code 2, and leave nothing; returns the sentence."""

    def refuse(*arguments, stdin=None):
        code, _, errors = draw(*arguments, stdin=stdin)
        assert code == 2, errors
        assert errors.startswith("error: ")
        assert errors.count("\n") == 1
        assert not (tmp_path / "results").exists()
        return errors.removeprefix("error: ").strip()

    return refuse


@pytest.fixture
def made(tmp_path):
    """The names of what the command left, by what they begin with."""
    folder = tmp_path / "results/both/generated"
    return lambda start="", end="": sorted(path.name for path in folder.glob(f"{start}*{end}"))


def pixels(path):
    return np.asarray(Image.open(path))


# -- images -----------------------------------------------------------------------------------------------------


def test_images_and_their_grid(draw, made, trained, load, tmp_path):
    code, output, errors = draw(RED, BLUE, "--count", 3, "--seed", 7)
    assert code == 0, errors
    stems = ["01_this-bird-is-red-with-black-wings", "02_a-blue-bird"]
    names = [f"{s}_seed7_copy{c:02d}_stage{n}.png" for s in stems for c in (1, 2, 3) for n in (1, 2)]
    assert made("0") == names
    assert len(made()) == len(names) + 1
    folder = tmp_path / "results/both/generated"
    expected = load(trained / "weights/both").generate([RED, BLUE], count=3, seed=7)
    for place, stem in enumerate(stems):
        for copy in range(3):
            for stage, name in (("stage1", "stage1_image"), ("stage2", "image")):
                written = pixels(folder / f"{stem}_seed7_copy{copy + 1:02d}_{stage}.png")
                assert np.array_equal(written, expected[name][place, copy])
    (grid,) = made("grid_this-bird-is-red-with-black-wings-and-1-more-")
    assert f"grid: results/both/generated/{grid}\n" in output
    assert "weights: weights/both\n" in output
    assert "note" not in output
    grid = pixels(folder / grid)
    for place, copy in np.ndindex(2, 3):
        small, large = (grids.enlarge(expected[n][place], 128)[copy] for n in ("stage1_image", "image"))
        both = np.concatenate([small, np.full((grids.MARGIN, 128, 3), grids.PAPER, np.uint8), large])
        assert stands_on(grid, both)


def stands_on(grid, image):
    """Whether the image stands somewhere on the grid, pixel by pixel."""
    height, width = image.shape[:2]
    tops, lefts = np.nonzero((grid[: 1 - height or None, : 1 - width or None] == image[0, 0]).all(axis=-1))
    return any(np.array_equal(grid[y : y + height, x : x + width], image) for y, x in zip(tops, lefts, strict=True))


def test_the_same_call_makes_the_same_bytes_and_another_call_loses_none(draw, made, tmp_path):
    def contents():
        return {path.name: path.read_bytes() for path in (tmp_path / "results/both/generated").iterdir()}

    assert draw(RED, "--count", 2)[0] == 0
    first = contents()
    assert draw(RED, "--count", 2)[0] == 0
    assert contents() == first
    others = (
        [RED, "--count", 2, "--seed", 1],
        [RED, "--count", 2, "--epsilon_scale", 0.5],
        [RED, "--count", 2, "--noise_scale", 0.5],
        [RED, BLUE, "--count", 2, "--same_noise"],
        [RED.replace("red", "red,"), "--count", 2],
        [BLUE, RED, "--count", 2],
        [RED, "--count", 1],
    )
    for other in others:
        before = contents()
        assert draw(*other)[0] == 0
        after = contents()
        assert len(after) > len(before)
        assert {name: after[name] for name in before} == before


def test_stage1_alone_is_drawn_with_a_note(draw, tmp_path):
    code, output, _ = draw(RED, "--run", "frozen", "--count", 2)
    assert code == 0
    assert "note: this run has no Stage II yet" in output
    names = {path.name for path in (tmp_path / "results/frozen/generated").iterdir()}
    stem = "this-bird-is-red-with-black-wings_seed0_cop"
    assert names == {f"01_{stem}y01_stage1.png", f"01_{stem}y02_stage1.png", f"grid_{stem}ies2.png"}


def test_many_copies_and_many_sentences(draw, made, monkeypatch):
    monkeypatch.setattr(image_files, "MOST_COPIES", 3)
    monkeypatch.setattr(image_files, "PAGE", 6)
    code, output, _ = draw(*"abcde", "--count", 4)
    assert code == 0
    assert len(made("0")) == 5 * 4 * 2
    assert [name[-9:] for name in made("grid")] == ["page1.png", "page2.png", "page3.png"]
    assert "note: the grid shows the first 3 of 4 copies" in output


def test_another_output_folder(draw, trained, tmp_path):
    assert draw(RED, "--count", 1, "--output_dir", tmp_path / "weights" / "..")[0] == 0
    code, _, errors = draw(RED, "--output_dir", tmp_path / "elsewhere")
    assert code == 2
    assert errors.startswith(f"error: {tmp_path}/elsewhere/weights/both is not there: ")


# -- interpolations -----------------------------------------------------------------------------------------------


def test_interpolation(draw, made, trained, load, tmp_path):
    code, output, errors = draw("--interpolate", RED, BLUE, "--steps", 5, "--seed", 3)
    assert code == 0, errors
    stem = "interpolation_this-bird-is-red-with-black-wings_to_a-blue-bird_seed3_steps5"
    assert made() == [f"{stem}.gif", f"{stem}.png"]
    assert f"strip: results/both/generated/{stem}.png\nanimation: results/both/generated/{stem}.gif\n" in output
    expected = load(trained / "weights/both").interpolate(RED, BLUE, 5, seed=3)
    strip = pixels(tmp_path / f"results/both/generated/{stem}.png")
    rows = grids.grid([grids.enlarge(expected[name], 128) for name in ("stage1_image", "image")])
    assert np.array_equal(strip[-len(rows) :], rows)
    labels = strip[: -len(rows)]
    inked = [(labels[:, i * 130 : (i + 1) * 130] < 128).any() for i in range(5)]
    assert inked == [True, False, False, False, True]
    with Image.open(tmp_path / f"results/both/generated/{stem}.gif") as film:
        assert (film.n_frames, film.info["loop"], film.size) == (8, 0, (128, 128))
        for frame, step in enumerate([0, 1, 2, 3, 4, 3, 2, 1]):
            film.seek(frame)
            assert film.info["duration"] == (750 if step in (0, 4) else 150)
            image = np.asarray(film.convert("RGB")).astype(int)
            assert np.abs(image - grids.enlarge(expected["image"], 128)[step]).mean() < 8


def test_a_long_interpolation_has_a_short_strip(draw, made, tmp_path):
    assert draw("--interpolate", RED, RED, "--steps", 30)[0] == 0
    gif, strip = made()
    assert pixels(tmp_path / "results/both/generated" / strip).shape[1] == 12 * 130 + 2
    assert gif.endswith("steps30.gif")


def test_interpolation_of_stage1(draw, tmp_path):
    assert draw("--interpolate", RED, BLUE, "--run", "frozen", "--steps", 2)[0] == 0
    assert len(list((tmp_path / "results/frozen/generated").glob("interpolation_*"))) == 2


# -- sentences ----------------------------------------------------------------------------------------------------


def test_any_sentence(draw, made):
    odd = [
        "",
        "   ",
        "red " * 250,
        "🐦🦜",
        "鳥",
        "../../etc/passwd",
        "a\\b:c*?",
        "\udcff",
        "con",
        "A RED bird",
        "x" * 999,
    ]
    code, output, errors = draw("--count", 1, "--", *odd)
    assert code == 0, errors
    notes = [line.removeprefix("note: sentence ") for line in output.splitlines() if line.startswith("note")]
    assert [note.split(":")[0] for note in notes] == ["1", "2", "3", "4", "5", "8", "11"]
    assert notes[2] == "3: only its first 201 of 1,000 characters are read"
    stage2 = made(end="stage2.png")
    assert len(stage2) == len(odd)
    for name in made():
        assert name.isascii()
        assert len(name) < 150
        assert not set(name) & set('\\/:*?"<>| ')
    assert stage2[9] == "10_a-red-bird_seed0_copy01_stage2.png"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a red bird\na blue bird\n", ["a red bird", "a blue bird"]),
        (b"\xef\xbb\xbfa red bird\r\n\r\n  \r\n a blue bird ", ["a red bird", "a blue bird"]),
        ("schöner Vogel – 鳥\n".encode(), ["schöner Vogel – 鳥"]),
        ("schöner Vogel\rzwei".encode("latin-1"), ["schöner Vogel", "zwei"]),
        ("schöner Vogel\nzwei".encode("utf-16"), ["schöner Vogel", "zwei"]),
        (b"a bird\0with a hole\n", ["a bird\0with a hole"]),
    ],
)
def test_sentences_of_files(tmp_path, content, expected):
    (tmp_path / "süße Sätze.txt").write_bytes(content)
    assert sentences.read_lines(str(tmp_path / "süße Sätze.txt")) == expected


def test_sentences_that_are_embedded_already(draw, trained, load, tmp_path):
    embeddings = load(trained / "weights/both").embed([RED, BLUE])
    np.savez(tmp_path / "embeddings.npz", embeddings=embeddings, sentences=[RED, BLUE])
    code, _, errors = draw("--embedded", tmp_path / "embeddings.npz", "--count", 2)
    assert (code, errors) == (0, "")
    folder = tmp_path / "results/both/generated"
    (tag,) = {path.name.split("_copy")[0].split("embedded-")[1] for path in folder.glob("0*.png")}
    draw(RED, BLUE, "--count", 2)
    for place, sentence in ((1, "this-bird-is-red-with-black-wings"), (2, "a-blue-bird")):
        for end in ("copy01_stage1.png", "copy02_stage2.png"):
            theirs = folder / f"{place:02d}_{sentence}_seed0_embedded-{tag}_{end}"
            assert theirs.read_bytes() == (folder / f"{place:02d}_{sentence}_seed0_{end}").read_bytes()
    assert draw("--run", "blind", "--embedded", tmp_path / "embeddings.npz", "--count", 1)[0] == 0
    assert draw("--embedded", tmp_path / "embeddings.npz", "--interpolate", "--steps", 3)[0] == 0
    assert len(list(folder.glob(f"interpolation_*_embedded-{tag}_steps3.*"))) == 2


def test_embedded_sentences_that_do_not_fit(refused, tmp_path):
    np.save(tmp_path / "embeddings.npy", np.zeros((2, 5)))
    assert "the embeddings are (2, 5): give sentences, or an array (N, 6)" in refused(
        "--embedded", tmp_path / "embeddings.npy"
    )
    assert "leave out the others" in refused("--embedded", tmp_path / "embeddings.npy", RED)
    assert "leave out the others" in refused("--embedded", tmp_path / "embeddings.npy", "--", RED)
    assert "there is no file" in refused("--embedded", tmp_path / "other.npy")


def test_standard_input(draw, made):
    for arguments in ([], ["--file", "-"]):
        assert draw(*arguments, "--count", 1, stdin="a blue bird\n\nschön\n".encode())[0] == 0
        assert len(made("0")) == 4
        assert made("01_a-blue-bird_seed0_copy01_stage2")


def test_sentences_of_both(draw, made, tmp_path):
    (tmp_path / "more.txt").write_text("green\n")
    assert draw(RED, "--file", "more.txt", BLUE, "--count", 1)[0] == 0
    assert [name.split("_")[1] for name in made(end="stage2.png")] == [
        "this-bird-is-red-with-black-wings",
        "a-blue-bird",
        "green",
    ]


@pytest.mark.parametrize("content", [b"", b"\n \n\r\n", b"\xef\xbb\xbf"])
def test_no_sentence_in_it(refused, tmp_path, content):
    (tmp_path / "x.txt").write_bytes(content)
    assert refused("--file", "x.txt") == "x.txt holds no sentence: write one a line"
    assert refused(stdin=content) == "standard input holds no sentence: write one a line"


@pytest.mark.parametrize("content", [bytes(999), bytes(range(256)) * 9, b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_no_text(refused, tmp_path, content):
    (tmp_path / "x.bin").write_bytes(content)
    assert refused("--file", "x.bin").startswith("x.bin is no text: give a text file")


def test_no_weights_as_text(refused):
    assert "is no text" in refused("--file", "weights/both/text_encoder.weights.h5")


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "there is no sentence: give one, such as "),
        (["--file", "gone.txt"], "there is no file gone.txt: give a text file"),
        (["--file", "weights"], "weights is a folder: give a text file"),
        ([RED, "--count", "many"], "--count: invalid int value: 'many'"),
        ([RED, "--count", "0"], "count is 0: give a whole number from 1 to 2,147,483,648"),
        ([RED, "--seed", "-1"], "seed is -1: give a whole number from 0"),
        ([RED, "--epsilon_scale", "nan"], "epsilon_scale is nan: give a number from 0 to 100"),
        ([RED, "--noise_scale", "-1"], "noise_scale is -1.0: give a number from 0 to 100"),
        ([RED, "--steps", "4"], "--steps belongs to --interpolate: give that and two sentences, or leave it out"),
        ([RED, BLUE, "--count", 501], "that makes 1,002 images: add --yes if you mean it, or lower --count"),
        ([RED, "--interpolate"], "--interpolate goes from one sentence to another: give two sentences, not 1"),
        (
            [RED, RED, RED, "--interpolate"],
            "--interpolate goes from one sentence to another: give two sentences, not 3",
        ),
        (
            [RED, BLUE, "--interpolate", "--count", "4"],
            "--interpolate draws one row of images: leave out --count",
        ),
        ([RED, BLUE, "--interpolate", "--steps", "1"], "steps is 1: give a whole number from 2 to 1,000"),
        ([RED, "--colour", "red"], "unrecognized arguments: --colour"),
        ([RED, "--run", "gone"], "weights/gone is not there: take one of the runs birds, blind, both,"),
        ([RED, "--run", "../weights/both"], "run is '../weights/both', but must be a name"),
        ([RED, "--run", "blind"], "weights/blind holds generators but no text_encoder.weights.h5"),
    ],
)
def test_mistakes(refused, arguments, expected):
    assert refused(*arguments).startswith(expected)


def test_a_file_where_the_images_should_go(draw, tmp_path):
    (tmp_path / "results").write_text("")
    code, _, errors = draw(RED)
    assert (code, errors.count("\n")) == (2, 1)
    assert "a file stands where a folder should be" in errors


def test_help_answers_at_once_and_shows_examples():
    command = [sys.executable, "-X", "importtime", "-m", "stackgan_keras.generate", "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "tensorflow" not in ended.stderr
    examples = [line.strip() for line in ended.stdout.splitlines() if "python -m stackgan_keras.generate " in line]
    assert len(examples) >= 6
    assert "--interpolate" in ended.stdout


def test_as_a_shell_runs_it(trained, tmp_path):
    command = [sys.executable, "-m", "stackgan_keras.generate", "--run", "both", "--count", "1"]
    (tmp_path / "weights").symlink_to(trained / "weights")
    quiet = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    ended = subprocess.run(command, input=b"a blue bird\n", capture_output=True, cwd=tmp_path, env=quiet, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert Path(tmp_path / "results/both/generated/grid_a-blue-bird_seed0_copies1.png").is_file()
