"""The fonts of every image that is drawn: Pillow's own, and the machine's for what that lacks."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from ._faces import Face, choose, folders, has_raqm, load_face, region_of
from ._glyphs import Glyphs, read_glyphs

if TYPE_CHECKING:
    from PIL import ImageDraw

_LOG = logging.getLogger("vitconvert")
_JOINERS = "\u200c\u200d"  # they change how neighbours are drawn, and have no glyph of their own
_IGNORED = "\u00ad\u061c\u200b\u200e\u200f\u2060\ufeff"  # nor need these one
# Replacements for some characters where no font has them.
_PLAIN = {"—": "-", "\u2013": "-", "\u2212": "-", "\xd7": "x", "\u2019": "'", "→": "->"}
_PLAIN |= {"≤": "<=", "≥": ">=", "ß": "ss", "…": "..."}
_MOST_NAMED = 5  # characters in a message

_missing = dict[str, None]()  # characters without a font, as they were found
_unjoined = set[str]()  # letters that need more than a font
_said = set[str]()  # what to install was reported of these


class Font:
    """A size of text, with whatever fonts its characters need.

    A line is drawn in one font if one has all of its characters. Where Pillow has Raqm, marks are
    placed, letters joined and lines from right to left ordered as their script wants it.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._own = load_own(size)
        self._is_scalable = hasattr(self._own, "font_variant")
        self.height = round(1.2 * self._own.getbbox("Agjy|")[3])
        """Pixels from one line of text to the next."""
        self.ellipsis = "…" if self._is_scalable else "..."

    def getlength(self, text: str) -> float:
        """Measure a line, in pixels."""
        return float(sum(font.getlength(part) for font, part in self._runs(text)))

    def write(
        self, pen: ImageDraw.ImageDraw, place: tuple[float, float], text: str, colour: Any
    ) -> None:
        """Draw a line; `place` is (left, top)."""
        if not self._is_scalable:
            pen.text(place, text, colour, self._own)
            return
        left, base = place[0], place[1] + self._own.getmetrics()[0]
        for font, part in self._runs(text):
            pen.text((left, base), part, colour, font, anchor="ls")
            left += font.getlength(part)

    def drawable(self, text: str) -> str:
        """Compose letters and their marks, and spell out what no font has or does not print."""
        text = text.expandtabs(1).replace("\r\n", "\n")
        text = text.translate(dict.fromkeys(map(ord, _IGNORED)))
        text = "".join(c if _is_text(c) else _spelled(c) for c in text)
        text = unicodedata.normalize("NFC", text)
        if not self._is_scalable:
            return text.encode("latin-1", "replace").decode("latin-1")
        return "".join(self._available(part) for part in clusters(text))

    def _available(self, cluster: str) -> str:
        """Keep a letter and its marks if some font has them; else replace and remember them."""
        if cluster == "\n" or self._owns(cluster):
            return cluster
        if choose(_needs(cluster), "", folders()):
            if not has_raqm() and any(map(_is_joined, cluster)):
                _unjoined.add(cluster)
            return cluster
        _missing.update(dict.fromkeys(sorted(_needs(cluster))))
        bare = unicodedata.normalize("NFD", cluster).encode("ascii", "ignore").decode().strip()
        return _PLAIN.get(cluster) or bare or "".join(map(_spelled, cluster))

    def _runs(self, text: str) -> Iterator[tuple[Any, str]]:
        """Divide a line into parts, each with its font of Pillow."""
        if not self._is_scalable or self._owns(text):
            yield self._own, text
            return
        region, run = region_of(text), ""
        whole = face = chosen = choose(_needs(text), region, folders())
        for part in clusters(text):
            needs = _needs(part)
            if not whole and not (chosen and all(c in chosen.glyphs for c in needs)):
                face = None if self._owns(part) else choose(needs, region, folders())
            if face is not chosen and run:
                yield from self._run(chosen, run)
                run = ""
            run, chosen = run + part, face
        yield from self._run(chosen, run)

    def _run(self, face: Face | None, text: str) -> Iterator[tuple[Any, str]]:
        """Give a part its font; blanks at its end stay there, though it is read from the right."""
        body = text.rstrip(" ")
        yield self._own if face is None else load_face(face.path, face.number, self._size), body
        yield self._own, text[len(body) :]

    def _owns(self, text: str) -> bool:
        return all(c in _own_glyphs() for c in text)


def load_own(size: int) -> Any:
    """Load the font that comes with Pillow, the same everywhere.

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


def clusters(text: str) -> list[str]:
    """Divide a text into letters, each with the marks that are drawn on it."""
    found = list[str]()
    for c in text:
        is_part = unicodedata.category(c)[0] == "M" or c in _JOINERS
        if found and (is_part or found[-1][-1] == _JOINERS[1]):
            found[-1] += c
        else:
            found.append(c)
    return found


def say_missing() -> None:
    """Warn of characters that were replaced; once in a process of each package that has them."""
    packages = dict[str, list[str]]()
    if _unjoined and "libfribidi0" not in _said:
        _said.add("libfribidi0")
        _LOG.warning(
            "Pillow finds no FriBiDi, without which images show Arabic, Hebrew and Indic words "
            "letter by letter from left to right. Install it, with Debian and Ubuntu: apt-get "
            "install libfribidi0"
        )
    _unjoined.clear()
    for character in _missing:
        packages.setdefault(_package(character), []).append(character)
    _missing.clear()
    for package, characters in packages.items():
        if package in _said:
            continue
        _said.add(package)
        named = ", ".join(f"{c} (U+{ord(c):04X})" for c in characters[:_MOST_NAMED])
        more = len(characters) - _MOST_NAMED
        named += f" and {more} more" if more > 0 else ""
        _LOG.warning(
            f"No font on this machine has {named}: images show plain letters or the code points "
            f"instead. Install a font that does, with Debian and Ubuntu: apt-get install {package}"
        )


@cache
def _own_glyphs() -> Glyphs:
    return read_glyphs(load_own(10).path)[0]


def _needs(text: str) -> frozenset[str]:
    """Give the characters that a font must have a glyph for."""
    return frozenset(
        c for c in text if c not in _JOINERS and not "\ufe00" <= c <= "\ufe0f" and c != "\n"
    )


def _is_text(character: str) -> bool:
    return character.isprintable() or character == "\n" or character in _JOINERS


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _is_joined(character: str) -> bool:
    """Tell a letter that is written from the right, or is moved or joined among its neighbours."""
    is_right = unicodedata.bidirectional(character) in ("R", "AL")
    return (
        is_right or unicodedata.category(character) == "Mc" or unicodedata.combining(character) == 9
    )


def _package(character: str) -> str:
    """Name a package with a font that has a character."""
    name = unicodedata.name(character, "")
    if name.startswith(("CJK", "HANGUL", "HIRAGANA", "KATAKANA", "FULLWIDTH", "IDEOGRAPHIC")):
        return "fonts-noto-cjk"
    return "fonts-symbola" if unicodedata.category(character) == "So" else "fonts-noto-core"
