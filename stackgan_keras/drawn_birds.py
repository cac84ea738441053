"""Which captioned pictures can be had without a download? The embedded default: birds drawn on the spot.

`write` draws a data set of birds in the layout in which the real one is published, with ten captions a picture and
a stand-in for the trained text encoder's vectors. A `Bird` holds everything that is true of one picture; `draw`,
`captions` and `embed` are pure functions of what they are given, so a seed fixes every byte of the set.

Birds are laid out in body units (1 is roughly the length of the trunk), x towards the beak and y downwards, and
painted at twice the final size, then reduced, for clean edges.
"""

import json
import multiprocessing
import os
import re
import shutil
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter
from tqdm import tqdm

from stackgan_keras import layout
from stackgan_keras.errors import InputError
from stackgan_keras.files import write_lines

Rng = np.random.Generator

# ---------------------------------------------------------------------------------------------------------------------
# What is true of a bird

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
    """The truth about one picture: plumage and beak belong to the species, the rest to the individual."""

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
        size=_pick(rng, tuple(SIZES)),
        perch=_pick(rng, PERCHES),
        background=_pick(rng, BACKGROUNDS),
        facing=_pick(rng, ("left", "right")),
        wing_pose=_pick(rng, ("folded", "folded", "folded", "raised")),
        tilt=round(rng.uniform(-12, 14), 1),
        head_turn=round(rng.uniform(-12, 16), 1),
    )


def _pick(rng: Rng, options: Sequence):
    return options[int(rng.integers(len(options)))]


# ---------------------------------------------------------------------------------------------------------------------
# Species

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
PLAIN = 0.3  # share of species of one colour but for one part, or one and the tail
HOODED = 0.2  # share of the others whose back continues the crown's colour
MATCHING_TAIL = 0.3  # share of the others whose tail continues the wing's colour
TRIES = 2000  # draws of a plumage before giving up on a new one


def invent_species(train: int, test: int, rng: Rng) -> list[dict[str, str]]:
    """`train` species, then `test` species that recombine colours which each part already has in training.

    No two species share a plumage. Raises `InputError` where the training species leave too few recombinations.
    """
    known = _new_species(train, {part: tuple(COLOURS) for part in PLUMAGE}, [], rng)
    palettes = {part: tuple(sorted({species[part] for species in known})) for part in PLUMAGE}
    return known + _new_species(test, palettes, known, rng)


def _new_species(count: int, palettes: dict, known: list[dict], rng: Rng) -> list[dict[str, str]]:
    """Species with colours from the palettes, each colour used about equally often, and none a known plumage."""
    used = {part: Counter() for part in (*PLUMAGE, *BEAK)}
    taken = {tuple(species[part] for part in PLUMAGE) for species in known}
    new = []
    for _ in range(count):
        plumage = _new_plumage(palettes, used, taken, rng)
        taken.add(tuple(plumage.values()))
        new.append(plumage | {trait: _least_used(options, used[trait], rng) for trait, options in BEAK.items()})
        for part, value in new[-1].items():
            used[part][value] += 1
    return new


def _new_plumage(palettes: dict, used: dict, taken: set, rng: Rng) -> dict[str, str]:
    """Colours for each part that no earlier species combines; the least used ones where that is possible."""
    unused = {part: Counter() for part in PLUMAGE}
    plain = rng.random() < PLAIN
    for attempt in range(TRIES):
        counts, strict = unused if attempt else used, attempt < TRIES // 2
        if plain and strict:
            plumage = _plain_plumage(palettes, counts, rng)
        else:
            plumage = _random_plumage(palettes, counts, rng, strict)
        if plumage and tuple(plumage.values()) not in taken:
            return plumage
    raise InputError(
        f"found no new combination of colours after {len(taken)} species: ask for fewer classes, or leave more of "
        f"them for training"
    )


def _random_plumage(palettes: dict, used: dict, rng: Rng, strict: bool) -> dict[str, str] | None:
    """One colour for each part; when strict, a wing never melts into the body nor a crown into the face."""

    def choose(part: str, unlike: tuple[str, ...]) -> str | None:
        options = [colour for colour in palettes[part] if not (strict and colour in unlike)]
        return _least_used(options, used[part], rng) if options else None

    crown = choose("crown", ())
    hooded = crown in palettes["back"] and rng.random() < HOODED
    back = crown if hooded else choose("back", (crown,))
    belly = choose("belly", (crown, back))
    wing = choose("wing", (back, belly))
    matching = wing in palettes["tail"] and rng.random() < MATCHING_TAIL
    tail = wing if matching else choose("tail", (wing, back))
    plumage = dict(zip(PLUMAGE, (crown, back, belly, wing, tail), strict=True))
    return None if None in plumage.values() else plumage


def _plain_plumage(palettes: dict, used: dict, rng: Rng) -> dict[str, str] | None:
    """One colour that all parts may have; one part, or one and the tail, in others."""
    common = [colour for colour in COLOURS if all(colour in palettes[part] for part in PLUMAGE)]
    if not common:
        return None
    main = _least_used(common, sum((used[part] for part in PLUMAGE), Counter()), rng)
    odd = {_pick(rng, PLUMAGE)} | ({"tail"} if rng.random() < 0.5 else set())
    others = {part: [colour for colour in palettes[part] if colour != main] for part in sorted(odd)}
    if not all(others.values()):
        return None
    return {part: _least_used(others[part], used[part], rng) if part in odd else main for part in PLUMAGE}


def _least_used(options: Sequence[str], used: Counter, rng: Rng) -> str:
    """One of the options used least so far, at random."""
    least = min(used[option] for option in options)
    return _pick(rng, [option for option in options if used[option] == least])


def species_names(count: int, rng: Rng) -> list[str]:
    """Invented names such as `Willow_Bunting`, all different; beyond those two words, `Northern_Willow_Bunting`."""
    names = [f"{epithet}_{family}" for epithet in EPITHETS for family in FAMILIES]
    if count > len(names):
        names += [f"{kind}_{name}" for kind in KINDS for name in names]
    return [names[place] for place in rng.permutation(len(names))[:count]]


# ---------------------------------------------------------------------------------------------------------------------
# Anatomy: outlines in body units

Points = np.ndarray  # (points, 2): x towards the beak, y downwards

