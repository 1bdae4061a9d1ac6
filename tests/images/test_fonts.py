"""Text in images: fonts of the machine for what Pillow's own lacks."""

import io
import logging
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, features

from vitconvert.images import _faces, fonts
from vitconvert.images._glyphs import read_glyphs
from vitconvert.images.fonts import Font, clusters
from vitconvert.images.sheet import BACKGROUND, Tile, make_sheet, wrap

Make = Callable[[str, str], Path]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Give a machine with no fonts but those that are made: file name, characters."""
    monkeypatch.setattr(fonts, "folders", lambda: (str(tmp_path),))
    monkeypatch.setattr(fonts, "_said", set[str]())
    known = (_faces._faces, _faces._holders, _faces.choose)
    for function in known:
        function.cache_clear()
    yield lambda name, characters: make_font(tmp_path / name, characters)
    for function in known:
        function.cache_clear()


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Hear the warnings."""
    heard = list[str]()
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("vitconvert")
    logger.addHandler(handler)
    yield heard
    logger.removeHandler(handler)


def make_font(path: Path, characters: str) -> Path:
    """Make a font whose every letter is a box as wide as its place is in `characters`."""
    building = pytest.importorskip("fontTools.fontBuilder")
    pens = pytest.importorskip("fontTools.pens.ttGlyphPen")
    names = [".notdef", *(f"g{ord(c):X}" for c in characters)]
    glyphs, widths = {}, {}
    for number, name in enumerate(names):
        pen, right = pens.TTGlyphPen(None), 100 * (number + 2)
        for begin, corner in enumerate([(0, 0), (0, 700), (right, 700), (right, 0)]):
            (pen.lineTo if begin else pen.moveTo)(corner)
        pen.closePath()
        glyphs[name], widths[name] = pen.glyph(), (right + 100, 0)
    font = building.FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(names)
    font.setupCharacterMap(dict(zip(map(ord, characters), names[1:], strict=True)))
    font.setupGlyf(glyphs)
    font.setupHorizontalMetrics(widths)
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)
    return path


def drawn(text: str) -> np.ndarray:
    """Draw a line: bool [H, W], where there is ink."""
    image = Image.new("L", (400, 40))
    Font(20).write(ImageDraw.Draw(image), (0, 5), text, 255)
    return np.asarray(image) > 127


def columns(text: str) -> int:
    """Count the columns with ink."""
    return int(drawn(text).any(0).sum())


def test_a_character_is_drawn_in_the_font_that_has_it(machine: Make, said: list[str]) -> None:
    """Also if the letters of one line are in several fonts, one of them Pillow's."""
    machine("one.ttf", "猫")  # a box of 300 in 1000, which are 20 pixels
    machine("two.ttf", "狗犬")

    assert [columns(c) for c in "猫狗犬"] == [6, 6, 8]
    assert columns("猫犬") == 14
    assert columns("I猫犬I") == 14 + 2 * columns("I")
    assert Font(20).drawable("猫狗 cat") == "猫狗 cat"
    make_sheet([Tile(Image.new("RGB", (32, 32)), "猫狗")], "犬")
    assert said == []


def test_a_line_is_in_one_font_if_one_has_all_of_it(machine: Make) -> None:
    """The font with the letters is taken for the whole line, and not Pillow's own for some."""
    machine("a.ttf", "猫")
    machine("b.ttf", "猫 xy")

    assert [part for _, part in Font(20)._runs("x猫 y") if part] == ["x猫 y"]
    assert [part for _, part in Font(20)._runs("x猫 z") if part] == ["x", "猫", " z"]


def test_what_no_font_has_is_spelled_out_and_said_once(machine: Make, said: list[str]) -> None:
    """With what to install; a second image says nothing more, and other scripts are other news."""
    machine("one.ttf", "犬")
    for _ in range(2):
        sheet = make_sheet([Tile(Image.new("RGB", (32, 32)), "猫と犬 Bär")], "狗")

    assert sheet.mode == "RGB"
    assert Font(20).drawable("猫犬") == "\\u732b犬"
    assert len(said) == 2
    assert "猫 (U+732B)" in said[0]
    assert said[0].endswith("apt-get install fonts-noto-cjk")
    assert "ä (U+00E4)" in said[1]


