"""A supersampled picture to paint on: shapes, lines and masks in pixels, light and shade on what is painted."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from stackgan_keras.data.drawn_birds.anatomy import Points

Colour = tuple[int, ...]
Size = tuple[int, int]  # width and height, pixels
Pen = ImageDraw.ImageDraw

SUPERSAMPLE = 2  # paint at twice the final size
INK = (52, 40, 44)  # outlines and shadows
BLUR = 8  # light and shade are worked out at this reduction


@dataclass(frozen=True)
class Frame:
    """Body units to supersampled pixels."""

    scale: float
    offset: np.ndarray

    def __call__(self, points: Points) -> Points:
        return points * self.scale + self.offset


class Canvas:
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

    def polygon(self, outline: Points, colour: Colour, edge: int = 0) -> None:
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

    def colour_overlap(self, mask: Image.Image, colour: Colour, within: Image.Image, strength: float = 1.0) -> None:
        """Colours the picture where two masks overlap."""
        box = mask.getbbox()
        if box:
            overlap = ImageChops.multiply(mask.crop(box), within.crop(box))
            self.image.paste(colour, box, overlap.point(lambda value: value * strength) if strength < 1 else overlap)

    def shade(self, mask: Image.Image, dark: float, light: float) -> None:
        """Makes a flat shape look round: its upper front edge catches the light, its lower rear edge falls dark."""
        box = mask.getbbox()
        local = mask.crop(box)
        margin, reach = 6, 3  # in reduced pixels
        small = Image.new("L", (local.width // BLUR + 1 + 2 * margin, local.height // BLUR + 1 + 2 * margin))
        small.paste(local.reduce(BLUR), (margin, margin))
        soft = np.asarray(small.filter(ImageFilter.GaussianBlur(reach)), np.float32) / 255
        lit = self.image.crop(box).point(lambda value: 1.5 * value + 16)  # keeps the hue, and black black
        for paint, strength, steps in ((INK, dark, (-reach, reach)), (lit, light, (reach, -reach))):
            depth = strength * np.clip(1 - np.roll(soft, steps, (0, 1)), 0, 1)
            veil = Image.fromarray((255 * depth[margin:-margin, margin:-margin]).astype(np.uint8))
            veil = ImageChops.multiply(enlarged(veil, local.size), local)
            self.image.paste(paint, box, veil)


def tinted(colour: Colour, brightness: float) -> Colour:
    """The colour darker (below 1) or mixed with white (above 1)."""
    if brightness <= 1:
        return tuple(round(channel * brightness) for channel in colour)
    return tuple(round(channel + (255 - channel) * (brightness - 1)) for channel in colour)


def enlarged(image: Image.Image, size: Size) -> Image.Image:
    """A soft image at the supersampled size: smooth to the final size only, since reducing undoes the rest."""
    final = -(-size[0] // SUPERSAMPLE), -(-size[1] // SUPERSAMPLE)
    return image.resize(final, Image.Resampling.BILINEAR).resize(size, Image.Resampling.NEAREST)
