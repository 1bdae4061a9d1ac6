"""The supported layouts of labelled images, and the errors for the rest."""

import os
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from tools import handmade
from vitconvert import DataError
from vitconvert.images import Images, check_classes, open_images
from vitconvert.images._classes import synsets_by_id
from vitconvert.images._sources import Split

# Ten entries in the order that sorts apart from one by whole names: "a-b" is after "a".
FILES = ["a/1.png", "a/2.PNG", "a-b/1.jpg", "c/in/side/1.bmp", "c/1.JPEG"]
NAMES = ("a/1.png", "a/2.PNG", "a-b/1.jpg", "c/1.JPEG", "c/in/side/1.bmp")
LABELS = [0, 0, 1, 2, 2]


def colour(name: str) -> tuple[int, int, int]:
    """Give every file its own colour, which identifies it."""
    return tuple(np.random.default_rng(list(name.encode())).integers(0, 256, 3).tolist())


def make(folder: Path, names: Sequence[str] = FILES) -> Path:
    """Write images of 8x6 pixels in one colour each."""
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), colour(name)).save(file)
    return folder


MODES = {
    "x.zip": "",
    "x.tar": "w",
    "x.tar.gz": "w:gz",
    "x.tgz": "w:gz",
    "x.tar.xz": "w:xz",
    "x.tar.bz2": "w:bz2",
}


def packed(folder: Path, target: Path, inside: str = "") -> Path:
    """Pack a folder, as the name of the archive tells."""
    mode = MODES[f"x.{target.name.partition('.')[2]}"]
    if mode:
        with tarfile.open(target, cast(Any, mode)) as file:
            file.add(folder, inside or ".")
        return target
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, inside + path.relative_to(folder).as_posix())
    return target


def is_right(images: Images) -> bool:
    """Compare names, labels and, up to what JPEG does, colours."""
    assert images.names == NAMES
    assert images.labels.tolist() == LABELS
    assert images.labels.dtype == np.int64
    assert images.classes == ("a", "a-b", "c")
    assert len(images) == 5
    for i, name in enumerate(NAMES):
        found = images.open(i)
        assert (found.mode, found.size) == ("RGB", (8, 6))
        np.testing.assert_allclose(np.asarray(found)[3, 3], colour(name), atol=3)
    return True


# -- class folders


def test_class_folders_are_labelled_as_torchvision_does(tmp_path: Path) -> None:
    """By the sorted list of folders; nested files belong to the outermost."""
    images = open_images(make(tmp_path))

    assert is_right(images)
    assert images.source == str(tmp_path)
    assert images.described == "3 class folders"


@pytest.mark.torch
def test_labels_are_those_of_torchvisions_image_folder(tmp_path: Path) -> None:
    """Its own code says so."""
    from vision import torchvision_transforms

    torchvision_transforms()
    from torchvision.datasets import ImageFolder

    theirs = ImageFolder(make(tmp_path))

    ours = open_images(tmp_path)
    assert list(ours.classes) == theirs.classes
    expected = {os.path.relpath(path, tmp_path): label for path, label in theirs.samples}
    assert dict(zip(ours.names, ours.labels.tolist(), strict=True)) == expected


def test_hidden_files_and_others_are_left_out(tmp_path: Path) -> None:
    """Files that are not images are counted in the description; hidden ones are not."""
    make(tmp_path, [*FILES, ".x/1.png", "__MACOSX/a/1.png", "top.png"])
    (tmp_path / "a" / "._1.png").write_bytes(b"x")
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / ".DS_Store").write_text("x")

    images = open_images(tmp_path)

    assert is_right(images)
    assert images.described == "3 class folders, 2 other files left out"
    assert is_right(open_images(packed(tmp_path, tmp_path / "x.zip")))


def test_a_class_without_images_keeps_its_label(tmp_path: Path) -> None:
    """The model has it; the description names it as empty."""
    (make(tmp_path / "set") / "b").mkdir()

    images = open_images(tmp_path / "set")

    assert images.classes == ("a", "a-b", "b", "c")
    assert images.labels.tolist() == [0, 0, 1, 3, 3]
    assert images.described == "4 class folders, 1 of them without images (b)"
    for name in ("x.zip", "x.tar"):
        images = open_images(packed(tmp_path / "set", tmp_path / name, "around/test/"))
        assert images.classes == ("a", "a-b", "b", "c")
        assert images.labels.tolist() == [0, 0, 1, 3, 3]