HIP = np.array([0.0, 0.44])  # the trunk tilts about it
NECK = np.array([0.30, -0.22])  # the head turns about it
HEAD = np.array([0.38, -0.44])  # its centre
HEAD_RADIUS = 0.33
HEAD_ANGLES = (-38, -8, 24, 56, 90, 124, 158)  # degrees up from the beak, chin to nape
TRUNK = np.array(
    [
        [-0.10, -0.36],  # mantle
        [-0.34, -0.17],
        [-0.56, 0.04],
        [-0.70, 0.19],  # rump
        [-0.64, 0.31],
        [-0.40, 0.42],  # vent
        [-0.10, 0.51],
        [0.20, 0.48],  # belly
        [0.43, 0.31],
        [0.56, 0.08],  # breast
        [0.61, -0.12],  # throat
    ]
)
BACK_EDGE = np.array([[0.30, -0.30], [0.14, -0.12], [-0.16, 0.06], [-0.44, 0.22], [-0.80, 0.30]])
CROWN_EDGE = np.array(
    [[0.44, 0.00], [0.24, 0.03], [0.10, 0.09], [-0.06, 0.12], [-0.20, 0.09], [-0.29, -0.02], [-0.32, -0.18]]
)
EYE = np.array([0.14, -0.03])  # from the head's centre
EYE_RADIUS = 0.07
TAIL_ROOT = np.array([-0.46, 0.10])
SHOULDER = np.array([0.22, -0.06])
FEET = ((-0.12, 0.45, -0.06), (0.08, 0.46, 0.14))  # x and y of the hip, x of the foot
TOES = ((-0.08, 0.02), (0.08, 0.03), (0.12, 0.0))  # reach and dip of the toes of one foot
GROUND = 0.76  # y of the soles
HEAD_SCALE = {"small": 1.08, "medium": 1.0, "large": 0.93}  # little birds have big heads


@dataclass(frozen=True)
class Anatomy:
    """The outlines of one bird in body units, ready to be scaled into a picture."""

    body: Points
    back: Points
    crown: Points
    beak: Points
    beak_line: Points
    eye: Points  # one point
    tail: list[Points]
    wing: list[Points]  # first to last, each over the one before
    coverts: list[Points]
    far_wing: list[Points]  # behind the body; empty when folded
    legs: list[Points]
    toes: list[Points]

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and the highest x, y of all parts."""
        parts = (self.body, self.beak, *self.tail, *self.wing, *self.coverts, *self.far_wing, *self.toes)
        points = np.concatenate(parts)
        return points.min(0), points.max(0)


def anatomy(bird: Bird) -> Anatomy:
    """The bird's outlines, facing right, in the pose that its truth names."""
    scale = HEAD_SCALE[bird.size]
    gaze = bird.head_turn - bird.tilt / 2  # the head stays nearly level when the trunk tilts

    def on_trunk(points: Points) -> Points:
        return _turn(np.asarray(points, float), bird.tilt, HIP)

    def on_head(points: Points) -> Points:
        return on_trunk(_turn(HEAD + scale * np.asarray(points, float), gaze, NECK))

    skull = HEAD_RADIUS * _directions(HEAD_ANGLES)
    lid = np.array([[-0.32, -0.5], [0.5, -0.5]])
    wing, coverts, far_wing = _raised_wing() if bird.wing_pose == "raised" else _folded_wing()
    beak, beak_line = _beak(bird.beak_length, bird.beak_shape)
    legs, toes = _legs(on_trunk)
    return Anatomy(
        body=smooth(np.concatenate([on_head(skull), on_trunk(TRUNK)])),
        back=on_trunk(np.concatenate([_feathered(BACK_EDGE, 0.02), [[-0.9, -0.7], [0.34, -0.7]]])),
        crown=on_head(np.concatenate([_feathered(CROWN_EDGE, 0.012), lid])),
        beak=on_head(beak),
        beak_line=on_head(beak_line),
        eye=on_head(EYE[None]),
        tail=[on_trunk(feather) for feather in _tail()],
        wing=[on_trunk(feather) for feather in wing],
        coverts=[on_trunk(feather) for feather in coverts],
        far_wing=[on_trunk(feather) for feather in far_wing],
        legs=legs,
        toes=toes,
    )


def smooth(points: Points, steps: int = 8) -> Points:
    """The closed Catmull-Rom curve through the points: (points * steps, 2)."""
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    before, after, beyond = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
    curve = (
        2 * points
        + (after - before) * t
        + (2 * before - 5 * points + 4 * after - beyond) * t**2
        + (3 * points - before - 3 * after + beyond) * t**3
    ) / 2
    return curve.transpose(1, 0, 2).reshape(-1, 2)


def _directions(degrees) -> Points:
    """Unit vectors at these angles, counted upwards from the beak's direction."""
    radians = np.deg2rad(np.asarray(degrees, float))
    return np.stack([np.cos(radians), -np.sin(radians)], -1)


def _turn(points: Points, degrees: float, about: np.ndarray) -> Points:
    """The points turned about a centre; positive lifts what lies towards the beak."""
    (cos, minus_sin), about = _directions(degrees), np.asarray(about)
    return (points - about) @ np.array([[cos, minus_sin], [-minus_sin, cos]]) + about


def _feathered(edge: Points, depth: float, tufts: int = 5) -> Points:
    """An edge broken up into small tufts, as plumage of two colours meets."""
    t = np.linspace(0, 1, len(edge))
    fine = np.linspace(0, 1, (len(edge) - 1) * tufts * 2 + 1)
    points = np.stack([np.interp(fine, t, edge[:, axis]) for axis in (0, 1)], -1)
    points[1::2] += np.array([-depth / 2, depth])
    return points


def _feather(root, tip, width: float, steps: int = 14) -> Points:
    """A feather: slender at the root, widest past the middle, round at the tip."""
    root, tip = np.asarray(root, float), np.asarray(tip, float)
    t = 1 - (1 - np.linspace(0, 1, steps)) ** 1.6  # more points where the tip bends
    half_width = width / 2 * t**0.35 * (1 - t**4) ** 0.7
    along = tip - root
    across = np.array([-along[1], along[0]]) / np.hypot(*along)
    middle = root + t[:, None] * along
    return np.concatenate([middle + half_width[:, None] * across, (middle - half_width[:, None] * across)[::-1]])


def _fan(root, degrees, lengths, width: float) -> list[Points]:
    """Feathers that spread from near one root."""
    return [
        _feather(root, root + length * direction, width)
        for direction, length in zip(_directions(degrees), lengths, strict=True)
    ]


def _tail() -> list[Points]:
    """Six feathers, the outer ones first and longest, so that the end is notched."""
    return _fan(TAIL_ROOT, (217, 197, 213, 201, 209, 205), (0.84, 0.84, 0.80, 0.80, 0.75, 0.75), 0.15)


def _folded_wing() -> tuple[list[Points], list[Points], list[Points]]:
    """Long primaries along the flank, broader secondaries over them, and the shoulder's coverts on top."""
    primaries = _fan(_beside(SHOULDER, -0.10, 0.07), (192, 195, 199, 204), (0.84, 0.82, 0.76, 0.68), 0.14)
    secondaries = _fan(_beside(SHOULDER, -0.04, 0.06), (221, 214, 207, 200, 194), (0.50, 0.58, 0.64, 0.68, 0.70), 0.17)
    lower = _fan(_beside(SHOULDER, 0.02, 0.03), (240, 228, 216, 205, 195), (0.32, 0.38, 0.42, 0.44, 0.44), 0.16)
    upper = _fan(_beside(SHOULDER, 0.06, 0.02), (246, 228, 211, 196), (0.21, 0.25, 0.27, 0.27), 0.16)
    return primaries + secondaries, lower + upper, []


