"""Sentences about a bird: ten an image, each true, in wordings that differ."""

from collections.abc import Callable, Sequence

from stackgan_keras.data.drawn_birds.species import PLUMAGE, Bird, Rng, pick

NOUNS = {
    "crown": ("crown", "crown", "cap"),
    "back": ("back",),
    "belly": ("belly", "breast", "chest"),
    "wing": ("wings", "wings", "wing feathers"),
    "tail": ("tail", "tail", "tail feathers"),
    "beak": ("beak", "bill"),
}
SHAPES = {"straight": ("straight", "pointed"), "curved": ("curved", "down-curved")}
PLACES = {
    "branch": ("perched on a branch", "sitting on a branch"),
    "ground": ("standing in the grass", "on the ground"),
    "rock": ("standing on a rock", "on top of a stone"),
    "post": ("perched on a wooden post", "on a post"),
    "water": ("standing in shallow water", "wading in the water"),
}


def describe(bird: Bird, rng: Rng) -> list[str]:
    """Ten captions in different words, lower case, each true and each naming only some of the parts.

    Where the bird has a main colour, some name it as that of the whole bird.
    """
    whole = PLAIN_CAPTIONS if bird.main else 0
    wordings = [*_some(WORDINGS, CAPTIONS - whole, rng), *_some(PLAIN_WORDINGS, whole, rng)]
    return [wording(Phrases(bird, rng)) + pick(rng, ("", ".")) for wording in _some(wordings, CAPTIONS, rng)]


def _some(options: Sequence, count: int, rng: Rng) -> list:
    """So many of the options, in random order."""
    return [options[place] for place in rng.permutation(len(options))[:count]]


class Phrases:
    """True phrases about one bird. Each call names a part that this caption has not named yet."""

    def __init__(self, bird: Bird, rng: Rng):
        self.bird, self.rng = bird, rng
        self.unnamed = [PLUMAGE[place] for place in rng.permutation(len(PLUMAGE))]

    def take_part(self) -> tuple[str, str]:
        """The colour of the next part, and a noun for that part."""
        part = self.unnamed.pop()
        return getattr(self.bird, part), pick(self.rng, NOUNS[part])

    def odd(self) -> str:
        """As `part`, but a part of another colour than the main one, while any is left."""
        self.unnamed.sort(key=lambda part: getattr(self.bird, part) != self.bird.main)
        return self.part()

    def part(self) -> str:
        """Such as `a black crown` or `yellow wings`."""
        colour, noun = self.take_part()
        return f"{colour} {noun}" if _plural(noun) else _with_article(f"{colour} {noun}")

    def clause(self) -> str:
        """Such as `crown is black` or `wings are yellow`."""
        colour, noun = self.take_part()
        return f"{noun} {'are' if _plural(noun) else 'is'} {colour}"

    def relative(self) -> str:
        """Such as `a crown that is black` or `wings that are yellow`."""
        colour, noun = self.take_part()
        return f"{noun} that are {colour}" if _plural(noun) else f"a {noun} that is {colour}"

    def beak(self) -> str:
        """Such as `a short pointed orange beak`, without one or two of the adjectives."""
        bird, rng = self.bird, self.rng
        words = [bird.beak_length, pick(rng, SHAPES[bird.beak_shape]), bird.beak]
        dropped = int(rng.integers(4))  # 3 drops none
        kept = [word for place, word in enumerate(words) if place != dropped]
        return _with_article(" ".join([*kept, pick(rng, NOUNS["beak"])]))

    def bird_of_size(self, colour: str = "") -> str:
        """Such as `a small bird`, or `a small red bird`."""
        sizes = {"small": ("small", "little"), "medium": ("medium sized",), "large": ("large", "big")}
        return " ".join(["a", pick(self.rng, sizes[self.bird.size]), *([colour] if colour else []), "bird"])

    def main(self) -> str:
        """The colour of the whole bird, where it has one: other birds get no wording that asks for it."""
        return self.bird.main or ""

    def colours(self) -> str:
        """Two of the bird's colours, such as `black and yellow`; one word where the two are the same."""
        first, second = self.bird.belly, pick(self.rng, (self.bird.wing, self.bird.back))
        return first if first == second else f"{first} and {second}"

    def place(self) -> str:
        """Such as `perched on a branch`."""
        return pick(self.rng, PLACES[self.bird.perch])


WORDINGS: tuple[Callable[[Phrases], str], ...] = (
    lambda w: f"this bird has {w.part()}, {w.part()} and {w.part()}",
    lambda w: f"{w.bird_of_size()} with {w.part()} and {w.beak()}",
    lambda w: f"this bird has {w.relative()} and has {w.part()}",
    lambda w: f"the {w.clause()}, the {w.clause()}, and the bird has {w.beak()}",
    lambda w: f"this {w.colours()} bird has {w.beak()} and {w.part()}",
    lambda w: f"a bird with {w.part()}, {w.part()}, and {w.beak()}, {w.place()}",
    lambda w: f"this is {w.bird_of_size()} with {w.part()}, {w.part()} and {w.part()}",
    lambda w: f"the {w.clause()} while the {w.clause()}",
    lambda w: f"bird with {w.beak()}, {w.part()}, {w.part()}, {w.part()}",
    lambda w: f"the bird is {w.colours()}, with {w.part()}",
    lambda w: f"its {w.clause()}, its {w.clause()} and its {w.clause()}",
    lambda w: f"{w.place()} is {w.bird_of_size()} with {w.part()}",
    lambda w: f"{w.bird_of_size()} whose {w.clause()} and whose {w.clause()}",
    lambda w: f"the {w.clause()} on this bird, which also has {w.part()} and {w.beak()}",
)

PLAIN_WORDINGS: tuple[Callable[[Phrases], str], ...] = (  # for birds that have a main colour
    lambda w: f"this bird is {w.main()} with {w.odd()}",
    lambda w: f"{w.bird_of_size(w.main())} with {w.odd()}",
    lambda w: f"{_with_article(w.main())} bird with {w.odd()} and {w.beak()}",
    lambda w: f"{_with_article(w.main())} bird {w.place()}, with {w.odd()}",
    lambda w: f"this {w.main()} bird has {w.odd()} and {w.part()}",
    lambda w: f"the bird is {w.main()} and has {w.beak()}, {w.place()}",
    lambda w: f"this is {w.bird_of_size(w.main())}",
)
CAPTIONS = 10  # of each image, as published
PLAIN_CAPTIONS = 4  # of them, of a bird that has a main colour, in these wordings


def _plural(noun: str) -> bool:
    return noun.endswith("s")


def _with_article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"
