"""Draw the images of the demonstration, one for each class of CIFAR-10, into images/.

    python docs/demo/draw.py

They are drawn large and reduced to 64 pixels, so that edges are smooth.
"""

from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

SIZE, SCALE = 64, 8
Colour = tuple[int, int, int]
Pen = ImageDraw.ImageDraw

WHITE, BLACK, GLASS = (238, 240, 243), (24, 24, 28), (70, 95, 120)


def scaled(*points: float) -> list[float]:
    """Scale coordinates of a 64-pixel image to the drawing."""
    return [point * SCALE for point in points]


def backdrop(top: Colour, bottom: Colour, horizon: float, ground: Colour) -> Image.Image:
    """Draw a sky that fades towards the horizon, and the ground below it."""
    image = Image.new("RGB", (SIZE * SCALE, SIZE * SCALE), ground)
    pen, last = ImageDraw.Draw(image), int(horizon * SCALE)
    for y in range(last):
        share = y / last
        mixed = (round(a + (b - a) * share) for a, b in zip(top, bottom, strict=True))
        pen.line([0, y, SIZE * SCALE, y], fill=(*mixed,))
    return image.filter(ImageFilter.GaussianBlur(3))


def airplane(pen: Pen) -> None:
    """A jet in the sky, seen from the side."""
    pen.polygon(scaled(27, 30, 42, 31, 30, 12, 25, 12), fill=(180, 186, 194))
    pen.ellipse(scaled(6, 27, 58, 37), fill=WHITE)
    pen.polygon(scaled(48, 30, 60, 14, 54, 14, 43, 29), fill=(60, 80, 150))
    pen.polygon(scaled(30, 33, 42, 33, 26, 52, 20, 52), fill=(200, 204, 210))
    pen.polygon(scaled(50, 32, 61, 40, 57, 41, 47, 34), fill=(180, 186, 194))
    pen.ellipse(scaled(9, 29, 14, 32), fill=GLASS)


def automobile(pen: Pen) -> None:
    """A red car on a street, seen from the side."""
    pen.polygon(scaled(16, 34, 23, 22, 42, 22, 51, 34), fill=(170, 20, 24))
    pen.polygon(scaled(20, 33, 25, 24, 32, 24, 32, 33), fill=GLASS)
    pen.polygon(scaled(34, 33, 34, 24, 41, 24, 47, 33), fill=GLASS)
    pen.rounded_rectangle(scaled(4, 32, 61, 47), 5 * SCALE, fill=(200, 24, 28))
    for x in (11, 42):
        pen.ellipse(scaled(x, 40, x + 13, 53), fill=BLACK)
        pen.ellipse(scaled(x + 4, 44, x + 9, 49), fill=(170, 170, 175))
    pen.ellipse(scaled(57, 36, 61, 40), fill=(250, 240, 190))


def bird(pen: Pen) -> None:
    """A small bird on a branch."""
    brown, light = (110, 78, 50), (205, 175, 140)
    pen.line(scaled(0, 54, 64, 50), fill=(70, 52, 38), width=3 * SCALE)
    pen.polygon(scaled(14, 36, 4, 52, 10, 53, 24, 42), fill=brown)
    pen.ellipse(scaled(14, 22, 44, 50), fill=light)
    pen.ellipse(scaled(12, 24, 34, 46), fill=brown)
    pen.ellipse(scaled(33, 12, 51, 30), fill=brown)
    pen.polygon(scaled(49, 19, 60, 22, 49, 25), fill=(225, 160, 40))
    pen.ellipse(scaled(43, 17, 46, 20), fill=BLACK)
    for x in (28, 34):
        pen.line(scaled(x, 48, x, 53), fill=(120, 90, 50), width=SCALE)


