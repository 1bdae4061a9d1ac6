"""Evaluation preprocessing: bit for bit equal to both frameworks' own transforms."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from either import on_each_side
from vision import torchvision_transforms
from vitconvert import DataError
from vitconvert.images import (
    Preprocessing,
    open_image,
    open_images,
    preprocessing_of,
    read_image,
)
from vitconvert.sides import Side
from vitconvert.tables.reading import find_variant, variants

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FILTERS = ["bicubic", "bilinear", "lanczos", "nearest"]
# Width and height: landscape, portrait, odd, square, smaller than the crop, just as large.
SIZES = [(500, 375), (375, 500), (301, 217), (64, 64), (20, 31), (97, 97), (111, 700), (257, 110)]


def photo(wide: int, high: int, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(wide * 1000 + high)
    return Image.fromarray(rng.integers(0, 256, (high, wide, 3), "u1")).convert(mode)


def preprocessing(**changes: Any) -> Preprocessing:
    return replace(Preprocessing((97, 97), 0.875, "center", "bicubic", MEAN, STD), **changes)


@on_each_side
@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("crop_pct", [1.0, 0.96, 0.9, 0.875])
def test_it_equals_each_frameworks_own_bit_for_bit(
    crop_pct: float, interpolation: str, framework: Side
) -> None:
    """Resize, CenterCrop, ToTensor and Normalize of Pillow's images, with their rounding."""
    resampling, atol = interpolation, 0.0
    if framework == "torch":
        t = torchvision_transforms()
        resampling = t.InterpolationMode(interpolation)
    else:
        t = pytest.importorskip("paddle.vision.transforms")
        # Paddle 2 divides by 255 by multiplying with its reciprocal, which is not quite the same.
        atol = 1e-6 if pytest.importorskip("paddle").__version__.startswith("2.") else 0.0
    ours = preprocessing(crop_pct=crop_pct, interpolation=interpolation)
    cut = t.Compose([t.Resize(int(97 / crop_pct), resampling), t.CenterCrop(97)])
    normalise = t.Compose([t.ToTensor(), t.Normalize(MEAN, STD)])
    for size in SIZES:
        image = photo(*size)
        theirs = cut(image)
        np.testing.assert_array_equal(np.asarray(ours.crop(image)), np.asarray(theirs), str(size))
        values = np.asarray(normalise(theirs))
        np.testing.assert_allclose(ours(image), values, rtol=0, atol=atol, err_msg=str(size))


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "YCbCr"])
def test_images_of_every_mode_are_converted_as_torchvisions_loader_does(
    mode: str, tmp_path: Path
) -> None:
    """By Pillow's own convert, in the file and in memory."""
    torchvision_transforms()
    from torchvision.datasets.folder import pil_loader

    file = tmp_path / ("x.tif" if mode in ("CMYK", "YCbCr") else "x.png")
    photo(40, 30, mode).save(file)

    ours = read_image(file, "x")

    assert ours.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(pil_loader(str(file))))


def test_squashing_gives_up_proportions() -> None:
    """Both sides are resized independently; the crop is the middle."""
    image = photo(90, 40)
    whole = preprocessing(size=(32, 48), crop_mode="squash", crop_pct=1.0).crop(image)
    middle = preprocessing(size=(32, 48), crop_mode="squash", crop_pct=0.5).crop(image)

    bicubic = Image.Resampling.BICUBIC
    np.testing.assert_array_equal(np.asarray(whole), np.asarray(image.resize((48, 32), bicubic)))
    expected = image.resize((96, 64), bicubic).crop((24, 16, 72, 48))
    np.testing.assert_array_equal(np.asarray(middle), np.asarray(expected))


@pytest.mark.parametrize("wide", [20, 33, 64, 500])
@pytest.mark.parametrize("high", [20, 33, 64, 500])
@pytest.mark.parametrize("size", [(32, 48), (48, 32), (1, 7), (224, 224)])
def test_the_crop_never_leaves_the_image(wide: int, high: int, size: tuple[int, int]) -> None:
    """A white image gives no black pixel, which Pillow adds outside."""
    white = Image.new("RGB", (wide, high), "white")
    for crop_pct in (1.0, 0.9):
        seen = preprocessing(size=size, crop_pct=crop_pct).crop(white)
        assert seen.size == size[::-1]
        assert np.asarray(seen).min() == 255


