"""An image file -> an RGB image, or an error with the reason."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

_ORIENTATION, _SHORT = 0x0112, 3  # tag of EXIF, and the type of its value
# Orientation -> what makes it upright, of Pillow's Transpose.
_WAYS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_MOST_BYTES = 1 << 30  # of one image's file
# Pillow's other formats do not occur in data sets, and one starts another program (EPS).
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
# First bytes of what people take for images of these formats, from the offset -> what it is.
_OTHERS = (
    (4, (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc"), "a HEIC image"),
    (4, (b"ftypavif", b"ftypavis"), "an AVIF image"),
    (0, (b"\xff\x0a", b"\0\0\0\x0cJXL "), "a JPEG XL image"),
    (0, (b"\0\0\0\x0cjP  ",), "a JPEG 2000 image"),
    (0, (b"<svg", b"<?xml"), "an SVG or XML file"),
    (0, (b"<!DOC", b"<!doc", b"<html", b"<HTML"), "a web page; download the image again"),
    (0, (b"version https://git-lfs",), "a git-lfs pointer; fetch it: git lfs pull"),
    (0, (b"%PDF",), "a PDF"),
)
# What Pillow's decoders raise for damaged files, beside its own errors.
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    ArithmeticError,
    AttributeError,
    TypeError,
    EOFError,
    MemoryError,
    struct.error,
    zlib.error,
)


class Opened(NamedTuple):
    """An image, and whether a camera noted another orientation, which was not applied."""

    image: Image
    is_turned: bool


def read_image(source: Path | bytes, name: str) -> Image:
    """Read an image as RGB, as `open_image` does without EXIF.

    Raises:
        DataError: It cannot be read, is cut short, or has more than 8 bits per channel.
    """
    return open_image(source, name).image


def open_image(source: Path | bytes, name: str, *, exif: bool = False) -> Opened:
    """Read an image as RGB, as torchvision's and Paddle's loaders do.

    Pillow's `convert("RGB")` converts grey, palette, CMYK and transparent images; an animation
    gives its first frame. The orientation that a camera noted in EXIF is not applied by default: no
    published model was trained or evaluated with it. Pillow itself turns TIFFs.

    Args:
        source: The file, or its bytes.
        name: Its name in errors.
        exif: Whether to apply the orientation.

    Raises:
        DataError: It cannot be read, is cut short, or has more than 8 bits per channel.
    """
    from PIL import Image, UnidentifiedImageError

    data = b""
    try:
        data = _read(source, name)
        with Image.open(BytesIO(data), formats=_FORMATS) as opened:
            if opened.mode[0] in "IF":  # I, F, I;16 and its relatives
                raise DataError(
                    f"{name}: has more than 8 bits per channel (mode {opened.mode}). "
                    f"Save it with 8 bits."
                )
            opened.load()
            way = _WAYS.get(_orientation(opened))
            if way is None or not exif:
                return Opened(opened.convert("RGB"), way is not None)
            return Opened(opened.transpose(Image.Transpose[way]).convert("RGB"), False)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{name}: has too many pixels: {error}") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: cannot be read as an image: {_other(data)}.") from error
    except _DAMAGED as error:
        # Without the path, which differs where the reason is the same.
        known = error.strerror if isinstance(error, OSError) else ""
        reason = known or str(error) or type(error).__name__
        raise DataError(f"{name}: cannot be read as an image: {reason}.") from error


def _other(data: bytes) -> str:
    """Say what a file is that is not an image of the formats that are read."""
    formats = ", ".join(_FORMATS)
    if not data.strip(b"\0"):
        return f"it is empty; expected one of {formats}"
    for at, starts, what in _OTHERS:
        if data.startswith(starts, at):
            advice = "" if ";" in what else "; save it as JPEG or PNG"
            return f"it is {what}{advice}"
    return f"expected one of {formats}"


def _orientation(image: Image) -> int:
    """Read the orientation of EXIF, 1 to 8; 1, which is upright, if there is none.

    Read here, because Pillow warns of what is damaged behind it. Source of the format: TIFF 6.0,
    section 2, which EXIF uses.
    """
    data = image.info.get("exif", b"")
    data = data.removeprefix(b"Exif\0\0") if isinstance(data, bytes) else b""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    try:
        if order is None:
            return 1
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        for entry in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", data, at + 2 + 12 * entry)
            if (tag, kind) == (_ORIENTATION, _SHORT):
                return int(value) if value in range(1, 9) else 1
    except struct.error:  # cut short; the pixels can be read all the same
        pass
    return 1


def _read(source: Path | bytes, name: str) -> bytes:
    if isinstance(source, bytes):
        return source
    if not source.is_file():  # opening a pipe that nobody writes to would wait for ever
        raise DataError(f"{name}: is not a file.")
    if source.stat().st_size > _MOST_BYTES:
        raise DataError(f"{name}: has {source.stat().st_size:,} bytes, too many for an image.")
    return source.read_bytes()
