"""Tiny trainings of thousands of steps, disturbed at random, end as quiet ones; memory and open files stay flat.

`make soak MINUTES=60` trains for an hour, `make test-all` for minutes. At random moments a training is killed by
SIGKILL or by SIGTERM, its disk is full, or its newest checkpoint is damaged before the next start; one training goes on
with 1, 2 or 4 devices. Where the number of devices stays, all that is left in the end is equal to the bit. Where it
changes, the order of sums does: that training is in float64, and its figures and weights differ by no more than those
of `test_replicas.py` may.

Memory and open files are read each second. `results/soak/` gets them as CSV and as curves.
"""

import csv
import math
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import pytest
from devices import PROGRAM, assert_same_training
from disturbed import state, unfinished
from helpers import REPOSITORY, until
from matplotlib.figure import Figure

from stackgan_keras.config import Folders
from stackgan_keras.data import drawn_birds
from stackgan_keras.training import logs

MINUTES = float(os.environ.get("SOAK_MINUTES", 3))  # for all trainings together
SEED = int(os.environ.get("SOAK_SEED", 0))
CURVES = REPOSITORY / "results/soak"
EACH = {
    "--run": "mine",
    "--generator.filters": 2,
    "--generator.text_dim": 16,
    "--generator.condition_dim": 8,
    "--generator.noise_dim": 8,
    "--generator.residual_blocks": 1,
    "--discriminator.filters": 2,
    "--train.batch_size": 4,
    "--train.r1_weight": 0.1,
    "--train.ema_decay": 0.9,
    "--train.augmentation": "translation,cutout",
    "--train.epochs": 100_000,
    "--train.lr_decay_epochs": 1000,
    "--train.sample_every": 10,
    "--train.save_every": 2,
}
SIZES = {"stage1": {"--data.image_size": 16}, "stage2": {"--data.image_size": 32, "--generator.filters": 4}}
KINDS = ("killed", "killed as it writes", "stopped", "full", "damaged")
DISK = "size=96m"
MORE_MB, MORE_FILES = 40, 1  # from the first to the last third of a training that is left alone: see `assert_flat`
SETTLED = 30  # seconds of a training after which its memory is compared
LONG = 90  # seconds of what is compared, at least


