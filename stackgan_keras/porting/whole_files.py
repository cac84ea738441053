"""A released file to weight files: which networks does it hold, and what are their files called?"""

from pathlib import Path

from stackgan_keras.errors import InputError
from stackgan_keras.models import weights
from stackgan_keras.porting import checkpoints, conversion, tensorflow_release


def convert(file: Path, out: Path, *, into_folder: bool) -> None:
    """Writes the networks in `file` to `out`, and prints what they are.

    Raises `InputError` for files that hold none, and for several networks that would have the same name.
    """
    states, left = conversion.networks(checkpoints.read(file))
    listed = ", ".join(left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
    if not states:
        raise InputError(f"{file} holds {listed}: {conversion.NO_NETWORK}")
    if len(states) > 1 and not into_folder:
        raise InputError(f"{file} holds {len(states)} networks ({', '.join(states)}): give --out a folder for them")
    converted = {group: conversion.convert(state) for group, state in states.items()}
    names = {group: _standard_name(group, config) for group, (_, config) in converted.items()}
    taken = list(names.values())  # where several are the same network, they keep their names in the file
    names = {g: name if taken.count(name) == 1 else g.replace("/", "_") or name for g, name in names.items()}
    if len(set(names.values())) < len(names):
        raise InputError(f"the networks {', '.join(names)} would get the same file name: convert them one by one")
    for group, (model, config) in converted.items():
        path = out / f"{names[group]}.weights.h5" if into_folder else out
        weights.save(model, config, path)
        print(f"wrote {path}: {group or file.name} is a {config.network} with {config.keywords}")
    if left:
        print(f"left out, as it belongs to no network: {listed}")


def _standard_name(group: str, config: weights.ModelConfig) -> str:
    """What the training commands call this network's file."""
    if group in tensorflow_release.SCOPES:
        return group
    keywords = config.keywords
    if config.network in ("word_encoder", "region_encoder"):
        return {"word_encoder": "text_encoder", "region_encoder": "image_encoder"}[config.network]
    if config.network != "discriminator":
        return config.network.replace("_generator", "_gen")
    if "family" in keywords:
        return f"{keywords['family']}_dis_{keywords['image_size']}"
    return f"stage{2 if 'unconditional' in keywords['logits'] else 1}_dis"