@pytest.mark.parametrize(
    ("there", "split", "found"),
    [
        (["val", "train"], "val", "val"),
        (["validation", "train"], "val", "validation"),
        (["test", "train", "valid"], "val", "valid"),
        (["val", "test", "train"], "val", "val"),
        (["val", "train"], "train", "train"),
    ],
)
@pytest.mark.parametrize("how", ["", "each", "all", "within"])
def test_a_split_is_found_by_its_name(
    there: list[str], split: Split, found: str, how: str, tmp_path: Path
) -> None:
    """As a folder, as a zip of that name, in a zip of all, and there within a folder."""
    where = tmp_path / "set"
    for name in there:
        make(where / name, FILES if name == found else ["z/1.png"])
        if how == "each":
            packed(where / name, where / f"{name}.zip", f"{name}/")
            shutil.rmtree(where / name)
    if how in ("all", "within"):
        where = packed(where, tmp_path / "set.zip", "set/" if how == "within" else "")

    images = open_images(where, split)

    assert is_right(images)
    assert images.source == str(where)
    assert images.described == "zip of " * bool(how) + f"3 class folders, split {found}"


def test_another_split_is_not_taken_instead(tmp_path: Path) -> None:
    """Read as one class named train, it would give a meaningless accuracy."""
    make(tmp_path / "set" / "train")
    message = "has train, but nothing for val; expected a folder val or validation or valid or test"
    with pytest.raises(DataError, match=message):
        open_images(tmp_path / "set")
    with pytest.raises(DataError, match=message):
        open_images(packed(tmp_path / "set", tmp_path / "x.zip"))


def test_the_folder_that_is_listed_is_known(tmp_path: Path) -> None:
    """What is written there is taken for a class or an image later; beside a list, it is not."""
    make(tmp_path / "set" / "val")
    assert open_images(tmp_path / "set").root == tmp_path / "set/val"
    assert open_images(packed(tmp_path / "set", tmp_path / "x.zip")).root is None
    make(tmp_path / "listed", ["a/1.png"])
    (tmp_path / "listed/val_list.txt").write_text("a/1.png 0\n")
    assert open_images(tmp_path / "listed").root is None


def test_an_archive_that_is_named_is_taken(tmp_path: Path) -> None:
    """A user who names train.zip wants it, whatever the default split is."""
    images = open_images(packed(make(tmp_path / "train"), tmp_path / "train.zip", "train/"))
    assert is_right(images)
    assert images.described == "zip of 3 class folders, split train"


def test_a_class_may_be_named_like_a_split(tmp_path: Path) -> None:
    """A train is a vehicle, too; a split holds folders."""
    make(tmp_path, ["bus/1.png", "train/1.png"])
    for split in ("val", "train"):
        assert open_images(tmp_path, split).classes == ("bus", "train")


# -- archives


@pytest.mark.parametrize("inside", ["", "images/", "two/folders/"])
@pytest.mark.parametrize("name", MODES)
def test_archives_are_read_without_unpacking(name: str, inside: str, tmp_path: Path) -> None:
    """With and without folders around all of it; nothing is written."""
    archive = packed(make(tmp_path / "set"), tmp_path / name, inside)
    before = sorted(tmp_path.rglob("*"))

    images = open_images(archive)

    assert is_right(images)
    assert images.described == f"{name.split('.')[1].replace('tgz', 'tar')} of 3 class folders"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["x.zip", "x.tar"])
def test_several_threads_read_an_archive(name: str, tmp_path: Path) -> None:
    """Each gets the image it asks for."""
    names = [f"{i % 7}/{i}.png" for i in range(200)]
    images = open_images(packed(make(tmp_path / "set", names), tmp_path / name))

    def is_its_own(i: int) -> bool:
        return images.open(i).getpixel((0, 0)) == colour(images.names[i])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(is_its_own, list(range(200)) * 3))


