"""A supersampled image to paint on: shapes, lines and masks in pixels, light and shade on what is painted."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from stackgan_keras.data.drawn_birds.anatomy import Points

Colour = tuple[int, ...]
Size = tuple[int, int]  # width and height, pixels
Pen = ImageDraw.ImageDraw

SUPERSAMPLE = 2  # paint at twice the final size
INK = (52, 40, 44)  # outlines and shadows
BRIGHTER = [1.5 * value + 16 for value in range(256)] * 3  # of each channel: keeps the hue, and black black
BLUR = 8  # light and shade are worked out at this reduction


@dataclass(frozen=True)
class Frame:
    """Body units to supersampled pixels."""

    scale: float
    offset: np.ndarray

    def __call__(self, points: Points) -> Points:
        return points * self.scale + self.offset


class Canvas:
    """A supersampled image, a pen that blends, a brush that covers, and the frame that the bird stands in.

    Masks are as large as the image, since a shape that is moved by whole pixels is not always rounded alike.
    """

    def __init__(self, image: Image.Image, frame: Frame):
        self.image, self.frame = image, frame
        self.pen = ImageDraw.Draw(image, "RGBA")
        self.brush = ImageDraw.Draw(image)  # covers, which is quicker than blending

    def mask(self, *outlines: Points, value: int = 255) -> Image.Image:
        """An image-sized mask (L) of outlines in pixels: this value inside of them, 0 elsewhere."""
        mask = Image.new("L", self.image.size)
        pen = ImageDraw.Draw(mask)
        for outline in outlines:
            pen.polygon(outline.ravel().tolist(), fill=value)
        return mask

    def polygon(self, outline: Points, colour: Colour, edge: int = 0) -> None:
        """A flat shape, in pixels, with a fine dark edge of this strength (0 to 255)."""
        points = outline.ravel().tolist()
        self.brush.polygon(points, fill=colour)
        if edge:
            self.pen.line(points + points[:2], fill=(*INK, edge), width=2, joint="curve")

    def line(self, points: Points, colour: Colour, width: float) -> None:
        """A stroke with round joints, in pixels."""
        self.pen.line(points.ravel().tolist(), fill=colour, width=max(1, round(width)), joint="curve")

    def disc(self, centre: np.ndarray, radius: float, colour: Colour) -> None:
        """A filled circle, in pixels."""
        self.pen.ellipse([*(centre - radius), *(centre + radius)], fill=colour)

    def overlap(self, mask: Image.Image, within: Image.Image, colour: Colour) -> None:
        """Blends in a colour where two masks overlap, as strongly as the lower of their values."""
        box = mask.getbbox()
        strength = ImageChops.darker(mask.crop(box), within.crop(box))
        self.image.paste(_plain(colour, strength.size), box, strength)

    def shade(self, mask: Image.Image, dark: float, light: float) -> None:
        """Makes a flat shape look round: its upper front edge catches the light, its lower rear edge falls dark."""
        box = mask.getbbox()
        local = mask.crop(box)
        margin, reach = 6, 3  # in reduced pixels
        columns, rows = local.width // BLUR + 1, local.height // BLUR + 1
        small = Image.new("L", (columns + 2 * margin, rows + 2 * margin))
        small.paste(local.reduce(BLUR), (margin, margin))
        soft = np.asarray(small.filter(ImageFilter.GaussianBlur(reach)), np.float32) / 255
        lit = self.image.crop(box).point(BRIGHTER)
        for paint, strength, shift in ((_plain(INK, local.size), dark, reach), (lit, light, -reach)):
            top, left = margin + shift, margin - shift
            depth = strength * (1 - soft[top : top + rows, left : left + columns])
            veil = enlarged(Image.fromarray((255 * depth).astype(np.uint8)), local.size)
            self.image.paste(paint, box, ImageChops.darker(veil, local))


def _plain(colour: Colour, size: Size) -> Image.Image:
    """An image of one colour, as Pillow pastes that through a mask twice as fast as the colour itself."""
    return Image.new("RGB", size, colour)


def tinted(colour: Colour, brightness: float) -> Colour:
    """The colour darker (below 1) or mixed with white (above 1)."""
    if brightness <= 1:
        return tuple(round(channel * brightness) for channel in colour)
    return tuple(round(channel + (255 - channel) * (brightness - 1)) for channel in colour)


def enlarged(image: Image.Image, size: Size) -> Image.Image:
    """A soft image at the supersampled size: smooth to the final size only, since reducing undoes the rest."""
    final = -(-size[0] // SUPERSAMPLE), -(-size[1] // SUPERSAMPLE)
    return image.resize(final, Image.Resampling.BILINEAR).resize(size, Image.Resampling.NEAREST)
