"""How did the players get on? The losses of a run as curves."""

from pathlib import Path

import pandas
from matplotlib.figure import Figure

PANELS = {
    "discriminator pays": ["real", "real_unconditional", "mismatched", "fake", "fake_unconditional"],
    "generator pays": ["generator"],
    "KL divergence of the condition": ["kl"],
}


def plot(metrics: Path, path: Path) -> None:
    """Draws the curves of a `metrics.jsonl` into a PNG."""
    table = pandas.read_json(metrics, lines=True)
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    for axes, (title, names) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for name in names:
            if name in table:
                axes.plot(table["epoch"], table[name], label=name.replace("_", " "), linewidth=1)
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        if len(names) > 1:
            axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
