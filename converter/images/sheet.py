"""A contact sheet: one image of many with captions, drawn with Pillow alone."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from ..lines import printable

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

BACKGROUND = (246, 246, 244)  # RGB, as all below
INK = (32, 32, 32)
_EDGES = {True: (27, 128, 84), False: (204, 50, 40), None: (205, 205, 202)}
_MOST_LINES = 4  # of a caption
_MOST_TITLE_LINES = 3
_TITLE_WIDTH = 480  # pixels that a sheet may be wider than its tiles for the sake of its title
# Characters beyond ASCII in the font, and replacements for some that it lacks.
_IN_FONT = frozenset("©«°±·»“”…™")
_PLAIN = {"—": "-", "\u2013": "-", "\u2212": "-", "\xd7": "x", "\u2019": "'", "→": "->"}
_PLAIN |= {"≤": "<=", "≥": ">=", "ß": "ss"}


@dataclass(frozen=True)
class Tile:
    """One image of a sheet.

    Attributes:
        image: Image of any size.
        caption: Text below it; long lines are wrapped, and lines beyond the fourth are cut.
        good: Green edge and a tick, or red edge and a cross; None for neither.
    """

    image: Image.Image
    caption: str
    good: bool | None = None


def make_sheet(tiles: Sequence[Tile], title: str, columns: int = 5, tile: int = 160) -> Image.Image:
    """Draw images side by side, with captions.

    Images keep their proportions. Small ones, at most half a tile, are enlarged by a whole number,
    so that their pixels stay sharp.

    Args:
        tiles: In reading order; without any, the sheet says so.
        title: Text above them.
        columns: The most tiles in a row.
        tile: Pixels, the side of the square that every image gets.

    Returns:
        RGB; the same arguments give the same pixels.

    Raises:
        ValueError: `columns` or `tile` is too small to draw anything.
    """
    from PIL import Image, ImageDraw

    if columns < 1 or tile < 32:
        raise ValueError(f"columns is {columns}, tile {tile}; expected at least 1 and 32.")
    edge, gap = max(3, tile // 40), max(8, tile // 10)
    columns = min(columns, max(1, len(tiles)))
    cell = tile + 2 * edge
    heading, text = load_font(max(14, tile // 9)), load_font(max(11, tile // 12))
    wanted = min(_TITLE_WIDTH, ceil(heading.getlength(_drawable(title, heading))) + 2 * gap)
    width = max(wanted, gap + columns * (cell + gap)) if tiles else _TITLE_WIDTH
    titles = wrap(title, heading, width - 2 * gap, _MOST_TITLE_LINES)
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    captions = [
        [wrap(one.caption, text, cell - _indent(one, text), _MOST_LINES) for one in row]
        for row in rows
    ]
    above = gap + len(titles) * line_height(heading) + gap // 2
    heights = [
        cell + gap // 3 + max(len(lines) for lines in row) * line_height(text) + gap
        for row in captions
    ]
    bottom = sum(heights) if tiles else line_height(text) + gap
    sheet = Image.new("RGB", (width, above + bottom), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    write_lines(draw, (gap, gap), titles, heading)
    if not tiles:
        write_lines(draw, (gap, above), ["no images"], text)
    top = above
    for row, lines, height in zip(rows, captions, heights, strict=True):
        for column, (one, own) in enumerate(zip(row, lines, strict=True)):
            left = gap + column * (cell + gap)
            _frame(sheet, one, (left, top), tile, edge)
            under = top + cell + gap // 3
            if one.good is not None:
                _sign(draw, (left, under), text, one.good)
            write_lines(draw, (left, under), own, text, _indent(one, text))
        top += height
    return sheet


def fit(image: Image.Image, room: tuple[int, int]) -> Image.Image:
    """Enlarge or reduce an image to fit into (width, height) pixels, with its proportions.

    By a whole number without smoothing where that is 2 or more, else smoothly.
    """
    from PIL import Image

    wide, high = image.size
    factor = min(room[0] // wide, room[1] // high)
    if factor >= 2:
        return image.convert("RGB").resize((wide * factor, high * factor), Image.Resampling.NEAREST)
    scale = min(room[0] / wide, room[1] / high)
    size = max(1, round(wide * scale)), max(1, round(high * scale))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def load_font(size: int) -> Any:
    """Load the font that comes with Pillow, the same everywhere.

    Args:
        size: Pixels.

    Returns:
        A font of `PIL.ImageFont`. A Pillow built without FreeType has a small one of a fixed size.
    """
    from PIL import ImageFont, features

    if not features.check("freetype2"):
        return ImageFont.load_default()
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    # The other engine is not in every Pillow, and places letters differently.
    return font.font_variant(layout_engine=ImageFont.Layout.BASIC)


def line_height(font: Any) -> int:
    """Give the pixels from one line of text to the next."""
    bottom: float = font.getbbox("Agjy|")[3]
    return round(1.2 * bottom)


def wrap(text: str, font: Any, width: int, most: int) -> list[str]:
    """Break a text into lines that are at most `width` pixels wide.

    Lines break between words; text beyond `most` lines, and a word that is too long, end in an
    ellipsis. Lines are those of `Lines`; characters that do not
    print are spelled out.
    """
    lines: list[str] = []
    for paragraph in _drawable(printable(text), font).split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                lines.append(line)
                line = word
            else:
                line = longer
        lines.append(line)
    if len(lines) > most:
        lines = [*lines[: most - 1], f"{lines[most - 1]} {_ellipsis(font)}"]
    return [_shortened(line, font, width) for line in lines]


def write_lines(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    lines: Sequence[str],
    font: Any,
    indent: int = 0,
) -> None:
    """Write lines of text from a place (left, top) on downwards."""
    for number, line in enumerate(lines):
        where = place[0] + indent, place[1] + number * line_height(font)
        draw.text(where, line, INK, font)


def _shortened(line: str, font: Any, width: int) -> str:
    end = _ellipsis(font)
    if font.getlength(line) <= width:
        return line
    line = line.removesuffix(f" {end}")
    while line and font.getlength(line + end) > width:
        line = line[:-1]
    return line.rstrip() + end


def _ellipsis(font: Any) -> str:
    return "…" if hasattr(font, "font_variant") else "..."


def _drawable(text: str, font: Any) -> str:
    """Replace characters that the font cannot draw, or that would break a line."""
    text = text.expandtabs(1).replace("\r\n", "\n")
    text = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
    if hasattr(font, "font_variant"):
        return "".join(map(_plain, text))  # the font draws a box for any other
    return text.encode("latin-1", "replace").decode("latin-1")


def _plain(letter: str) -> str:
    """Replace a letter that the font lacks by one that it has."""
    if letter.isascii() or letter in _IN_FONT:
        return letter
    bare = unicodedata.normalize("NFD", letter).encode("ascii", "ignore").decode()
    return _PLAIN.get(letter) or bare.strip() or letter


def _indent(tile: Tile, font: Any) -> int:
    """Give the room for the sign before a caption, in pixels."""
    return 0 if tile.good is None else line_height(font)


def _frame(sheet: Image.Image, tile: Tile, place: tuple[int, int], side: int, edge: int) -> None:
    """Draw one image with its edge, centred in its square."""
    from PIL import Image, ImageOps

    square = Image.new("RGB", (side, side), BACKGROUND)
    image = fit(tile.image, (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    sheet.paste(ImageOps.expand(square, edge, _EDGES[tile.good]), place)


def _sign(draw: ImageDraw.ImageDraw, place: tuple[int, int], font: Any, good: bool) -> None:
    """Draw a tick or a cross as large as a letter: not everybody can tell green from red."""
    height = line_height(font)
    size = 0.55 * height
    left, top = place[0] + 1, place[1] + 0.2 * height

    def at(x: float, y: float) -> tuple[float, float]:
        return left + x * size, top + y * size

    strokes = (
        [[at(0, 0.55), at(0.35, 0.95), at(1, 0.05)]]
        if good
        else [[at(0, 0), at(1, 1)], [at(1, 0), at(0, 1)]]
    )
    for stroke in strokes:
        draw.line(stroke, _EDGES[good], max(2, round(height / 7)), joint="curve")
