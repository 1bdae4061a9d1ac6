"""The fonts of this machine: where they are, and which one has some characters."""

from __future__ import annotations

import os
import re
import struct
import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from ._glyphs import Glyphs, read_glyphs

_ENDINGS = (".ttf", ".otf", ".ttc", ".otc")
# The begins of the names of files that are tried first, and what marks one that is tried last.
_FIRST = ("dejavusans.", "notosans-r", "notosanscjk", "liberationsans-r", "arial.", "pingfang")
_LAST = re.compile(r"bold|italic|oblique|light|thin|black|medium|mono|serif|condensed|display|bd\.")
_TRIAL = 16  # pixels, the size at which a font is tried


class Face(NamedTuple):
    """One font of this machine; `number` counts within its file."""

    path: str
    number: int
    glyphs: Glyphs


@cache
def folders() -> tuple[str, ...]:
    """Name the folders that hold fonts, where they are there."""
    home = os.environ.get("HOME", "/")
    data = [os.environ.get("XDG_DATA_HOME") or f"{home}/.local/share"]
    data += (os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":")
    found = [f"{folder}/fonts" for folder in data if folder.startswith("/")]
    found += [f"{home}/.fonts", f"{home}/Library/Fonts", "/Library/Fonts", "/System/Library/Fonts"]
    found += ["/mnt/c/Windows/Fonts"]  # of Windows around a Linux
    matplotlib = find_spec("matplotlib")
    for place in (matplotlib and matplotlib.submodule_search_locations) or ():
        found.append(f"{place}/mpl-data/fonts/ttf")
    return tuple(found)


@cache
def _faces(places: Sequence[str]) -> list[Face]:
    """Read which characters the fonts in some folders have, those that fit best first."""
    files = dict[str, Path]()
    for place in places:
        for folder, _, names in os.walk(place):
            for name in names:
                if name.lower().endswith(_ENDINGS):
                    files.setdefault(name.lower(), Path(folder, name))

    def rank(name: str) -> tuple[bool, int, str]:
        first = [n for n, begin in enumerate(_FIRST) if name.startswith(begin)]
        return _LAST.search(name) is not None, first[0] if first else len(_FIRST), name

    found = []
    for name in sorted(files, key=rank):
        try:
            if not files[name].is_file():
                continue
            with files[name].open("rb") as file:
                faces = read_glyphs(file)
        except (OSError, ValueError, IndexError, struct.error):  # damaged, or of another kind
            continue
        found += [Face(str(files[name]), n, glyphs) for n, glyphs in enumerate(faces)]
    return found


@cache
def _holders(character: str, places: Sequence[str]) -> frozenset[int]:
    """Number the fonts that have a character."""
    return frozenset(n for n, face in enumerate(_faces(places)) if character in face.glyphs)


@cache
def choose(characters: frozenset[str], region: str, places: Sequence[str]) -> Face | None:
    """Choose a font that has all of some characters; None if there is none."""
    numbers = [_holders(c, places) for c in characters]
    found = [_faces(places)[n] for n in sorted(frozenset.intersection(*numbers))] if numbers else []
    if region:  # Chinese, Japanese and Korean write the same character in different ways
        found.sort(key=lambda face: _is_of_other_region(face, region))
    return next((face for face in found if _draws(face, characters)), None)


@cache
def load_face(path: str, index: int, size: int) -> Any:
    """Load a font of this machine.

    Raises:
        OSError: It cannot be drawn at that size: a font of bitmaps.
    """
    from PIL import ImageFont

    engine = ImageFont.Layout.RAQM if has_raqm() else ImageFont.Layout.BASIC
    return ImageFont.truetype(path, size, index, layout_engine=engine)


def has_raqm() -> bool:
    """Tell whether Pillow places marks and joins letters as their script wants it."""
    from PIL import features

    return bool(features.check("raqm"))


def _draws(face: Face, characters: frozenset[str]) -> bool:
    """Tell whether a font draws something: those of coloured glyphs may leave everything blank."""
    try:
        font = load_face(face.path, face.number, _TRIAL)
        return font.getmask("".join(sorted(characters))).getbbox() is not None
    except OSError:
        return False


def _is_of_other_region(face: Face, region: str) -> bool:
    try:
        family = load_face(face.path, face.number, _TRIAL).getname()[0] or ""
    except OSError:
        return True
    own = re.search(r"(?:^|[^A-Z])(JP|KR|SC|TC|HK)$", family)
    return own is not None and own[1] != region


def region_of(text: str) -> str:
    """Tell whose form of the Chinese characters of a text is meant; "" if it has none."""
    names = [unicodedata.name(c, "").split()[0:1] for c in text]
    if not any(name == ["CJK"] for name in names):
        return ""
    kana = (["HIRAGANA"], ["KATAKANA"])
    return "JP" if any(n in kana for n in names) else "KR" if ["HANGUL"] in names else "SC"
