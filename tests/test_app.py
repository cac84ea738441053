"""The page: what it shows equals `StackGAN`'s images, strange input gets a sentence, and it works in a real browser."""

import ast
import io
import itertools
import json
import math
import os
import re
import shlex
import shutil
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers import awake, ended, fetch, pixels, refusal, serving, until
from PIL import Image

from stackgan_keras import app, generate
from stackgan_keras.data import grids, rgb
from stackgan_keras.errors import InputError
from stackgan_keras.inference.stackgan import StackGAN
from stackgan_keras.inference.studio import MOST_LETTERS, Studio
from stackgan_keras.models import runs, weights
from stackgan_keras.models.weights import ModelConfig
from stackgan_keras.training import progress

REPOSITORY = Path(__file__).resolve().parents[1]
STAGE1 = {"image_size": 16, "filters": 2, "text_dim": 6, "condition_dim": 3, "noise_dim": 4}
STAGE2 = {"stage1": STAGE1, "image_size": 32, "filters": 2, "text_dim": 6, "condition_dim": 3, "residual_blocks": 1}
NETWORKS = {
    "text_encoder": ModelConfig("text_encoder", {"filters": 3, "recurrent_dim": 4, "text_dim": 6}),
    "stage1_gen": ModelConfig("stage1_generator", STAGE1),
    "stage2_gen": ModelConfig("stage2_generator", STAGE2),
}
RED, BLUE = "this bird is red with black wings", "a blue bird"
PLAIN = {"count": 1, "seed": 0, "noise": 1, "epsilon": 1, "same": False}
TEXTS = [
    *("", " ", "\n\n", "\t", "a", "?", "-" * 300, "x" * MOST_LETTERS, "x" * (MOST_LETTERS + 1), "a\n" * 8, "a\n" * 9),
    *(
        "<b>red</b>",
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "![x](file:///etc/passwd)",
        "&lt;&amp;",
    ),
    *("красная птица", "一只红色的鸟", "طائر أحمر", "אדום", "🐦🐦", "é", "e\u0301", "\u202eder", "\ufeffred", "a\x00b"),
    *("\x1b[31mred", "\ud83d", "../../etc/passwd", "C:\\con", "'; DROP TABLE birds; --", "{{7*7}}", "%s%n", "$(ls)"),
    *("-- --seed", "`ls`", "NaN", "null", "\r\n\r\n", "\u2028red\u2028", "a" * 201, "red, " * 50),
    *(None, 7, 1.5, True, [], ["a"], {}, {"path": "/etc/passwd"}),
]
COUNTS = [0, -1, 17, 1e9, 1.5, "2", "two", "", None, True, [], {}, "9" * 5000, math.nan]
SEEDS = [-1, 2**31 - 1, 2**31, 2**70, 0.5, "0", "x", None, False, [1], {"a": 1}, math.inf]
SCALES = [-1, 0, 100, 101, 1e300, "1", "x", "nan", None, True, [], {}]
RUNS = ["", "absent", "../drawn", "/etc", "drawn/..", ".", "a" * 300, "\x00", "\ud83d", None, 3, [], {}]
STRANGE = [
    *({"text": text} for text in TEXTS),
    *({"count": count} for count in COUNTS),
    *({"seed": seed} for seed in SEEDS),
    *({name: scale} for name, scale in itertools.product(("noise", "epsilon"), SCALES)),
    *({"same": same} for same in (None, "yes", 3, [])),
    *({"run": run} for run in RUNS),
]


def controls(run="tiny", text=RED, **others):
    return [run, text, *(PLAIN | others).values()]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """An output folder with the runs `tiny` and, without a Stage II, `flower`; `blind` reads no sentences."""
    out = tmp_path_factory.mktemp("out")
    for name, config in NETWORKS.items():
        holders = {"text_encoder": ("tiny", "flower"), "stage1_gen": ("flower", "blind")}.get(name, ("tiny",))
        for run in holders:
            weights.save(awake(config), config, out / f"weights/{run}/{name}.weights.h5")
    return out


@pytest.fixture(scope="module")
def studio(out):
    return Studio(out)


# -- the page without the page ------------------------------------------------------------------------------------


