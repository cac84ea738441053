"""The page under load: visitors ask for images for some minutes; their waits, and the server's memory and open files.

    python benchmarks/page_load.py --minutes 10 --visitors 50

Each visitor loads the page, asks for images of a sentence with a seed of its own, waits, fetches them, looks at them
for a while, and after some requests comes as a new visitor. The server is the page itself, in a process of its own.
"""

import argparse
import io
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from PIL import Image

COLOURS, PARTS = ("red", "pink", "white", "yellow", "purple", "orange"), ("petals", "stamens", "leaves")
STAY = 5  # requests of a visitor before a new one comes
PATIENCE = 900  # seconds


class Sample(NamedTuple):
    """The server at a time."""

    second: float
    megabytes: float
    files: int


@dataclass
class Load:
    """What the visitors and the server's watcher saw."""

    started: float = field(default_factory=time.monotonic)
    waits: list[tuple[float, float]] = field(default_factory=list)  # second of the answer, seconds waited
    errors: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def second(self) -> float:
        return time.monotonic() - self.started


def main() -> None:
    parser = argparse.ArgumentParser(description="Asks the page for images as many visitors do.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--think", type=float, default=30, help="seconds between requests, on average (default 30)")
    parser.add_argument("--run", default="flowers")
    parser.add_argument("--count", type=int, default=1, help="images of each sentence (default 1)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as (address, process):
        ask(address, given, "warm", random.Random(0))
        load = Load()
        threads = [threading.Thread(target=watch, args=(process.pid, load))]
        threads += [
            threading.Thread(target=visit, args=(address, given, number, load)) for number in range(given.visitors)
        ]
        for thread in threads:
            thread.start()
        time.sleep(60 * given.minutes)
        load.over.set()
        for thread in threads:
            thread.join()
    print(table(load, 60 * given.minutes))
    for sentence in dict.fromkeys(load.errors):
        print(f"error: {sentence}")
    sys.exit(bool(load.errors))


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """The address of the page and its process, which prints into `folder`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = folder / "log"
    with log.open("w") as file:
        words = [sys.executable, "-m", "stackgan_keras.app", "--port", str(port)]
        process = subprocess.Popen(words, stdout=file, stderr=file)
    try:
        while "Running on" not in log.read_text():
            if process.poll() is not None:
                sys.exit(log.read_text())
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}", process
        if "Traceback" in log.read_text():
            sys.exit(log.read_text())
    finally:
        process.terminate()
        process.wait()


def watch(pid: int, load: Load) -> None:
    """Reads the server's memory and open files each second."""
    home = Path(f"/proc/{pid}")
    while not load.over.wait(1):
        resident = next(line for line in (home / "status").read_text().splitlines() if line.startswith("VmRSS"))
        load.samples.append(Sample(load.second(), int(resident.split()[1]) / 1024, len(os.listdir(home / "fd"))))  # noqa: PTH208


def visit(address: str, given: argparse.Namespace, number: int, load: Load) -> None:
    """Visitors who come one after the other until the time is over."""
    chance, requests = random.Random(number), 0
    load.over.wait(chance.uniform(0, given.think))
    while not load.over.is_set():
        session = f"visitor{number}x{requests // STAY}"
        try:
            if requests % STAY == 0:
                fetch(f"{address}/")
            asked = time.monotonic()
            ask(address, given, session, chance)
            load.waits.append((load.second(), time.monotonic() - asked))
        except Exception as problem:  # whatever goes wrong is what this program looks for
            load.errors.append(f"{type(problem).__name__}: {problem}")
        requests += 1
        load.over.wait(chance.expovariate(1 / given.think))


def ask(address: str, given: argparse.Namespace, session: str, chance: random.Random) -> None:
    """Asks for images as the page does, waits for them, and fetches them."""
    functions = json.loads(fetch(f"{address}/config"))["dependencies"]
    draw = next(fn["id"] for fn in functions if fn["api_name"] == "draw")
    sentence = f"this flower has {chance.choice(COLOURS)} {chance.choice(PARTS)} and {chance.choice(COLOURS)} petals"
    values = [given.run, sentence, given.count, chance.randrange(2**31), 1, 1, False]
    body = json.dumps({"data": values, "fn_index": draw, "session_hash": session}).encode()
    headers = {"Content-Type": "application/json"}
    fetch(urllib.request.Request(f"{address}/gradio_api/queue/join", body, headers))
    for image in urls(answer(f"{address}/gradio_api/queue/data?session_hash={session}")):
        Image.open(io.BytesIO(fetch(image))).verify()


def answer(stream: str) -> dict:
    """What the server sends to a session in the end."""
    with urllib.request.urlopen(stream, timeout=PATIENCE) as lines:
        for line in lines:
            message = json.loads(line.removeprefix(b"data:")) if line.startswith(b"data:") else {}
            if message.get("msg") == "process_completed":
                if not message["success"]:
                    raise RuntimeError(str(message["output"]))
                return message["output"]
    raise RuntimeError("the stream ended before the images came")


def urls(output: object) -> Iterator[str]:
    """The addresses of all files in an answer. Raises `RuntimeError` if there are none."""
    waiting, found = [output], 0
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("url"), str):
                found += 1
                yield value["url"]
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    if not found:
        raise RuntimeError("the answer holds no image")


def fetch(address: str | urllib.request.Request) -> bytes:
    with urllib.request.urlopen(address, timeout=PATIENCE) as answered:
        return answered.read()


def table(load: Load, seconds: float) -> str:
    """The first and the last third of the time beside each other, as Markdown."""
    lines = ["| | first third | last third |", "|---|---|---|"]
    spans = [(0, seconds / 3), (2 * seconds / 3, seconds)]
    waits = [[wait for second, wait in load.waits if begin <= second < end] for begin, end in spans]
    seen = [[sample for sample in load.samples if begin <= sample.second < end] for begin, end in spans]

    def row(name: str, form: str, values: list[float]) -> None:
        lines.append(f"| {name} | " + " | ".join(form.format(value) for value in values) + " |")

    row("requests served", "{:.0f}", [len(part) for part in waits])
    row("wait, median, s", "{:.1f}", [statistics.median(part) for part in waits])
    row("wait, 95 % of all, s", "{:.1f}", [sorted(part)[int(0.95 * (len(part) - 1))] for part in waits])
    row("memory of the server, median, MB", "{:.0f}", [statistics.median(s.megabytes for s in part) for part in seen])
    row("open files of the server, median", "{:.0f}", [statistics.median(s.files for s in part) for part in seen])
    tenths = [[s.megabytes for s in load.samples if n <= 10 * s.second / seconds < n + 1] for n in range(10)]
    memory = ", ".join(f"{statistics.median(part):.0f}" for part in tenths if part)
    lines += ["", f"{len(load.waits)} requests served in all, {len(load.errors)} errors; MB in each tenth: {memory}"]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