def cat(pen: Pen) -> None:
    """The face of a grey cat."""
    fur, dark = (128, 120, 112), (78, 72, 66)
    pen.ellipse(scaled(8, 40, 56, 80), fill=dark)
    pen.polygon(scaled(13, 28, 15, 4, 31, 18), fill=dark)
    pen.polygon(scaled(51, 28, 49, 4, 33, 18), fill=dark)
    pen.polygon(scaled(17, 22, 18, 10, 27, 18), fill=(205, 160, 150))
    pen.polygon(scaled(47, 22, 46, 10, 37, 18), fill=(205, 160, 150))
    pen.ellipse(scaled(11, 12, 53, 52), fill=fur)
    for x in (24, 32, 40):
        pen.line(scaled(x, 13, x, 22), fill=dark, width=2 * SCALE)
    for x in (18, 36):
        pen.ellipse(scaled(x, 24, x + 10, 33), fill=(190, 200, 90))
        pen.ellipse(scaled(x + 4, 24, x + 6, 33), fill=BLACK)
    pen.ellipse(scaled(22, 36, 42, 50), fill=(222, 216, 208))
    pen.polygon(scaled(29, 36, 35, 36, 32, 41), fill=(200, 120, 120))
    for y in (40, 44):
        pen.line(scaled(4, y - 2, 24, y), fill=WHITE, width=SCALE // 2)
        pen.line(scaled(60, y - 2, 40, y), fill=WHITE, width=SCALE // 2)


def deer(pen: Pen) -> None:
    """A deer with antlers in a meadow."""
    fur = (150, 98, 56)
    for x in (22, 27, 41, 46):
        pen.line(scaled(x, 40, x, 60), fill=(110, 72, 42), width=2 * SCALE)
    pen.ellipse(scaled(17, 28, 51, 45), fill=fur)
    pen.polygon(scaled(17, 36, 12, 16, 20, 14, 28, 32), fill=fur)
    pen.ellipse(scaled(4, 10, 22, 20), fill=fur)
    pen.polygon(scaled(18, 12, 26, 8, 22, 15), fill=fur)
    for tip in ((8, 1), (15, 0), (22, 1)):
        pen.line(scaled(15, 11, *tip), fill=(92, 70, 48), width=SCALE)
    pen.ellipse(scaled(9, 12, 11, 14), fill=BLACK)
    pen.ellipse(scaled(48, 29, 54, 36), fill=WHITE)


def dog(pen: Pen) -> None:
    """The face of a brown dog with hanging ears."""
    fur, dark = (190, 140, 84), (104, 66, 36)
    pen.ellipse(scaled(10, 44, 54, 84), fill=fur)
    pen.ellipse(scaled(14, 6, 50, 48), fill=fur)
    pen.ellipse(scaled(5, 10, 19, 44), fill=dark)
    pen.ellipse(scaled(45, 10, 59, 44), fill=dark)
    pen.ellipse(scaled(20, 28, 44, 54), fill=(236, 220, 196))
    for x in (22, 37):
        pen.ellipse(scaled(x, 20, x + 5, 26), fill=BLACK)
    pen.ellipse(scaled(27, 29, 37, 37), fill=BLACK)
    pen.rounded_rectangle(scaled(29, 43, 36, 54), 3 * SCALE, fill=(222, 110, 120))


def frog(pen: Pen) -> None:
    """A green frog on the ground."""
    green, dark = (98, 150, 52), (66, 108, 36)
    pen.ellipse(scaled(2, 34, 24, 58), fill=dark)
    pen.ellipse(scaled(40, 34, 62, 58), fill=dark)
    pen.ellipse(scaled(10, 18, 54, 58), fill=green)
    pen.ellipse(scaled(18, 36, 46, 58), fill=(196, 206, 130))
    for x in (13, 39):
        pen.ellipse(scaled(x, 9, x + 13, 23), fill=green)
        pen.ellipse(scaled(x + 3, 11, x + 10, 19), fill=(240, 220, 100))
        pen.ellipse(scaled(x + 5, 12, x + 8, 18), fill=BLACK)
    pen.arc(scaled(17, 18, 47, 36), 20, 160, fill=(40, 66, 22), width=SCALE)


def horse(pen: Pen) -> None:
    """A brown horse on grass."""
    fur, dark = (120, 66, 34), (48, 30, 22)
    for x in (19, 25, 42, 48):
        pen.line(scaled(x, 38, x, 59), fill=fur, width=3 * SCALE)
    pen.line(scaled(53, 28, 58, 46), fill=dark, width=4 * SCALE)
    pen.ellipse(scaled(15, 24, 56, 44), fill=fur)
    pen.polygon(scaled(14, 34, 12, 12, 21, 8, 30, 30), fill=fur)
    pen.polygon(scaled(3, 22, 14, 8, 21, 12, 10, 26), fill=fur)
    pen.polygon(scaled(18, 5, 23, 7, 31, 27, 25, 27), fill=dark)
    pen.polygon(scaled(15, 9, 18, 3, 20, 9), fill=fur)
    pen.ellipse(scaled(12, 12, 14, 14), fill=BLACK)


def ship(pen: Pen) -> None:
    """A cargo ship at sea."""
    pen.polygon(scaled(3, 38, 61, 38, 54, 51, 11, 51), fill=(40, 46, 66))
    pen.rectangle(scaled(8, 47, 57, 50), fill=(150, 36, 34))
    pen.rectangle(scaled(38, 22, 53, 38), fill=WHITE)
    pen.rectangle(scaled(43, 13, 49, 22), fill=(200, 90, 40))
    for x, colour in ((10, (190, 80, 50)), (19, (60, 110, 150)), (28, (90, 130, 80))):
        pen.rectangle(scaled(x, 31, x + 8, 38), fill=colour)
    for y in (25, 30):
        pen.line(scaled(40, y, 51, y), fill=GLASS, width=SCALE)
    pen.rectangle(scaled(0, 50, 64, 54), fill=(46, 88, 130))


def truck(pen: Pen) -> None:
    """A truck with a large white box, on a street."""
    pen.rectangle(scaled(2, 12, 43, 46), fill=WHITE)
    pen.rectangle(scaled(2, 43, 60, 49), fill=(60, 62, 68))
    pen.polygon(scaled(44, 46, 44, 20, 55, 20, 61, 33, 61, 46), fill=(40, 84, 170))
    pen.polygon(scaled(47, 32, 47, 23, 53, 23, 57, 32), fill=GLASS)
    for x in (6, 19, 46):
        pen.ellipse(scaled(x, 43, x + 12, 55), fill=BLACK)
        pen.ellipse(scaled(x + 4, 47, x + 8, 51), fill=(150, 150, 155))


SKY, HAZE = (92, 148, 214), (196, 216, 234)
GRASS, STREET, SEA = (92, 128, 58), (118, 118, 122), (46, 88, 130)
SCENES: tuple[tuple[Callable[[Pen], None], Image.Image], ...] = (
    (airplane, backdrop(SKY, HAZE, 64, HAZE)),
    (automobile, backdrop((170, 180, 190), (205, 208, 210), 44, STREET)),
    (bird, backdrop((150, 180, 140), (190, 205, 170), 64, GRASS)),
    (cat, backdrop((170, 150, 130), (200, 184, 166), 46, (150, 110, 80))),
    (deer, backdrop((70, 96, 54), (110, 130, 70), 40, GRASS)),
    (dog, backdrop((120, 140, 110), (160, 170, 140), 50, (120, 130, 90))),
    (frog, backdrop((96, 80, 56), (120, 104, 74), 36, (110, 92, 62))),
    (horse, backdrop((150, 186, 220), (206, 220, 228), 38, GRASS)),
    (ship, backdrop((140, 176, 214), (208, 220, 230), 46, SEA)),
    (truck, backdrop((150, 176, 206), (204, 212, 220), 46, STREET)),
)


def main() -> None:
    """Draw all of them."""
    for draw, image in SCENES:
        draw(ImageDraw.Draw(image))
        folder = Path(__file__).parent / "images" / draw.__name__
        folder.mkdir(parents=True, exist_ok=True)
        small = image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
        small.save(folder / "drawn.png", optimize=True)


if __name__ == "__main__":
    main()