def test_images_are_those_of_stackgan(studio, out):
    images, command = studio.draw("tiny", f"{RED}\n\n{BLUE} \n", 2.0, 3.0, 0.5, 1, True)
    stage1, stage2 = images["Stage I"], images["Stage II"]
    scales = {"noise_scale": 0.5, "epsilon_scale": 1, "same_noise": True}
    made = StackGAN.load(out / "weights/tiny").generate([RED, BLUE], 2, 3, **scales)
    for gallery, name in ((stage1, "stage1_image"), (stage2, "image")):
        assert np.array_equal([pixels(file) for file, _ in gallery], made[name].reshape(-1, *made[name].shape[2:]))
        assert [caption for _, caption in gallery][1:3] == [f"{RED}, seed 3, copy 2", f"{BLUE}, seed 3, copy 1"]
    assert len({Path(file).name for file, _ in stage1 + stage2}) == 8
    about = {"sentence": BLUE, "place": "2", "copy": "1", "stage": "Stage II", "run": "tiny", "seed": "3"}
    assert Image.open(stage2[2][0]).text == about | {name: str(value) for name, value in scales.items()}
    assert "--noise_scale 0.5" in command and "epsilon" not in command


def test_the_command_makes_the_same_images_again(studio, out, monkeypatch, capsys):
    images, command = studio.draw("tiny", f'-{RED}\nit\'s "blue"', 1, 5, 2, 0.25, False)
    code, printed, errors = ended(generate.main, shlex.split(command)[3:], monkeypatch, capsys)
    assert code == 0, errors
    folder = Path(re.search(r"images: (.+?): ", printed)[1])
    for gallery, stage in ((images["Stage I"], "stage1"), (images["Stage II"], "stage2")):
        files = sorted(folder.glob(f"*seed5*{stage}.png"))
        assert np.array_equal([pixels(file) for file in files], [pixels(file) for file, _ in gallery])


def test_a_walk_is_that_of_stackgan(studio, out):
    strip, animation, command = studio.walk("tiny", RED, BLUE, 8, 1)
    made = StackGAN.load(out / "weights/tiny").interpolate(RED, BLUE, 8, 1)["image"]
    assert np.array_equal(pixels(strip), grids.grid([made[:6], made[6:]]))
    assert Image.open(animation).n_frames == 14
    assert command.startswith("python -m stackgan_keras.generate --run tiny") and "--interpolate --steps 8" in command


def test_a_run_without_stage2_shows_stage1(studio, out):
    images, _ = studio.draw("flower", RED, 1, 0, 1, 1, False)
    assert [*images] == ["Stage I"] and pixels(images["Stage I"][0][0]).shape == (16, 16, 3)
    assert studio.walk("flower", RED, BLUE, 3, 0)


def test_runs_are_those_that_read_sentences_and_draw(studio):
    own = {folder.name for home in runs.shipped_homes() if home.is_dir() for folder in home.iterdir()} - {"drawn"}
    assert [name for name in studio.runs() if name not in own] == ["drawn", "flower", "tiny"]  # a developer has others


def test_examples_suit_the_run(studio, out):
    assert all("flower" in sentence or "petals" in sentence for sentence in studio.examples("flower"))
    assert all("bird" in sentence for sentence in studio.examples("drawn"))
    file = out / "weights/tiny/examples.txt"
    file.write_text("a shoe\n\na red shoe\n")
    assert studio.examples("tiny") == ["a shoe", "a red shoe"]
    file.unlink()


def test_newer_weights_are_drawn_with(studio, out, tmp_path):
    shutil.copytree(out / "weights/tiny", tmp_path / "weights/new")
    fresh = Studio(tmp_path)
    before = fresh.load("new")
    assert fresh.load("new") is before
    os.utime(tmp_path / "weights/new/stage2_gen.weights.h5", (time.time() + 9,) * 2)
    assert fresh.load("new") is not before


def test_what_is_not_read_is_said(studio):
    assert studio.unread("tiny", f"{RED}\n{BLUE}") == ""
    notice = studio.unread("tiny", f"{RED}\nein grüner Vogel\n{'x' * 300}")
    assert notice.startswith("Sentence 2: 1 of 16 characters read as spaces")
    assert "Sentence 3: only its first 201 of 300 characters are read" in notice
    assert (
        studio.unread("tiny", " \n") == "there is no sentence: write what the image is to show, or choose an example."
    )
    assert studio.unread("tiny", "a\n" * 9) == "9 sentences were given: write at most 8, one a line."


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\t"])
def test_an_empty_box_gets_told_what_to_write(studio, text):
    assert refusal(studio.draw, *controls(text=text)).startswith(
        "there is no sentence: write what the image is to show"
    )


