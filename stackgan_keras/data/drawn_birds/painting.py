"""Images of birds: the bird itself, painted on its background and perch."""

import numpy as np
from PIL import Image, ImageDraw

from stackgan_keras.data.drawn_birds import scenery
from stackgan_keras.data.drawn_birds.anatomy import EYE_RADIUS, GROUND, Outlines, Points, beside, outlines
from stackgan_keras.data.drawn_birds.canvas import INK, SUPERSAMPLE, Canvas, Colour, Frame, Size, tinted
from stackgan_keras.data.drawn_birds.species import COLOURS, PLUMAGE, SIZES, Bird, Rng, pick

IMAGE_SIZES = ((480, 420), (460, 440), (440, 460))  # width and height, pixels
LEG = (96, 76, 70)
PARTS = (*PLUMAGE, "beak")  # that have a colour of their own


def draw(bird: Bird, rng: Rng) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """The bird's image (RGB, 460 or 480 pixels on the long side) and the bird's box in it: x, y, w, h in pixels."""
    (width, height), parts, frame = _posed(bird, rng)
    canvas = Canvas(scenery.background(bird.background, (width, height), rng), frame)
    feet = frame(np.array([[0.04, GROUND]]))[0]
    scenery.paint_perch(canvas, bird, feet, rng)
    _paint_bird(canvas, parts, bird, rng)
    scenery.paint_foreground(canvas, bird.perch, feet, rng)
    image = canvas.image.reduce(SUPERSAMPLE)
    low, high = (frame(np.stack(parts.bounds())) / SUPERSAMPLE).round().astype(int)
    x, y = np.maximum(low, 0)
    right, bottom = np.minimum(high, (width, height))
    if bird.facing == "left":
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        x, right = width - right, width - x
    return image, (int(x), int(y), int(right - x), int(bottom - y))


def part_map(bird: Bird, rng: Rng) -> np.ndarray:
    """Where each of `PARTS` is seen in the image that `draw` makes of the bird with an `rng` in this state.

    (height, width) uint8: 0 where there is none, else the part's place in `PARTS`, counted from 1. Legs and what stands
    before the feet count as none, and what of it hides a part does not show; the eye belongs to what is around it.
    """
    (width, height), parts, frame = _posed(bird, rng)
    canvas = Canvas(Image.new("RGB", (SUPERSAMPLE * width, SUPERSAMPLE * height)), frame)
    number = {part: (place, 0, 0) for place, part in enumerate(PARTS, start=1)}
    body = canvas.mask(frame(parts.body))
    for part, shapes in (("wing", parts.far_wing), ("tail", parts.tail), ("beak", [parts.beak])):
        for shape in shapes:
            canvas.polygon(frame(shape), number[part])
    for part, shape in (("belly", parts.body), ("back", parts.back), ("crown", parts.crown)):
        canvas.overlap(canvas.mask(frame(shape)), body, number[part])
    for shape in (*parts.wing, *parts.coverts):
        canvas.polygon(frame(shape), number["wing"])
    seen = np.asarray(canvas.image)[::SUPERSAMPLE, ::SUPERSAMPLE, 0]
    return seen[:, ::-1] if bird.facing == "left" else seen


def _posed(bird: Bird, rng: Rng) -> tuple[Size, Outlines, Frame]:
    """The size of the bird's image, the bird's outlines, and where in the image they are."""
    size, parts = pick(rng, IMAGE_SIZES), outlines(bird)
    return size, parts, _place(parts, bird, size, rng)


def _place(parts: Outlines, bird: Bird, size: Size, rng: Rng) -> Frame:
    """Scales the bird to its size and puts it near the middle, where the usual crop stays inside the image."""
    low, high = parts.bounds()
    side = rng.uniform(*SIZES[bird.size])
    scale = SUPERSAMPLE * side / (high - low).max()
    spare = np.maximum(np.array(size) - 1.5 * side, 0) / 2 + 4  # pixels
    centre = np.array(size) / 2 + rng.uniform(-1, 1, 2) * spare
    return Frame(scale, SUPERSAMPLE * centre - scale * (low + high) / 2)


def _jittered(name: str, rng: Rng) -> Colour:
    """The named colour, a shade off: no more than feathers of one kind differ."""
    shade = np.array(COLOURS[name]) * rng.uniform(0.96, 1.03) + rng.uniform(-5, 5, 3)
    return tuple(int(channel) for channel in np.clip(shade, 0, 255))


