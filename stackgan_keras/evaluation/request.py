"""What is an evaluation asked for? Runs, data, and the metrics, of which those that cannot be had are left out."""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from stackgan_keras.errors import InputError, whole_number
from stackgan_keras.evaluation.frechet import Gaussian
from stackgan_keras.evaluation.metrics import METRICS
from stackgan_keras.models.runs import find_run

Loaded = TypeVar("Loaded")


@dataclass
class Selection:
    """The metrics that are computed, and why others are not."""

    names: set[str]
    chosen: frozenset[str] = frozenset()  # those asked for by name, without which there is an error
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, names: str | None) -> "Selection":
        """Those in a list such as "fid,kid", else all. Raises `InputError` for a name that is none."""
        chosen = frozenset() if names is None else frozenset(names.replace(" ", "").split(","))
        if unknown := chosen - {*METRICS}:
            raise InputError(f"--metrics has {min(unknown)!r}: give some of {','.join(METRICS)}")
        return cls({*(chosen or METRICS)}, chosen)

    def needing(self, *needs: str) -> set[str]:
        """Which of them need all of `needs`, as `Metric` lists them."""
        return {name for name in self.names if {*needs} <= {*METRICS[name].needs}}

    def load(self, need: str, load: Callable[[], Loaded], run: str | None = None) -> Loaded | None:
        """What `load` gives, if a metric needs it. Where that raises `InputError`, the metric is left out: None."""
        try:
            return load() if self.needing(need) else None
        except InputError as problem:
            self.leave_out(self.needing(need), problem, run)
            return None

    def leave_out(self, names: set[str], problem: InputError, run: str | None = None) -> None:
        """Notes why there are no such figures, at all or of one run; raises the problem if they were asked for."""
        if self.chosen & names:
            raise problem
        titles = [metric.title for name, metric in METRICS.items() if name in self.names & names]
        self.notes.append(f"no {', '.join(titles)}{f' of {run}' if run else ''}: {problem}")
        if run is None:
            self.names -= names


@dataclass(frozen=True, eq=False)
class Request:
    """The arguments of the command `evaluate`, with what the names of runs, metrics and files in them stand for."""

    folders: dict[str, Path]  # of the runs' weights, by their names
    output_dir: Path  # parent of weights/, results/ and data/
    data_root: Path | None  # None: synthetic birds
    split: str
    count: int | None  # captions; None: all
    metrics: Selection
    extractor: str | None  # name or file; None: the default one
    reference: Gaussian | None  # for FID, in place of real images
    neighbours: bool
    seed: int

    @classmethod
    def of(cls, given: Namespace) -> "Request":
        """What the command's arguments say. Raises `InputError` for wrong ones, and a run or statistics not there."""
        count = None if given.count is None else whole_number("--count", given.count, 2)
        seed = whole_number("--seed", given.seed, 0, 2**31 - 1)
        metrics, root, reference = Selection.of(given.metrics), given.data_root, given.reference
        if reference is not None and "fid" not in metrics.names:
            raise InputError("--reference is for FID, which --metrics leaves out: add fid, or leave the file out")
        if root is not None and not (root / "truth.jsonl").is_file():
            if metrics.chosen & metrics.needing("classifier"):
                found = f"attributes are those of synthetic birds, but {root} has no truth.jsonl"
                raise InputError(f"{found}: leave it out")
            metrics.names -= metrics.needing("classifier")
        values = vars(given) | {"count": count, "seed": seed, "metrics": metrics}
        values["folders"] = {name: find_run(given.output_dir, name) for name in values.pop("run") or ["drawn"]}
        values["reference"] = None if reference is None else Gaussian.read(reference)
        return cls(**values)