@pytest.mark.parametrize("name", MODES)
def test_damaged_archives_are_errors(name: str, tmp_path: Path) -> None:
    """Cut short, empty or another format: on opening, or at the damaged image."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "set"
    for i in range(4):
        file = folder / f"{i}/1.png"
        file.parent.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), "u1")).save(file)
    archive = packed(folder, tmp_path / name)
    whole = archive.read_bytes()
    for content in (b"", b"no archive at all" * 100, whole[: len(whole) // 2]):
        archive.write_bytes(content)
        with pytest.raises(DataError, match=r"x\.(zip|t)"):
            read_all(archive)


def read_all(path: Path) -> None:
    images = open_images(path)
    for i in range(len(images)):
        images.open(i)


def test_a_changed_byte_in_a_zip_is_found_by_its_checksum(tmp_path: Path) -> None:
    """Even where the image would decode to something."""
    folder = tmp_path / "set"
    (folder / "a").mkdir(parents=True)
    Image.new("RGB", (90, 90), "red").save(folder / "a" / "1.bmp")
    packed = tmp_path / "x.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as file:
        file.write(folder / "a" / "1.bmp", "a/1.bmp")
    content = bytearray(packed.read_bytes())
    content[5000] ^= 1
    packed.write_bytes(content)

    with pytest.raises(DataError, match=r"x\.zip: a/1\.bmp: cannot be read: Bad CRC-32"):
        open_images(packed).open(0)


# -- what is wrong


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "is empty. Expected <class>/<image>"),
        (["1.png", "2.png"], r"has 0 folders and 2 files \(1.png, 2.png\), but no images in"),
        (["a/1.txt"], r"has 1 folder and 1 file \(a, a/1.txt\), but no images"),
    ],
)
def test_a_folder_without_labelled_images_is_an_error(
    names: list[str], message: str, tmp_path: Path
) -> None:
    """What was found and what was expected."""
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=message):
        open_images(tmp_path)


def test_other_paths_are_errors(tmp_path: Path) -> None:
    """A missing path, a file that is not an archive, a pipe."""
    with pytest.raises(DataError, match="no such folder or file"):
        open_images(tmp_path / "x")
    make(tmp_path, ["a.png"])
    with pytest.raises(DataError, match="neither a folder nor an archive"):
        open_images(tmp_path / "a.png")
    os.mkfifo(tmp_path / "x.zip")
    with pytest.raises(DataError, match="neither a folder nor an archive"):
        open_images(tmp_path / "x.zip")


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A broken file, a link to nothing, a pipe: when it is opened, not before."""
    make(tmp_path)
    (tmp_path / "a" / "1.png").write_bytes(b"nothing")
    (tmp_path / "a" / "3.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "a" / "4.png")

    images = open_images(tmp_path)

    for index, name in ((0, "a/1.png"), (2, "a/3.png"), (3, "a/4.png")):
        assert images.names[index] == name
        with pytest.raises(DataError, match=f"^{name}: "):
            images.open(index)


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    """A class may be a link; one to the folder above is empty."""
    make(tmp_path / "store")
    where = tmp_path / "set"
    where.mkdir()
    for name in ("a", "a-b", "c"):
        (where / name).symlink_to(tmp_path / "store" / name)
    (tmp_path / "store" / "c" / "round").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "c" / "self").symlink_to(".")
    (where / "up").symlink_to("..")

    images = open_images(where)

    assert images.classes == ("a", "a-b", "c", "up")
    assert len(images) < 50
    with pytest.raises(DataError, match="up"):
        check_classes(images, 3)


def test_labels_have_to_fit_the_head(tmp_path: Path) -> None:
    """As many classes as it has, or no label beyond them."""
    images = open_images(make(tmp_path))

    check_classes(images, 3)
    with pytest.raises(
        DataError, match=r"has 3 classes \(a, a-b, c\); the model has a head for 1000"
    ):
        check_classes(images, 1000)
    with pytest.raises(DataError, match=r"c/1.JPEG has label 2; the model has labels 0 to 1"):
        check_classes(replace(images, classes=()), 2)
    check_classes(replace(images, classes=()), 10)


# -- ImageNet

NUMBERS = [1, 2, 3, 5]  # a part of the images, in which one is missing
IDS = [490, 361, 171, 822, 297]  # of the first five images, by the development kit
SORTED = [65, 970, 230, 809, 516]  # the same, as models have them
SYNSETS = ["n01751748", "n09193705", "n02105855", "n04263257", "n03125729"]


def imagenet(folder: Path) -> Path:
    return make(folder, [f"ILSVRC2012_val_{i:08d}.JPEG" for i in NUMBERS])