def test_normalising_is_the_formula() -> None:
    """Each value of each channel, in float32, into new memory or given memory."""
    pixels = np.arange(768, dtype="i4").astype("u1").reshape(16, 16, 3)
    out = np.full((3, 16, 16), np.nan, "f4")

    made = preprocessing().normalise(pixels)

    assert preprocessing().normalise(pixels, out) is out
    np.testing.assert_array_equal(made, out)
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    exact = ((pixels / 255 - np.array(MEAN)) / np.array(STD)).transpose(2, 0, 1)
    np.testing.assert_allclose(made, exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_exif_orientation_is_applied_on_request(
    suffix: str, orientation: int, tmp_path: Path
) -> None:
    """As in torchvision, pixels are taken as stored; with exif as Pillow's ImageOps turns them."""
    image, exif = photo(40, 20), Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "a" / f"x.{suffix}"
    file.parent.mkdir()
    image.save(file, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
    stored, turned = open_images(tmp_path), open_images(tmp_path, exif=True)

    as_stored, as_turned = stored.open(0), turned.open(0)

    assert as_turned.tobytes() == expected.tobytes()
    assert as_turned.size == ((20, 40) if 5 <= orientation <= 8 else (40, 20))
    assert as_stored.tobytes() == read_image(file, "x").tobytes()
    # Pillow turns TIFFs when it reads them.
    is_other = suffix != "tif" and 2 <= orientation <= 8
    assert (as_stored.tobytes() != as_turned.tobytes()) == is_other
    assert ("1 image has an EXIF orientation that is not" in stored.orientation) == is_other
    assert turned.orientation == ""
    assert turned.described == "1 class folder, turned by EXIF"


def test_broken_exif_does_not_matter(tmp_path: Path) -> None:
    """The pixels can be read."""
    photo(40, 20).save(
        tmp_path / "x.jpg", dpi=(72, 72), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff broken"
    )
    for exif in (False, True):
        image, is_turned = open_image(tmp_path / "x.jpg", "x", exif=exif)
        assert (image.size, is_turned) == ((40, 20), False)


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    """The others are not decoded."""
    red, blue = (Image.new("RGB", (9, 9), colour) for colour in ("red", "blue"))
    red.save(tmp_path / "x.gif", save_all=True, append_images=[blue])

    assert read_image(tmp_path / "x.gif", "x").getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_more_than_8_bits_per_channel_are_refused(mode: str, tmp_path: Path) -> None:
    """Pillow's conversion to RGB would clip them at 255: another image."""
    Image.new(mode, (9, 9)).save(tmp_path / "x.tif")
    with pytest.raises(DataError, match=r"cat/1: has more than 8 bits per channel \(mode"):
        read_image(tmp_path / "x.tif", "cat/1")


@pytest.mark.filterwarnings("ignore:::PIL")  # of damaged tags
@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "gif", "webp", "tif"])
def test_damaged_images_are_errors_that_name_them(suffix: str, tmp_path: Path) -> None:
    """Cut anywhere; and with bytes changed, either an error or an image."""
    file = tmp_path / f"x.{suffix}"
    photo(60, 50).save(file)
    whole = file.read_bytes()
    for share in (0, 0.02, 0.3, 0.7):
        file.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(DataError, match=r"^a/x: cannot be read as an image: "):
            read_image(file, "a/x")
    rng = np.random.default_rng(0)
    for _ in range(100):
        changed = np.frombuffer(whole, "u1").copy()
        changed[rng.integers(0, len(whole), 8)] = rng.integers(0, 256, 8)
        with suppress(DataError):
            assert read_image(changed.tobytes(), "a/x").mode == "RGB"


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By Pillow's own limit, before anything is decoded."""
    photo(60, 50).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="x: has too many pixels"):
        read_image(tmp_path / "x.png", "x")


def test_a_strip_is_refused() -> None:
    """Resized by its shorter side, it would take all memory."""
    with pytest.raises(DataError, match=r"is 1020x20 pixels; expected no side longer than 50"):
        preprocessing()(Image.new("RGB", (1020, 20)))
    assert preprocessing()(Image.new("RGB", (1000, 20))).shape == (3, 97, 97)


def test_every_variant_has_its_preprocessing() -> None:
    """From the tables: at its own size."""
    for variant in variants().values():
        found = preprocessing_of(variant)
        assert found.size == variant.input_size
        assert found.to_dict()["std"] == list(variant.preprocessing["std"])
        assert found.crop(Image.new("RGB", (50, 60))).size == variant.input_size[::-1]


def test_preprocessing_of_a_variant_can_be_changed() -> None:
    """One value at a time; nothing else moves."""
    _, variant = find_variant("shunted_s")
    own = preprocessing_of(variant)

    assert preprocessing_of(variant, crop_pct=0.5) == replace(own, crop_pct=0.5)
    assert preprocessing_of(variant, size=(64, 32)) == replace(own, size=(64, 32))
    assert preprocessing_of(variant, mean=(0, 0.5, 1)) == replace(own, mean=(0.0, 0.5, 1.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop_pct": 0}, "crop_pct is 0; expected a number above 0"),
        ({"crop_pct": 1.5}, "crop_pct is 1.5"),
        ({"crop_pct": float("nan")}, "crop_pct is nan"),
        ({"crop_mode": "border"}, "crop_mode is 'border'; expected center or squash"),
        ({"interpolation": "cubic"}, "interpolation is 'cubic'; expected nearest, "),
        ({"size": (0, 32)}, "expected height and width"),
        ({"std": (1, 0, 1)}, "each std above 0"),
        ({"mean": (1, 0)}, "three numbers each"),
        ({"std": (1.0, float("nan"), 1.0)}, "three numbers each"),
        ({"mean": (0.0, float("inf"), 0.0)}, "three numbers each"),
        ({"size": (99999, 99999)}, "in pixels, 1 to 8192"),
        ({"crop_pct": 0.0001}, "images are not enlarged beyond 16384 pixels"),
    ],
)
def test_values_out_of_range_are_refused(change: dict[str, Any], message: str) -> None:
    """On creation, not at the first image; those that would take all memory, too."""
    with pytest.raises(DataError, match=message):
        preprocessing(**change)
