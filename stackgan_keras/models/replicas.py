"""Sums over the replicas of a training, whose gradients are summed in the same order on all of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from stackgan_keras.models.tensors import Tensor


def total(values: Tensor) -> Tensor:
    """The sum of all replicas' `values`, of their shape; gradients flow back to every replica.

    Replicas know sums that belong together by their order alone, and TensorFlow's tape (2.21) does not take gradients
    that are independent of each other in the same order on each: it swapped those of one shape, without a word. So
    every sum here hands a token to the next one, and the gradients come in the reverse order.
    """
    import tensorflow as tf  # only here, as below: networks also run where there is none

    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return values
    if not values.dtype.is_floating:  # of which there is no gradient
        return context.all_reduce(tf.distribute.ReduceOp.SUM, values)

    @tf.custom_gradient
    def add_up(values, token):
        def gradient(of_sum, of_token):
            return context.all_reduce(tf.distribute.ReduceOp.SUM, of_sum), of_token

        return (context.all_reduce(tf.distribute.ReduceOp.SUM, values), tf.identity(token)), gradient

    token = getattr(context, "token", None)
    summed, context.token = add_up(values, tf.zeros(()) if token is None else token)
    return summed


@contextmanager
def aside() -> Iterator[None]:
    """What comes after the block goes on from the sums before it, as a tape does that is closed in between."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    token = getattr(context, "token", None)
    try:
        yield
    finally:
        context.token = token
