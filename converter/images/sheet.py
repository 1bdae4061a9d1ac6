"""A contact sheet: one image of many with captions, drawn with Pillow alone."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil
from typing import TYPE_CHECKING

from ..lines import Lines
from .fonts import Font, clusters, say_missing

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

BACKGROUND = (246, 246, 244)  # RGB, as all below
INK = (32, 32, 32)
_EDGES = {True: (27, 128, 84), False: (204, 50, 40), None: (205, 205, 202)}
_MOST_LINES = 4  # of a caption
_MOST_TITLE_LINES = 3
_TITLE_WIDTH = 480  # pixels that a sheet may be wider than its tiles for the sake of its title


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
        RGB; the same arguments give the same pixels, on machines with the same fonts.

    Raises:
        ValueError: `columns` or `tile` is too small to draw anything.
    """
    from PIL import Image, ImageDraw

    if columns < 1 or tile < 32:
        raise ValueError(f"columns is {columns}, tile {tile}; expected at least 1 and 32.")
    edge, gap = max(3, tile // 40), max(8, tile // 10)
    columns = min(columns, max(1, len(tiles)))
    cell = tile + 2 * edge
    heading, text = Font(max(14, tile // 9)), Font(max(11, tile // 12))
    parts = _drawable(title, heading, _TITLE_WIDTH, _MOST_TITLE_LINES).split("\n")
    wanted = min(_TITLE_WIDTH, ceil(max(map(heading.getlength, parts))) + 2 * gap)
    width = max(wanted, gap + columns * (cell + gap)) if tiles else _TITLE_WIDTH
    titles = wrap(title, heading, width - 2 * gap, _MOST_TITLE_LINES)
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    captions = [
        [wrap(one.caption, text, cell - _indent(one, text), _MOST_LINES) for one in row]
        for row in rows
    ]
    above = gap + len(titles) * heading.height + gap // 2
    heights = [
        cell + gap // 3 + max(len(lines) for lines in row) * text.height + gap for row in captions
    ]
    bottom = sum(heights) if tiles else text.height + gap
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
    say_missing()
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


def wrap(text: str, font: Font, width: int, most: int) -> list[str]:
    """Break a text into lines that are at most `width` pixels wide.

    Lines break between words, and between Chinese characters; text beyond `most` lines, and a word
    that is too long, end in an ellipsis. Lines are those of `Lines`;
    characters that do not print are spelled out.
    """
    lines: list[str] = []
    for paragraph in _drawable(text, font, most * width, most + 1).split("\n"):
        line = ""
        for blank, part in _parts(paragraph):
            longer = f"{line}{blank}{part}".strip()
            if line and font.getlength(longer) > width:
                lines.append(line)
                line = part
                if len(lines) > most:
                    break
            else:
                line = longer
        lines.append(line)
    if len(lines) > most:
        lines = [*lines[: most - 1], f"{lines[most - 1]} …"]
    return [_shortened(line, font, width) for line in lines]


def _parts(paragraph: str) -> Iterator[tuple[str, str]]:
    """Give what a line is not broken within, each after the blank before it, if there is one."""
    for word in paragraph.split():
        start, blank = 0, " "
        for at in range(1, len(word)):
            if _may_break(word[at - 1], word[at]):
                yield blank, word[start:at]
                start, blank = at, ""
        yield blank, word[start:]


def _may_break(before: str, after: str) -> bool:
    """Tell whether a word may be broken between two characters, one of them Chinese or the like."""
    is_wide = any(unicodedata.east_asian_width(c) in "WF" for c in (before, after))
    return (
        is_wide
        and unicodedata.category(before) not in ("Ps", "Pi")
        and unicodedata.category(after)[0] not in "PMC"
    )


def write_lines(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    lines: Sequence[str],
    font: Font,
    indent: int = 0,
) -> None:
    """Write lines of text from a place (left, top) on downwards."""
    for number, line in enumerate(lines):
        where = place[0] + indent, place[1] + number * font.height
        font.write(draw, where, line, INK)


def _shortened(line: str, font: Font, width: int) -> str:
    """Cut a line that is too wide, between two letters, and let it end in an ellipsis."""
    end = font.ellipsis
    if not line.endswith(" …") and font.getlength(line) <= width:
        return line
    line = line.removesuffix(" …")
    cuts = [0, *accumulate(map(len, clusters(line)))]

    def wide(cut: int) -> int:
        return ceil(font.getlength(line[:cut].rstrip() + end))

    fits = bisect_right(cuts, width, key=wide)
    return line[: cuts[max(fits - 1, 0)]].rstrip() + end


def _drawable(text: str, font: Font, most: int, lines: int) -> str:
    """Replace what cannot be drawn; leave out what never fits: a character takes a pixel."""
    text = text if isinstance(text, Lines) else text.replace("\n", "\\n")
    return font.drawable("\n".join(line[:most] for line in text.split("\n")[:lines]))


def _indent(tile: Tile, font: Font) -> int:
    """Give the room for the sign before a caption, in pixels."""
    return 0 if tile.good is None else font.height


def _frame(sheet: Image.Image, tile: Tile, place: tuple[int, int], side: int, edge: int) -> None:
    """Draw one image with its edge, centred in its square."""
    from PIL import Image, ImageOps

    square = Image.new("RGB", (side, side), BACKGROUND)
    image = fit(tile.image, (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    sheet.paste(ImageOps.expand(square, edge, _EDGES[tile.good]), place)


def _sign(draw: ImageDraw.ImageDraw, place: tuple[int, int], font: Font, good: bool) -> None:
    """Draw a tick or a cross as large as a letter: not everybody can tell green from red."""
    height = font.height
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
