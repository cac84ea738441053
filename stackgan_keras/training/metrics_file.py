"""A run's figures as lines of JSON, which a resumed run goes on writing."""

import json
from pathlib import Path

from stackgan_keras.files import atomic_write


class MetricsFile:
    """One line of figures at a time in a file."""

    def __init__(self, path: Path):
        self.path = path

    def rewind(self, step: int) -> None:
        """Removes the lines after `step`, which a resumed run will write again, and one that is not whole."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            kept = [line for line in self.path.read_text().splitlines() if _step_of(line) <= step]
            with atomic_write(self.path) as unfinished:
                unfinished.write_text("".join(f"{line}\n" for line in kept))

    def write(self, step: int, scalars: dict) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **{k: round(v, 6) for k, v in scalars.items()}}) + "\n")


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):  # the run was killed while it wrote this line
        return float("inf")
