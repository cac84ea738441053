"""What annotations call a tensor of whatever backend."""

from typing import Any

# while a network is built keras.KerasTensor, in its calls what the backend has, of which none need be installed, and in
# tests numpy's arrays: Python has no common type of these
Tensor = Any