LISTS = {
    "ILSVRC2012_validation_ground_truth.txt": [f"{i}" for i in IDS],
    "imagenet_2012_validation_synset_labels.txt": SYNSETS,
    "synset_labels.txt": SYNSETS,
    "val_list.txt": [f"val/ILSVRC2012_val_{i + 1:08d}.JPEG {n}" for i, n in enumerate(SORTED)],
    "val.txt": [f"ILSVRC2012_val_{i + 1:08d}.JPEG {n}" for i, n in enumerate(SORTED)],
    "LOC_val_solution.csv": [
        "ImageId,PredictionString",
        *(f"ILSVRC2012_val_{i + 1:08d},{n} 85 1 499 272 " for i, n in enumerate(SYNSETS)),
    ],
}


def test_the_list_of_synsets_is_the_standard_one() -> None:
    """It has 1000, and the first, the last and some known ones are where they belong."""
    ids = synsets_by_id()
    assert len(set(ids)) == 1000
    assert (ids[0], ids[1], ids[999]) == ("n02119789", "n02100735", "n03255030")
    assert (min(ids), max(ids)) == ("n01440764", "n15075141")
    assert [sorted(ids).index(ids[i - 1]) for i in IDS] == SORTED
    assert [ids[i - 1] for i in IDS] == SYNSETS
    # The last five images, by the kit and by synset.
    ends = ["n02123394", "n01630670", "n02106166", "n10148035", "n02437616"]
    assert [ids[i - 1] for i in (10, 495, 128, 848, 186)] == ends


@pytest.mark.parametrize("place", ["in", "beside", "kit"])
@pytest.mark.parametrize("name", LISTS)
def test_imagenets_labels_are_positions_in_the_sorted_synsets(
    name: str, place: str, tmp_path: Path
) -> None:
    """From every known list, in the folder, beside it, or in the development kit beside it."""
    where = {"in": "val", "beside": ".", "kit": "ILSVRC2012_devkit_t12/data"}[place]
    imagenet(tmp_path / "val")
    (tmp_path / where).mkdir(parents=True, exist_ok=True)
    (tmp_path / where / name).write_text("\n".join(LISTS[name]) + "\n")

    for given in (tmp_path, tmp_path / "val"):
        images = open_images(given)

        assert images.labels.tolist() == [65, 970, 230, 516]
        assert images.classes[65] == "n01751748"
        assert images.names[3] == "ILSVRC2012_val_00000005.JPEG"
        assert images.described.startswith("4 validation images of ImageNet, labels of ")
        assert images.described.endswith(name)
        check_classes(images, 1000)


def test_imagenets_own_archive_is_read(tmp_path: Path) -> None:
    """The tar as it is downloaded, or another with folders around it; labels beside it."""
    packed(imagenet(tmp_path / "x"), tmp_path / "ILSVRC2012_img_val.tar", ".")
    name = "ILSVRC2012_validation_ground_truth.txt"
    (tmp_path / name).write_text("\n".join(LISTS[name]))

    packed(tmp_path / "x", tmp_path / "all.zip", "all/val/")
    for given in (tmp_path, tmp_path / "ILSVRC2012_img_val.tar", tmp_path / "all.zip"):
        images = open_images(given)
        assert images.labels.tolist() == [65, 970, 230, 516]
        assert images.open(2).size == (8, 6)


def test_label_files_must_agree(tmp_path: Path) -> None:
    """The user decides which of two is right."""
    imagenet(tmp_path)
    for name, lines in LISTS.items():
        (tmp_path / name).write_text("\n".join(lines))
    assert open_images(tmp_path).labels.tolist() == [65, 970, 230, 516]

    (tmp_path / "val.txt").write_text("\n".join(LISTS["val.txt"]).replace(" 65", " 66"))
    with pytest.raises(DataError, match=r"contradict each other: .*0001.JPEG has label 65 by"):
        open_images(tmp_path)


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("val_list.txt", ["ILSVRC2012_val_00000001.JPEG 65"], "does not list .*0002.JPEG"),
        ("val_list.txt", [*LISTS["val.txt"], "x 1000"], "has the label '1000'; expected one of"),
        ("val_list.txt", [*LISTS["val.txt"], "x"], "line 6 is 'x'; expected a name and a label"),
        ("val_list.txt", [*LISTS["val.txt"], LISTS["val.txt"][0] + "1"], "has two labels for"),
        ("val.txt", [f"ILSVRC2012_val_{i:08d} {i}" for i in range(1, 1001)], "label '1000'"),
        ("ILSVRC2012_validation_ground_truth.txt", ["1", "2"], "has 2 lines and no label for"),
        ("ILSVRC2012_validation_ground_truth.txt", ["0"] * 9, "holds '0'; expected numbers of"),
        ("ILSVRC2012_validation_ground_truth.txt", ["1001"] * 9, "1 to 1000, one per line"),
        ("synset_labels.txt", ["n00000001"] * 9, "has the label 'n00000001'"),
        ("synset_labels.txt", [], "is empty"),
    ],
)
def test_lists_that_do_not_fit_are_errors(
    name: str, lines: list[str], message: str, tmp_path: Path
) -> None:
    """A missing label, an extra one, one of another list."""
    (imagenet(tmp_path) / name).write_text("\n".join(lines))
    with pytest.raises(DataError, match=message):
        open_images(tmp_path)


