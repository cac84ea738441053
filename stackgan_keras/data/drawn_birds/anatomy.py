"""The outlines of a bird in body units: 1 is roughly the length of the trunk, x towards the beak, y downwards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from stackgan_keras.data.drawn_birds.species import Bird

Points = np.ndarray  # (points, 2): x, y

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
class Outlines:
    """All parts of one bird, facing right, in body units."""

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


def outlines(bird: Bird) -> Outlines:
    """The bird's outlines in its pose, with its beak and the head of its size."""
    scale = HEAD_SCALE[bird.size]
    gaze = bird.head_turn - bird.tilt / 2  # the head stays nearly level when the trunk tilts

    def on_trunk(points: Points) -> Points:
        return _turn(np.asarray(points, float), bird.tilt, HIP)

    def on_head(points: Points) -> Points:
        return on_trunk(_turn(HEAD + scale * np.asarray(points, float), gaze, NECK))

    skull = HEAD_RADIUS * directions(HEAD_ANGLES)
    lid = np.array([[-0.32, -0.5], [0.5, -0.5]])
    wing, coverts, far_wing = _raised_wing() if bird.wing_pose == "raised" else _folded_wing()
    beak, beak_line = _beak(bird.beak_length, bird.beak_shape)
    legs, toes = _legs(on_trunk)
    return Outlines(
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


def directions(degrees: Sequence[float] | np.ndarray | float) -> Points:
    """Unit vectors at these angles, counted upwards from the beak's direction."""
    radians = np.deg2rad(np.asarray(degrees, float))
    return np.stack([np.cos(radians), -np.sin(radians)], -1)


def _turn(points: Points, degrees: float, about: np.ndarray) -> Points:
    """The points turned about a centre; positive lifts what lies towards the beak."""
    (cos, minus_sin), about = directions(degrees), np.asarray(about)
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
        for direction, length in zip(directions(degrees), lengths, strict=True)
    ]


@cache
def _tail() -> list[Points]:
    """Six feathers, the outer ones first and longest, so that the end is notched."""
    return _fan(TAIL_ROOT, (217, 197, 213, 201, 209, 205), (0.84, 0.84, 0.80, 0.80, 0.75, 0.75), 0.15)


@cache
def _folded_wing() -> tuple[list[Points], list[Points], list[Points]]:
    """Long primaries along the flank, broader secondaries over them, and the shoulder's coverts on top."""
    primaries = _fan(beside(SHOULDER, -0.10, 0.07), (192, 195, 199, 204), (0.84, 0.82, 0.76, 0.68), 0.14)
    secondaries = _fan(beside(SHOULDER, -0.04, 0.06), (221, 214, 207, 200, 194), (0.50, 0.58, 0.64, 0.68, 0.70), 0.17)
    lower = _fan(beside(SHOULDER, 0.02, 0.03), (240, 228, 216, 205, 195), (0.32, 0.38, 0.42, 0.44, 0.44), 0.16)
    upper = _fan(beside(SHOULDER, 0.06, 0.02), (246, 228, 211, 196), (0.21, 0.25, 0.27, 0.27), 0.16)
    return primaries + secondaries, lower + upper, []


@cache
def _raised_wing() -> tuple[list[Points], list[Points], list[Points]]:
    """Both wings up: the near one over the shoulder, the far one a little before it, behind the body."""
    angles = np.array([186, 178, 170, 162, 154, 147, 140, 133, 127])
    lengths = np.array([0.58, 0.66, 0.74, 0.83, 0.92, 1.00, 1.06, 1.08, 1.02])
    near = _fan(SHOULDER, angles, lengths, 0.19)
    lower = _fan(SHOULDER, angles[::2] - 2, lengths[::2] * 0.58, 0.2)
    upper = _fan(SHOULDER, angles[1::2], lengths[1::2] * 0.34, 0.18)
    far = _fan(beside(SHOULDER, 0.04, -0.10), angles[3:] - 19, lengths[3:] * 0.94, 0.19)
    return near, lower + upper, far


def beside(place: np.ndarray, x: float, y: float) -> np.ndarray:
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
        hip, foot = on_trunk(np.array([[hip_x, hip_y]]))[0], np.array([foot_x, GROUND - 0.02])
        legs.append(np.array([hip, (hip + foot) / 2 + (-0.025, 0.02), foot]))
        toes += [np.array([foot, (foot_x + reach, GROUND + dip)]) for reach, dip in TOES]
    return legs, toes
