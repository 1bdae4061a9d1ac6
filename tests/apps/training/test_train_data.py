"""Both sets of images before the first epoch: their classes, and whether they can be read."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training import CLASSES, make_images, settings
from vitconvert import DataError
from vitconvert.apps.training._prepare import prepare
from vitconvert.apps.training._readable import in_turns
from vitconvert.images import Known


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the images once."""
    return make_images(tmp_path_factory.mktemp("images"))


def test_validation_images_may_lack_a_class(tmp_path: Path) -> None:
    """Their labels are those of the training images."""
    data = make_images(tmp_path)
    shutil.rmtree(tmp_path / "val" / "green")

    prepared = prepare(settings(data))

    validation = prepared.validation.images
    assert prepared.classes == CLASSES
    assert {validation.classes[label] for label in validation.labels} == {"blue", "red"}
    assert prepared.matched == "mapped by name: 2 of 3 classes of the training images"


@pytest.mark.parametrize(
    ("stored", "classes", "new"),
    [
        (("red", "blue", "green"), ("red", "blue", "green"), False),
        (("cat", "dog", "elk"), CLASSES, True),
        (("cat", "dog"), CLASSES, False),  # its head is replaced anyway
        (("0", "1", "2"), CLASSES, False),
    ],
)
def test_classes_have_the_order_of_the_head_to_start_from(
    stored: tuple[str, ...], classes: tuple[str, ...], new: bool, data: Path, tmp_path: Path
) -> None:
    """As the run.json beside the weights names them; a head for other classes is not kept."""
    (tmp_path / "run.json").write_text(json.dumps({"classes": stored}))

    prepared = prepare(settings(data, weights=str(tmp_path / "best.pdparams")))

    assert prepared.classes == prepared.validation.images.classes == classes
    assert prepared.is_new_head is new
    for part in (prepared.images, prepared.validation.images):
        folders = [name.split("/")[0] for name in part.names]
        assert [classes[label] for label in part.labels] == folders


def test_a_resumed_run_keeps_its_order_of_classes(data: Path) -> None:
    """Another release may have sorted them otherwise; other classes are other images."""
    order = ("red", "blue", "green")
    before = prepare(settings(data))

    after = prepare(settings(data), Known(order, "run.json"))

    assert after.classes == order
    assert before.fingerprint() != after.fingerprint()
    other = prepare(settings(data), Known(("cat", "dog", "elk"), "run.json"))
    assert other.fingerprint() == before.fingerprint()


@pytest.mark.parametrize("split", ["train", "val"])
def test_sets_that_cannot_be_read_are_refused_before_the_first_epoch(
    split: str, tmp_path: Path
) -> None:
    """The set and the reasons are named, the most frequent first."""
    data = make_images(tmp_path, train=7)
    for i, path in enumerate(sorted((data / split).glob("*/*.png"))):
        if i < 2:
            Image.new("I;16", (32, 32)).save(path)
        else:
            path.write_bytes(b"P5 9 9 255 " + b"x" * i)  # cut short, each elsewhere

    with pytest.raises(DataError) as error:
        prepare(settings(data))

    which = {"train": "training", "val": "validation"}[split]
    lines = str(error.value).splitlines()
    assert lines[0].endswith(f"split {split}): none of the {which} images can be read:")
    assert lines[1].startswith("  5 images: cannot be read as an image: image file is truncated")
    assert lines[2].startswith("  2 images: has more than 8 bits per channel (mode I;16)")
    assert lines[2].endswith("(blue/000.png, blue/003.png)")


def test_images_are_tried_in_turns_of_their_classes() -> None:
    """One of each class first; only those that the run uses."""
    labels = np.array([0, 0, 0, 1, 2, 2])

    assert list(in_turns(labels, np.array([0, 1, 2, 4, 5]))) == [0, 4, 1, 5, 2]
