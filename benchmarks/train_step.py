"""The speed and the memory of one training step, next to plain Keras, to PyTorch and to another commit.

    python benchmarks/train_step.py                          both stages at the release's widths
    python benchmarks/train_step.py --stage 2 --rounds 9     one stage, measured longer
    python benchmarks/train_step.py --narrow --beside DIR    the shipped configs' widths, new code against old

Workers, one process for each row, train the same networks on a batch of the same shape. They take turns, so that only
one computes at a time and a machine that slows down slows all of them: the ratios hold where the figures drift. All
are in memory at once: `--leave-out` names rows to do without. "First step" is building the networks, tracing and one
step. "Peak memory" is the worker's resident set with its libraries, or the GPU's if there is one. PyTorch's threads
sleep while they wait for each other (OMP_WAIT_POLICY=passive; set it to override): left to spin, they lose ten times
and more as soon as another job runs.

Each row has its own precision and layout. Give `--float32` on a CPU that does not compute in bfloat16 (neither
avx512_bf16 nor amx_bf16 in /proc/cpuinfo).

`--narrow` takes the networks of configs/small_flowers_stage1.yaml and small_flowers_stage2.yaml: no batch norm in the
discriminator, which reads embeddings; conditional batch norm in the generator; a pixel loss in Stage II; neither R1 nor
augmentation. Of these there are rows of this package alone. `--beside DIR` adds rows whose workers import the package
from there, a checkout of another commit (`git worktree add --detach DIR COMMIT`) that has `training/adversary.py`. With
`--narrow` each ratio is to its row in the same precision.
"""

import argparse
import importlib
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from release import NARROW, STAGES, Sizes

REFERENCE = "PyTorch"


class Way(NamedTuple):
    """A row of the table: a module, the function in it that builds the networks and their step, and how it is run."""

    module: str
    make: str
    environment: tuple[tuple[str, str], ...] = ()  # names and values, set before the module is imported
    precision: str = "float32"
    checkout: str | None = None  # folder that stackgan_keras is imported from; None: this one
    reference: str = REFERENCE  # row that its speed is compared with


WAYS = {
    "stackgan_keras, bfloat16": Way("keras_steps", "make_package", precision="mixed_bfloat16"),
    "stackgan_keras": Way("keras_steps", "make_package"),
    "plain Keras": Way("keras_steps", "make_plain"),
    "PyTorch": Way("torch_networks", "make"),
    "PyTorch, bfloat16, channels last": Way("torch_networks", "make_channels_last", precision="mixed_bfloat16"),
}
WITHOUT_ONEDNN = {
    "stackgan_keras without oneDNN": Way("keras_steps", "make_package", (("TF_ENABLE_ONEDNN_OPTS", "0"),))
}


@dataclass(frozen=True)
class Task:
    """What every worker does."""

    sizes: Sizes
    threads: int
    jit: bool


@dataclass
class Worker:
    """One way's process and what it measured."""

    name: str
    way: Way
    process: multiprocessing.Process
    pipe: Connection
    networks: dict  # what must be equal for a fair race: parameters and device
    first_step: float  # seconds
    seconds: list[float] = field(default_factory=list)  # per step, one figure a round
    peak_memory: int = 0  # bytes


