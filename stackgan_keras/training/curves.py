"""The curves of a training's losses over its epochs."""

from collections.abc import Sequence

from matplotlib.figure import Figure

PANELS = {  # the figures of a line of `metrics.jsonl` that are drawn together
    "discriminator's losses": ("real", "real_unconditional", "mismatched", "fake", "fake_unconditional"),
    "generator's loss": ("generator", "interpolated"),
    "discriminator's loss on real images that it learned from, and not": ("real_train", "real_test"),
    "how far generated images differ from each other (real ones: 1)": ("spread",),
    "KL of the conditioning augmentation": ("kl",),
    "Stage II's distance to real and to Stage-I images": ("pixel", "consistency"),
    "joint embedding: loss, and share of images that find their sentence": ("joint", "right_image"),
}


def draw(lines: Sequence[dict], *, columns: int | None = None) -> Figure | None:
    """A panel for each group of figures that the lines have, all in one row, or in so many columns."""
    found = {title: [name for name in names if any(name in line for line in lines)] for title, names in PANELS.items()}
    found = {title: names for title, names in found.items() if names}
    if not found:
        return None
    columns = columns or len(found)
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(4.25 * columns, 3.6 * rows), layout="constrained")
    for axes, (title, names) in zip(figure.subplots(rows, columns, squeeze=False).flat, found.items(), strict=False):
        for name in names:
            points = [(line["epoch"], line[name]) for line in lines if name in line]
            marker = "." if len(points) < 9 else ""
            axes.plot(*zip(*points, strict=True), label=name.replace("_", " "), linewidth=1, marker=marker)
        axes.set_title(title, fontsize="medium", wrap=True)
        axes.set(xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if len(names) > 1:
            axes.legend(fontsize="small")
    return figure