def test_imagenet_without_labels_is_an_error(tmp_path: Path) -> None:
    """The error lists the expected files and where to put them."""
    imagenet(tmp_path / "val")
    message = r"has 4 images of ImageNet but no labels. Expected one of .*ground_truth.txt"
    with pytest.raises(DataError, match=message):
        open_images(tmp_path)


# -- lists


def test_lists_of_paths_and_labels_are_read_as_paddleclas_does(tmp_path: Path) -> None:
    """Each split has its own; labels have no names."""
    make(tmp_path, ["jpg/1.png", "jpg/two words.png", "jpg/3.png"])
    (tmp_path / "val_list.txt").write_text("jpg/3.png 7\njpg/two words.png 0\n\n")
    (tmp_path / "train_list.txt").write_text("jpg/1.png 2\njpg/none.png 2\n")

    val, train = open_images(tmp_path), open_images(tmp_path, "train")

    assert (val.names, val.labels.tolist()) == (("jpg/3.png", "jpg/two words.png"), [7, 0])
    assert val.open(0).getpixel((0, 0)) == colour("jpg/3.png")
    assert (val.classes, val.described) == ((), "2 images listed in val_list.txt")
    assert train.labels.tolist() == [2, 2]
    with pytest.raises(DataError, match=r"none\.png: is not a file"):
        train.open(1)
    check_classes(val, 8)
    with pytest.raises(DataError, match=r"jpg/3\.png has label 7; the model has labels 0 to 6"):
        check_classes(val, 7)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a.png x\nb.png 1", "line 1 is 'a.png x'; expected a path and a label"),
        (b"a.png 1\na.png 2", "line 2 gives a.png another label"),
        (b"a.png -1", "line 1 is 'a.png -1'"),
        (b"a.png -1\n" * 9, "(?s)line 5 .*and 4 more"),
        (b"a.png\nb.png\n", "has paths without labels, such as 'a.png'. Expected a label behind"),
        (b"", "is empty"),
        (b"\xff\xfex", "cannot be read as text"),
    ],
)
def test_malformed_lists_are_errors(content: bytes, message: str, tmp_path: Path) -> None:
    """One error lists all lines."""
    (tmp_path / "val_list.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_images(tmp_path)


# -- CIFAR

CUT = b"the first 5,000 bytes"
CLASSES = [f"class {i}" for i in range(10)]


def old_pickle(value: object) -> bytes:
    """Pickle as Python 2 did, in which texts and bytes were one; protocol 2."""
    from struct import pack

    if isinstance(value, dict):
        pairs = b"".join(old_pickle(k) + old_pickle(v) for k, v in value.items())
        return b"}(" + pairs + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(old_pickle, value)) + b"e"
    if isinstance(value, int):
        return b"K" + bytes([value])
    if isinstance(value, str):
        return b"U" + bytes([len(value)]) + value.encode()
    assert isinstance(value, np.ndarray)
    shape = b"".join(b"M" + pack("<H", n) for n in value.shape)
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
        b"(K\x01" + shape + b"\x86cnumpy\ndtype\n(U\x02u1K\x00K\x01tR"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"T" + pack("<i", value.nbytes) + value.tobytes() + b"tb"
    )


def pickled(value: object) -> bytes:
    return b"\x80\x02" + old_pickle(value) + b"."