def _paint_bird(canvas: Canvas, parts: Outlines, bird: Bird, rng: Rng) -> None:
    """Back to front: far wing, tail, beak, legs, body, wing, eye."""
    colours = {part: _jittered(getattr(bird, part), rng) for part in PARTS}
    _paint_feathers(canvas, parts.far_wing, tinted(colours["wing"], 0.8))
    _paint_feathers(canvas, parts.tail, colours["tail"])
    _paint_legs(canvas, parts)
    _paint_beak(canvas, parts, colours["beak"])
    _paint_body(canvas, parts, colours, rng)
    _paint_feathers(canvas, parts.wing, colours["wing"])
    _paint_feathers(canvas, parts.coverts, tinted(colours["wing"], 1.06))
    _paint_eye(canvas, parts)


def _paint_feathers(canvas: Canvas, feathers: list[Points], colour: Colour) -> None:
    """Overlapping feathers of one colour, each with a fine edge and shaft, shaded as one shape."""
    if not feathers:
        return
    shapes = [canvas.frame(feather) for feather in feathers]
    for number, outline in enumerate(shapes):
        canvas.polygon(outline, tinted(colour, 0.97 + 0.09 * (number % 2)), edge=60)
        root, tip = outline[0], outline[len(outline) // 2 - 1]
        canvas.line(np.stack([root, root + 0.9 * (tip - root)]), (*INK, 30), 2)
    canvas.shade(canvas.mask(*shapes), dark=0.24, light=0.35)


def _paint_legs(canvas: Canvas, parts: Outlines) -> None:
    for leg in parts.legs:
        canvas.line(canvas.frame(leg), LEG, 0.034 * canvas.frame.scale)
    for toe in parts.toes:
        canvas.line(canvas.frame(toe), LEG, 0.03 * canvas.frame.scale)
        canvas.disc(canvas.frame(toe[1]), 0.015 * canvas.frame.scale, LEG)


def _paint_beak(canvas: Canvas, parts: Outlines, colour: Colour) -> None:
    outline = canvas.frame(parts.beak)
    canvas.polygon(outline, colour, edge=120)
    canvas.shade(canvas.mask(outline), dark=0.3, light=0.3)
    canvas.line(canvas.frame(parts.beak_line), (*INK, 130), 2)


def _paint_body(canvas: Canvas, parts: Outlines, colours: dict[str, Colour], rng: Rng) -> None:
    """One outline, three plumages inside it, then light, shade and the shadow under the wing."""
    outline = canvas.frame(parts.body)
    body = canvas.mask(outline)
    canvas.polygon(outline, colours["belly"])
    _paint_down(canvas, body, rng)
    for outline_of_part, part in ((parts.back, "back"), (parts.crown, "crown")):
        canvas.overlap(canvas.mask(canvas.frame(outline_of_part)), body, colours[part])
    canvas.shade(body, dark=0.5, light=0.5)
    canvas.line(np.concatenate([outline, outline[:1]]), (*INK, 80), 2)
    feathers = (canvas.frame(beside(feather, 0.0, 0.035)) for feather in (*parts.wing, *parts.coverts))
    canvas.overlap(canvas.mask(*feathers, value=56), body, INK)


def _paint_down(canvas: Canvas, body: Image.Image, rng: Rng) -> None:
    """Little curved strokes of down on the breast and belly."""
    strokes = Image.new("L", body.size)
    pen = ImageDraw.Draw(strokes)
    radius = 0.05 * canvas.frame.scale
    y, x = np.meshgrid(np.arange(0.0, 0.5, 0.09), np.arange(-0.3, 0.6, 0.12), indexing="ij")
    x[1::2] += 0.06
    places = np.stack([x, y], -1).reshape(-1, 2)
    centres = canvas.frame(places + rng.uniform(-0.012, 0.012, places.shape))
    for box in np.concatenate([centres - radius, centres + radius], 1).tolist():
        pen.arc(box, 40, 140, fill=46, width=3)
    canvas.overlap(strokes, body, INK)


def _paint_eye(canvas: Canvas, parts: Outlines) -> None:
    centre, radius = canvas.frame(parts.eye)[0], EYE_RADIUS * canvas.frame.scale
    canvas.disc(centre, radius * 1.35, (250, 244, 228))
    canvas.disc(centre, radius * 1.05, (62, 38, 26))
    canvas.disc(centre, radius * 0.8, (16, 12, 14))
    canvas.disc(centre + radius * np.array([0.3, -0.35]), radius * 0.34, (255, 255, 255))
    canvas.disc(centre + radius * np.array([-0.3, 0.4]), radius * 0.16, (255, 255, 255, 150))
