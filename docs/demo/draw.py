"""Draw the images of the demonstration, one for each class of CIFAR-10, into images/.

    python docs/demo/draw.py

`scenes.toml` lists their shapes. They are drawn large and reduced to 64 pixels, so that edges are
smooth.
"""

import tomllib
from pathlib import Path
from typing import Any

from PIL import Image, ImageColor, ImageDraw, ImageFilter

HERE = Path(__file__).parent
SIZE, SCALE = 64, 8
IN_PIXELS = ("radius", "width")  # of the numbers beside a shape's coordinates


def backdrop(scene: dict[str, Any]) -> Image.Image:
    """Draw a sky that fades towards the horizon, and the ground below it."""
    image = Image.new("RGB", (SIZE * SCALE, SIZE * SCALE), scene["ground"])
    pen, last = ImageDraw.Draw(image), scene["horizon"] * SCALE
    top, bottom = map(ImageColor.getrgb, scene["sky"])
    for y in range(last):
        share = y / last
        mixed = (round(a + (b - a) * share) for a, b in zip(top, bottom, strict=True))
        pen.line([0, y, SIZE * SCALE, y], fill=(*mixed,))
    return image.filter(ImageFilter.GaussianBlur(3))


def draw(scene: dict[str, Any]) -> Image.Image:
    """Draw a scene, and reduce it."""
    image = backdrop(scene)
    pen = ImageDraw.Draw(image)
    for shape in scene["shapes"]:
        numbers = {k: int(v * SCALE) if k in IN_PIXELS else v for k, v in shape.items()}
        points = [point * SCALE for point in numbers.pop("at")]
        getattr(pen, numbers.pop("shape"))(points, **numbers)
    return image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    for name, scene in tomllib.loads((HERE / "scenes.toml").read_text(encoding="utf-8")).items():
        (HERE / "images" / name).mkdir(parents=True, exist_ok=True)
        draw(scene).save(HERE / "images" / name / "drawn.png", optimize=True)