def cifar(folder: Path, form: str = "10") -> tuple[np.ndarray, list[int]]:
    """Write all batches of 3 images each; give pixels and labels of the test batch."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    names = ["test", "train"]
    if form == "10":
        names = ["test_batch", *(f"data_batch_{i}" for i in range(1, 6))]
    meta, key = ("batches.meta", "label_names") if form == "10" else ("meta", "fine_label_names")
    (folder / meta).write_bytes(pickled({key: CLASSES}))
    for name in reversed(names):
        pixels = rng.integers(0, 256, (3, 3072), "u1")
        labels = rng.integers(0, 10, 3).tolist()
        batch = {"data": pixels, "labels" if form == "10" else "fine_labels": labels}
        (folder / name).write_bytes(pickled(batch))
    assert pickle.loads((folder / names[0]).read_bytes(), encoding="latin1").keys() == batch.keys()
    return pixels, labels


@pytest.mark.parametrize("in_archive", [False, True])
@pytest.mark.parametrize("form", ["10", "100"])
def test_cifar_is_read_in_its_original_format(form: str, in_archive: bool, tmp_path: Path) -> None:
    """Planes of red, green and blue become images; as folder, as archive, or the folder of it."""
    name = {"10": "cifar-10-batches-py", "100": "cifar-100-python"}[form]
    pixels, labels = cifar(tmp_path / "set" / name, form)
    places = [tmp_path / "set", tmp_path / "set" / name]
    if in_archive:
        (tmp_path / "tar").mkdir()
        file = tmp_path / "tar" / f"cifar-{form}-python.tar.gz"
        places = [tmp_path / "tar", packed(tmp_path / "set" / name, file, name)]
    for place in places:
        images = open_images(place)

        assert images.classes == tuple(CLASSES)
        assert images.labels.tolist() == labels
        assert len(set(images.names)) == 3
        for i in range(3):
            expected = pixels[i].reshape(3, 32, 32).transpose(1, 2, 0)
            np.testing.assert_array_equal(np.asarray(images.open(i)), expected)
        assert f"CIFAR-{form} in its original format, test" in images.described
        assert len(open_images(place, "train")) == {"10": 15, "100": 3}[form]


def test_a_pickle_of_cifar_is_never_executed(tmp_path: Path) -> None:
    """Its call is not made; the error says that it is not a batch."""
    folder = tmp_path / "cifar-10-batches-py"
    cifar(folder)
    planted = handmade.call("os.mkdir", handmade.text(str(tmp_path / "owned")))
    batch = handmade.named(("data", planted), ("labels", handmade.several(b"K\x00")))
    (folder / "test_batch").write_bytes(handmade.pickled(batch))

    with pytest.raises(DataError, match="test_batch: data is not an array of bytes; expected"):
        open_images(tmp_path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test_batch", None, "test_batch: is missing"),
        ("test_batch", b"\x80\x02].", "test_batch: holds no dict"),
        ("test_batch", b"", "test_batch: the file is empty"),
        ("test_batch", CUT, "test_batch: malformed or cut-off pickle"),
        ("batches.meta", pickled({"label_names": ["one"]}), "not a list of 3 labels below 1"),
        ("batches.meta", pickled({"x": 1}), "has no list label_names of class names"),
    ],
)
def test_damaged_batches_are_errors(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    """They name the file."""
    cifar(tmp_path / "cifar-10-batches-py")
    file = tmp_path / "cifar-10-batches-py" / name
    whole = file.read_bytes()
    file.unlink()
    if content is not None:
        file.write_bytes(whole[:5000] if content == CUT else content)
    with pytest.raises(DataError, match=message):
        open_images(tmp_path)


def tar_header(size: int, kind: bytes, name: str = "x") -> bytes:
    """Make the block before an entry of a tar."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.REGTYPE])
@pytest.mark.parametrize("size", [-1024, 1 << 40])
def test_sizes_in_a_tar_are_bounded(kind: bytes, size: int, tmp_path: Path) -> None:
    """Nothing is allocated for them, and none leads back to an earlier entry."""
    pax = b"13 size=-512\n".ljust(512, b"\0")
    back = tar_header(13, tarfile.XHDTYPE) + pax + tar_header(0, tarfile.REGTYPE, "a/1.png")
    for content in (tar_header(size, kind, "a/1.png") + bytes(1024), back + bytes(1024)):
        (tmp_path / "x.tar").write_bytes(content)
        with pytest.raises(DataError):
            open_images(str(tmp_path / "x.tar")).open(0)
