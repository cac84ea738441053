"""Networks that a file asks for are no larger than the file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras


@contextmanager
def at_most(numbers: int) -> Iterator[None]:
    """Raises `ValueError`, before any memory is taken, at the variable by which the block's networks exceed `numbers`.

    The few bytes of a file can ask for any width and any depth. Keras's other backends make variables without telling
    of them before, so with them there is no limit.
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf  # only here: networks are made without it, too

    left = numbers

    def create(following: Callable[..., Any], **given: Any) -> Any:
        nonlocal left
        value = given["initial_value"]
        if callable(value):  # an initializer, whose numbers a graph announces and does not compute
            with tf.Graph().as_default():
                shape = value().shape
        else:
            shape = value.shape
        left -= shape.num_elements()
        if left < 0:
            raise ValueError("it is larger than the file")
        return following(**given)

    with tf.variable_creator_scope(create):
        yield
