"""The generator of AttnGAN: each branch beyond the first looks at the words that its regions need.

Layer names are public, as in `generators`. Source: the release and Xu et al., "AttnGAN: Fine-Grained Text to Image
Generation with Attentional Generative Adversarial Networks", CVPR 2018, arXiv:1711.10485.
"""

from itertools import pairwise

import keras
from keras import layers

from stackgan_keras.models.blocks import to_image
from stackgan_keras.models.conditioning import conditioning_augmentation, text_inputs
from stackgan_keras.models.gated_blocks import branch_sizes, first_branch, gated_residual_block, gated_up_block
from stackgan_keras.models.orthogonal import orthogonal_kernel
from stackgan_keras.models.word_attention import WordAttention


def attngan_generator(
    *,
    image_size: int = 256,
    first_size: int = 64,
    filters: int = 32,
    text_dim: int = 256,
    condition_dim: int = 100,
    noise_dim: int = 100,
    residual_blocks: int = 2,
    final_image_only: bool = False,
    mask_order: str = "aligned",
) -> keras.Model:
    """A sentence, its words and noise to an image from every branch, and where each word was looked at.

    In: `embedding` (B, text_dim) of the sentence, `words` (B, T, text_dim), `mask` (B, T), true for a word, `noise`
    (B, noise_dim), `epsilon` (B, condition_dim). Out: `image_64`, `image_128` and so on, (B, size, size, 3) in [-1, 1],
    from `first_size` doubling to `image_size`, or of these the last alone, as in AttnDCGAN (`final_image_only`);
    `attention_64` and so on, (B, T, size, size), the weights of all words at each pixel of the map that the next branch
    starts from; `mean` and `log_variance` (B, condition_dim). All branches' maps have `filters` channels. `mask_order`
    is one of `word_attention.MASK_ORDERS`.
    """
    sizes = branch_sizes(first_size, image_size)
    inputs = text_inputs(text_dim, condition_dim)
    read = conditioning_augmentation(text_dim=text_dim, condition_dim=condition_dim, gated=True)
    text = read(inputs)
    inputs |= {
        "noise": keras.Input((noise_dim,), name="noise"),
        "words": keras.Input((None, text_dim), name="words"),
        "mask": keras.Input((None,), dtype="bool", name="mask"),
    }
    maps = {first_size: first_branch([text.pop("condition"), inputs["noise"]], first_size, filters)}
    attention = {}
    for before, size in pairwise(sizes):
        x, name = maps[before], f"branch_{size}"
        project = layers.Dense(filters, use_bias=False, **orthogonal_kernel(), name=f"{name}_words_dense")
        look = WordAttention(mask_order, dtype=keras.config.floatx(), name=f"{name}_attention")
        context, attention[f"attention_{before}"] = look(x, project(inputs["words"]), inputs["mask"])
        x = layers.Concatenate(name=f"{name}_join")([x, context])  # (B, s, s, 2 filters)
        for i in range(1, residual_blocks + 1):
            x = gated_residual_block(x, f"{name}_residual{i}")
        maps[size] = gated_up_block(x, filters, f"{name}_up")
    shown = sizes[-1:] if final_image_only else sizes
    images = {f"image_{size}": to_image(maps[size], name=f"image_{size}", kernel=orthogonal_kernel) for size in shown}
    return keras.Model(inputs, {**images, **attention, **text}, name="attngan_generator")


def with_aligned_masks(generator: keras.Model) -> keras.Model:
    """A generator whose sentences each have their own mask in any batch; its other layers are those of `generator`."""

    def aligned(layer: layers.Layer) -> layers.Layer:
        if not isinstance(layer, WordAttention):
            return layer
        return WordAttention.from_config({**layer.get_config(), "mask_order": "aligned"})

    if all(getattr(layer, "mask_order", "aligned") == "aligned" for layer in generator.layers):
        return generator
    return keras.models.clone_model(generator, clone_function=aligned)
