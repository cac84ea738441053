"""How are scores shown and kept? As an aligned table, and as JSON with what is needed to repeat them."""

import hashlib
import json
import math
from pathlib import Path

from stackgan_keras.config import Folders
from stackgan_keras.evaluation.metrics import METRICS
from stackgan_keras.evaluation.request import Request
from stackgan_keras.evaluation.scores import Evaluation
from stackgan_keras.files import atomic_write
from stackgan_keras.models.runs import GENERATORS, IMAGE_ENCODER, TEXT_ENCODER, weight_file
from stackgan_keras.porting.extractors import Extractor

COUNTS = {"pixels": ("pixels", "{:d}"), "images": ("images", "{:d}")}  # columns before those of the metrics


def table(rows: dict[str, dict[str, float]]) -> str:
    """Rows of figures by name as an aligned table: shares in percent, "-" where a row has no figure.

    Columns without any figure are left out.
    """
    columns = dict(COUNTS)
    for metric in METRICS.values():
        columns |= metric.columns
    columns = {head: of for head, of in columns.items() if any(of[0] in row for row in rows.values())}
    lines = [["", *columns], *([name, *(_cell(row, *of) for of in columns.values())] for name, row in rows.items())]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )


def _cell(row: dict[str, float], figure: str, form: str) -> str:
    value, deviation = row.get(figure), row.get(f"{figure}_deviation")
    if value is None or math.isnan(value):
        return "-"
    return form.format(value) + ("" if deviation is None else f" ± {form.format(deviation)}")


def write(request: Request, evaluation: Evaluation, rows: dict[str, dict[str, float]], run: str) -> Path:
    """Writes a run's rows, and those of no run, with what repeats them to its `evaluation.json`, and returns the path.

    A figure that there is not is null.
    """
    others, networks, data = {*request.folders} - {run}, evaluation.networks, evaluation.evaluation_set
    content = {
        "data": str(data.root),
        "split": data.split,
        "captions": len(data.captions),
        "seed": data.seed,
        "extractor": _extractor(networks.extractor),
        "independent_extractor": _extractor(networks.independent),
        "reference": _file(None if data.reference is None else data.reference.file),
        "classifier": _file(None if networks.classifier is None else networks.classifier.file),
        "notes": evaluation.notes,
        "weights": _weights(request.folders[run]),
        "rows": {
            name: {figure: None if math.isnan(value) else value for figure, value in row.items()}
            for name, row in rows.items()
            if name.split(",")[0] not in others
        },
    }
    path = Folders(request.output_dir, run).results / "evaluation.json"
    with atomic_write(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def _extractor(extractor: Extractor | None) -> dict[str, str] | None:
    if extractor is None:
        return None
    return {"name": extractor.name, "sha256": extractor.digest, "preprocessing": extractor.preprocessing}


def _weights(folder: Path) -> dict[str, str]:
    files = [*(weight_file(folder, name) for name in GENERATORS), folder / TEXT_ENCODER, folder / IMAGE_ENCODER]
    return {file.name: _digest(file) for file in files if file.is_file()}


def _file(path: Path | None) -> dict[str, str] | None:
    return None if path is None else {"file": str(path), "sha256": _digest(path)}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
