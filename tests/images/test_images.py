"""Batches of images: in order, ahead of the model, and ended early on request."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitconvert import DataError
from vitconvert.images import Images, Preprocessing, load_batches, open_images, read_image

HOW = Preprocessing((8, 10), 0.875, "center", "bilinear", (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
WORKERS = [0, 1, 4]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images of different sizes; 3 and 11 cannot be read and 7 is a strip."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("images")
    for i in range(20):
        high, wide = (2, 120) if i == 7 else rng.integers(9, 40, 2)
        file = folder / f"{i % 2}" / f"{i:02}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (high, wide, 3), "u1")).save(file)
        if i in (3, 11):
            file.write_bytes(file.read_bytes()[:60])
    return folder


@pytest.fixture
def images(folder: Path) -> Images:
    """The same, sorted by class: first the ten with even numbers, then the odd ones."""
    return open_images(folder)


def made(before: Callable[[int], object], count: int) -> Images:
    """Make a set of black images; a function is called before each is opened."""

    class Made(Images):
        def open(self, index: int) -> Image.Image:
            before(index)
            return Image.new("RGB", (9, 9))

    labels = np.zeros(count, np.int64)
    return Made("made", "made", ("x",), labels, tuple(map(str, range(count))), lambda _: b"")


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("batch_size", [1, 3, 20, 50])
def test_batches_equal_images_read_one_by_one(
    batch_size: int, workers: int, images: Images
) -> None:
    """In the requested order, every readable image once, the others with their reason."""
    indices = [i for i in np.random.default_rng(1).permutation(20).tolist() if i != 4]
    bad = {images.names.index(name) for name in ("1/03.png", "1/07.png", "1/11.png")}

    batches = list(load_batches(images, indices, HOW, batch_size, workers))

    assert [i for b in batches for i in b.indices] == [i for i in indices if i not in bad]
    assert {i for b in batches for i, _ in b.unreadable} == bad
    assert len(batches) == -(-19 // batch_size)
    for batch in batches:
        assert batch.images.shape == (len(batch.indices), 3, 8, 10)
        assert batch.images.flags.c_contiguous
        assert (str(batch.images.dtype), str(batch.indices.dtype)) == ("float32", "int64")
        assert len(batch.indices) + len(batch.unreadable) <= batch_size
        for index, image in zip(batch.indices, batch.images, strict=True):
            np.testing.assert_array_equal(image, HOW(images.open(index)))
        for index, reason in batch.unreadable:
            assert reason.startswith(f"{images.names[index]}: ")
            assert ("120x2" in reason) == (images.names[index] == "1/07.png")


@pytest.mark.parametrize("workers", WORKERS)
def test_no_images_are_no_batches(workers: int, images: Images) -> None:
    """An empty list of indices is not an error."""
    assert list(load_batches(images, [], HOW, 4, workers)) == []


@pytest.mark.parametrize("workers", [1, 4])
def test_images_are_loaded_ahead_but_not_without_limit(workers: int) -> None:
    """While a model is busy, two more batches are prepared, and no third."""
    opened: list[int] = []
    batches = load_batches(made(opened.append, 1000), range(1000), HOW, 10, workers)
    next(batches)
    deadline = time.monotonic() + 10
    while len(opened) < 30 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)

    assert sorted(opened) == list(range(30))
    batches.close()


def test_images_are_loaded_at_the_same_time() -> None:
    """As many as there are workers: none of these returns before all of them have begun."""
    meeting = threading.Barrier(4, timeout=10)
    images = made(lambda _: meeting.wait(), 8)

    batches = list(load_batches(images, range(8), HOW, 3, 4))

    assert [len(batch.indices) for batch in batches] == [3, 3, 2]


def test_a_generator_that_is_closed_ends_its_threads() -> None:
    """Each ends after its current image; waiting images are never opened."""
    opened = []

    def open_slowly(index: int) -> None:
        opened.append(index)
        time.sleep(0.02)

    before = threading.active_count()
    batches = load_batches(made(open_slowly, 10_000), range(10_000), HOW, 200, 2)
    next(batches)

    batches.close()

    assert threading.active_count() == before
    assert len(opened) < 220


@pytest.mark.parametrize("workers", WORKERS)
def test_other_errors_than_of_images_are_raised(workers: int) -> None:
    """A bug is not hidden among unreadable images, and ends the threads."""

    def fail(index: int) -> None:
        if index == 5:
            raise ZeroDivisionError("ours")
        if index == 2:
            raise DataError("2: unreadable")

    before = threading.active_count()
    batches = load_batches(made(fail, 40), range(40), HOW, 4, workers)

    assert next(batches).unreadable == ((2, "2: unreadable"),)
    with pytest.raises(ZeroDivisionError):
        next(batches)
    assert threading.active_count() == before


@pytest.mark.parametrize(("batch_size", "workers"), [(0, 1), (-1, 1), (1, -1)])
def test_impossible_settings_are_refused(batch_size: int, workers: int, images: Images) -> None:
    """Before anything is loaded."""
    with pytest.raises(ValueError, match="batch_size"):
        next(load_batches(images, [0], HOW, batch_size, workers))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "it is empty"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 99, "it is a HEIC image; save it as JPEG or PNG."),
        (b"<!DOCTYPE html><p>404", "it is a web page; download the image again."),
        (b"version https://git-lfs.github.com/spec/v1", "fetch it: git lfs pull."),
    ],
)
def test_files_that_are_no_images_are_named_for_what_they_are(content: bytes, what: str) -> None:
    """With what to do."""
    with pytest.raises(DataError, match=f"a.jpg: cannot be read as an image: .*{what}"):
        read_image(content, "a.jpg")


def test_the_reason_of_the_system_is_without_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a thousand files without rights have one reason."""
    monkeypatch.setattr(Path, "read_bytes", lambda self: (self / "x").open("rb").close())
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match=r"^a.jpg: cannot be read as an image: Not a directory.$"):
        read_image(tmp_path / "a.jpg", "a.jpg")


def test_no_image_starts_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would give PostScript to Ghostscript, whatever the name of the file."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n%%EOF\n"

    with pytest.raises(DataError, match="expected one of JPEG, PNG"):
        read_image(script, "cat/a.jpg")
    assert not (tmp_path / "started").exists()
