"""Layouts of data sets as people have them: lists, numbered folders, Kaggle, Tiny ImageNet."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitconvert import DataError
from vitconvert.images import open_images, order_classes, synsets
from vitconvert.images._layouts import LAYOUTS

SOME = [synsets()[i] for i in (7, 1, 30)]


def make(folder: Path, names: Sequence[str]) -> Path:
    """Write images of one colour, each its own."""
    for i, name in enumerate(names):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (i, i, i)).save(file, "PNG")
    return folder


def zipped(folder: Path, inside: str = "") -> Path:
    """Pack a folder beside it."""
    target = folder.parent / "packed.zip"
    with zipfile.ZipFile(target, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, inside + path.relative_to(folder).as_posix())
    return target


# -- the order of classes


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["10", "2", "1", "0"], ["0", "1", "2", "10"]),
        (["0010", "0002", "0001"], ["0001", "0002", "0010"]),
        (["10", "9", "1a"], ["10", "1a", "9"]),
        (["-1", "10", "2"], ["-1", "10", "2"]),
        (["9" * 9000, "10", "2", "02"], ["02", "2", "10", "9" * 9000]),
        (["٢", "10"], ["10", "٢"]),  # digits of another script are texts
        (SOME, sorted(SOME)),
    ],
)
def test_whole_numbers_are_sorted_by_number(names: list[str], expected: list[str]) -> None:
    """All others as texts, as torchvision does."""
    assert order_classes(names) == tuple(expected)


def test_numbered_folders_are_labelled_by_number(tmp_path: Path) -> None:
    """The description says so, where another order would be expected."""
    images = open_images(make(tmp_path, [f"{i}/x.png" for i in range(12)]))

    assert images.classes == tuple(map(str, range(12)))
    assert {images.names[i]: label for i, label in enumerate(images.labels)}["11/x.png"] == 11
    assert images.described == "12 class folders, sorted by number"
    assert open_images(make(tmp_path / "set", ["0/x.png", "1/x.png"])).described.endswith("folders")


@pytest.mark.parametrize(
    ("folders", "num_classes", "implied"),
    [
        (SOME, 1000, {7: SOME[0], 1: SOME[1], 30: SOME[2]}),
        ([f"{SOME[0]}-tench", SOME[1]], 1000, {7: f"{SOME[0]}-tench", 999: synsets()[999]}),
        (["0", "3", "7"], 10, {3: "3", 9: "9"}),
        (["00", "03"], 10, {0: "00", 3: "03", 4: "4"}),
        (SOME, 10, {}),
        ([*SOME, "n00000001"], 1000, {}),
        ([*SOME, f"{SOME[0]} twice"], 1000, {}),
        (["1", "2", "3"], 10, {}),  # perhaps counted from 1
        (["0", "10"], 10, {}),
        (["cat", "dog"], 1000, {}),
    ],
)
def test_some_classes_imply_all_of_a_head(
    folders: list[str], num_classes: int, implied: dict[int, str], tmp_path: Path
) -> None:
    """Imagenette's folders are ten of the 1000; nothing is guessed of other names."""
    found = open_images(make(tmp_path, [f"{name}/x.png" for name in folders]))

    names = found.implied_classes(num_classes)

    assert len(names) == (num_classes if implied else 0)
    assert {label: names[label] for label in implied} == implied


# -- lists

TREE = ["ok/1 a.png", "ok/2.png", "ng/3.png", "ng/4,5.png"]
LABELS = [0, 0, 1, 1]


def listed(separator: str, change: str = "", labels: Sequence[object] = LABELS) -> str:
    """Make the lines of a list."""
    paths = [name.replace("/", change) if change else name for name in TREE]
    return "\n".join(f"{p}{separator}{n}" for p, n in zip(paths, labels, strict=True))


