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

_ORIENTATION = 0x0112  # tag of EXIF
_MOST_BYTES = 1 << 30  # of one image's file
# Pillow's other formats do not occur in data sets, and one starts another program (EPS).
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
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
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        data = _read(source, name)
        with Image.open(BytesIO(data), formats=_FORMATS) as opened:
            if opened.mode[0] in "IF":  # I, F, I;16 and its relatives
                raise DataError(
                    f"{name}: has more than 8 bits per channel (mode {opened.mode}). "
                    f"Save it with 8 bits."
                )
            opened.load()
            is_turned = _orientation(opened) != 1
            turned = ImageOps.exif_transpose(opened) if exif and is_turned else opened
            return Opened(turned.convert("RGB"), is_turned and not exif)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{name}: has too many pixels: {error}") from error
    except UnidentifiedImageError as error:
        raise DataError(
            f"{name}: cannot be read as an image: expected one of {', '.join(_FORMATS)}."
        ) from error
    except _DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{name}: cannot be read as an image: {reason}.") from error


def _orientation(image: Image) -> int:
    """Read the orientation of EXIF, 1 to 8; 1, which is upright, if there is none."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except _DAMAGED:  # the pixels can be read all the same
        return 1
    return found if found in range(1, 9) else 1


def _read(source: Path | bytes, name: str) -> bytes:
    if isinstance(source, bytes):
        return source
    if not source.is_file():  # opening a pipe that nobody writes to would wait for ever
        raise DataError(f"{name}: is not a file.")
    if source.stat().st_size > _MOST_BYTES:
        raise DataError(f"{name}: has {source.stat().st_size:,} bytes, too many for an image.")
    return source.read_bytes()