@dataclass
class Soak:
    """One training's folder, how it is started, and what was seen of its processes."""

    name: str
    network: str
    root: Path
    folder: Path
    printed: Path  # a folder for what its processes print, beside the disk
    devices: tuple[int, ...]
    chance: random.Random
    seen: list[tuple] = field(default_factory=list)  # second, start, what, step, MB, open files
    starts: int = 0

    def words(self) -> list:
        chosen = {**EACH, **SIZES[self.network], "--data.root": self.root, "--output_dir": self.folder}
        command = ["-m", f"stackgan_keras.train_{self.network}"]
        if len(self.devices) > 1:
            command = [PROGRAM, str(self.chance.choice(self.devices)), f"train_{self.network}"]
        return [sys.executable, *command, *(word for pair in chosen.items() for word in pair)]

    @contextmanager
    def training(self, what: str, *more: object) -> Iterator[tuple[subprocess.Popen, Path]]:
        """A process that trains in the folder, watched until the block ends, and the file of what it prints."""
        self.starts += 1
        log = self.printed / f"{self.folder.name}_{self.starts}.txt"
        words = [str(word) for word in (*self.words(), *more)]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "3"}
        with log.open("wb") as file:
            process = subprocess.Popen(words, stdout=file, stderr=file, cwd=REPOSITORY, env=environment)
        over = threading.Event()
        watching = threading.Thread(target=self._watch, args=(process, what, over))
        watching.start()
        try:
            yield process, log
        finally:
            process.kill()
            process.wait()
            over.set()
            watching.join()

    def step(self) -> int:
        """The last step of which there are figures."""
        lines = logs.read(self.folder / f"logs/mine/{self.network}/metrics.jsonl")
        return lines[-1]["step"] if lines else 0

    @property
    def most_steps(self) -> float:
        """After which it is disturbed no more: the order of sums may tell more with every step."""
        return math.inf if len(self.devices) == 1 else 1000

    def checkpoints(self) -> Path:
        return self.folder / f"logs/mine/{self.network}/checkpoints"

    def _watch(self, process: subprocess.Popen, what: str, over: threading.Event) -> None:
        home, number = Path(f"/proc/{process.pid}"), self.starts
        while not over.wait(1):
            try:
                status = (home / "status").read_text()
                memory = next(line for line in status.splitlines() if line.startswith("VmRSS"))
                files = sum(1 for _ in (home / "fd").iterdir())
            except (OSError, StopIteration):  # it has ended
                return
            self.seen.append((time.monotonic(), number, what, self.step(), int(memory.split()[1]) / 1024, files))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Birds in the published layout; not to be changed."""
    folder = tmp_path_factory.mktemp("drawn") / "birds"
    return drawn_birds.write(folder, count=120, classes=12, test_classes=2, embedding_dim=16, workers=1)


@pytest.fixture
def disk(tmp_path):
    """A folder that is a disk of its own, or None where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", DISK, "tmpfs", folder], capture_output=True).returncode:
        yield None
        return
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stage1", "stage2", "stage1 on changing devices"])
def test_a_training_disturbed_at_random_ends_as_a_quiet_one(name, root, disk, tmp_path):
    network, devices = name.split()[0], (1, 2, 4) if "devices" in name else (1,)
    seed = f"{name} {SEED}"
    quiet, disturbed = (
        Soak(name, network, root, folder, tmp_path, devices, random.Random(seed))
        for folder in (tmp_path / "quiet", (disk or tmp_path) / "disturbed")
    )
    quiet.devices = devices if len(devices) == 1 else (1, 1)  # one device by the same program
    if network == "stage2":
        start_from_stage1(root, [quiet.folder, disturbed.folder])
    kinds = [kind for kind in KINDS if kind != "full" or disk]
    print(f"\nsoak of {name}, seed {SEED}" + ("" if disk else "; no disk can be mounted here, so none gets full"))
    end, counts = time.monotonic() + MINUTES / 3 * 60 * 0.6, dict.fromkeys(kinds, 0)
    while not all(counts.values()) or (time.monotonic() < end and disturbed.step() < disturbed.most_steps):
        kind = disturbed.chance.choice([kind for kind in kinds if counts[kind] == min(counts.values())])
        disturb(disturbed, kind)
        counts[kind] += 1
    last = disturbed.step() + (400 if len(devices) == 1 else 100)
    for soak, what in ((disturbed, "the end"), (quiet, "quiet")):
        with soak.training(what, "--train.max_steps", last) as (process, log):
            assert process.wait() == 0, log.read_text()[-3000:]
    print(f"{last} steps, {disturbed.starts} starts: " + ", ".join(f"{counts[kind]} {kind}" for kind in kinds))
    samples = [*disturbed.seen, *quiet.seen]
    write_curves(name, samples)
    if len(devices) == 1:
        expected, found = (state(Folders(soak.folder, "mine")) for soak in (quiet, disturbed))
        assert found == expected and len(found) > 5
    else:
        assert_same_training(quiet.folder, disturbed.folder, network)  # 1,000 steps by one and by two differ by less
    assert_flat(samples)


def start_from_stage1(root: Path, folders: list[Path]) -> None:
    first, *others = folders
    soak = Soak("stage1", "stage1", root, first, root.parent, (1,), random.Random(0))
    with soak.training("Stage I", "--train.max_steps", 50) as (process, log):
        assert process.wait() == 0, log.read_text()[-3000:]
    for other in others:
        shutil.copytree(first, other)