def _raised_wing() -> tuple[list[Points], list[Points], list[Points]]:
    """Both wings up: the near one over the shoulder, the far one a little before it, behind the body."""
    angles = np.array([186, 178, 170, 162, 154, 147, 140, 133, 127])
    lengths = np.array([0.58, 0.66, 0.74, 0.83, 0.92, 1.00, 1.06, 1.08, 1.02])
    near = _fan(SHOULDER, angles, lengths, 0.19)
    lower = _fan(SHOULDER, angles[::2] - 2, lengths[::2] * 0.58, 0.2)
    upper = _fan(SHOULDER, angles[1::2], lengths[1::2] * 0.34, 0.18)
    far = _fan(_beside(SHOULDER, 0.04, -0.10), angles[3:] - 19, lengths[3:] * 0.94, 0.19)
    return near, lower + upper, far


def _beside(place: np.ndarray, x: float, y: float) -> np.ndarray:
    """A place, or all points of an outline, moved by x and y."""
    return place + np.array([x, y])


def _beak(length: str, shape: str) -> tuple[Points, Points]:
    """The beak's outline and the line between its halves, from the head's centre."""
    reach, thickness, drop = {"short": (0.19, 0.105, 0.15), "long": (0.44, 0.088, 0.24)}[length]
    if shape == "straight":
        drop = 0.02
    t = np.linspace(0, 1, 12)
    x = HEAD_RADIUS * 0.8 + t * (reach + HEAD_RADIUS * 0.2)
    line = np.stack([x, 0.03 + drop * t**2.2], -1)
    half = np.stack([np.zeros_like(t), thickness * (1 - t**1.5)], -1)
    return np.concatenate([line - half, (line + 0.8 * half)[::-1]]), line


def _legs(on_trunk: Callable[[Points], Points]) -> tuple[list[Points], list[Points]]:
    """Legs from the tilted hips down to feet that stay level, and three toes for each foot."""
    legs, toes = [], []
    for hip_x, hip_y, foot_x in FEET:
        hip, foot = on_trunk([[hip_x, hip_y]])[0], np.array([foot_x, GROUND - 0.02])
        legs.append(np.array([hip, (hip + foot) / 2 + (-0.025, 0.02), foot]))
        toes += [np.array([foot, (foot_x + reach, GROUND + dip)]) for reach, dip in TOES]
    return legs, toes


# ---------------------------------------------------------------------------------------------------------------------
# Painting

Colour = tuple[int, ...]
Size = tuple[int, int]  # width and height, pixels
Pen = ImageDraw.ImageDraw

SUPERSAMPLE = 2  # paint at twice the final size
CANVASES = ((480, 420), (460, 440), (440, 460))  # width and height, pixels
INK = (52, 40, 44)  # outlines and shadows
LEG = (96, 76, 70)
BARK = (143, 124, 110)
SOIL = (184, 190, 150)
SOILS = {"snow": (206, 212, 216), "sunset": (194, 180, 164)}  # where the background asks for another
PETALS = ((244, 232, 214), (236, 214, 216), (238, 230, 190), (216, 210, 228))
BLUR = 8  # light and shade are worked out at this reduction


def draw(bird: Bird, rng: Rng) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """The bird's picture (RGB, 460 or 480 pixels on the long side) and the bird's box in it: x, y, w, h in pixels."""
    width, height = _pick(rng, CANVASES)
    parts = anatomy(bird)
    frame = _place(parts, bird, (width, height), rng)
    easel = Easel(_background(bird.background, (width, height), rng), frame)
    feet = frame(np.array([[0.04, GROUND]]))[0]
    _paint_perch(easel, bird, feet, rng)
    _paint_bird(easel, parts, bird, rng)
    _paint_foreground(easel, bird.perch, feet, rng)
    picture = easel.image.reduce(SUPERSAMPLE)
    low, high = (frame(np.stack(parts.bounds())) / SUPERSAMPLE).round().astype(int)
    x, y = np.maximum(low, 0)
    right, bottom = np.minimum(high, (width, height))
    if bird.facing == "left":
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        x, right = width - right, width - x
    return picture, (int(x), int(y), int(right - x), int(bottom - y))


@dataclass(frozen=True)
class Frame:
    """Body units to supersampled pixels."""

    scale: float
    offset: np.ndarray

    def __call__(self, points: Points) -> Points:
        return points * self.scale + self.offset


def _place(parts: Anatomy, bird: Bird, canvas: Size, rng: Rng) -> Frame:
    """Scales the bird to its size and puts it near the middle, where the usual crop stays inside the picture."""
    low, high = parts.bounds()
    side = rng.uniform(*SIZES[bird.size])
    scale = SUPERSAMPLE * side / (high - low).max()
    spare = np.maximum(np.array(canvas) - 1.5 * side, 0) / 2 + 4  # pixels
    centre = np.array(canvas) / 2 + rng.uniform(-1, 1, 2) * spare
    return Frame(scale, SUPERSAMPLE * centre - scale * (low + high) / 2)


