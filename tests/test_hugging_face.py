"""Runs out of repositories of the Hugging Face Hub, which a small server on this machine stands in for."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers import awake, ended, pixels, refusal

from stackgan_keras import generate
from stackgan_keras.inference.stackgan import StackGAN
from stackgan_keras.models import hugging_face, weights
from stackgan_keras.models.weights import ModelConfig

REPOSITORY = Path(__file__).resolve().parents[1]
STAGE1 = {"image_size": 16, "filters": 2, "text_dim": 6, "condition_dim": 3, "noise_dim": 4}
NETWORKS = {
    "text_encoder": ModelConfig("text_encoder", {"filters": 3, "recurrent_dim": 4, "text_dim": 6}),
    "stage1_gen": ModelConfig("stage1_generator", STAGE1),
}
COMMIT = "a" * 40
RED = "a red bird"


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    """A folder of repositories: me/birds is a run, me/several holds one in a folder, me/text none."""
    root = tmp_path_factory.mktemp("repositories")
    for name, config in NETWORKS.items():
        for run in ("me/birds", "me/several/runs/red"):
            weights.save(awake(config), config, root / run / f"{name}.weights.h5")
    (root / "me/text").mkdir()
    for repository in (root / "me").iterdir():
        (repository / "README.md").write_text("---\nlicense: mit\n---\n")
    (root / "me/birds/optimizer.bin").write_bytes(b"not to be downloaded")
    return root


@pytest.fixture(scope="module")
def hub(repositories):
    """The address of a server that answers what `snapshot_download` asks, and the paths that it was asked for."""
    pytest.importorskip("huggingface_hub", reason="needs huggingface_hub: pip install '.[hub]'")
    asked = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition("?")[0].strip("/")
            parts = path.removeprefix("api/models/").split("/")
            folder = repositories / "/".join(parts[:2])
            files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
            names = [file.relative_to(folder).as_posix() for file in files]
            asked.append(path)
            if not files:
                self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            elif parts[2] == "resolve":
                content = (folder / "/".join(parts[4:])).read_bytes()
                self.answer(200, content, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"'})
            elif parts[2] == "tree":
                sizes = [file.stat().st_size for file in files]
                rows = [{"type": "file", "path": n, "oid": n, "size": s} for n, s in zip(names, sizes, strict=True)]
                self.answer(200, json.dumps(rows).encode())
            else:
                about = {"id": "/".join(parts[:2]), "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
                self.answer(200, json.dumps(about).encode())

        do_HEAD = do_GET

        def answer(self, code, content, headers=None):
            self.send_response(code)
            for name, value in {"Content-Length": len(content), "X-Repo-Commit": COMMIT, **(headers or {})}.items():
                self.send_header(name, str(value))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


@pytest.fixture
def shell(hub, tmp_path):
    """Runs Python with these words in an empty folder: its exit code, output and errors."""

    def shell(*words, **variables):
        environment = os.environ | {"HF_ENDPOINT": hub[0], "HF_HOME": str(tmp_path / "cache"), **variables}
        environment["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), *sys.path])
        done = subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
        )
        return done.returncode, done.stdout, done.stderr

    return shell


def test_generate_draws_by_a_run_of_the_hub(shell, hub, repositories, tmp_path):
    code, printed, errors = shell("-m", "stackgan_keras.generate", "--run", "hf://me/birds", RED, "--count", "1")
    assert code == 0, errors
    assert "note: this run has no Stage II yet, so these are its Stage-I images\n" in printed
    made = StackGAN.load(repositories / "me/birds").generate(RED, 1)["image"][0, 0]
    (file,) = (tmp_path / "results/me_birds/generated").glob("01_*.png")
    assert np.array_equal(pixels(file), made)
    assert not [path for path in hub[1] if path.endswith(".bin")]


def test_a_folder_in_a_repository_and_no_net_for_what_is_there(shell, hub, repositories, tmp_path):
    program = (
        "import sys, numpy; from stackgan_keras import StackGAN; "
        "numpy.save(sys.argv[2], StackGAN.load(sys.argv[1]).generate(sys.argv[3], 1)['image'])"
    )
    made = StackGAN.load(repositories / "me/several/runs/red").generate(RED, 1)["image"]
    for variables in ({}, {"HF_HUB_OFFLINE": "1"}):
        code, _, errors = shell("-c", program, "hf://me/several/runs/red", "made.npy", RED, **variables)
        assert code == 0, errors
        assert np.array_equal(np.load(tmp_path / "made.npy"), made)
        (tmp_path / "made.npy").unlink()


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("hf://me/nothing", "there is no repository me/nothing on the Hugging Face Hub, or it is private: check"),
        ("hf://me/text", "hf://me/text holds no stage2_gen.weights.h5 or stage1_gen.weights.h5: name"),
        ("hf://me/several", "hf://me/several holds no stage2_gen"),
        ("hf://me/several/runs/blue", "hf://me/several/runs/blue holds no stage2_gen"),
    ],
)
def test_what_is_no_run_of_the_hub(shell, run, expected):
    code, _, errors = shell("-m", "stackgan_keras.generate", "--run", run, RED)
    *progress, sentence = errors.splitlines()
    assert code == 2 and sentence.startswith(f"error: {expected}"), errors
    assert all(line.startswith(("Fetching", "Downloading", "Reconstructing")) for line in progress if line.strip())


def test_without_a_net(shell):
    code, _, errors = shell(
        "-m", "stackgan_keras.generate", "--run", "hf://me/birds", RED, HF_ENDPOINT="http://127.0.0.1:9"
    )
    assert (code, errors.count("\n")) == (2, 1), errors
    assert errors.startswith("error: hf://me/birds could not be downloaded (")


def test_without_huggingface_hub(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    code, _, errors = ended(generate.main, ["--run", "hf://me/birds", RED], monkeypatch, capsys)
    assert (code, errors.count("\n")) == (2, 1)
    assert "needs huggingface_hub, which is not installed: pip install 'stackgan_keras[hub]'" in errors
    assert "pip install 'stackgan_keras[hub]'" in refusal(StackGAN.load, "hf://me/birds")


@pytest.mark.parametrize("address", ["hf://", "hf://birds", "hf://me/birds/../text", "hf://me//birds", "hf://me/b?x"])
def test_addresses_that_are_none(address):
    assert "give hf://owner/name" in refusal(hugging_face.download, address)


@pytest.mark.parametrize("card", sorted(REPOSITORY.glob("weights/*/README.md")), ids=lambda card: card.parent.name)
def test_model_cards_say_what_the_hub_asks(card):
    front = yaml.safe_load(card.read_text(encoding="utf-8").split("---\n")[1])
    assert front["license"] == "mit" and front["pipeline_tag"] == "text-to-image"
    assert {"stackgan", "keras", "text-to-image"} <= {*front["tags"]}
