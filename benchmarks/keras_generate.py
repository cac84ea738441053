"""Generating images with stackgan_keras on the JAX or torch backend of Keras."""

import os
from collections.abc import Callable

import keras
from release import CONDITION_DIM, NOISE_DIM, TEXT_DIM, Sizes, random_batch

from stackgan_keras.models import generators

BACKEND = keras.backend.backend()


def set_up(threads: int) -> None:
    """Limits the threads where the backend lets one; to be called before anything else."""
    if BACKEND == "torch":
        import torch

        torch.set_num_threads(threads)
    else:  # JAX takes the cores that the process may use
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def device() -> str:
    if BACKEND == "torch":
        import torch

        return "GPU" if torch.cuda.is_available() else "CPU"
    import jax

    return "GPU" if jax.default_backend() == "gpu" else "CPU"


def peak_gpu_memory() -> int:
    """Bytes, 0 without a GPU and where the backend does not say."""
    if device() == "CPU":
        return 0
    if BACKEND == "torch":
        import torch

        return torch.cuda.max_memory_allocated()
    import jax

    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)


def make(sizes: Sizes, precision: str, jit: bool) -> tuple[dict[str, int], Callable]:
    """The numbers of parameters, and `step(batch)`, which generates an image of every row and returns their mean."""
    keras.config.set_dtype_policy(precision)
    own = {"image_size": sizes.image_size, "filters": sizes.generator_filters}
    text = {"text_dim": TEXT_DIM, "condition_dim": CONDITION_DIM}
    if sizes.stage1_size:
        stage1 = {**own, **text, "image_size": sizes.stage1_size, "noise_dim": NOISE_DIM}
        generator = generators.stage2_generator(stage1=stage1, residual_blocks=sizes.residual_blocks, **own, **text)
    else:
        generator = generators.stage1_generator(noise_dim=NOISE_DIM, **own, **text)
    return {"generator": generator.count_params()}, {"jax": _in_jax, "torch": _in_torch}[BACKEND](generator, jit)


def make_batch(sizes: Sizes) -> dict:
    values = random_batch(sizes)
    reads = ["embedding", "noise", "epsilon"] + ["stage1_epsilon"] * bool(sizes.stage1_size)
    return {name: keras.ops.convert_to_tensor(values[name]) for name in reads}


def _in_jax(generator: keras.Model, jit: bool) -> Callable:
    """Compiled in any case, as JAX is meant to be used."""
    import jax

    trained, others = (
        [v.value for v in vs] for vs in (generator.trainable_variables, generator.non_trainable_variables)
    )

    @jax.jit
    def generate(trained, others, batch):
        outputs, _ = generator.stateless_call(trained, others, batch, training=False)
        return {"image": outputs["image"].mean()}

    return lambda batch: generate(trained, others, batch)


def _in_torch(generator: keras.Model, jit: bool) -> Callable:
    import torch

    @torch.no_grad()
    def generate(batch):
        return {"image": generator(batch, training=False)["image"].mean()}

    return torch.compile(generate) if jit else generate