@pytest.mark.usefixtures("machine")
def test_letters_that_no_font_has_keep_their_meaning() -> None:
    """An umlaut loses its dots; a fraction does not become another number."""
    font = Font(13)

    assert wrap("Bär — 3 ≥ 2", font, 500, 1) == ["Bar - 3 >= 2"]
    assert wrap("½", font, 500, 1) == ["\\xbd"]


def test_a_letter_and_its_marks_are_one(machine: Make) -> None:
    """Composed where there is such a character; else the font must have the marks as well."""
    machine("marks.ttf", "éq\u0307")
    font = Font(20)

    assert font.drawable("e\u0301") == "é"
    assert font.drawable("q\u0307") == "q\u0307"
    assert font.drawable("q\u0308") == "q"
    assert clusters("e\u0301q\u0307a") == ["e\u0301", "q\u0307", "a"]
    assert clusters("\u0915\u094d\u200d\u0937") == ["\u0915\u094d\u200d\u0937"]


def test_lines_break_between_chinese_characters(machine: Make) -> None:
    """But not before a full stop; what is too wide is cut by its width, not by a count."""
    machine("one.ttf", "猫。…")
    font = Font(20)

    assert wrap("猫猫猫。猫", font, 25, 4) == ["猫猫", "猫。", "猫"]
    (cut,) = wrap("猫" * 20, font, 100, 1)
    assert font.getlength(cut) <= 100 < font.getlength("猫" + cut)
    assert cut.endswith("猫…")


def test_a_name_of_any_length_takes_little_time(machine: Make) -> None:
    """As much of it is looked at as fits."""
    machine("one.ttf", "猫")
    looked = list[int]()
    font = Font(20)
    measure = font.getlength
    font.getlength = lambda text: (looked.append(len(text)), measure(text))[1]  # type: ignore

    for text in ("猫" * 1_000_000, "猫\n" * 500_000, "x" * 1_000_000):
        looked.clear()
        wrap(text, font, 160, 2)
        assert sum(looked) < 20_000


@pytest.mark.parametrize(
    "text",
    ["漢字", "Ünï — ½", "\x1b[31mred\x07", "😀\ud800", "a\tb\r\nc", "", "א\u202eב", "\u0301"],
)
def test_any_text_can_be_drawn(text: str) -> None:
    """With whatever fonts there are: no text is an error."""
    sheet = make_sheet([Tile(Image.new("RGB", (32, 32)), text, True)], text)

    assert sheet.mode == "RGB"
    assert (np.asarray(sheet)[:8] == BACKGROUND).all()


def test_damaged_fonts_are_passed_over(machine: Make, tmp_path: Path) -> None:
    """Cut short, empty, or not of this kind; the next one is taken."""
    whole = machine("z.ttf", "猫").read_bytes()
    for number in range(0, len(whole), 40):
        (tmp_path / f"a{number}.ttf").write_bytes(whole[:number])
    (tmp_path / "b.ttf").write_bytes(b"ttcf" + struct.pack(">III", 0x10000, 2**31, 2**31))
    (tmp_path / "c.otf").mkdir()

    assert columns("猫") == 6


def test_which_characters_a_font_has(tmp_path: Path) -> None:
    """As FontTools reads it, in both formats of its table, and of every face of a collection."""
    collection = pytest.importorskip("fontTools.ttLib.ttCollection")
    ttlib = pytest.importorskip("fontTools.ttLib")
    letters = "aBz\u00e9\u0301猫犬\ufffd"
    both = ttlib.TTCollection() if hasattr(ttlib, "TTCollection") else collection.TTCollection()
    for number, characters in enumerate((letters, letters + "𠮷😀")):
        both.fonts.append(ttlib.TTFont(make_font(tmp_path / f"{number}.ttf", characters)))
    content = io.BytesIO()
    both.save(content)
    first, second = read_glyphs(content)

    assert [c for c in map(chr, range(0x20, 0x20000)) if c in first] == sorted(letters)
    assert [c for c in map(chr, range(0x20, 0x20000)) if c in second] == sorted(letters + "😀")
    assert "𠮷" in second


def test_the_own_letters_of_pillow_are_known() -> None:
    """It comes with a font of few letters, which is asked first."""
    if not features.check("freetype2"):
        pytest.skip("this Pillow has another font")
    font = Font(13)

    assert font._owns("Where it looked, 32x32: 90 % …")
    assert not font._owns("猫")
