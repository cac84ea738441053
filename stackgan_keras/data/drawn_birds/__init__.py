"""The embedded data set: captioned images of birds, drawn from a seed without any download.

`write` draws a set in the published layout, with ten captions an image and stand-ins for the vectors of a trained
text encoder. Drawing, wording and embedding are pure functions, so a seed fixes every byte of the set.
"""

from stackgan_keras.data.drawn_birds.captions import NOUNS
from stackgan_keras.data.drawn_birds.dataset import write
from stackgan_keras.data.drawn_birds.species import BEAK, COLOURS, PLUMAGE, Bird

__all__ = ["BEAK", "COLOURS", "NOUNS", "PLUMAGE", "Bird", "write"]
