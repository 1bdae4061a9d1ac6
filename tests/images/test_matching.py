"""Classes of images beside those of a model: mapped by name, or refused."""

import json
import logging
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from vitconvert import DataError
from vitconvert.images import Images, Known, known_classes, match_classes, read_classes, synsets

ACCENT = "caf\u00e9"


def images(classes: Sequence[str], labels: Sequence[int] | None = None) -> Images:
    """Make a set with one image of each class, or with these labels."""
    found = np.arange(len(classes)) if labels is None else np.array(labels)
    names = tuple(f"{i}.png" for i in range(len(found)))
    return Images("set", "folders", tuple(classes), found, names, lambda _: b"")


@pytest.mark.parametrize(
    ("names", "found", "labels", "how"),
    [
        ("a b c", "a b c", [0, 1, 2], "compared by name: 3 of 3 classes of run.json, in the same"),
        ("b c a", "a b c", [2, 0, 1], "mapped by name: 3 of 3"),
        ("b c a", "a c", [2, 1], "mapped by name: 2 of 3"),
        ("0 1 10 2", "0 1 2 10", [0, 1, 3, 2], "mapped by name: 4 of 4"),
        ("2 0 1", "000 001 002", [1, 2, 0], "mapped by name: 3 of 3"),
        (ACCENT + " b", "b " + unicodedata.normalize("NFD", ACCENT), [1, 0], "by name: 2 of 2"),
        ("n02 n01440764_tench", "n01440764", [1], "by name: 1 of 2"),
        ("cat dog elk", "0 2", [0, 2], "mapped by number: 2 of 3 classes of run.json, 2 is elk"),
        ("cat dog elk", "1 2 3", [0, 1, 2], "by position: 0 is 1, 1 is 2, … (sorted as text)"),
        ("cat dog elk", "1 2 3", [0, 1], "by position: 0 is 1, 1 is 2, …"),
        ("0 1 2", "cat dog elk", [0, 1, 2], "run.json has 0, 1, 2"),
    ],
)
def test_labels_are_those_of_the_model(names: str, found: str, labels: list[int], how: str) -> None:
    """Whatever the order of either list; the classes are the model's."""
    known = Known(tuple(names.split()), "run.json")

    some = labels if len(labels) < len(found.split()) else None  # a class without images
    matched = match_classes(images(found.split(), some), len(known.names), known)

    assert matched.images.labels.tolist() == labels
    assert matched.images.classes == known.names
    assert how in matched.how


@pytest.mark.parametrize(
    ("names", "found", "message"),
    [
        ("cat dog elk", "cat dogs", "lacks dogs. Did you mean 'dog'? Found 2: cat, dogs. Expected"),
        ("cat dog elk", "0 1 2 3", "lacks 0, 1, 2, 3. Found 4: 0, 1, 2, 3. Expected some of 3:"),
        ("1 2 3", "0 1 2", "lacks 0. "),
        ("0 1 2", "cat dog", "lacks cat, dog."),
        ("cat dog elk", "1 2", "Without 0, these numbers may be counted from 0 or from 1. Take"),
        ("crane elk crane", "crane elk", "that has crane twice."),
        ("cat dog", "01 1", "--classes FILE with the names that the images have"),
    ],
)
def test_other_names_are_refused(names: str, found: str, message: str) -> None:
    """With some of both lists, and what to do."""
    known = Known(tuple(names.split()), "run.json")

    with pytest.raises(DataError) as error:
        match_classes(images(found.split()), len(known.names), known)
    assert message in str(error.value)
    assert "set (folders): has other classes than run.json" in str(error.value)


def test_a_class_without_images_need_not_be_the_models() -> None:
    """An empty folder has no label."""
    matched = match_classes(images(["a", "b", "new"], [1, 0, 1]), 2, Known(("b", "a"), "run.json"))

    assert matched.images.labels.tolist() == [0, 1, 0]


def test_synsets_are_labels_of_a_head_of_1000() -> None:
    """Ten of them, whether the model's names are not known, or are words."""
    ten = images(synsets()[5:995:99])
    words = Known(tuple(f"word {i}" for i in range(1000)), "--classes")

    for known, how in ((None, "by synset of ImageNet: 10 of 1,000"), (words, "by synset: 10 of")):
        matched = match_classes(ten, 1000, known)
        assert matched.images.labels.tolist() == list(range(5, 995, 99))
        assert how in matched.how
    with pytest.raises(DataError, match=r"has 10 classes.*--classes FILE"):
        match_classes(ten, 100)


def test_labels_without_names_are_positions_which_is_said() -> None:
    """Those of class folders, and the numbers in a list."""
    listed = match_classes(images((), [2, 0]), 3, Known(("a", "b", "c"), "run.json"))
    folders = match_classes(images(["2", "10"]), 2)
    numbers = match_classes(images(["0", "1", "3"]), 4)

    assert listed.images.classes == ("a", "b", "c")
    assert listed.how == "by position: labels are the numbers in the list"
    assert "0 is 2, 1 is 10 (sorted by number)" in folders.how
    assert "not known" in folders.how
    assert numbers.images.labels.tolist() == [0, 1, 3]
    assert numbers.how == "mapped by number: 3 of 4 classes"


def test_names_lie_beside_the_weights(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A training's run.json; one that does not fit, or is something else, is reported."""
    weights, run = tmp_path / "best.pdparams", tmp_path / "run.json"
    assert known_classes(weights, 2) is None
    run.write_text(json.dumps({"classes": ["b", "a"]}))

    assert known_classes(weights, 2) == Known(("b", "a"), str(run))
    assert known_classes(weights, None, ["cat", "dog"]) == Known(("cat", "dog"), "--classes")
    with pytest.raises(DataError, match=r"in another order \(a, b; there b, a\)"):
        known_classes(weights, 2, ["a", "b"])
    with pytest.raises(DataError, match="got 3 class names"):
        known_classes(weights, 2, ["a", "b", "c"])
    with caplog.at_level(logging.WARNING, "vitconvert"):
        assert known_classes(weights, 3) is None
        run.write_text("[]")
        assert known_classes(weights, 2) is None
    assert "names 2 classes" in caplog.messages[0]
    assert "not used" in caplog.messages[1]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("a b\r\nc\r\n".encode("utf-16"), ("a b", "c")),
        ("合格\n划痕\n".encode("gbk"), ("合格", "划痕")),
        (b"1: c\n0: a b\n", ("a b", "c")),
        (b'id,name\n1,"a, b"\n2,c\n', ("a, b", "c")),
        (b"1 cent\n2 cent\n", ("1 cent", "2 cent")),
        (b"n01440764 tench\n7\n", ("n01440764 tench", "7")),
    ],
)
def test_names_of_classes_are_read_as_people_write_them(
    content: bytes, names: tuple[str, ...], tmp_path: Path
) -> None:
    """In any encoding, and with their numbers in front."""
    file = tmp_path / "names.csv"
    file.write_bytes(content)

    assert read_classes(file) == names
