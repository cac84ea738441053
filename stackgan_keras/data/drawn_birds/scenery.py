"""What is around a bird: out-of-focus backgrounds, perches, and what lies before its feet."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from stackgan_keras.data.drawn_birds.anatomy import Points, beside, directions, smooth
from stackgan_keras.data.drawn_birds.canvas import INK, SUPERSAMPLE, Canvas, Colour, Pen, Size, enlarged, tinted
from stackgan_keras.data.drawn_birds.species import Bird, Rng, pick

BARK = (143, 124, 110)
SOIL = (184, 190, 150)
SOILS = {"snow": (206, 212, 216), "sunset": (194, 180, 164)}  # where the background asks for another
PETALS = ((244, 232, 214), (236, 214, 216), (238, 230, 190), (216, 210, 228))
FOCUS = 4  # a background is painted at this reduction of the supersampled image
SKIES = {
    "sky": ((164, 194, 214), (226, 230, 222)),
    "hills": ((190, 208, 214), (230, 226, 208)),
    "forest": ((172, 188, 166), (206, 212, 188)),
    "sunset": ((188, 178, 198), (240, 212, 190)),
    "meadow": ((196, 212, 220), (222, 222, 192)),
    "snow": ((166, 180, 198), (204, 214, 224)),
}  # top and bottom


def background(kind: str, final: Size, rng: Rng) -> Image.Image:
    """The background of this kind, supersampled, of an image of this `final` size.

    It is pale and muted, painted small and enlarged, so that it lies out of focus behind the bird.
    """
    width, height = (SUPERSAMPLE * side for side in final)
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
    return enlarged(image.filter(ImageFilter.GaussianBlur(1.2)), (width, height))


def _blot(pen: Pen, x: float, y: float, radius: float, colour: Colour) -> None:
    pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)


def _ridge(pen: Pen, size: Size, level: float, colour: Colour, rng: Rng) -> None:
    """A range of hills that fills the image from about this share of its height downwards."""
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
        petal = pick(rng, PETALS)
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


def paint_perch(canvas: Canvas, bird: Bird, feet: np.ndarray, rng: Rng) -> None:
    """What the bird stands on, behind its feet."""
    soil = SOILS.get(bird.background, SOIL)
    if bird.perch == "ground":
        _ground(canvas, feet, soil, rng)
    elif bird.perch == "rock":
        _rock(canvas, feet, soil, rng)
    else:
        {"branch": _branch, "post": _post, "water": _water}[bird.perch](canvas, feet, rng)


def paint_foreground(canvas: Canvas, perch: str, feet: np.ndarray, rng: Rng) -> None:
    """What lies before the bird's feet: blades of grass, ripples."""
    if perch == "ground":
        _grass(canvas, (feet[1] + 34, canvas.image.height), 60, rng)
    if perch == "water":
        _reflection(canvas, feet)
        for reach in (34, 62, 96):
            _ripple(canvas, beside(feet, 0, 2 + reach / 12), reach, 150 - reach)


def _branch(canvas: Canvas, feet: np.ndarray, rng: Rng) -> None:
    width, slope = canvas.image.width, rng.uniform(-0.07, 0.07)
    x = np.linspace(-20, width + 20, 16)
    top = feet[1] + slope * (x - feet[0]) + 5 * np.sin(x / rng.uniform(70, 110) + rng.uniform(0, 6)) + 4
    top += feet[1] + 4 - np.interp(feet[0], x, top)  # passes under the feet
    left, right = rng.permutation([34, 20])
    thickness = np.linspace(left, right, len(x))
    _leaves(canvas, x, top, rng)
    outline = np.concatenate([np.stack([x, top], -1), np.stack([x, top + thickness], -1)[::-1]])
    canvas.polygon(outline, BARK, edge=70)
    canvas.shade(canvas.mask(outline), dark=0.6, light=0.35)
    for depth in rng.uniform(0.25, 0.8, 6):
        start = int(rng.integers(len(x) - 3))
        grain = np.stack([x, top + depth * thickness], -1)[start : start + 3]
        canvas.line(grain, (*INK, 50), 2)


def _leaves(canvas: Canvas, x: np.ndarray, y: np.ndarray, rng: Rng) -> None:
    """Leaves in pairs along both ends of the branch, pointing outwards."""
    width = canvas.image.width
    for side in (-1, 1):
        for place in np.arange(0.26, 0.52, 0.06) + rng.uniform(-0.02, 0.02):
            at = (0.5 + side * place) * width
            root = np.array([at, np.interp(at, x, y) + 10])
            for degrees in (rng.uniform(25, 75), -rng.uniform(15, 60)):
                outwards = directions(degrees) * (side, 1)
                tip = root + rng.uniform(56, 92) * outwards
                shade = tinted((146, 170, 132), rng.uniform(0.84, 1.14))
                canvas.polygon(_leaf(root, tip), shade, edge=50)
                canvas.line(np.stack([root, tip]), (*INK, 50), 2)


def _leaf(root: np.ndarray, tip: np.ndarray) -> Points:
    """A leaf: pointed at both ends."""
    t = np.linspace(0, 1, 12)[:, None]
    across = np.array([-(tip - root)[1], (tip - root)[0]]) * 0.24 * np.sin(np.pi * t**0.85)
    middle = root + t * (tip - root)
    return np.concatenate([middle + across, (middle - across)[::-1]])


def _ground(canvas: Canvas, feet: np.ndarray, soil: Colour, rng: Rng) -> None:
    _bank(canvas, feet[1] - 60, soil, rng)
    _grass(canvas, (feet[1] - 50, feet[1] + 20), 40, rng)
    _contact_shadow(canvas, feet, 130)


