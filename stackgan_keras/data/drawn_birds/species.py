"""A bird's attributes, and the invention of species: plumages that no two share, and names."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from stackgan_keras.errors import InputError

Rng = np.random.Generator
Option = TypeVar("Option")

COLOURS = {
    "red": (206, 42, 40),
    "orange": (246, 138, 26),
    "yellow": (250, 212, 52),
    "green": (58, 146, 66),
    "blue": (40, 98, 196),
    "purple": (124, 64, 164),
    "pink": (244, 142, 178),
    "brown": (108, 66, 38),
    "black": (34, 32, 38),
    "white": (248, 246, 241),
    "grey": (140, 143, 149),
}
PLUMAGE = ("crown", "back", "belly", "wing", "tail")
BEAK = {
    "beak": ("black", "grey", "orange", "yellow", "red"),
    "beak_length": ("short", "long"),
    "beak_shape": ("straight", "curved"),
}
SIZES = {"small": (208, 224), "medium": (224, 246), "large": (246, 266)}  # longer side of the box, pixels
PERCHES = ("branch", "ground", "rock", "post", "water")
BACKGROUNDS = ("sky", "hills", "forest", "sunset", "meadow", "snow")


@dataclass(frozen=True)
class Bird:
    """The attributes of one image: plumage and beak belong to the species, the rest to the individual."""

    crown: str
    back: str
    belly: str
    wing: str
    tail: str
    beak: str
    beak_length: str = "short"
    beak_shape: str = "straight"
    size: str = "medium"
    perch: str = "branch"
    background: str = "hills"
    facing: str = "right"
    wing_pose: str = "folded"  # or raised
    tilt: float = 0.0  # degrees, positive stands more upright
    head_turn: float = 0.0  # degrees, positive looks up

    @property
    def main(self) -> str | None:
        """The colour of the bird as a whole: that of three at least of crown, back, belly and wing."""
        colour, parts = Counter([self.crown, self.back, self.belly, self.wing]).most_common(1)[0]
        return colour if parts >= 3 else None


def individual(species: dict[str, str], rng: Rng) -> Bird:
    """A bird of the species (its colours and beak) with a size, pose and place of its own."""
    return Bird(
        **species,
        size=pick(rng, tuple(SIZES)),
        perch=pick(rng, PERCHES),
        background=pick(rng, BACKGROUNDS),
        facing=pick(rng, ("left", "right")),
        wing_pose=pick(rng, ("folded", "folded", "folded", "raised")),
        tilt=round(rng.uniform(-12, 14), 1),
        head_turn=round(rng.uniform(-12, 16), 1),
    )


def pick(rng: Rng, options: Sequence[Option]) -> Option:
    """One of the options, each equally likely."""
    return options[int(rng.integers(len(options)))]


EPITHETS = (
    "Amberley", "Bramble", "Cloud", "Dewdrop", "Ember", "Fern", "Glen", "Harbour", "Ivy", "Juniper", "Lantern",
    "Meadow", "Nettle", "Orchard", "Pebble", "Quill", "River", "Sorrel", "Thistle", "Willow", "Acorn", "Autumn",
    "Beacon", "Birch", "Bluff", "Canyon", "Cedar", "Clover", "Coral", "Dune", "Dusk", "Elder", "Frost", "Granite",
    "Hazel", "Heather", "Island", "Lagoon", "Lichen", "Maple", "Marsh", "Mist", "Moss", "Prairie", "Reed", "Ridge",
    "Summit", "Tundra", "Valley", "Winter",
)  # fmt: skip
FAMILIES = (
    "Bunting", "Chat", "Finch", "Flycatcher", "Jay", "Lark", "Oriole", "Pipit", "Robin", "Siskin", "Sparrow",
    "Starling", "Swallow", "Tanager", "Thrush", "Tit", "Vireo", "Warbler", "Weaver", "Wren", "Babbler", "Bulbul",
    "Cardinal", "Crossbill", "Dipper", "Grosbeak", "Honeyeater", "Linnet", "Longspur", "Martin", "Mynah", "Nuthatch",
    "Redstart", "Serin", "Shrike", "Sunbird", "Treecreeper", "Wagtail", "Waxbill", "Wheatear",
)  # fmt: skip
KINDS = ("Common", "Greater", "Lesser", "Northern", "Southern", "Eastern", "Western", "Highland", "Lowland")
MOST_SPECIES = len(EPITHETS) * len(FAMILIES) * (1 + len(KINDS))  # that there are names for
PLAIN = 0.3  # share of species of one colour but for one part, or one and the tail
HOODED = 0.2  # share of the others whose back continues the crown's colour
MATCHING_TAIL = 0.3  # share of the others whose tail continues the wing's colour
TRIES = 1000  # draws of a plumage before giving up on a new one


def invent_species(train: int, test: int, rng: Rng, *, progress: bool = False) -> list[dict[str, str]]:
    """`train` species, then `test` species that recombine colours which each part already has in training.

    No two species share a plumage. `progress` shows a bar. Raises `InputError` where the training species leave too few
    recombinations.
    """
    from tqdm import tqdm  # only here: data is also read where there is none

    with tqdm(desc="inventing species", total=train + test, unit="species", disable=not progress, leave=False) as bar:
        known = _new_species(train, {part: tuple(COLOURS) for part in PLUMAGE}, [], rng, bar)
        palettes = {part: tuple(sorted({species[part] for species in known})) for part in PLUMAGE}
        return known + _new_species(test, palettes, known, rng, bar)


def _new_species(count: int, palettes: dict, known: list[dict], rng: Rng, bar: Any) -> list[dict[str, str]]:
    """Species with colours from the palettes, each colour used about equally often, and none a known plumage."""
    used: dict[str, Counter[str]] = {part: Counter() for part in (*PLUMAGE, *BEAK)}
    taken = {tuple(species[part] for part in PLUMAGE) for species in known}
    ways = [  # a way that finds nothing new is not tried again
        partial(_plain_plumage, palettes, rng=rng),
        partial(_random_plumage, palettes, rng=rng, strict=True),
        partial(_random_plumage, palettes, rng=rng, strict=False),
    ]
    plain, new = ways[0], []
    for _ in range(count):
        wants_plain, plumage = rng.random() < PLAIN, None
        for way in [way for way in ways if wants_plain or way is not plain]:
            if plumage := _new_plumage(way, used, taken):
                break
            ways.remove(way)
        if plumage is None:
            raise InputError(
                f"found no new combination of colours after {len(taken)} species: ask for fewer classes, or leave "
                f"more of them for training"
            )
        taken.add(tuple(plumage.values()))
        new.append(plumage | {trait: _least_used(options, used[trait], rng) for trait, options in BEAK.items()})
        for part, value in new[-1].items():
            used[part][value] += 1
        bar.update()
    return new


def _new_plumage(way: Callable, used: dict, taken: set) -> dict[str, str] | None:
    """Colours for each part, found in this way, that no earlier species combines; the least used ones if possible."""
    unused: dict[str, Counter[str]] = {part: Counter() for part in PLUMAGE}
    for attempt in range(TRIES):
        plumage = way(unused if attempt else used)
        if plumage and tuple(plumage.values()) not in taken:
            return plumage
    return None


def _random_plumage(palettes: dict, used: dict, *, rng: Rng, strict: bool) -> dict[str, str] | None:
    """One colour for each part; when strict, a wing never melts into the body nor a crown into the face."""

    def choose(part: str, unlike: tuple[str | None, ...]) -> str | None:
        options = [colour for colour in palettes[part] if not (strict and colour in unlike)]
        return _least_used(options, used[part], rng) if options else None

    crown = choose("crown", ())
    hooded = crown in palettes["back"] and rng.random() < HOODED
    back = crown if hooded else choose("back", (crown,))
    belly = choose("belly", (crown, back))
    wing = choose("wing", (back, belly))
    matching = wing in palettes["tail"] and rng.random() < MATCHING_TAIL
    tail = wing if matching else choose("tail", (wing, back))
    colours = zip(PLUMAGE, (crown, back, belly, wing, tail), strict=True)
    plumage = {part: colour for part, colour in colours if colour is not None}
    return plumage if len(plumage) == len(PLUMAGE) else None


def _plain_plumage(palettes: dict, used: dict, *, rng: Rng) -> dict[str, str] | None:
    """One colour that all parts may have; one part, or one and the tail, in others."""
    common = [colour for colour in COLOURS if all(colour in palettes[part] for part in PLUMAGE)]
    if not common:
        return None
    main = _least_used(common, sum((used[part] for part in PLUMAGE), Counter()), rng)
    odd = {pick(rng, PLUMAGE)} | ({"tail"} if rng.random() < 0.5 else set())
    others = {part: [colour for colour in palettes[part] if colour != main] for part in sorted(odd)}
    if not all(others.values()):
        return None
    return {part: _least_used(others[part], used[part], rng) if part in odd else main for part in PLUMAGE}


def _least_used(options: Sequence[str], used: Counter, rng: Rng) -> str:
    """One of the options used least so far, at random."""
    least = min(used[option] for option in options)
    return pick(rng, [option for option in options if used[option] == least])


def species_names(count: int, rng: Rng) -> list[str]:
    """Invented names such as `Willow_Bunting`, all different; beyond those two words, `Northern_Willow_Bunting`."""
    names = [f"{epithet}_{family}" for epithet in EPITHETS for family in FAMILIES]
    if count > len(names):
        names += [f"{kind}_{name}" for kind in KINDS for name in names]
    return [names[place] for place in rng.permutation(len(names))[:count]]