@pytest.mark.parametrize("place", range(len(STRANGE)))
def test_strange_input_gives_images_or_a_sentence(studio, place):
    try:
        images, command = studio.draw(*controls(**STRANGE[place]))
    except InputError as problem:
        assert "\n" not in str(problem)
        return
    assert images["Stage I"] and images["Stage II"] and command
    json.dumps([images, command], ensure_ascii=False).encode()


def test_strange_walks_get_a_sentence(studio):
    for first, second, steps, seed in ((None, BLUE, 3, 0), (RED, [], 3, 0), (RED, BLUE, 1, 0), (RED, BLUE, 25, 0)):
        assert refusal(studio.walk, "tiny", first, second, steps, seed)
    for first, second in (("", BLUE), (RED, " ")):
        assert refusal(studio.walk, "tiny", first, second, 3, 0).startswith("there is no sentence: write")
    assert "seed is 'x'" in refusal(studio.walk, "tiny", RED, BLUE, 3, "x")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["--port", "70000"], "--port is '70000': give a whole number from 1 to 65,535"), (["--share"], "unrecognized")],
)
def test_wrong_arguments(arguments, expected, monkeypatch, capsys):
    code, _, errors = ended(app.main, arguments, monkeypatch, capsys)
    assert code == 2 and errors.count("\n") == 1 and expected in errors


def test_a_taken_port_a_strange_host_and_a_missing_folder(monkeypatch, capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, _, errors = ended(app.main, ["--port", port], monkeypatch, capsys)
    assert code == 2 and f"127.0.0.1 cannot be listened on at port {port}" in errors and errors.count("\n") == 1
    code, _, errors = ended(app.main, ["--host", "nowhere.invalid"], monkeypatch, capsys)
    assert code == 2 and "nowhere.invalid cannot be listened on" in errors and errors.count("\n") == 1
    code, _, errors = ended(app.main, ["--output_dir", str(tmp_path / "nope")], monkeypatch, capsys)
    assert code == 2 and "nope is no folder" in errors and errors.count("\n") == 1


def test_without_gradio_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "stackgan_keras.inference.page", raising=False)
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_RUN_HISTORY", "HF_HUB_DISABLE_TELEMETRY", "GRADIO_TEMP_DIR"):
        monkeypatch.setenv(name, "as it was")  # to be put back
    code, _, errors = ended(app.main, [], monkeypatch, capsys)
    assert code == 2 and "pip install 'stackgan_keras[app]'" in errors


# -- a training as it goes ----------------------------------------------------------------------------------------


