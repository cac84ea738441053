"""A folder of drawn birds, which `drawn_birds.write` made: CUB's layout, with splits, boxes and classes of its own."""

import json
from pathlib import Path

from stackgan_keras.data.sources.source import Example, Source, to_captions
from stackgan_keras.files import read_text


def read(root: Path) -> Source:
    """The birds drawn in `root`."""
    source = Source("drawn", others=[root / "truth.jsonl"])
    for line in read_text(root / "truth.jsonl").splitlines():
        truth = json.loads(line)
        name = truth["name"]
        captions = to_captions(read_text(root / "text_c10" / f"{name}.txt"))
        file = root / "CUB_200_2011/images" / f"{name}.jpg"
        label, box = name.partition("/")[0], tuple(truth["box"])
        source.examples.append(Example(name, label, captions, truth["split"], truth["class_id"], box, file))
    return source