class Easel:
    """A supersampled picture, a pen that blends, a brush that covers, and the frame that the bird stands in."""

    def __init__(self, image: Image.Image, frame: Frame):
        self.image, self.frame = image, frame
        self.pen = ImageDraw.Draw(image, "RGBA")
        self.brush = ImageDraw.Draw(image)  # covers, which is quicker than blending

    def mask(self, *outlines: Points) -> Image.Image:
        """A picture-sized mask of outlines in pixels."""
        mask = Image.new("L", self.image.size)
        pen = ImageDraw.Draw(mask)
        for outline in outlines:
            pen.polygon(outline.ravel().tolist(), fill=255)
        return mask

    def fill(self, outline: Points, colour: Colour, edge: int = 0) -> None:
        """A flat shape, in pixels, with a fine dark edge of this strength (0 to 255)."""
        self.brush.polygon(outline.ravel().tolist(), fill=colour)
        if edge:
            self.line(np.concatenate([outline, outline[:1]]), (*INK, edge), 2)

    def line(self, points: Points, colour: Colour, width: float) -> None:
        """A stroke with round joints, in pixels."""
        self.pen.line(points.ravel().tolist(), fill=colour, width=max(1, round(width)), joint="curve")

    def disc(self, centre: np.ndarray, radius: float, colour: Colour) -> None:
        """A filled circle, in pixels."""
        self.pen.ellipse([*(centre - radius), *(centre + radius)], fill=colour)

    def stain(self, mask: Image.Image, colour: Colour, within: Image.Image, strength: float = 1.0) -> None:
        """Colours the picture where two masks overlap, touching no more of it than needed."""
        box = mask.getbbox()
        if box:
            overlap = ImageChops.multiply(mask.crop(box), within.crop(box))
            self.image.paste(colour, box, overlap.point(lambda value: value * strength) if strength < 1 else overlap)

    def model(self, mask: Image.Image, shade: float, light: float) -> None:
        """Makes a flat shape look round: its upper front edge catches the light, its lower rear edge falls dark."""
        box = mask.getbbox()
        local = mask.crop(box)
        margin, reach = 6, 3  # in reduced pixels
        small = Image.new("L", (local.width // BLUR + 1 + 2 * margin, local.height // BLUR + 1 + 2 * margin))
        small.paste(local.reduce(BLUR), (margin, margin))
        soft = np.asarray(small.filter(ImageFilter.GaussianBlur(reach)), np.float32) / 255
        lit = self.image.crop(box).point(lambda value: 1.5 * value + 16)  # keeps the hue, and black black
        for paint, strength, steps in ((INK, shade, (-reach, reach)), (lit, light, (reach, -reach))):
            depth = strength * np.clip(1 - np.roll(soft, steps, (0, 1)), 0, 1)
            veil = Image.fromarray((255 * depth[margin:-margin, margin:-margin]).astype(np.uint8))
            veil = ImageChops.multiply(_enlarged(veil, local.size), local)
            self.image.paste(paint, box, veil)


def _tinted(colour: Colour, brightness: float) -> Colour:
    """The colour darker (below 1) or mixed with white (above 1)."""
    if brightness <= 1:
        return tuple(round(channel * brightness) for channel in colour)
    return tuple(round(channel + (255 - channel) * (brightness - 1)) for channel in colour)


def _jittered(name: str, rng: Rng) -> Colour:
    """The named colour, a shade off: no more than feathers of one kind differ."""
    shade = np.array(COLOURS[name]) * rng.uniform(0.96, 1.03) + rng.uniform(-5, 5, 3)
    return tuple(int(channel) for channel in np.clip(shade, 0, 255))


def _paint_bird(easel: Easel, parts: Anatomy, bird: Bird, rng: Rng) -> None:
    """Back to front: far wing, tail, beak, legs, body, wing, eye."""
    colours = {part: _jittered(getattr(bird, part), rng) for part in (*PLUMAGE, "beak")}
    _paint_feathers(easel, parts.far_wing, _tinted(colours["wing"], 0.8))
    _paint_feathers(easel, parts.tail, colours["tail"])
    _paint_legs(easel, parts)
    _paint_beak(easel, parts, colours["beak"])
    _paint_body(easel, parts, colours, rng)
    _paint_feathers(easel, parts.wing, colours["wing"])
    _paint_feathers(easel, parts.coverts, _tinted(colours["wing"], 1.06))
    _paint_eye(easel, parts)


def _paint_feathers(easel: Easel, feathers: list[Points], colour: Colour) -> None:
    """Overlapping feathers of one colour, each with a fine edge and shaft, modelled as one soft shape."""
    if not feathers:
        return
    outlines = [easel.frame(feather) for feather in feathers]
    for number, outline in enumerate(outlines):
        easel.fill(outline, _tinted(colour, 0.97 + 0.09 * (number % 2)), edge=60)
        root, tip = outline[0], outline[len(outline) // 2 - 1]
        easel.line(np.stack([root, root + 0.9 * (tip - root)]), (*INK, 30), 2)
    easel.model(easel.mask(*outlines), shade=0.24, light=0.35)


def _paint_legs(easel: Easel, parts: Anatomy) -> None:
    for leg in parts.legs:
        easel.line(easel.frame(leg), LEG, 0.034 * easel.frame.scale)
    for toe in parts.toes:
        easel.line(easel.frame(toe), LEG, 0.03 * easel.frame.scale)
        easel.disc(easel.frame(toe[1]), 0.015 * easel.frame.scale, LEG)


def _paint_beak(easel: Easel, parts: Anatomy, colour: Colour) -> None:
    outline = easel.frame(parts.beak)
    easel.fill(outline, colour, edge=120)
    easel.model(easel.mask(outline), shade=0.3, light=0.3)
    easel.line(easel.frame(parts.beak_line), (*INK, 130), 2)


def _paint_body(easel: Easel, parts: Anatomy, colours: dict[str, Colour], rng: Rng) -> None:
    """One outline, three plumages inside it, then light, shade and the shadow under the wing."""
    outline = easel.frame(parts.body)
    body = easel.mask(outline)
    easel.fill(outline, colours["belly"])
    _stroke_down(easel, body, rng)
    for part in ("back", "crown"):
        region = easel.mask(easel.frame(getattr(parts, part)))
        easel.stain(region, colours[part], within=body)
    easel.model(body, shade=0.5, light=0.5)
    easel.line(np.concatenate([outline, outline[:1]]), (*INK, 80), 2)
    shadow = easel.mask(*(easel.frame(_beside(feather, 0.0, 0.035)) for feather in parts.wing + parts.coverts))
    easel.stain(shadow, INK, within=body, strength=0.22)


def _stroke_down(easel: Easel, body: Image.Image, rng: Rng) -> None:
    """Little curved strokes of down on the breast and belly."""
    strokes = Image.new("L", body.size)
    pen = ImageDraw.Draw(strokes)
    radius = 0.05 * easel.frame.scale
    for row, y in enumerate(np.arange(0.0, 0.5, 0.09)):
        for x in np.arange(-0.3, 0.6, 0.12) + 0.06 * (row % 2):
            centre = easel.frame(np.array([x, y]) + rng.uniform(-0.012, 0.012, 2))
            pen.arc([*(centre - radius), *(centre + radius)], 40, 140, fill=46, width=3)
    easel.stain(strokes, INK, within=body)


def _paint_eye(easel: Easel, parts: Anatomy) -> None:
    centre, radius = easel.frame(parts.eye)[0], EYE_RADIUS * easel.frame.scale
    easel.disc(centre, radius * 1.35, (250, 244, 228))
    easel.disc(centre, radius * 1.05, (62, 38, 26))
    easel.disc(centre, radius * 0.8, (16, 12, 14))
    easel.disc(centre + radius * np.array([0.3, -0.35]), radius * 0.34, (255, 255, 255))
    easel.disc(centre + radius * np.array([-0.3, 0.4]), radius * 0.16, (255, 255, 255, 150))


# ---------------------------------------------------------------------------------------------------------------------
# Perches


def _paint_perch(easel: Easel, bird: Bird, feet: np.ndarray, rng: Rng) -> None:
    """What the bird stands on, behind its feet."""
    soil = SOILS.get(bird.background, SOIL)
    if bird.perch == "ground":
        _ground(easel, feet, soil, rng)
    elif bird.perch == "rock":
        _rock(easel, feet, soil, rng)
    else:
        {"branch": _branch, "post": _post, "water": _water}[bird.perch](easel, feet, rng)


def _paint_foreground(easel: Easel, perch: str, feet: np.ndarray, rng: Rng) -> None:
    """What lies before the bird's feet: blades of grass, ripples."""
    if perch == "ground":
        _grass(easel, (feet[1] + 34, easel.image.height), 60, rng)
    if perch == "water":
        _reflection(easel, feet)
        for reach in (34, 62, 96):
            _ripple(easel, _beside(feet, 0, 2 + reach / 12), reach, 150 - reach)


def _branch(easel: Easel, feet: np.ndarray, rng: Rng) -> None:
    width, slope = easel.image.width, rng.uniform(-0.07, 0.07)
    x = np.linspace(-20, width + 20, 16)
    top = feet[1] + slope * (x - feet[0]) + 5 * np.sin(x / rng.uniform(70, 110) + rng.uniform(0, 6)) + 4
    top += feet[1] + 4 - np.interp(feet[0], x, top)  # passes under the feet
    thickness = np.linspace(*rng.permutation([34, 20]), len(x))
    _leaves(easel, x, top, rng)
    outline = np.concatenate([np.stack([x, top], -1), np.stack([x, top + thickness], -1)[::-1]])
    easel.fill(outline, BARK, edge=70)
    easel.model(easel.mask(outline), shade=0.6, light=0.35)
    for depth in rng.uniform(0.25, 0.8, 6):
        start = int(rng.integers(len(x) - 3))
        grain = np.stack([x, top + depth * thickness], -1)[start : start + 3]
        easel.line(grain, (*INK, 50), 2)


def _leaves(easel: Easel, x: np.ndarray, y: np.ndarray, rng: Rng) -> None:
    """Leaves in pairs along both ends of the branch, pointing outwards."""
    width = easel.image.width
    for side in (-1, 1):
        for place in np.arange(0.26, 0.52, 0.06) + rng.uniform(-0.02, 0.02):
            at = (0.5 + side * place) * width
            root = np.array([at, np.interp(at, x, y) + 10])
            for degrees in (rng.uniform(25, 75), -rng.uniform(15, 60)):
                outwards = _directions(degrees) * (side, 1)
                tip = root + rng.uniform(56, 92) * outwards
                shade = _tinted((146, 170, 132), rng.uniform(0.84, 1.14))
                easel.fill(_leaf(root, tip), shade, edge=50)
                easel.line(np.stack([root, tip]), (*INK, 50), 2)


def _leaf(root: np.ndarray, tip: np.ndarray) -> Points:
    """A leaf: pointed at both ends."""
    t = np.linspace(0, 1, 12)[:, None]
    across = np.array([-(tip - root)[1], (tip - root)[0]]) * 0.24 * np.sin(np.pi * t**0.85)
    middle = root + t * (tip - root)
    return np.concatenate([middle + across, (middle - across)[::-1]])


def _ground(easel: Easel, feet: np.ndarray, soil: Colour, rng: Rng) -> None:
    _bank(easel, feet[1] - 60, soil, rng)
    _grass(easel, (feet[1] - 50, feet[1] + 20), 40, rng)
    _contact_shadow(easel, feet, 130)


def _bank(easel: Easel, horizon: float, colour: Colour, rng: Rng) -> None:
    """Rolling ground from the horizon down, paler far away."""
    width, height = easel.image.size
    x = np.linspace(0, width, 24)
    for step in range(4):
        y = horizon + step * 44 + 7 * np.sin(x / rng.uniform(90, 160) + rng.uniform(0, 6))
        outline = np.concatenate([np.stack([x, y], -1), [[width, height], [0, height]]])
        easel.fill(outline, _tinted(colour, 1.12 - 0.07 * step))


def _grass(easel: Easel, band: tuple[float, float], tufts: int, rng: Rng) -> None:
    """Tufts of three blades between two heights, muted so that no bird is lost in them; some bear a flower."""
    roots = np.stack([rng.uniform(0, easel.image.width, tufts), np.sort(rng.uniform(*band, tufts))], -1)[:, None]
    angles = np.array([118, 92, 64]) + rng.uniform(-10, 10, (tufts, 3))
    tips = roots + rng.uniform(20, 40, (tufts, 3, 1)) * _directions(angles)
    bends, half = (roots + tips) / 2 + (0, -3), np.array([3, 0])
    roots = np.broadcast_to(roots, tips.shape)
    blades = np.stack([roots - half, bends - 0.7 * half, tips, bends + 0.7 * half, roots + half], 2)
    for tuft, tip in zip(blades, tips[:, -1], strict=True):
        shade = _tinted((154, 168, 122), rng.uniform(0.86, 1.2))
        for blade in tuft:
            easel.fill(blade, shade)
        if rng.random() < 0.12:
            _flower(easel, tip, rng)


def _flower(easel: Easel, centre: np.ndarray, rng: Rng) -> None:
    """A pale little blossom."""
    petal = _pick(rng, PETALS)
    for direction in _directions(np.arange(0, 360, 72) + rng.uniform(0, 72)):
        easel.disc(centre + 6 * direction, 5, petal)
    easel.disc(centre, 4, (222, 200, 140))


def _contact_shadow(easel: Easel, feet: np.ndarray, reach: float) -> None:
    """A soft dark pool under the feet."""
    for share in (1.0, 0.75, 0.5):
        half = reach * share * np.array([1, 0.14])
        easel.pen.ellipse([*(feet - half), *(feet + half)], (*INK, 20))


def _rock(easel: Easel, feet: np.ndarray, soil: Colour, rng: Rng) -> None:
    _bank(easel, feet[1] + 70, soil, rng)
    spread = np.array([-190, -160, -90, 10, 100, 165, 200]) + rng.uniform(-14, 14, 7)
    rise = np.array([150, 60, 10, 0, 6, 50, 150]) + rng.uniform(-4, 4, 7)
    rise -= np.interp(0, spread, rise) - 6
    outline = smooth(feet + np.concatenate([np.stack([spread, rise], -1), [[0, 190]]]))
    easel.fill(outline, (172, 166, 160), edge=60)
    easel.model(easel.mask(outline), shade=0.55, light=0.5)
    for _ in range(5):
        crack = feet + np.array([rng.uniform(-120, 90), rng.uniform(40, 90)])
        easel.line(crack + np.array([[0, 0], [16, 9], [26, 24]]), (*INK, 60), 2)
    _contact_shadow(easel, _beside(feet, 0, 8), 90)
    _grass(easel, (feet[1] + 130, easel.image.height), 40, rng)


def _post(easel: Easel, feet: np.ndarray, rng: Rng) -> None:
    half, height = rng.uniform(52, 66), easel.image.height
    x, y = feet
    side = np.array([[x - half, y + 6], [x + half, y + 6], [x + half + 6, height], [x - half - 6, height]])
    easel.fill(side, _tinted(BARK, 1.08), edge=70)
    for offset in np.linspace(-0.75, 0.75, 6) * half + rng.uniform(-6, 6, 6):
        easel.line(np.array([[x + offset, y + rng.uniform(26, 50)], [x + offset * 1.05, height]]), (*INK, 45), 2)
    easel.model(easel.mask(side), shade=0.6, light=0.3)
    easel.pen.ellipse([x - half, y - 12, x + half, y + 22], fill=_tinted(BARK, 1.35), outline=(*INK, 90), width=2)
    for ring in (0.66, 0.36):
        box = [x - half * ring, y + 5 - 17 * ring, x + half * ring, y + 5 + 17 * ring]
        easel.pen.ellipse(box, outline=(*INK, 40), width=2)


def _water(easel: Easel, feet: np.ndarray, rng: Rng) -> None:
    _bank(easel, feet[1] - 96, (176, 198, 206), rng)
    for _ in range(16):
        place = np.array([rng.uniform(0, easel.image.width), feet[1] + rng.uniform(-70, 130)])
        _ripple(easel, place, rng.uniform(14, 50), 60)


def _reflection(easel: Easel, feet: np.ndarray) -> None:
    """What is above the water line, upside down, pressed flat and fading with depth."""
    line, width = int(feet[1]) + 6, easel.image.width
    depth = min(easel.image.height - line, 240)  # supersampled pixels
    above = easel.image.crop((0, line - 2 * depth, width, line)).resize((width, depth), Image.Resampling.BILINEAR)
    veil = Image.fromarray(np.linspace(84, 0, depth).astype(np.uint8)[:, None]).resize((width, depth))
    easel.image.paste(above.transpose(Image.Transpose.FLIP_TOP_BOTTOM), (0, line), veil)


def _ripple(easel: Easel, place: np.ndarray, reach: float, strength: int) -> None:
    half = reach * np.array([1, 0.14])
    easel.pen.arc([*(place - half), *(place + half)], 10, 170, fill=(250, 252, 250, strength), width=3)


# ---------------------------------------------------------------------------------------------------------------------
# Backgrounds: pale and muted, painted small and enlarged, so that they lie out of focus behind the bird

FOCUS = 4  # a background is painted at this reduction of the supersampled picture
SKIES = {
    "sky": ((164, 194, 214), (226, 230, 222)),
    "hills": ((190, 208, 214), (230, 226, 208)),
    "forest": ((172, 188, 166), (206, 212, 188)),
    "sunset": ((188, 178, 198), (240, 212, 190)),
    "meadow": ((196, 212, 220), (222, 222, 192)),
    "snow": ((166, 180, 198), (204, 214, 224)),
}  # top and bottom


def _background(kind: str, canvas: Size, rng: Rng) -> Image.Image:
    """The scenery at the supersampled size."""
    width, height = (SUPERSAMPLE * side for side in canvas)
    size = (width // FOCUS, height // FOCUS)
    top, bottom = (np.array(colour) + rng.uniform(-6, 6) for colour in SKIES[kind])
    ramp = np.linspace(top, bottom, 32)[:, None].clip(0, 255).astype(np.uint8)
    image = Image.fromarray(ramp).resize(size, Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(image, "RGBA")
    scenes = {
        "sky": _clouds,
        "hills": _hills,
        "forest": _trees,
        "sunset": _low_sun,
        "meadow": _flowers,
        "snow": _snowfall,
    }
    scenes[kind](pen, size, rng)
    return _enlarged(image.filter(ImageFilter.GaussianBlur(1.2)), (width, height))


def _enlarged(image: Image.Image, size: Size) -> Image.Image:
    """A soft image at the supersampled size: smooth to the final size only, since reducing undoes the rest."""
    final = -(-size[0] // SUPERSAMPLE), -(-size[1] // SUPERSAMPLE)
    return image.resize(final, Image.Resampling.BILINEAR).resize(size, Image.Resampling.NEAREST)


def _blot(pen: Pen, x: float, y: float, radius: float, colour: Colour) -> None:
    pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)


def _ridge(pen: Pen, size: Size, level: float, colour: Colour, rng: Rng) -> None:
    """A range of hills that fills the picture from about this share of its height downwards."""
    width, height = size
    x = np.linspace(0, width, 40)
    wave = np.sin(x / rng.uniform(26, 44) + rng.uniform(0, 6)) + 0.35 * np.sin(x / 13 + rng.uniform(0, 6))
    y = (level - 0.035 * wave) * height
    pen.polygon([*np.stack([x, y], -1).ravel().tolist(), width, height, 0, height], fill=colour)


def _clouds(pen: Pen, size: Size, rng: Rng) -> None:
    for _ in range(3):
        x, y, radius = rng.uniform(0, size[0]), rng.uniform(0.08, 0.55) * size[1], rng.uniform(9, 16)
        for step in range(-2, 3):
            _blot(pen, x + step * radius, y - rng.uniform(0, 5), radius * (1.15 - 0.2 * abs(step)), (232, 236, 234))
    _ridge(pen, size, 0.9, (186, 200, 190), rng)


def _hills(pen: Pen, size: Size, rng: Rng) -> None:
    for level, colour in ((0.52, (190, 204, 204)), (0.66, (178, 196, 184)), (0.8, (186, 198, 164))):
        _ridge(pen, size, level, colour, rng)


def _trees(pen: Pen, size: Size, rng: Rng) -> None:
    for x in rng.uniform(0, size[0], 7):
        reach = rng.uniform(3, 8)
        pen.rectangle([x - reach, 0, x + reach, size[1]], fill=(150, 160, 142, 90))
    for _ in range(34):
        shade = int(rng.integers(170, 235))
        place = rng.uniform(0, size[0]), rng.uniform(0, 0.8) * size[1]
        _blot(pen, *place, rng.uniform(4, 13), (shade, shade + 12, shade - 24, 70))
    _ridge(pen, size, 0.86, (174, 182, 152), rng)


def _low_sun(pen: Pen, size: Size, rng: Rng) -> None:
    x, y = rng.uniform(0.15, 0.85) * size[0], rng.uniform(0.35, 0.55) * size[1]
    for radius in range(64, 20, -3):
        _blot(pen, x, y, radius, (255, 240, 212, 14))
    _blot(pen, x, y, 18, (250, 234, 206))
    for level, colour in ((0.66, (208, 186, 186)), (0.8, (190, 172, 172))):
        _ridge(pen, size, level, colour, rng)


def _flowers(pen: Pen, size: Size, rng: Rng) -> None:
    _ridge(pen, size, 0.56, (198, 208, 186), rng)
    _ridge(pen, size, 0.7, (200, 206, 164), rng)
    for _ in range(46):
        y = rng.uniform(0.7, 1.0)
        petal = _pick(rng, PETALS)
        _blot(pen, rng.uniform(0, size[0]), y * size[1], 1 + 6 * (y - 0.66), (*petal, 220))


def _snowfall(pen: Pen, size: Size, rng: Rng) -> None:
    for x in rng.uniform(0, size[0], 6):
        _fir(pen, x, 0.74 * size[1], rng.uniform(30, 62))
    _ridge(pen, size, 0.76, (216, 222, 228), rng)
    for _ in range(60):
        _blot(pen, rng.uniform(0, size[0]), rng.uniform(0, size[1]), rng.uniform(0.6, 2.0), (246, 248, 250, 200))


def _fir(pen: Pen, x: float, foot: float, height: float) -> None:
    for tier in range(3):
        half, base = height * (0.3 - 0.07 * tier), foot - height * 0.26 * tier
        pen.polygon([x - half, base, x + half, base, x, base - height * 0.48], fill=(150, 168, 172))


# ---------------------------------------------------------------------------------------------------------------------
# Captions

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


def captions(bird: Bird, rng: Rng) -> list[str]:
    """Ten captions in different words, lower case, each true and each naming only some of the parts.

    Of a bird that has a main colour, some tell that of the whole bird.
    """
    whole = PLAIN_CAPTIONS if bird.main else 0
    wordings = [*_some(WORDINGS, CAPTIONS - whole, rng), *_some(PLAIN_WORDINGS, whole, rng)]
    return [wording(_Words(bird, rng)) + _pick(rng, ("", ".")) for wording in _some(wordings, CAPTIONS, rng)]


def _some(options: Sequence, count: int, rng: Rng) -> list:
    """So many of the options, in random order."""
    return [options[place] for place in rng.permutation(len(options))[:count]]


class _Words:
    """True phrases about one bird. Each call names a part that this caption has not named yet."""

    def __init__(self, bird: Bird, rng: Rng):
        self.bird, self.rng = bird, rng
        self.unnamed = [PLUMAGE[place] for place in rng.permutation(len(PLUMAGE))]

    def _part(self) -> tuple[str, str]:
        part = self.unnamed.pop()
        return getattr(self.bird, part), _pick(self.rng, NOUNS[part])

    def odd(self) -> str:
        """As `part`, of a part that has not the main colour, while there is one."""
        self.unnamed.sort(key=lambda part: getattr(self.bird, part) != self.bird.main)
        return self.part()

    def part(self) -> str:
        """Such as `a black crown` or `yellow wings`."""
        colour, noun = self._part()
        return f"{colour} {noun}" if _plural(noun) else _with_article(f"{colour} {noun}")

    def clause(self) -> str:
        """Such as `crown is black` or `wings are yellow`."""
        colour, noun = self._part()
        return f"{noun} {'are' if _plural(noun) else 'is'} {colour}"

    def relative(self) -> str:
        """Such as `a crown that is black` or `wings that are yellow`."""
        colour, noun = self._part()
        return f"{noun} that are {colour}" if _plural(noun) else f"a {noun} that is {colour}"

    def beak(self) -> str:
        """Such as `a short pointed orange beak`, without one or two of the adjectives."""
        bird, rng = self.bird, self.rng
        words = [bird.beak_length, _pick(rng, SHAPES[bird.beak_shape]), bird.beak]
        dropped = int(rng.integers(4))  # 3 drops none
        kept = [word for place, word in enumerate(words) if place != dropped]
        return _with_article(" ".join([*kept, _pick(rng, NOUNS["beak"])]))

    def bird_of_size(self, colour: str = "") -> str:
        """Such as `a small bird`, or `a small red bird`."""
        sizes = {"small": ("small", "little"), "medium": ("medium sized",), "large": ("large", "big")}
        return " ".join(["a", _pick(self.rng, sizes[self.bird.size]), *([colour] if colour else []), "bird"])

    def main(self) -> str:
        """The bird's main colour."""
        return self.bird.main

    def colours(self) -> str:
        """Two of the bird's colours, such as `black and yellow`; one word where the two are the same."""
        first, second = self.bird.belly, _pick(self.rng, (self.bird.wing, self.bird.back))
        return first if first == second else f"{first} and {second}"

    def place(self) -> str:
        """Such as `perched on a branch`."""
        return _pick(self.rng, PLACES[self.bird.perch])


WORDINGS: tuple[Callable[[_Words], str], ...] = (
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

PLAIN_WORDINGS: tuple[Callable[[_Words], str], ...] = (  # for birds that have a main colour
    lambda w: f"this bird is {w.main()} with {w.odd()}",
    lambda w: f"{w.bird_of_size(w.main())} with {w.odd()}",
    lambda w: f"{_with_article(w.main())} bird with {w.odd()} and {w.beak()}",
    lambda w: f"{_with_article(w.main())} bird {w.place()}, with {w.odd()}",
    lambda w: f"this {w.main()} bird has {w.odd()} and {w.part()}",
    lambda w: f"the bird is {w.main()} and has {w.beak()}, {w.place()}",
    lambda w: f"this is {w.bird_of_size(w.main())}",
)
CAPTIONS = 10  # of each picture, as published
PLAIN_CAPTIONS = 4  # of them, of a bird that has a main colour, in these wordings


def _plural(noun: str) -> bool:
    return noun.endswith("s")


def _with_article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


# ---------------------------------------------------------------------------------------------------------------------
# A stand-in for the trained text encoder

SPREAD = 0.144  # standard deviation of a vector's entries: length 4.6 at 1024, as the published vectors have
STOP_WORDS = frozenset((
    "a", "also", "an", "are", "bird", "feathers", "has", "have", "in", "is", "it", "its", "of", "on", "that",
    "the", "this", "to", "very", "which", "whose",
))  # fmt: skip
BREAKS = re.compile(r"[,.;:!?]|\b(?:and|with|while|but|has|have)\b")
WORD = re.compile(r"[^\W_]+")
SYNONYMS = {
    "cap": "crown", "breast": "belly", "chest": "belly", "wings": "wing", "bill": "beak", "pointed": "straight",
    "little": "small", "big": "large", "gray": "grey",
}  # fmt: skip


def embed(captions: Sequence[str], dim: int = 1024) -> np.ndarray:
    """One vector a caption, (N, dim) float32: a fixed random projection of its words and of its pairs of words.

    Pairs are neighbours within a clause, in either order, once the stop words are gone: "a black crown" and "the
    crown is black" share one. Entries have a standard deviation of about 0.14; a text without words gives zeros.
    """
    vectors: dict[str, np.ndarray] = {}
    sums = np.zeros((len(captions), dim), np.float32)
    for row, caption in zip(sums, captions, strict=True):
        for token in _tokens(caption):
            if token not in vectors:
                generator = np.random.default_rng(zlib.crc32(token.encode()))
                vectors[token] = generator.standard_normal(dim, np.float32)
            row += vectors[token]
    lengths = np.sqrt((sums**2).sum(1, keepdims=True))
    return np.divide(sums * np.float32(SPREAD * dim**0.5), lengths, out=sums, where=lengths > 0)


def _tokens(caption: str) -> Iterator[str]:
    """The words that matter and, within each clause, the pairs of neighbours in alphabetical order."""
    for clause in BREAKS.split(caption.lower()):
        words = [SYNONYMS.get(word, word) for word in WORD.findall(clause) if word not in STOP_WORDS]
        yield from words
        yield from (" ".join(sorted(pair)) for pair in pairwise(words))


# ---------------------------------------------------------------------------------------------------------------------
# The published layout

FORMAT = 3  # raise it when the same settings no longer give the same files
JPEG_QUALITY = 95
FEW = 64  # so many pictures are drawn sooner than other processes start


@dataclass(frozen=True)
class _Job:
    """What a worker needs to draw one picture."""

    folder: str
    name: str  # class/picture, without suffix
    species: dict[str, str]
    seed: int
    number: int


def write(
    root: str | Path,
    count: int = 2000,  # pictures
    classes: int = 50,  # species, training and test together
    test_classes: int = 10,
    seed: int = 0,
    workers: int | None = None,  # processes; None takes one for each core
    embedding_dim: int = 1024,
    progress: bool = False,  # show a bar
) -> Path:
    """Draws a data set of captioned birds under `root`, in the published layout, and returns `root`.

    Beside the published files lie `truth.jsonl`, what is true of each picture, and `drawn.json`, the settings. The
    set appears as a whole or not at all; one that is already there with the same settings is left as it is.
    Raises `InputError` for impossible settings and where `root` holds anything else.
    """
    root = Path(root)
    settings = {
        "format": FORMAT,
        "count": count,
        "classes": classes,
        "test_classes": test_classes,
        "seed": seed,
        "embedding_dim": embedding_dim,
    }
    _check(settings, workers)
    if _is_drawn(root, settings):
        return root
    draft = root.resolve().with_name(f".{root.resolve().name}.{os.getpid()}.part")
    try:
        draft.mkdir(parents=True)
        _write_set(draft, settings, workers, progress)
        _move(draft, root, settings)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return root


def _move(draft: Path, root: Path, settings: dict[str, int]) -> None:
    """Puts the finished set in its place, unless another process was faster with the same one."""
    try:
        if root.exists():
            root.rmdir()
        draft.rename(root)
    except OSError:
        if not _is_drawn(root, settings):
            raise


def _check(settings: dict[str, int], workers: int | None) -> None:
    """Refuses settings that no set can have."""
    names = len(EPITHETS) * len(FAMILIES) * (1 + len(KINDS))
    lowest = {"count": 1, "classes": 3, "test_classes": 1, "seed": 0, "embedding_dim": 1}
    for name, least in lowest.items():
        if not isinstance(settings[name], int) or settings[name] < least:
            raise InputError(f"{name} is {settings[name]!r}: give a whole number of {least} or more")
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise InputError(f"workers is {workers!r}: give a whole number of 1 or more, or None for one a core")
    if settings["classes"] > names:
        raise InputError(f"classes is {settings['classes']}, but there are names for {names} species: ask for fewer")
    if settings["classes"] - settings["test_classes"] < 2:
        raise InputError(
            f"{settings['test_classes']} of {settings['classes']} classes for the test leave fewer than 2 for "
            f"training: lower test_classes or raise classes"
        )
    if settings["count"] < settings["classes"]:
        raise InputError(
            f"count is {settings['count']}, fewer pictures than the {settings['classes']} classes: raise count or "
            f"lower classes"
        )


def _is_drawn(root: Path, settings: dict[str, int]) -> bool:
    """Whether `root` holds this very set; False where it is free; raises where it holds something else."""
    if not root.exists():
        return False
    record = root / "drawn.json"
    if not record.is_file():
        if root.is_dir() and not any(root.iterdir()):
            return False
        raise InputError(f"{root} already holds something other than drawn birds: name a new or an empty folder")
    if record.read_text() != _record(settings):
        raise InputError(f"{root} holds birds drawn with other settings (see {record}): name another folder")
    return True


def _record(settings: dict[str, int]) -> str:
    return json.dumps(settings) + "\n"


def _write_set(folder: Path, settings: dict[str, int], workers: int | None, progress: bool) -> None:
    """All files of the set, the record of its settings last."""
    count, classes, test_classes = settings["count"], settings["classes"], settings["test_classes"]
    rng = np.random.default_rng(settings["seed"])
    species = invent_species(classes - test_classes, test_classes, rng)
    ids = (rng.permutation(classes) + 1).tolist()  # class number of each species, counted from 1
    by_id = dict(zip(ids, species, strict=True))
    test_ids = set(ids[classes - test_classes :])
    class_names = {i: f"{i:03d}.{name}" for i, name in enumerate(species_names(classes, rng), start=1)}
    class_ids = [1 + number * classes // count for number in range(count)]

    jobs, seen = [], Counter()
    for number, class_id in enumerate(class_ids):
        seen[class_id] += 1
        class_name = class_names[class_id]
        name = f"{class_name}/{class_name.partition('.')[2]}_{seen[class_id]:04d}"
        jobs.append(_Job(str(folder), name, by_id[class_id], settings["seed"], number))
    for class_name in class_names.values():
        (folder / "CUB_200_2011" / "images" / class_name).mkdir(parents=True)
        (folder / "text_c10" / class_name).mkdir(parents=True)

    rows = []
    for job, class_id, drawn in zip(jobs, class_ids, _run(jobs, workers, progress), strict=True):
        bird, box, sentences = drawn
        split = "test" if class_id in test_ids else "train"
        rows.append(
            {"name": job.name, "split": split, "class_id": class_id, "box": box, "bird": bird, "text": sentences}
        )
    files, boxes = [f"{row['name']}.jpg" for row in rows], [row["box"] for row in rows]
    layout.write_tables(folder / "CUB_200_2011", files, boxes, [row["class_id"] for row in rows], class_names)
    for split in ("train", "test"):
        _write_split(folder / split, [row for row in rows if row["split"] == split], settings["embedding_dim"])
    truths = [{key: row[key] for key in ("name", "split", "class_id", "box")} | asdict(row["bird"]) for row in rows]
    write_lines(folder / "truth.jsonl", [json.dumps(truth) for truth in truths])
    (folder / "drawn.json").write_text(_record(settings))


def _run(jobs: list[_Job], workers: int | None, progress: bool) -> Iterator[tuple]:
    """The pictures' birds, boxes and captions in order, drawn in this process or in several."""
    if workers is None:
        workers = 1 if len(jobs) <= FEW else _cores()
    bar = {"total": len(jobs), "desc": "drawing birds", "unit": "bird", "disable": not progress}
    if workers == 1:
        yield from tqdm(map(_draw_one, jobs), **bar)
        return
    spawn = multiprocessing.get_context("spawn")  # a forked TensorFlow may hang
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        yield from tqdm(pool.map(_draw_one, jobs, chunksize=16), **bar)


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _draw_one(job: _Job) -> tuple[Bird, tuple[int, int, int, int], list[str]]:
    """Draws and saves one picture and its captions; its random numbers depend on the seed and its number only."""
    rng = np.random.default_rng([job.seed, job.number])
    bird = individual(job.species, rng)
    picture, box = draw(bird, rng)
    sentences = captions(bird, rng)
    folder = Path(job.folder)
    picture.save(folder / "CUB_200_2011" / "images" / f"{job.name}.jpg", quality=JPEG_QUALITY)
    write_lines(folder / "text_c10" / f"{job.name}.txt", sentences)
    return bird, box, sentences


def _write_split(folder: Path, rows: list[dict], embedding_dim: int) -> None:
    """The three pickles of one split."""
    vectors = embed([sentence for row in rows for sentence in row["text"]], embedding_dim)
    layout.write_pickle(folder / "filenames.pickle", [row["name"] for row in rows])
    layout.write_pickle(folder / "class_info.pickle", [row["class_id"] for row in rows])
    layout.write_pickle(folder / "char-CNN-RNN-embeddings.pickle", list(vectors.reshape(len(rows), -1, embedding_dim)))