def main() -> None:
    arguments = parse()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # the workers inherit all three
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the package does, for plain Keras too
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as active ones, PyTorch's threads spin against other jobs
    print(f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}")
    ways = rows(arguments)
    for stage in (1, 2) if arguments.stage == "both" else (int(arguments.stage),):
        given = {name: getattr(arguments, name) for name in Sizes.__dataclass_fields__ if name in arguments}
        default = (NARROW if arguments.narrow else STAGES)[stage]
        sizes = replace(default, **{name: value for name, value in given.items() if value is not None})
        task = Task(sizes, arguments.threads, arguments.jit)
        print(f"\nStage {'I' * stage}: {describe(task, arguments.rounds, arguments.steps)}\n", flush=True)
        print(table(race(ways, task, arguments.rounds, arguments.steps), sizes.batch_size), flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", choices=("1", "2", "both"), default="both")
    parser.add_argument("--rounds", type=int, default=5, help="turns that each way gets (default 5)")
    parser.add_argument("--steps", type=int, default=1, help="training steps a turn; on a GPU take 20 (default 1)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each way (default: one a core)")
    parser.add_argument("--narrow", action="store_true", help="the shipped configs' networks in place of the release's")
    parser.add_argument("--beside", type=Path, metavar="DIR", help="further rows: the package of this checkout")
    parser.add_argument("--float32", action="store_true", help="no rows in bfloat16")
    parser.add_argument("--leave-out", nargs="+", metavar="ROW", default=[], help="names of rows to do without")
    parser.add_argument("--without-onednn", action="store_true", help="a row: this package without oneDNN, on a CPU")
    parser.add_argument("--jit", action="store_true", help="compile the steps: XLA, and torch.compile for PyTorch")
    widths = parser.add_argument_group("sizes", "default: for each stage its own, the release's (with --narrow)")
    widths.add_argument("--batch-size", type=int, metavar="N", help="64 and 8 (16 and 8)")
    widths.add_argument("--image-size", type=int, metavar="PIXELS", help="64 and 256")
    widths.add_argument("--generator-filters", type=int, metavar="N", help="128 (48 and 32)")
    widths.add_argument("--discriminator-filters", type=int, metavar="N", help="64 (32 and 16)")
    widths.add_argument("--residual-blocks", type=int, metavar="N", help="4 (2), in Stage II")
    arguments = parser.parse_args()
    if arguments.beside and not (arguments.beside / "stackgan_keras/__init__.py").is_file():
        parser.error(f"--beside {arguments.beside}: there is no stackgan_keras in it")
    return arguments


def rows(arguments: argparse.Namespace) -> dict[str, Way]:
    """The rows that are asked for. Ends the program where one to leave out is not there or is still needed."""
    ours = {name: way for name, way in WAYS.items() if way.make == "make_package"}
    ways = (ours if arguments.narrow else WAYS) | (WITHOUT_ONEDNN if arguments.without_onednn else {})
    reference = "stackgan_keras"
    if arguments.beside:
        reference = f"stackgan_keras at {commit(arguments.beside)}"
        checkout = str(arguments.beside.resolve())
        ways |= {n.replace("stackgan_keras", reference): way._replace(checkout=checkout) for n, way in ours.items()}
    if arguments.narrow:
        mixed = f"{reference}, bfloat16" if arguments.beside else reference
        ways = {n: w._replace(reference=reference if w.precision == "float32" else mixed) for n, w in ways.items()}
    if arguments.float32:
        ways = {name: way for name, way in ways.items() if way.precision == "float32"}
    if unknown := set(arguments.leave_out) - set(ways):
        sys.exit(f"error: --leave-out {', '.join(sorted(unknown))}: the rows are {'; '.join(ways)}")
    ways = {name: way for name, way in ways.items() if name not in arguments.leave_out}
    if missing := {way.reference for way in ways.values()} - set(ways):
        sys.exit(f"error: --leave-out {', '.join(sorted(missing))}: the other rows are compared with it")
    return ways


def commit(checkout: Path) -> str:
    """What a checkout is called: its commit, or the folder's name where git knows none."""
    if (checkout / ".git").exists():
        command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
        found = subprocess.run(command, capture_output=True, text=True)
        if found.returncode == 0:
            return found.stdout.strip()
    return checkout.resolve().name


def describe(task: Task, rounds: int, steps: int) -> str:
    sizes = task.sizes
    blocks = f", {sizes.residual_blocks} residual blocks" if sizes.stage1_size else ""
    shipped = ", with the options of the shipped configs" if sizes.as_shipped else ""
    return (
        f"{sizes.image_size} px, batch {sizes.batch_size}, filters {sizes.generator_filters}/"
        f"{sizes.discriminator_filters}{blocks}{shipped}; {task.threads} threads"
        f"{', compiled' if task.jit else ''}; {rounds} rounds of {steps} step{'s' * (steps > 1)}"
    )


# -- the race, in the parent --------------------------------------------------------------------------------------


def race(ways: dict[str, Way], task: Task, rounds: int, steps: int) -> dict[str, Worker]:
    """Every way's worker after `rounds` turns of `steps` steps each. Ends the program if the networks differ."""
    workers = {name: start(name, way, task) for name, way in ways.items()}
    check_equal({name: worker.networks for name, worker in workers.items()})
    for number in range(rounds):
        for name in workers if number % 2 else reversed(workers):
            workers[name].seconds.append(ask(workers[name], steps) / steps)
    for worker in workers.values():
        worker.peak_memory = ask(worker, 0)
        worker.process.join()
    return workers


def start(name: str, way: Way, task: Task) -> Worker:
    """A new process that has done its first step."""
    spawn = multiprocessing.get_context("spawn")
    pipe, theirs = spawn.Pipe()
    process = spawn.Process(target=work, args=(theirs, way, task), daemon=True)
    process.start()
    theirs.close()
    return Worker(name, way, process, pipe, *receive(name, pipe))


def ask(worker: Worker, steps: int):
    """What the worker answers: the seconds for so many steps, or its peak memory for none."""
    worker.pipe.send(steps)
    return receive(worker.name, worker.pipe)


def receive(name: str, pipe: Connection):
    try:
        return pipe.recv()
    except EOFError:
        sys.exit(f"error: the worker of {name} ended early; its own message stands above")


def check_equal(networks: dict[str, dict]) -> None:
    """Ends the program unless all ways have the same numbers of parameters and the same device."""
    if any(found != next(iter(networks.values())) for found in networks.values()):
        listed = "\n".join(f"  {name}: {found}" for name, found in networks.items())
        sys.exit(f"error: these are not the same networks on the same device, so no figures are printed:\n{listed}")


# -- a turn, in the worker ----------------------------------------------------------------------------------------


def work(pipe: Connection, way: Way, task: Task) -> None:
    """Builds one way's networks, then does as many steps as asked for, again and again; 0 ends it."""
    os.environ.update(way.environment)
    if way.checkout:
        sys.path.insert(0, way.checkout)
    module = importlib.import_module(way.module)
    module.set_up(task.threads)
    batch = module.make_batch(task.sizes)
    started = time.perf_counter()
    parameters, step = getattr(module, way.make)(task.sizes, way.precision, task.jit)
    look(step(batch))
    pipe.send(({**parameters, "device": module.device()}, time.perf_counter() - started))
    while steps := pipe.recv():
        started = time.perf_counter()
        for _ in range(steps):
            losses = step(batch)
        look(losses)
        pipe.send(time.perf_counter() - started)
    pipe.send(module.peak_gpu_memory() or peak_memory())


def look(losses: dict) -> dict[str, float]:
    """The losses as numbers: waits for the device."""
    return {name: float(loss) for name, loss in losses.items()}


def peak_memory() -> int:
    """Bytes that this process held at most."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# -- the table ----------------------------------------------------------------------------------------------------


def table(workers: dict[str, Worker], batch_size: int) -> str:
    """Markdown; a ratio is the median of the ratios within each round."""
    references = sorted({worker.way.reference for worker in workers.values()}, key=len)
    to = f"speed to {references[0]}{', same precision' if len(references) > 1 else ''}"
    lines = [
        f"| | images/s | slowest to fastest | first step, s | peak memory, GB | {to} |",
        "|---|---|---|---|---|---|",
    ]
    for name, worker in workers.items():
        reference = workers[worker.way.reference].seconds
        median, slowest, fastest = (batch_size / choose(worker.seconds) for choose in (statistics.median, max, min))
        ratio = statistics.median(theirs / ours for theirs, ours in zip(reference, worker.seconds, strict=True))
        lines.append(
            f"| {name} | {median:.3g} | {slowest:.3g} to {fastest:.3g} | {worker.first_step:.1f} "
            f"| {worker.peak_memory / 1e9:.2f} | {ratio:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
