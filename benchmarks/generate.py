"""Images a second of the generators on the JAX and torch backends of Keras, next to PyTorch's own networks.

    python benchmarks/generate.py                        both stages at the release's widths, batches of 1 and 64
    python benchmarks/generate.py --steps 20             on a GPU: more of them each turn

Workers take turns as in `train_step.py`. TensorFlow need not be there.
"""

import argparse
import os
import platform
from dataclasses import replace

from release import STAGES
from train_step import Task, Way, race, table

WAYS = {
    "stackgan_keras on JAX": Way("keras_generate", "make", (("KERAS_BACKEND", "jax"),)),
    "stackgan_keras on torch": Way("keras_generate", "make", (("KERAS_BACKEND", "torch"),)),
    "PyTorch": Way("torch_networks", "make_generating"),
}
GENERATED = {1: "Stage I", 2: "Stage I and II"}


def main() -> None:
    arguments = parse()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # the workers inherit both
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # they share a GPU
    print(f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}")
    ways = {
        name: way for name, way in WAYS.items() if dict(way.environment).get("KERAS_BACKEND") not in arguments.without
    }
    for stage in arguments.stages:
        for precision in arguments.precisions:
            for batch_size in arguments.batch_sizes:
                sizes = replace(STAGES[stage], batch_size=batch_size)
                if arguments.filters:
                    sizes = replace(sizes, generator_filters=arguments.filters)
                task = Task(sizes, arguments.threads, arguments.jit)
                rows = {name: way._replace(precision=precision) for name, way in ways.items()}
                label = f"{sizes.image_size} px, batch {batch_size}, filters {sizes.generator_filters}, {precision}"
                turns = f"{arguments.rounds} rounds of {arguments.steps} batches"
                print(f"\n{GENERATED[stage]}: {label}; {task.threads} threads; {turns}\n", flush=True)
                print(table(race(rows, task, arguments.rounds, arguments.steps), batch_size), flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--stages", type=int, nargs="+", choices=(1, 2), default=[1, 2])
    add("--precisions", nargs="+", choices=("float32", "mixed_bfloat16"), default=["float32", "mixed_bfloat16"])
    add("--batch-sizes", type=int, nargs="+", metavar="N", default=[1, 64])
    add("--rounds", type=int, default=5, help="turns that each way gets (default 5)")
    add("--steps", type=int, default=1, help="batches a turn; on a GPU take 20 (default 1)")
    add("--threads", type=int, default=os.cpu_count(), help="of each way (default: one a core)")
    add("--filters", type=int, metavar="N", help="width of the generators (default 128, the release's)")
    add("--jit", action="store_true", help="torch.compile on torch; JAX compiles in any case")
    add("--without", nargs="+", choices=("jax", "torch"), default=[], help="backends to leave out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
