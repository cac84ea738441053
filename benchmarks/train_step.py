"""The speed and the memory of one training step, next to plain Keras and to PyTorch.

    python benchmarks/train_step.py                      both stages at the release's widths
    python benchmarks/train_step.py --stage 2 --rounds 9 one stage, measured longer

Workers, one process for each way to write StackGAN, train the same networks on a batch of the same shape. They
take turns, so that only one computes at a time and a machine that slows down slows all of them: the ratios hold where
the figures drift. "First step" is building the networks, tracing and one step. "Peak memory" is the worker's resident
set with its libraries, or the GPU's if there is one. PyTorch's threads sleep while they wait for each other
(OMP_WAIT_POLICY=passive; set it to override): left to spin, they lose ten times and more as soon as another job runs.
"""

import argparse
import importlib
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import NamedTuple

from release import STAGES, Sizes


class Way(NamedTuple):
    """A row of the table: a module, the function in it that builds the networks and their step, and the environment."""

    module: str
    make: str
    environment: tuple[tuple[str, str], ...] = ()  # names and values, set before the module is imported


WAYS = {
    "stackgan_keras": Way("keras_steps", "make_package"),
    "plain Keras": Way("keras_steps", "make_plain"),
    "PyTorch": Way("torch_networks", "make"),
}
REFERENCE = "PyTorch"
CHANNELS_LAST = {"PyTorch, channels last": Way("torch_networks", "make_channels_last")}
WITHOUT_ONEDNN = {
    "stackgan_keras without oneDNN": Way("keras_steps", "make_package", (("TF_ENABLE_ONEDNN_OPTS", "0"),))
}


@dataclass(frozen=True)
class Task:
    """What every worker does."""

    sizes: Sizes
    threads: int
    precision: str
    jit: bool


@dataclass
class Worker:
    """One way's process and what it measured."""

    name: str
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
    ways = WAYS | (CHANNELS_LAST if arguments.channels_last else {})
    ways |= WITHOUT_ONEDNN if arguments.without_onednn else {}
    for stage in (1, 2) if arguments.stage == "both" else (int(arguments.stage),):
        given = {name: getattr(arguments, name) for name in Sizes.__dataclass_fields__ if name in arguments}
        sizes = replace(STAGES[stage], **{name: value for name, value in given.items() if value is not None})
        task = Task(sizes, arguments.threads, arguments.precision, arguments.jit)
        print(f"\nStage {'I' * stage}: {describe(task, arguments.rounds, arguments.steps)}\n", flush=True)
        print(table(race(ways, task, arguments.rounds, arguments.steps), sizes.batch_size), flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", choices=("1", "2", "both"), default="both")
    parser.add_argument("--rounds", type=int, default=5, help="turns that each way gets (default 5)")
    parser.add_argument("--steps", type=int, default=1, help="training steps a turn; on a GPU take 20 (default 1)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each way (default: one a core)")
    parser.add_argument(
        "--precision", choices=("float32", "mixed_bfloat16", "mixed_float16"), default="float32", help="default float32"
    )
    parser.add_argument("--channels-last", action="store_true", help="a fourth row: PyTorch with channels last")
    parser.add_argument("--without-onednn", action="store_true", help="a row: this package without oneDNN, on a CPU")
    parser.add_argument("--jit", action="store_true", help="compile the steps: XLA, and torch.compile for PyTorch")
    widths = parser.add_argument_group("sizes", "default: the release's, for each stage its own")
    widths.add_argument("--batch-size", type=int, metavar="N", help="64 and 8")
    widths.add_argument("--image-size", type=int, metavar="PIXELS", help="64 and 256")
    widths.add_argument("--generator-filters", type=int, metavar="N", help="128")
    widths.add_argument("--discriminator-filters", type=int, metavar="N", help="64")
    widths.add_argument("--residual-blocks", type=int, metavar="N", help="4, in Stage II")
    return parser.parse_args()


def describe(task: Task, rounds: int, steps: int) -> str:
    sizes = task.sizes
    blocks = f", {sizes.residual_blocks} residual blocks" if sizes.stage1_size else ""
    return (
        f"{sizes.image_size} px, batch {sizes.batch_size}, filters {sizes.generator_filters}/"
        f"{sizes.discriminator_filters}{blocks}; {task.threads} threads, {task.precision}"
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
    return Worker(name, process, pipe, *receive(name, pipe))


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
    if any(found != networks[REFERENCE] for found in networks.values()):
        listed = "\n".join(f"  {name}: {found}" for name, found in networks.items())
        sys.exit(f"error: these are not the same networks on the same device, so no figures are printed:\n{listed}")


# -- a turn, in the worker ----------------------------------------------------------------------------------------


def work(pipe: Connection, way: Way, task: Task) -> None:
    """Builds one way's networks, then does as many steps as asked for, again and again; 0 ends it."""
    os.environ.update(way.environment)
    module = importlib.import_module(way.module)
    module.set_up(task.threads)
    batch = module.make_batch(task.sizes)
    started = time.perf_counter()
    parameters, step = getattr(module, way.make)(task.sizes, task.precision, task.jit)
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
    rows = [
        "| | pictures/s | slowest to fastest | first step, s | peak memory, GB | speed to PyTorch |",
        "|---|---|---|---|---|---|",
    ]
    reference = workers[REFERENCE].seconds
    for name, worker in workers.items():
        median, slowest, fastest = (batch_size / choose(worker.seconds) for choose in (statistics.median, max, min))
        ratio = statistics.median(theirs / ours for theirs, ours in zip(reference, worker.seconds, strict=True))
        rows.append(
            f"| {name} | {median:.3g} | {slowest:.3g} to {fastest:.3g} | {worker.first_step:.1f} "
            f"| {worker.peak_memory / 1e9:.2f} | {ratio:.2f} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