WINDOWS = r"C:\Users\x\set" + "\\"
FORMS = {
    "blanks": (listed(" "), ""),
    "tabs": (listed("\t"), ""),
    "commas": (listed(","), ""),
    "comma and blank": (listed(", "), ""),
    "semicolons": (listed(";"), ""),
    "back slashes": (listed(" ", "\\"), ""),
    "CRLF, BOM, blanks": ("\ufeff" + listed(" ").replace("\n", "  \r\n") + "\r\n\r\n", ""),
    "comments": ("# path label\n" + listed(" "), ", 1 comment left out"),
    "quotes": ("\n".join(f'"{p}" {n}' for p, n in zip(TREE, LABELS, strict=True)), ""),
    "dots": ("./" + listed(" ").replace("\n", "\n./"), ""),
    "other machine": (
        "\n".join(f"/home/x/set/{line}" for line in listed(" ").split("\n")),
        ", paths without their first 3 folders",
    ),
    "other machine, Windows": (
        "\n".join(WINDOWS + line for line in listed("\t", "\\").split("\n")),
        ", paths without their first 4 folders",
    ),
    "header": ("filename,label\n" + listed(",").replace("ng/4,5.png", '"ng/4,5.png"'), ""),
    "more columns": (
        ",label,image_path\n"
        + "\n".join(f'{i},{n}.0,"{p}"' for i, (p, n) in enumerate(zip(TREE, LABELS, strict=True))),
        "",
    ),
    "names behind": (
        "\n".join(f'"{p}",{n},x{n}' for p, n in zip(TREE, LABELS, strict=True)),
        "",
    ),
    "labels first": ("\n".join(f"{n}\t{p}" for p, n in zip(TREE, LABELS, strict=True)), ""),
    "comments behind": (
        "\n".join(f"{line}  # x {line[0]}" for line in listed(" ").split("\n")),
        "",
    ),
    "labels from 1": (listed(" ", labels=[1, 1, 2, 2]), ", labels counted from 1 to 2"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_lists_are_read_as_programs_write_them(form: str, packed: bool, tmp_path: Path) -> None:
    """Every form gives the same images and labels, in a folder and in a zip."""
    text, remark = FORMS[form]
    folder = make(tmp_path / "set", TREE)
    (folder / "val_list.txt").write_text(text, encoding="utf-8", newline="")

    images = open_images(zipped(folder) if packed else folder)

    assert images.labels.tolist() == LABELS
    assert images.names == tuple(TREE)
    assert [np.asarray(images.open(i))[0, 0, 0] for i in range(4)] == [0, 1, 2, 3]
    assert images.described == f"{'zip of ' * packed}4 images listed in val_list.txt{remark}"


def test_a_list_may_lie_above_its_images(tmp_path: Path) -> None:
    """The folder of images is given, side by side."""
    make(tmp_path, ["jpg/1.png", "jpg/2.png"])
    (tmp_path / "val_list.txt").write_text("jpg/1.png 1\njpg/2.png 0\n")
    images = open_images(tmp_path / "jpg")
    assert (images.labels.tolist(), images.names) == ([1, 0], ("jpg/1.png", "jpg/2.png"))
    with pytest.raises(DataError, match="images side by side"):
        open_images(tmp_path / "jpg", "train")


def test_labels_from_1_are_named_by_their_numbers(tmp_path: Path) -> None:
    """The lists of both splits are counted alike; a head with a class more is not shifted."""
    make(tmp_path, TREE)
    (tmp_path / "train_list.txt").write_text(listed(" ", labels=[1, 2, 3, 3]))
    (tmp_path / "val_list.txt").write_text(listed(" ", labels=[2, 2, 3, 3]))

    val, train = open_images(tmp_path), open_images(tmp_path, "train")

    assert val.classes == train.classes == ("1", "2", "3")
    assert (val.labels.tolist(), train.labels.tolist()) == ([1, 1, 2, 2], [0, 1, 2, 2])
    assert val.implied_classes(3) == ()
    assert val.implied_classes(4) == ("0", "1", "2", "3")
    (tmp_path / "train_list.txt").write_text(listed(" ", labels=[0, 1, 2, 3]))
    val = open_images(tmp_path)
    assert (val.classes, val.labels.tolist()) == ((), [2, 2, 3, 3])


@pytest.mark.parametrize(
    ("file", "text", "classes", "labels", "remark"),
    [
        ("labels.txt", "ok\nng\n空\n", ("ok", "ng", "空"), LABELS, "classes of labels.txt"),
        ("x_label_list.txt", "0 ok\n1 not good\n", ("ok", "not good"), LABELS, "classes of x_"),
        ("labels.txt", "ok\n\nng\n", (), LABELS, "labels.txt has empty lines: not used"),
        ("labels.txt", "ok\n", (), LABELS, "1 class names beside it are too few for label 1"),
    ],
)
def test_names_of_classes_lie_beside_a_list(
    file: str, text: str, classes: tuple[str, ...], labels: list[int], remark: str, tmp_path: Path
) -> None:
    """As PaddleX and PaddleClas put them; what cannot be used is reported."""
    make(tmp_path, TREE)
    (tmp_path / "val_list.txt").write_text(listed(" "))
    (tmp_path / file).write_text(text, encoding="utf-8")

    images = open_images(tmp_path)

    assert (images.classes, images.labels.tolist()) == (classes, labels)
    assert remark in images.described


def test_names_as_labels_may_have_blanks(tmp_path: Path) -> None:
    """Where blanks separate; an image's name has an end."""
    make(tmp_path, TREE)
    text = "".join(f"{path} pink {label} rose\n" for path, label in zip(TREE, "aabb", strict=True))
    (tmp_path / "val_list.txt").write_text(text)

    images = open_images(tmp_path)

    assert images.classes == ("pink a rose", "pink b rose")
    assert images.names == tuple(TREE)


def test_labels_may_be_names(tmp_path: Path) -> None:
    """They are sorted as class folders are, over both splits; images without their ending."""
    make(tmp_path, ["train/a1.jpg", "train/a2.jpg", "val/a3.jpg"])
    (tmp_path / "train.csv").write_text("id,breed\na1,pug\na2,boxer\n")
    (tmp_path / "val.csv").write_text("id,breed\na3,pug\n")

    images = open_images(tmp_path)

    assert (images.classes, images.labels.tolist()) == (("boxer", "pug"), [1])
    assert images.names == ("val/a3.jpg",)
    assert "listed in val.csv by name, 2 classes, paths in val/, .jpg added" in images.described


@pytest.mark.parametrize("encoding", ["gbk", "utf-16"])
def test_lists_in_other_encodings_are_read(encoding: str, tmp_path: Path) -> None:
    """Notepad and Excel of Windows write them; the description names the encoding."""
    make(tmp_path, ["合格/1.png", "缺口/2.png"])
    (tmp_path / "val_list.txt").write_text("合格/1.png 0\n缺口/2.png 1\n", encoding=encoding)
    images = open_images(tmp_path)
    assert images.names == ("合格/1.png", "缺口/2.png")
    assert f", list in {encoding.upper()}" in images.described


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png 0\nb.png 1", "there is none of its 2 images, such as a.png. Expected paths"),
        ("/x/1/a.png 0\n/x/2/a.png 1", "there is none of its 2 images"),
        ("ok/1 a.png\t0,1\nok/2.png\t1,1", "has several labels per image"),
        ("file,width,height\nok/2.png,3,4", "has the columns file, width, height; expected one"),
        ("\0\0", "cannot be read as text"),
        (f"{'x' * 5000}/a.png 0", "there is none of its 1 images"),
    ],
)
def test_lists_that_cannot_be_used_are_errors(text: str, message: str, tmp_path: Path) -> None:
    """With what was found and what was expected."""
    make(tmp_path, TREE)
    (tmp_path / "val_list.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        open_images(tmp_path)


def test_paths_are_not_shortened_to_one(tmp_path: Path) -> None:
    """a/1.png and b/1.png are two images; 1.png is neither."""
    make(tmp_path, ["1.png"])
    (tmp_path / "val_list.txt").write_text("a/1.png 0\nb/1.png 1\n")
    with pytest.raises(DataError, match="several have one name"):
        open_images(tmp_path)


def test_a_list_of_the_other_split_is_not_taken(tmp_path: Path) -> None:
    """Nor the class folders beside it."""
    make(tmp_path, TREE)
    (tmp_path / "train_list.txt").write_text(listed(" "))
    with pytest.raises(DataError, match=r"has train_list\.txt, but nothing for val"):
        open_images(tmp_path)


# -- ImageNet's relatives


def test_kaggles_imagenet_is_read_from_any_of_its_folders(tmp_path: Path) -> None:
    """The labels lie in the top folder."""
    names = [f"ILSVRC2012_val_{i:08d}" for i in (1, 2, 3)]
    inner = tmp_path / "top/ILSVRC/Data/CLS-LOC"
    make(inner, [*(f"val/{name}.JPEG" for name in names), f"train/{SOME[1]}/1.JPEG"])
    (tmp_path / "top/ILSVRC/Annotations").mkdir()
    lines = [f"{name},{s} 1 2 3 4" for name, s in zip(names, SOME, strict=True)]
    (tmp_path / "top/LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\n" + "\n".join(lines)
    )

    for place in (tmp_path / "top", inner, inner / "val", zipped(tmp_path / "top")):
        images = open_images(place)
        assert images.labels.tolist() == [7, 1, 30]
        assert images.classes == synsets()
        assert images.described.endswith("LOC_val_solution.csv")
    assert open_images(tmp_path / "top", "train").classes == (SOME[1],)
    (tmp_path / "top/LOC_val_solution.csv").rename(inner.parent / "LOC_val_solution.csv")
    assert open_images(tmp_path / "top").labels.tolist() == [7, 1, 30]
    (inner.parent / "LOC_val_solution.csv").unlink()
    with pytest.raises(DataError, match="top folder of Kaggle's download"):
        open_images(tmp_path / "top")


@pytest.mark.parametrize("packed", [False, True])
def test_tiny_imagenet_is_read_as_downloaded(packed: bool, tmp_path: Path) -> None:
    """Both splits have the same classes, sorted, whatever the order of wnids.txt."""
    folder = tmp_path / "tiny"
    train = [f"train/{s}/images/{s}_0.JPEG" for s in SOME]
    make(folder, [*train, "val/images/val_0.JPEG", "val/images/val_1.JPEG", "test/images/t.JPEG"])
    (folder / "wnids.txt").write_text("\n".join(SOME))
    lines = [f"val_{i}.JPEG\t{s}\t0\t0\t9\t9\n" for i, s in enumerate(SOME[:2])]
    (folder / "val/val_annotations.txt").write_text("".join(lines))
    place = zipped(folder, "tiny-imagenet-200/") if packed else folder

    val = open_images(place)

    assert val.classes == open_images(place, "train").classes == tuple(sorted(SOME))
    assert val.labels.tolist() == [1, 0]
    assert val.open(1).size == (8, 6)
    assert "Tiny ImageNet, 3 classes sorted by synset, 2 images" in val.described
    if not packed:
        assert open_images(folder / "val").classes == val.classes
        assert open_images(folder / "val/images").labels.tolist() == [1, 0]
        with pytest.raises(DataError, match="images without their labels"):
            open_images(folder / "test")


# -- what is missing


@pytest.mark.parametrize(
    ("names", "looks"),
    [
        (["ILSVRC/Data/x.png"], ""),
        (["Data/CLS-LOC/x.txt"], "Kaggle's ImageNet"),
        (["CLS-LOC/val/1.png"], "Kaggle's ImageNet"),
        (["LOC_val_solution.csv"], "Kaggle's ImageNet"),
        (["Train/a/1.png", "Val/a/1.png"], "splits under other names"),
        (["set/train/a/1.png", "set/val/a/1.png"], "a folder around the images"),
        (["wnids.txt"], "Tiny ImageNet"),
        (["data_batch_1"], "CIFAR"),
        (["VOC/x", "Annotations/1.xml"], "a set for detection or segmentation"),
        (["Annotations/1.xml", "JPEGImages/1.jpg"], "a set for detection or segmentation"),
        (["train/1.png", "val/1.png"], "splits without their labels"),
        (["images/1.png", "my labels.csv"], "images without their labels"),
        (["1.png", "my labels.csv"], "images with a list"),
        (["1.png", "2.png"], "images side by side"),
        (["a/1.heic", "b/2.HEIC"], "images of another format"),
        (["train-001.parquet"], "packed data"),
        (["set.zip"], "archives in a folder"),
        (["notes.md"], ""),
    ],
)
def test_the_nearest_layout_is_named(names: list[str], looks: str, tmp_path: Path) -> None:
    """With what it has and what is missing."""
    make(tmp_path, names)
    if names == ["ILSVRC/Data/x.png"]:
        assert open_images(tmp_path).classes == ("ILSVRC",)
        return
    with pytest.raises(DataError) as caught:
        open_images(tmp_path)
    assert (f"It looks like {looks} (" in str(caught.value)) == bool(looks)
    assert looks in ["", *(layout.title for layout in LAYOUTS)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("batches.meta", "batches.meta: is not a file"),
        ("ILSVRC2012_val_00000001.JPEG", "has 1 images of ImageNet but no labels"),
        ("val_annotations.txt", "val_annotations.txt: .*is not a regular file"),
        ("val/val.txt", "val.txt: .*is not a regular file"),
        ("val_list.txt", "val_list.txt: .*is not a regular file"),
        ("labels.txt", ""),
        ("val.zip", ""),
    ],
)
def test_pipes_under_known_names_do_not_hang(name: str, message: str, tmp_path: Path) -> None:
    """Opening one would wait for ever; those without a use are left out."""
    make(tmp_path, ["a/1.png", "b/2.png"])
    (tmp_path / name).parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / name)
    (tmp_path / "test_batch").write_bytes(b"x")
    if name.startswith("val/"):
        make(tmp_path, ["val/ILSVRC2012_val_00000001.JPEG"])
    if message:
        with pytest.raises(DataError, match=message):
            open_images(tmp_path)
        return
    assert open_images(tmp_path).labels.tolist() == [0, 1]


def test_links_in_a_circle_are_errors_or_left_out(tmp_path: Path) -> None:
    """As the path itself, as a split, as a class, as a list."""
    for name in ("val", "val_list.txt", "c"):
        (tmp_path / name).symlink_to(name)
    make(tmp_path, ["a/1.png"])
    with pytest.raises(DataError, match="cannot be listed"):
        open_images(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        open_images(tmp_path / "c")