@pytest.fixture
def training(tmp_path):
    """A training of four epochs, of which two are over: its folder of logs."""
    logs = tmp_path / "logs/mine/stage2"
    logs.mkdir(parents=True)
    settings = {"run": "mine", "train": {"epochs": 4, "batch_size": 8, "warmup_epochs": 3}}
    (logs / "config.yaml").write_text(yaml.safe_dump(settings))
    lines = [{"step": 100 * n, "epoch": n, "generator": 1 / n, "images_per_second": 2.0} for n in (1, 2)]
    (logs / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    for epoch in (1, 2):
        rgb.write(tmp_path / f"results/mine/stage2/epoch_{epoch:05d}.png", np.full((32, 32, 3), epoch, np.uint8))
        os.utime(tmp_path / f"results/mine/stage2/epoch_{epoch:05d}.png", (time.time() + epoch,) * 2)
    return logs


def test_progress_of_a_training(training, tmp_path):
    assert progress.trainings(tmp_path) == ["mine/stage2"]
    found = progress.read(tmp_path, "mine/stage2")
    assert found.sentence == "Epoch 2 of 4, 2.0 images per second, 13 min left."
    assert (found.grid() == 2).all()
    assert found.curves().shape == (468, 552, 3)  # one panel
    assert "there is no training '../mine'" in refusal(progress.read, tmp_path, "../mine")


def test_a_training_that_begins_is_shown_where_the_one_before_is_finished(training, tmp_path):
    settings = {"run": "mine", "train": {"epochs": 2000, "max_steps": 200, "batch_size": 8}}
    (training / "config.yaml").write_text(yaml.safe_dump(settings))
    assert progress.read(tmp_path, "mine/stage2").sentence == "Epoch 2 of 2, 2.0 images per second. It is finished."
    assert progress.to_show(tmp_path, None, []) == progress.to_show(tmp_path, "mine/gone", []) == "mine/stage2"
    known = progress.trainings(tmp_path)
    (tmp_path / "logs/next/stage1").mkdir(parents=True)
    (tmp_path / "logs/next/stage1/config.yaml").write_text("run: next")
    assert progress.to_show(tmp_path, "mine/stage2", known) == "next/stage1"
    assert progress.to_show(tmp_path, "mine/stage2", ["next/stage1", *known]) == "mine/stage2"  # as was chosen
    (training / "config.yaml").write_text("train: {epochs: 4}")
    assert progress.to_show(tmp_path, "mine/stage2", known) == "mine/stage2"  # it goes on
    assert progress.to_show(tmp_path / "nothing", None, []) is None


def test_progress_while_files_are_half_written(training, tmp_path):
    with (training / "metrics.jsonl").open("a") as file:
        file.write('{"step": 300, "epoch": 3, "real_f')
    newest = tmp_path / "results/mine/stage2/epoch_00002.png"
    newest.write_bytes(newest.read_bytes()[:60])
    found = progress.read(tmp_path, "mine/stage2")
    assert found.sentence.startswith("Epoch 2 of 4") and (found.grid() == 1).all()


def test_progress_of_other_states(training, tmp_path):
    def notice():
        return progress.read(tmp_path, "mine/stage2").sentence

    os.utime(training / "metrics.jsonl", (time.time() - 7200,) * 2)
    assert notice().endswith("Nothing new for 2.0 h: it may have been stopped.")
    (training / "warmup").mkdir()
    (training / "metrics.jsonl").rename(training / "warmup/metrics.jsonl")
    os.utime(training / "warmup/metrics.jsonl")
    assert notice() == "Warm-up, epoch 2 of 3, 2.0 images per second, 7 min left."
    (training / "config.yaml").write_text("train: {unheard_of: 3}")
    assert notice() == "Warm-up, epoch 2, 2.0 images per second."
    (training / "warmup/metrics.jsonl").unlink()
    found = progress.read(tmp_path, "mine/stage2")
    assert found.sentence.startswith("Its first epoch is not over") and found.curves() is None


# -- a Space ------------------------------------------------------------------------------------------------------


def test_a_space_installs_what_the_package_needs():
    text = (REPOSITORY / "setup.py").read_text()
    needed = ast.literal_eval(re.search(r"install_requires=(\[.*?\])", text, re.DOTALL)[1])
    asked = (REPOSITORY / "examples/space/requirements.txt").read_text().split()
    assert asked == [name.replace("tensorflow>", "tensorflow-cpu>") for name in needed]
    front = yaml.safe_load((REPOSITORY / "examples/space/README.md").read_text().split("---")[1])
    floor = re.search(r'"gradio>=([\d.]+)"', text)[1]
    assert front["sdk"] == "gradio" and front["sdk_version"].startswith(floor)
    assert (REPOSITORY / "examples/space" / front["app_file"]).is_file()


# -- through the page's interface ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """What the server prints."""
    return tmp_path_factory.mktemp("server") / "log"


@pytest.fixture(scope="module")
def server(out, log):
    """The address of the page, with the runs in `out`."""
    pytest.importorskip("gradio", reason="the page needs gradio: pip install '.[app]'")
    with serving(out, log) as address:
        yield address


@pytest.fixture(scope="module")
def ask(server):
    """Calls one of the page's functions: what it shows, or the sentence that it answers instead."""
    gradio_client = pytest.importorskip("gradio_client")
    client = gradio_client.Client(server, download_files=False, verbose=False)

    def ask(name, *values):
        try:
            return client.predict(*values, api_name=f"/{name}")
        except gradio_client.exceptions.AppError as problem:
            return str(problem)

    return ask


def of_gallery(found) -> list[np.ndarray]:
    return [pixels(io.BytesIO(fetch(each["image"]["url"]))) for each in found["value"]]


def test_the_interface_gives_the_images_of_stackgan(ask, out):
    model = StackGAN.load(out / "weights/tiny")
    for sentence in (RED, BLUE):  # one seed: files of the same names
        stage1, stage2, _ = ask("draw", *controls(text=sentence))
        made = model.generate(sentence, 1, 0)
        assert np.array_equal(of_gallery(stage1), made["stage1_image"][0])
        assert np.array_equal(of_gallery(stage2), made["image"][0])
        name = "tiny_seed0_01_copy01_StageII.png"
        assert stage2["value"][0]["image"]["url"].endswith(name)


def test_the_interface_names_its_parameters(server):
    found = json.loads(fetch(f"{server}/gradio_api/info"))["named_endpoints"]
    names = {name: [each["parameter_name"] for each in endpoint["parameters"]] for name, endpoint in found.items()}
    assert names == {
        "/draw": ["run", "sentences", "count", "seed", "noise_scale", "epsilon_scale", "same_noise"],
        "/unread": ["run", "sentences"],
        "/walk": ["run", "first", "second", "steps", "seed"],
        "/follow": ["training"],
    }


def test_the_terminal_advertises_no_share(server, log):
    printed = log.read_text()
    assert f"Running on {server}/\n" in printed and "share" not in printed


def _is_json(value) -> bool:
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:  # half a letter, infinity
        return False
    return True


def test_strange_input_through_the_interface(ask):
    sendable = [strange for strange in STRANGE if _is_json(strange)]
    for strange in sendable:
        found = ask("draw", *controls(**strange))
        if isinstance(found, str):
            assert re.match(r"[^\n]+$", found) and "Traceback" not in found and ": " in found, (strange, found)
        else:
            assert found[0]["value"] and found[1]["value"], strange
    assert len(sendable) > 100


def posted(address, body) -> tuple[int, dict]:
    """The status and the answer of a call with a body of JSON."""
    headers = {"Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, json.dumps(body).encode(), headers)) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


FILE = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
WRONG_CALLS = [  # path, body, part of the answer
    ("queue/join", {"data": [], "fn_index": 99, "session_hash": "s"}, "no function of fn_index 99: call one of draw, "),
    ("queue/join", {"data": [], "fn_index": [], "session_hash": "s"}, "no function of fn_index []: call one of draw, "),
    ("queue/join", {"data": ["tiny"], "fn_index": 0, "session_hash": "s"}, "draw takes 7 values, not 1: give as many"),
    ("call/paint", {"data": []}, "the page has no function called 'paint': call one of draw, unread, walk, follow"),
    ("call/suit", {"data": []}, "the page has no function called 'suit'"),
    ("call/v2/paint", {}, "the page has no function called 'paint'"),
    ("call/v2/draw", {"text": RED}, "values called text were given: give run, sentences, count, seed, "),
    ("call/draw", {"data": controls()[:-1]}, "draw takes 7 values, not 6: give as many"),
    ("call/draw", {"data": [*controls(), 1]}, "draw takes 7 values, not 8: give as many"),
    ("call/draw", {"data": controls(text=FILE)}, "the page takes no files: give text, numbers, true and false"),
    ("call/draw", {"data": controls(text=[{"path": "x", "meta": "y"}])}, "the page takes no files"),
    ("call/v2/unread", {"run": FILE, "sentences": RED}, "the page takes no files"),
    ("run/draw", {"data": controls()}, "the page answers by its queue alone: POST to call/NAME, then GET call/NAME/"),
    ("api/nothing", {"data": [], "fn_index": 99}, "the page answers by its queue alone"),
]


@pytest.mark.parametrize(("path", "body", "expected"), WRONG_CALLS)
def test_a_wrong_call_gets_a_sentence(path, body, expected, server):
    status, answer = posted(f"{server}/gradio_api/{path}", body)
    assert status in (400, 404) and expected in answer["detail"] and "\n" not in answer["detail"]


@pytest.mark.parametrize("path", ["call/draw/nothing", "call/v2/draw/nothing", "queue/data?session_hash=nothing"])
def test_who_listens_to_nothing_gets_a_sentence(path, server):
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetch(f"{server}/gradio_api/{path}")
    sentence = "nothing was asked by 'nothing', or it is gone: ask first, and listen once"
    assert refused.value.code == 404 and json.load(refused.value) == {"detail": sentence}


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("draw", controls(text=None), "the sentences are no text"),
        ("draw", controls(run=None), "there is no run 'None'"),
        ("draw", [None] * 7, "the sentences are no text"),
        ("walk", ["tiny", None, BLUE, 3, 0], "the sentences are no text"),
        ("walk", ["tiny", RED, {"path": "/etc/passwd"}, 3, 0], "the sentences are no text"),
        ("unread", ["tiny", None], "the sentences are no text"),
        ("unread", [{"a": 1}, RED], "there is no run"),
        ("follow", [{"a": 1}], "No training has begun yet."),
    ],
)
def test_a_call_with_nulls_or_objects_gets_a_sentence(name, values, expected, server):
    _, asked = posted(f"{server}/gradio_api/call/{name}", {"data": values})
    assert expected in fetch(f"{server}/gradio_api/call/{name}/{asked['event_id']}").decode()


