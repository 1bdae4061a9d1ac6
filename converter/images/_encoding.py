"""Bytes of names whose encoding is not noted -> text, by the encoding that fits all of them best.

Windows packs names in zip files in the encoding of the country, and notes none; so do old tars and
lists. Any encoding turns nearly any bytes into some text, so each candidate is scored by how
ordinary its text is: common characters count for it, rare ones and signs against it.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_MOST_SCORED = 2000  # parts of paths; more tell no more
_MOST_BYTES = 255  # of a part that is scored, which is what file systems allow
_COMMON, _USUAL, _ODD, _WRONG = 1.0, 0.3, -0.4, -1.0  # points of a byte of a character
_FALL, _LEAST = 0.0004, 0.6  # characters.toml begins with the commonest


class Decoded(NamedTuple):
    """Names as text.

    Attributes:
        names: In the order of the bytes.
        encoding: As people call it, such as "GBK"; "" if all names are ASCII or UTF-8.
    """

    names: list[str]
    encoding: str

    @property
    def remark(self) -> str:
        """What to say of it, as the end of a description; nothing of ASCII and UTF-8."""
        if not self.encoding:
            return ""
        part = next(part for name in self.names for part in name.split("/") if not part.isascii())
        return f", names in {self.encoding}, such as {part}"


def decode(names: Sequence[bytes]) -> Decoded:
    """Find the encoding of all names together, and decode them; the same bytes give the same text.

    UTF-8 is taken if it fits and has a character of three bytes or more: other encodings do
    not look like it. cp437, which zip files are defined to have, takes any bytes.
    """
    if all(name.isascii() for name in names) or (any(map(_is_surely_utf8, names)) and _fits(names)):
        return Decoded([name.decode() for name in names], "")
    # Not at back slashes, which are half of other characters in Shift-JIS, GBK and Big5.
    parts = {part for name in names for part in re.split(rb"[/\t\r\n]", name)}
    odd = (part for part in parts if not part.isascii() and len(part) <= _MOST_BYTES)
    tried = sorted(odd)[:_MOST_SCORED]
    scored = [(score, title) for title in _ENCODINGS if (score := _score(tried, title)) is not None]
    # The first of equal ones: the order of the table.
    for _, title in sorted(scored, key=lambda found: -found[0]):
        try:
            decoded = [name.decode(_ENCODINGS[title][0]) for name in names]
            return Decoded(decoded, "" if title == "UTF-8" else title)
        except UnicodeDecodeError:  # a name that was not scored
            continue
    return Decoded([name.decode("cp437") for name in names], "cp437")


def _fits(names: Sequence[bytes]) -> bool:
    """Tell whether all names are UTF-8."""
    try:
        b"\0".join(names).decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_surely_utf8(name: bytes) -> bool:
    """Tell UTF-8 with a character of three bytes or more; two are, by chance, much else."""
    return _fits([name]) and any(char > "\u07ff" for char in name.decode())


def decode_text(content: bytes) -> tuple[str, str]:
    """Decode a text file, with or without a mark of its encoding.

    Returns:
        The text, and its encoding as people call it; "" for UTF-8.
    """
    for mark, encoding, title in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding), title
    found = decode([content])
    return found.names[0], found.encoding


def recode(names: Iterable[str]) -> tuple[Mapping[str, str], str]:
    """Decode names of a folder or a tar that are not UTF-8, which came as surrogate escapes.

    Returns:
        The path of each name that is not ASCII as text, and a remark; empty if all are UTF-8.
    """
    paths = [name for name in names if not name.isascii()]
    parts = {part for path in paths for part in path.split("/") if not part.isascii()}
    raw = {part: part.encode("utf-8", "surrogateescape") for part in sorted(parts)}
    if _fits(list(raw.values())):
        return {}, ""
    odd = {part: name for part, name in raw.items() if not _is_surely_utf8(name)}
    decoded = decode(list(odd.values()))
    texts = dict(zip(odd, decoded.names, strict=True))
    whole = {path: "/".join(texts.get(part, part) for part in path.split("/")) for path in paths}
    return whole, decoded.remark


_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig", ""),
    (b"\xff\xfe", "utf-16", "UTF-16"),
    (b"\xfe\xff", "utf-16", "UTF-16"),
)


def _score(parts: Sequence[bytes], title: str) -> float | None:
    """Give the mean points of a byte; None if the bytes are not of this encoding."""
    encoding, points = _ENCODINGS[title]
    total, count = 0.0, 0
    for part in parts:
        try:
            text = part.decode(encoding)
        except UnicodeDecodeError:
            return None
        for i, char in enumerate(text):
            if char.isascii():
                continue
            raw = char.encode(encoding)
            total += points(text, i, raw) * len(raw)
            count += len(raw)
    return total / max(count, 1)


@cache
def _points(script: str) -> Mapping[str, float]:
    """Give the points of the common characters of a script."""
    text = files(__package__).joinpath("characters.toml").read_text("utf-8")
    found = dict[str, float]()
    for i, char in enumerate("".join(tomllib.loads(text)[script].split())):
        found.setdefault(char, max(_COMMON - i * _FALL, _LEAST))
    return found


def _is_sign(char: str) -> bool:
    """Tell punctuation and digits in full width, which all East Asian encodings have."""
    return unicodedata.east_asian_width(char) in "WF" and unicodedata.category(char)[0] in "PNZ"


def _common(text: str, at: int, script: str) -> float:
    """Give the points of a character in the rows of common ones."""
    points = _points(script).get(text[at], _USUAL)
    # More likely, an accent inside a word.
    return (
        min(points, _USUAL)
        if text[at - 1 : at].isascii() and text[at - 1 : at].islower()
        else points
    )


def _double(first: int, common: range, usual: range, script: str) -> Callable[..., float]:
    """Make the points of an encoding of two bytes by the rows, which are its leading bytes.

    Args:
        first: The least second byte of the oldest part of the encoding; others were added later.
        common: Rows of its common characters.
        usual: Rows of others.
        script: The entry in characters.toml.
    """

    def points(text: str, at: int, raw: bytes) -> float:
        if _is_sign(text[at]):
            return 0
        if len(raw) != 2 or raw[1] < first:
            return _WRONG
        if raw[0] in common:
            return _common(text, at, script)
        return _ODD if raw[0] in usual else _WRONG

    return points


def _japanese(text: str, at: int, raw: bytes) -> float:
    """Give points by Shift-JIS: kana and the common kanji; kana of half width are rare."""
    if _is_sign(text[at]) or text[at] == "ー":
        return 0
    if len(raw) == 1:
        return _WRONG
    if "ぁ" <= text[at] <= "ヶ":
        return _COMMON
    if 0x88 <= raw[0] <= 0x97:
        return _common(text, at, "hanzi")
    return _ODD if raw[0] in range(0x98, 0xEB) else _WRONG


def _single(text: str, at: int, _raw: bytes) -> float:
    """Give points by an encoding of one byte: letters inside words, of one script, in order."""
    char, before, after = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    beside = [other for other in (before, after) if other.isalpha()]
    script = unicodedata.name(char, "-").split()[0]
    is_mixed = (char.isupper() and before.islower()) or (char.islower() and after.isupper())
    if not char.isalpha() or char in "ªº" or is_mixed:
        return _WRONG
    if any(unicodedata.name(other, "-").split()[0] != script for other in beside):
        return _WRONG
    if not beside:
        return _ODD
    if script == "LATIN":  # words have single accents
        return _COMMON if any(map(str.isascii, beside)) and char not in "þðýÞÐÝ" else _ODD
    if script != "CYRILLIC":
        return 0
    # Half of all bytes are Cyrillic letters, so their encodings fit many texts.
    points = 0.7 if char.lower() in "оеаинтсрвлкмд" else 0.5
    if char.lower() not in "абвгдежзийклмнопрстуфхцчшщыьэюяіїє":
        points = _ODD
    return min(points, 0.2) if char.isupper() and before.isupper() else points


def _utf8(text: str, at: int, raw: bytes) -> float:
    """Give points by UTF-8 of two bytes; anything is likelier in it than elsewhere."""
    if unicodedata.combining(text[at]):  # as macOS writes accents
        return _COMMON
    return max(_single(text, at, raw), _USUAL) + 0.5


# What people call it -> Python's name, and the points of a character.
_ENCODINGS: Mapping[str, tuple[str, Callable[[str, int, bytes], float]]] = {
    "UTF-8": ("utf-8", _utf8),
    "GBK": ("gb18030", _double(0xA1, range(0xB0, 0xD8), range(0xD8, 0xF8), "hanzi")),
    "Shift-JIS": ("cp932", _japanese),
    "EUC-KR": ("cp949", _double(0xA1, range(0xB0, 0xC9), range(0xCA, 0xCA), "hangul")),
    "Big5": ("cp950", _double(0x40, range(0xA4, 0xC7), range(0xC9, 0xFA), "hanzi")),
    "cp437": ("cp437", _single),
    "cp850": ("cp850", _single),
    "cp866": ("cp866", _single),
    "Windows-1252": ("cp1252", _single),
    "Windows-1251": ("cp1251", _single),
}
