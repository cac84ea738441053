"""A stage's training data, settings and first weights in one folder, for `jax_train.py` on another machine.

python benchmarks/pack.py --out packed --config flowers_stage1 --data.root data/flowers --run mine
python benchmarks/pack.py --out packed --stage 2 --config flowers_stage2 --data.root data/flowers --run mine

The folder is an --output_dir: it gets `<stage>.yaml`, `<stage>/part_000.npz`, … and, in weights/, the run's Stage I
that Stage II starts from and the weights that train.init_from names, as far as they are there. Pictures become JPEGs,
and embeddings, which are those of the run's text encoder, float16.
"""

import shutil
from pathlib import Path

import numpy as np
import packed

from stackgan_keras import command_line, config
from stackgan_keras.config import Folders, Settings
from stackgan_keras.data.pipeline import decode
from stackgan_keras.files import atomic_write
from stackgan_keras.models.runs import find_run, weight_file
from stackgan_keras.training.run import read_datasets
from stackgan_keras.training.samples import SampleGrid


def main() -> None:
    parser = command_line.Parser(prog="python benchmarks/pack.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--out", metavar="DIR", type=Path, required=True, help="the folder to make; further options are settings")
    add("--stage", type=int, choices=(1, 2), default=1, help="the stage to be trained (default 1)")
    add("--part_size", metavar="MIB", type=float, default=48, help="of a part at most, in MiB (default 48)")
    given, words = parser.parse_known_args()
    name, size = f"stage{given.stage}", {1: 64, 2: 256}[given.stage]
    settings, output_dir = config.from_command_line(
        words, prog=parser.prog, description="", preset=f"drawn_{name}", defaults={"data": {"image_size": size}}
    )
    folders = Folders(output_dir, settings.run)
    paths = packed.write(given.out / name, pack(settings, folders), int(given.part_size * 2**20))
    data = settings.data.model_copy(update={"root": given.out / name})
    config.write(settings.model_copy(update={"data": data}), given.out / f"{name}.yaml")
    for file in first_weights(name, settings, folders):
        with atomic_write(given.out / "weights" / file.parent.name / file.name) as unfinished:
            shutil.copyfile(file, unfinished)
    print(f"{len(paths)} parts, {sum(path.stat().st_size for path in paths) / 2**20:.1f} MiB: {given.out / name}")


def pack(settings: Settings, folders: Folders) -> packed.Packed:
    """The training split, and the sentences of the test split that the run's image grids show."""
    train_set, test_set = read_datasets(settings, folders)
    size = settings.data.image_size
    grid = SampleGrid(test_set, size, truncated=False, seed=0)
    return packed.Packed(
        pictures=decode(train_set, size, cache=settings.data.cache, folder=folders.logs / "cache"),
        class_ids=train_set.class_ids.astype(np.int32),
        embeddings=train_set.embeddings.astype(np.float16),
        first_embedding=train_set.first_embedding.astype(np.int32),
        grid={"real": grid.real, "embeddings": grid.embeddings, "captions": np.array(grid.captions)},
    )


def first_weights(name: str, settings: Settings, folders: Folders) -> list[Path]:
    """The weight files that a training of this stage begins with."""
    files = [weight_file(folders.weights, "stage1_gen")] if name == "stage2" else []
    if settings.train.init_from is not None:
        home = find_run(folders.output_dir, settings.train.init_from)
        files += [weight_file(home, f"{name}_{network}") for network in ("gen", "dis")]
    return [file for file in files if file.is_file()]


if __name__ == "__main__":
    command_line.run(main)