class SlowStudio(Studio):
    """Draws nothing, but notes what for, and not before `go`."""

    def __init__(self, output_dir):
        super().__init__(output_dir)
        self.drawn, self.go = [], threading.Event()

    def draw(self, run, sentences, count, seed, noise_scale, epsilon_scale, same_noise):
        self.drawn.append(sentences)
        assert self.go.wait(60)
        return {"Stage I": []}, ""


def test_nothing_is_drawn_for_those_who_have_gone(out, monkeypatch):
    pytest.importorskip("gradio", reason="the page needs gradio: pip install '.[app]'")
    from stackgan_keras.inference import calls, page

    studio, listeners, streams = SlowStudio(out), calls.Listeners(), {}
    blocks = page.page(studio, "tiny", listeners).queue()
    _, address, _ = blocks.launch(quiet=True, prevent_thread_lock=True, app_kwargs=listeners.app_kwargs())
    address = f"{address}gradio_api"

    def ask(text, *, listen):
        call = {"data": controls(text=text), "fn_index": 0, "session_hash": text}
        assert posted(f"{address}/queue/join", call)[0] == 200
        if listen:
            streams[text] = urllib.request.urlopen(f"{address}/queue/data?session_hash={text}", timeout=60)
            until(lambda: text in listeners.open)

    try:
        ask("first", listen=True)
        until(lambda: studio.drawn)
        monkeypatch.setattr(calls, "GRACE", 0)
        for text in ("silent1", "silent2"):
            ask(text, listen=False)
        status, by_name = posted(f"{address}/call/draw", {"data": controls(text="never fetched")})
        assert status == 200
        ask("left", listen=True)
        streams.pop("left").close()
        until(lambda: "left" not in listeners.open)
        ask("last", listen=True)
        studio.go.set()
        assert '"success":true' in streams["last"].read().decode()
        assert studio.drawn == ["first", "last"]
        answer = fetch(f"{address}/call/draw/{by_name['event_id']}").decode()
        assert "nobody listened for 0 seconds, so nothing was drawn: ask again, and listen at once" in answer
    finally:
        studio.go.set()
        blocks.close()