def disturb(soak: Soak, kind: str) -> None:
    """Starts the training, and disturbs it after some epochs."""
    begun, kept = soak.step(), soak.checkpoints()
    with soak.training(kind) as (process, log):
        until(lambda: process.poll() is not None or (soak.step() > begun and len([*kept.glob("*.index")]) > 1), 600)
        wait, until_step = soak.chance.expovariate(1 / (10 if MINUTES < 10 else 40)), soak.step() + 100
        again = time.monotonic() + wait
        while time.monotonic() < again and (len(soak.devices) == 1 or soak.step() < until_step):
            time.sleep(0.05)
        assert process.poll() is None, log.read_text()[-3000:]
        if kind == "stopped":
            process.terminate()
            code = process.wait(300)
            printed = log.read_text()
            assert code == 130 and "the same command goes on from here" in printed, printed[-3000:]
        elif kind == "full":
            fill = soak.folder.parent / "fill"
            while process.poll() is None:
                write_until_full(fill)
                time.sleep(1)  # until something that is removed makes room again
            code, printed = process.returncode, log.read_text()
            assert code == 2 and "Traceback" not in printed, printed[-3000:]
            assert re.match(r"error: .*(No space left|disk is full)", printed.splitlines()[-1]), printed[-3000:]
            fill.unlink()
        else:
            if kind == "killed as it writes":
                before = unfinished(soak.folder)
                while not unfinished(soak.folder) - before:
                    time.sleep(0.0005)
            process.kill()
            process.wait()
            if kind == "damaged":
                damage(soak)


def write_until_full(file: Path) -> None:
    with file.open("ab", buffering=0) as opened:
        for size in (2**20, 2**12, 1):
            try:
                while opened.write(bytes(size)) == size:
                    pass
            except OSError:
                pass


def damage(soak: Soak) -> None:
    """Truncates a file of the newest of two whole checkpoints, or changes a byte."""
    kept = soak.checkpoints()
    newest = max(int(file.stem.removeprefix("ckpt-")) for file in kept.glob("*.index"))
    file = soak.chance.choice(sorted(kept.glob(f"ckpt-{newest}.*")))
    content = bytearray(file.read_bytes())
    place = soak.chance.randrange(len(content))
    if soak.chance.random() < 0.5:
        del content[place:]
    else:
        content[place] ^= 1 << soak.chance.randrange(8)
    file.write_bytes(content)


def write_curves(name: str, samples: list[tuple]) -> None:
    CURVES.mkdir(parents=True, exist_ok=True)
    stem, first = name.replace(" ", "_"), samples[0][0]
    rows = [(round(second - first, 1), *others) for second, *others in samples]
    with (CURVES / f"{stem}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["second", "start", "what", "step", "rss_mb", "open_files"])
        writer.writerows(rows)
    figure = Figure(figsize=(8, 4), layout="constrained")
    memory, files = figure.subplots(2, 1, sharex=True)
    for number in dict.fromkeys(row[1:3] for row in rows):
        mine = [row for row in rows if row[1:3] == number]
        colour = "tab:green" if number[1] == "quiet" else "tab:blue"
        memory.plot([row[0] / 60 for row in mine], [row[4] for row in mine], color=colour, linewidth=1)
        files.plot([row[0] / 60 for row in mine], [row[5] for row in mine], color=colour, linewidth=1)
    memory.set(title=f"{name}: disturbed (blue), quiet (green)", ylabel="memory, MB", ylim=(0, None))
    files.set(xlabel="minutes", ylabel="open files", ylim=(0, None))
    figure.savefig(CURVES / f"{stem}.png", dpi=80)


def assert_flat(samples: list[tuple]) -> None:
    """Memory and open files do not grow in the longest times without a disturbance.

    Python's collector clears away what is left of drawn curves and the like once it is a quarter of all objects: the
    memory of a tiny training climbs by 25 to 30 MB, falls back, and climbs again (measured, save_every 2).
    """
    phases: dict[tuple, list[tuple]] = {}
    for sample in samples:
        phases.setdefault(sample[1:3], []).append(sample)
    for (number, what), seen in phases.items():
        trained = [sample for sample in seen if sample[3] > seen[0][3]]  # its first epoch is over
        settled = [sample for sample in trained if sample[0] > trained[0][0] + SETTLED]
        if not settled or settled[-1][0] - settled[0][0] < LONG:
            continue
        third = len(settled) // 3
        for column, unit, most in ((4, "MB", MORE_MB), (5, "open files", MORE_FILES)):
            first, last = (median(s[column] for s in part) for part in (settled[:third], settled[-third:]))
            print(f"start {number}, {what}: {first:.1f} {unit} in its first third, {last:.1f} in its last")
            assert last - first <= most, f"{unit} grew from {first} to {last} in start {number}, {what}"
