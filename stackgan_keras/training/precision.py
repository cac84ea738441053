"""What `train.precision: auto` stands for on this machine: the numbers that its processor or GPU is fast with."""

from pathlib import Path

import tensorflow as tf

from stackgan_keras import config
from stackgan_keras.config import Settings
from stackgan_keras.training.distribution import all_alike

BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}  # of processors that compute in bfloat16, as Linux calls them
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
FLOAT16_GPUS = (7, 0)  # compute capability from which GPUs have tensor cores


def settled(
    settings: Settings, logs: Path, strategy: tf.distribute.Strategy | None = None, *, chief: bool = True
) -> Settings:
    """The settings with a precision in place of `auto`, which the chief prints; a run that has begun keeps its own.

    Of several machines in a `strategy` all take the same.
    """
    if settings.train.precision != "auto":
        return settings
    chosen, reason = _choose()
    if strategy is not None and not all_alike(strategy, PRECISIONS.index(chosen)):
        chosen, reason = "float32", "as the machines are fast with different ones"
    earlier = logs / "config.yaml"
    if earlier.is_file():
        kept = config.make(config.read(earlier)).train.precision
        if kept != chosen:
            chosen, reason = kept, "as this run began"
    if chief:
        print(f"train.precision auto: {chosen}, {reason}")
    return settings.model_copy(update={"train": settings.train.model_copy(update={"precision": chosen})})


def _choose() -> tuple[str, str]:
    """A precision, and why."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        found = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
        if min(found) >= FLOAT16_GPUS:
            return "mixed_float16", "which the GPU has tensor cores for"
        return "float32", "as the GPU has no tensor cores"
    if BFLOAT16_FLAGS & _processor_flags():
        return "mixed_bfloat16", "which the processor computes in"
    return "float32", "as the processor does not compute in bfloat16"


def _processor_flags(file: Path = Path("/proc/cpuinfo")) -> set[str]:
    """What Linux says the first processor can do; nothing elsewhere."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())