def test_several_people_at_once(server, out):
    gradio_client = pytest.importorskip("gradio_client")
    model = StackGAN.load(out / "weights/tiny")

    def person(seed):
        client = gradio_client.Client(server, download_files=False, verbose=False)
        return of_gallery(client.predict(*controls(count=3, seed=seed), api_name="/draw")[1])

    with ThreadPoolExecutor(8) as people:
        for seed, found in enumerate(people.map(person, range(8))):
            assert np.array_equal(found, model.generate(RED, 3, seed)["image"][0])


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "setup.py", "{repository}/setup.py", "{out}/weights/tiny/text_encoder.weights.h5"]
)
@pytest.mark.parametrize(
    "prefix", ["gradio_api/file=", "gradio_api/file/", "file=", "gradio_api/file=../../..", "assets/../"]
)
def test_no_file_can_be_read(server, out, prefix, path):
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetch(f"{server}/{prefix}{path.format(repository=REPOSITORY, out=out)}")
    assert refused.value.code >= 400


def test_it_listens_on_this_machine_alone(server):
    address = ("127.0.0.2", int(server.rpartition(":")[2]))  # would be answered if it listened on all
    with pytest.raises(OSError):
        socket.create_connection(address, timeout=5).close()


def test_no_file_can_be_sent(server):
    body = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\nhello\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    with pytest.raises(urllib.error.HTTPError):
        fetch(urllib.request.Request(f"{server}/gradio_api/upload", body, headers))