def _bank(canvas: Canvas, horizon: float, colour: Colour, rng: Rng) -> None:
    """Rolling ground from the horizon down, paler far away."""
    width, height = canvas.image.size
    x = np.linspace(0, width, 24)
    for step in range(4):
        y = horizon + step * 44 + 7 * np.sin(x / rng.uniform(90, 160) + rng.uniform(0, 6))
        outline = np.concatenate([np.stack([x, y], -1), [[width, height], [0, height]]])
        canvas.polygon(outline, tinted(colour, 1.12 - 0.07 * step))


def _grass(canvas: Canvas, band: tuple[float, float], tufts: int, rng: Rng) -> None:
    """Tufts of three blades between two heights, muted so that no bird is lost in them; some bear a flower."""
    roots = np.stack([rng.uniform(0, canvas.image.width, tufts), np.sort(rng.uniform(*band, tufts))], -1)[:, None]
    angles = np.array([118, 92, 64]) + rng.uniform(-10, 10, (tufts, 3))
    tips = roots + rng.uniform(20, 40, (tufts, 3, 1)) * directions(angles)
    bends, half = (roots + tips) / 2 + (0, -3), np.array([3, 0])
    roots = np.broadcast_to(roots, tips.shape)
    blades = np.stack([roots - half, bends - 0.7 * half, tips, bends + 0.7 * half, roots + half], 2)
    for tuft, tip in zip(blades, tips[:, -1], strict=True):
        shade = tinted((154, 168, 122), rng.uniform(0.86, 1.2))
        for blade in tuft:
            canvas.polygon(blade, shade)
        if rng.random() < 0.12:
            _flower(canvas, tip, rng)


def _flower(canvas: Canvas, centre: np.ndarray, rng: Rng) -> None:
    """A pale little blossom."""
    petal = pick(rng, PETALS)
    for direction in directions(np.arange(0, 360, 72) + rng.uniform(0, 72)):
        canvas.disc(centre + 6 * direction, 5, petal)
    canvas.disc(centre, 4, (222, 200, 140))


def _contact_shadow(canvas: Canvas, feet: np.ndarray, reach: float) -> None:
    """A soft dark pool under the feet."""
    for share in (1.0, 0.75, 0.5):
        half = reach * share * np.array([1, 0.14])
        canvas.pen.ellipse([*(feet - half), *(feet + half)], (*INK, 20))


def _rock(canvas: Canvas, feet: np.ndarray, soil: Colour, rng: Rng) -> None:
    _bank(canvas, feet[1] + 70, soil, rng)
    spread = np.array([-190, -160, -90, 10, 100, 165, 200]) + rng.uniform(-14, 14, 7)
    rise = np.array([150, 60, 10, 0, 6, 50, 150]) + rng.uniform(-4, 4, 7)
    rise -= np.interp(0, spread, rise) - 6
    outline = smooth(feet + np.concatenate([np.stack([spread, rise], -1), [[0, 190]]]))
    canvas.polygon(outline, (172, 166, 160), edge=60)
    canvas.shade(canvas.mask(outline), dark=0.55, light=0.5)
    for _ in range(5):
        crack = feet + np.array([rng.uniform(-120, 90), rng.uniform(40, 90)])
        canvas.line(crack + np.array([[0, 0], [16, 9], [26, 24]]), (*INK, 60), 2)
    _contact_shadow(canvas, beside(feet, 0, 8), 90)
    _grass(canvas, (feet[1] + 130, canvas.image.height), 40, rng)


def _post(canvas: Canvas, feet: np.ndarray, rng: Rng) -> None:
    half, height = rng.uniform(52, 66), canvas.image.height
    x, y = feet
    side = np.array([[x - half, y + 6], [x + half, y + 6], [x + half + 6, height], [x - half - 6, height]])
    canvas.polygon(side, tinted(BARK, 1.08), edge=70)
    for offset in np.linspace(-0.75, 0.75, 6) * half + rng.uniform(-6, 6, 6):
        canvas.line(np.array([[x + offset, y + rng.uniform(26, 50)], [x + offset * 1.05, height]]), (*INK, 45), 2)
    canvas.shade(canvas.mask(side), dark=0.6, light=0.3)
    canvas.pen.ellipse([x - half, y - 12, x + half, y + 22], fill=tinted(BARK, 1.35), outline=(*INK, 90), width=2)
    for ring in (0.66, 0.36):
        box = [x - half * ring, y + 5 - 17 * ring, x + half * ring, y + 5 + 17 * ring]
        canvas.pen.ellipse(box, outline=(*INK, 40), width=2)


def _water(canvas: Canvas, feet: np.ndarray, rng: Rng) -> None:
    _bank(canvas, feet[1] - 96, (176, 198, 206), rng)
    for _ in range(16):
        place = np.array([rng.uniform(0, canvas.image.width), feet[1] + rng.uniform(-70, 130)])
        _ripple(canvas, place, rng.uniform(14, 50), 60)


def _reflection(canvas: Canvas, feet: np.ndarray) -> None:
    """What is above the water line, upside down, pressed flat and fading with depth."""
    line, width = int(feet[1]) + 6, canvas.image.width
    depth = min(canvas.image.height - line, 240)  # supersampled pixels
    above = canvas.image.crop((0, line - 2 * depth, width, line)).resize((width, depth), Image.Resampling.BILINEAR)
    veil = Image.fromarray(np.tile(np.linspace(84, 0, depth).astype(np.uint8)[:, None], width))
    canvas.image.paste(above.transpose(Image.Transpose.FLIP_TOP_BOTTOM), (0, line), veil)


def _ripple(canvas: Canvas, place: np.ndarray, reach: float, strength: int) -> None:
    half = reach * np.array([1, 0.14])
    canvas.pen.arc([*(place - half), *(place + half)], 10, 170, fill=(250, 252, 250, strength), width=3)
