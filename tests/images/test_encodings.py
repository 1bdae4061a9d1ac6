"""Names whose encoding is not noted: in zip and tar files, folders and lists."""

import io
import os
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from vitconvert import DataError
from vitconvert.images import open_images
from vitconvert.images._encoding import decode, recode

# Names of classes, as they occur; and the encoding of Python that a system would pack them in.
SETS: dict[str, tuple[str, list[list[str]]]] = {
    "GBK": ("gbk", [["合格", "划痕", "缺口"], ["猫", "狗", "鹿", "青蛙"], ["苹果", "香蕉"]]),
    "Shift-JIS": (
        "cp932",
        [["良品", "不良品", "傷"], ["ねこ", "いぬ"], ["リンゴ", "バナナ", "表"]],
    ),
    "EUC-KR": ("cp949", [["정상", "불량"], ["고양이", "강아지", "사슴"], ["사과", "바나나"]]),
    "Big5": ("cp950", [["貓", "狗", "鹿"], ["良品", "刮痕"], ["蘋果", "香蕉", "番茄"]]),
    "cp437": ("cp437", [["Café", "Müll"], ["Äpfel", "Grün"], ["crème", "forêt"]]),
    "cp866": ("cp866", [["кошка", "собака"], ["Брак", "Хорошо"]]),
    "Windows-1251": ("cp1251", [["кошка", "собака"], ["Брак", "Хорошо"]]),
    "": ("utf-8", [["合格", "缺口"], ["Café", "été"], ["кошка"], ["25°C"], ["e\u0301te\u0301"]]),
}
CASES = [(title, names) for title, (_, sets) in SETS.items() for names in sets]


@pytest.mark.parametrize(("title", "names"), CASES)
def test_the_encoding_of_names_is_found(title: str, names: list[str]) -> None:
    """All names together tell it; folders and files among ASCII names, too."""
    raw = [f"set/{name}/{i} a.jpg".encode(SETS[title][0]) for i, name in enumerate(names)]

    found = decode([b"readme.txt", *raw])

    assert found.encoding == title
    assert found.names == ["readme.txt", *(raw.decode(SETS[title][0]) for raw in raw)]
    assert (f"names in {title}, such as {names[0]}" in found.remark) == bool(title)


def test_any_bytes_are_some_text() -> None:
    """No name is lost: what fits nothing is read as zip files define it."""
    for raw in (bytes(range(128, 256)), b"\xff\xfe\x80", b"\x81"):
        assert len(decode([raw]).names) == 1
    assert decode([]).names == []


def image() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6)).save(file, "PNG")
    return file.getvalue()


class Unflagged(zipfile.ZipInfo):
    """An entry with a name in an encoding that is not noted."""

    encoding = "gbk"

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802
        return self.filename.encode(self.encoding), self.flag_bits & ~0x800


NAMES = ["合格", "划痕", "缺口"]


def unpacked(folder: Path, encoding: str = "utf-8") -> Path:
    """Make class folders of these names."""
    for name in NAMES:
        inside = folder / os.fsdecode(name.encode(encoding))
        inside.mkdir(parents=True)
        (inside / "1.png").write_bytes(image())
    return folder


def zipped(path: Path, extra: bool = False) -> Path:
    """Pack such folders; with `extra`, the names are in an extra field only."""
    with zipfile.ZipFile(path, "w") as file:
        for i, name in enumerate(NAMES):
            entry = Unflagged(f"{i}/1.png" if extra else f"{name}/1.png")
            if extra:
                crc = zlib.crc32(f"{i}/1.png".encode())
                data = struct.pack("<BI", 1, crc) + f"{name}/1.png".encode()
                entry.extra = struct.pack("<2H", 0x7075, len(data)) + data
            file.writestr(entry, image())
    return path


@pytest.mark.parametrize("how", ["zip", "extra", "tar", "folder"])
def test_names_that_are_not_utf8_give_the_labels_of_the_folder(how: str, tmp_path: Path) -> None:
    """In a zip without flag, with Info-ZIP's field, in a GNU tar, in a folder unpacked raw."""
    expected = open_images(unpacked(tmp_path / "right"))
    if how in ("zip", "extra"):
        place = zipped(tmp_path / "x.zip", how == "extra")
    elif how == "tar":
        place = tmp_path / "x.tar"
        with tarfile.open(place, "w", format=tarfile.GNU_FORMAT, encoding="gbk") as file:
            file.add(tmp_path / "right", ".")
    else:
        place = unpacked(tmp_path / "raw", "gbk")

    images = open_images(place)

    assert images.classes == expected.classes == tuple(sorted(NAMES))
    assert images.labels.tolist() == expected.labels.tolist()
    assert images.names == expected.names
    assert ("names in GBK, such as " in images.described) == (how != "extra")
    assert images.open(2).size == (8, 6)


def test_a_name_in_two_encodings_is_an_error(tmp_path: Path) -> None:
    """Which of the two classes is meant cannot be known."""
    unpacked(tmp_path / "set")
    for inside in unpacked(tmp_path / "raw", "gbk").iterdir():
        inside.rename(tmp_path / "set" / inside.name)
    with pytest.raises(DataError, match="two files have one name in two encodings"):
        open_images(tmp_path / "set")


def test_back_slashes_in_a_zip_separate(tmp_path: Path) -> None:
    """Some programs of Windows write them against the rules."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        for name in ("a\\1.png", "b\\1.png"):
            file.writestr(name, image())
    images = open_images(tmp_path / "x.zip")
    assert (images.classes, images.names) == (("a", "b"), ("a/1.png", "b/1.png"))


def test_accents_have_one_form(tmp_path: Path) -> None:
    """A zip of macOS has e and an accent; its classes are those of a folder of Linux."""
    (tmp_path / "e\u0301te\u0301").mkdir()
    (tmp_path / "e\u0301te\u0301" / "1.png").write_bytes(image())
    assert open_images(tmp_path).classes == ("été",)


def test_utf8_names_stay_as_they_are() -> None:
    """Next to others, UTF-8 of three bytes is surely meant."""
    raw = "缺口".encode("gbk").decode("utf-8", "surrogateescape")
    assert recode(["合格/1.png", "a"])[0] == {}
    names, remark = recode(["合格/1.png", f"合格/{raw}.png", "a"])
    assert names == {"合格/1.png": "合格/1.png", f"合格/{raw}.png": "合格/缺口.png"}
    assert "GBK" in remark
