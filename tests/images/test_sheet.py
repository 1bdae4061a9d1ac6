"""The contact sheet."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from vitconvert.images import fonts
from vitconvert.images.fonts import Font
from vitconvert.images.sheet import BACKGROUND, Tile, fit, make_sheet, wrap
from vitconvert.lines import Lines

GREEN, RED = (27, 128, 84), (204, 50, 40)


def image(width: int, height: int, seed: int = 0) -> Image.Image:
    """Make an image of noise."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def has(sheet: Image.Image, colour: tuple[int, int, int]) -> bool:
    """Tell whether a colour is anywhere in it."""
    return bool((np.asarray(sheet) == colour).all(-1).any())


def find(sheet: Image.Image, part: Image.Image) -> tuple[int, int] | None:
    """Find where an image stands in a sheet, pixel by pixel: (left, top)."""
    whole, wanted = np.asarray(sheet), np.asarray(part)
    height, width = wanted.shape[:2]
    for top, left in np.argwhere((whole == wanted[0, 0]).all(-1)):
        if np.array_equal(whole[top : top + height, left : left + width], wanted):
            return int(left), int(top)
    return None


def test_small_images_are_enlarged_by_whole_pixels() -> None:
    """A 32x32 image in 160 pixels: every pixel is a block of 5x5, and none is mixed."""
    small = image(32, 32)
    sheet = make_sheet([Tile(small, "noise")], "title")

    enlarged = small.resize((160, 160), Image.Resampling.NEAREST)
    assert find(sheet, enlarged) is not None


def test_large_and_narrow_images_keep_their_proportions() -> None:
    """Reduced to the tile on their longer side."""
    assert fit(image(640, 320), (160, 160)).size == (160, 80)
    assert fit(image(10, 4000), (160, 160)).size == (1, 160)
    assert fit(image(100, 100), (160, 160)).size == (160, 160)
    assert fit(image(1, 1), (160, 160)).size == (160, 160)


def test_tiles_are_in_reading_order() -> None:
    """Left to right, then down, with the requested number in a row."""
    images = [image(40, 40, seed) for seed in range(5)]
    sheet = make_sheet([Tile(p, "") for p in images], "", columns=2, tile=40)

    places = [place for p in images if (place := find(sheet, p)) is not None]
    assert len(places) == len(images)
    columns = sorted({left for left, _ in places})
    rows = sorted({top for _, top in places})
    found = [(columns.index(left), rows.index(top)) for left, top in places]
    assert found == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2)]


def test_right_and_wrong_differ_without_colour() -> None:
    """Edges are green and red; a tick and a cross differ in shape, too."""
    tiles = (Tile(image(32, 32), "", good) for good in (None, True, False))
    plain, right, wrong = (make_sheet([tile], "") for tile in tiles)

    assert has(right, GREEN)
    assert not has(right, RED)
    assert has(wrong, RED)
    assert not has(wrong, GREEN)
    assert not has(plain, RED)
    assert not has(plain, GREEN)
    # Under the image are the signs alone; drawn in one colour they still differ.
    under = [np.asarray(s)[-32:] != BACKGROUND for s in (right, wrong)]
    assert under[0].any()
    assert under[1].any()
    assert (under[0].any(-1) != under[1].any(-1)).any()


def test_lines_are_as_wide_as_there_is_room() -> None:
    """Broken between words, then shortened with an ellipsis."""
    font = Font(13)
    text = Lines("sulphur-crested cockatoo, Kakatoe galerita\n" + "x" * 100)
    lines = wrap(text, font, 160, 4)

    assert 3 <= len(lines) <= 4
    assert all(font.getlength(line) <= 160 for line in lines)
    assert lines[0].startswith("sulphur-crested")
    assert lines[-1].startswith("xxx")
    assert lines[-1].endswith("…")
    few = wrap("word " * 50, font, 160, 2)
    assert len(few) == 2
    assert few[1].endswith("…")
    assert font.getlength(few[1]) <= 160
    assert wrap(Lines("cat (true: dog)\nmargin 0.12"), font, 160, 4) == [
        "cat (true: dog)",
        "margin 0.12",
    ]


def test_the_same_tiles_give_the_same_bytes(tmp_path: Path) -> None:
    """So that a report can be compared with an earlier one."""
    tiles = [Tile(image(32, 50), "cat\n0.9", True), Tile(image(300, 20), "dog", False)]
    for name in ("a.png", "b.png"):
        make_sheet(tiles, "twice").save(tmp_path / name)

    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_pillow_without_freetype_draws_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its one small font, which has few letters."""
    monkeypatch.setattr(fonts, "load_own", lambda _size: ImageFont.load_default_imagefont())
    sheet = make_sheet([Tile(image(32, 32), "Bär 漢 " * 20, False)], "Tïtle … — 漢")

    assert has(sheet, RED)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_images_of_every_mode_are_drawn(mode: str) -> None:
    """As RGB."""
    other = image(32, 32).convert(mode)
    sheet = make_sheet([Tile(other, "")], "")

    assert find(sheet, other.convert("RGB").resize((160, 160), Image.Resampling.NEAREST))


def test_a_sheet_without_tiles_says_so() -> None:
    """Unlike an empty image, this cannot look like a mistake."""
    sheet = make_sheet([], "Mistakes")

    assert sheet.size[0] >= 300
    assert (np.asarray(sheet)[-30:] != BACKGROUND).any()


def test_too_little_room_is_refused() -> None:
    """Rather than drawn as dots."""
    for sizes in ({"columns": 0}, {"tile": 10}):
        with pytest.raises(ValueError, match="expected at least 1 and 32"):
            make_sheet([], "", **sizes)
