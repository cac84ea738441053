"""The sources of captioned pictures that `prepare` reads: published sets by name, and which source a folder is."""

from pathlib import Path

from stackgan_keras.data.sources import coco, cub, oxford102

PUBLISHED = {"cub": cub.read, "oxford102": oxford102.read, "coco": coco.read}  # of (pictures, captions, tfds_dir)


def recognise(folder: Path) -> str:
    """Which kind of source a folder is: `drawn`, one of the published sets, or a captioned `folder` of one's own."""
    if (folder / "CUB_200_2011").is_dir():
        return "drawn" if (folder / "truth.jsonl").is_file() else "cub"
    if (folder / "bounding_boxes.txt").is_file():
        return "cub"
    if any((folder / "annotations").glob("captions_*.json")):
        return "coco"
    has_flowers = oxford102.picture_folder(folder) or any((folder / "text_c10").glob("class_?????"))
    return "oxford102" if has_flowers else "folder"
