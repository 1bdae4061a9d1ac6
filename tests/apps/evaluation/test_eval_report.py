"""How the result of an evaluation is shown and written, and the state it is resumed from."""

import csv
import io
import json
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from evaluated import EVIL, disagreeing, evaluation, photos, random

from conftest import left
from vitconvert.apps.evaluation._confusion import most_confused, worst_classes
from vitconvert.apps.evaluation._phrases import verdict, worst_first
from vitconvert.apps.evaluation._published import published
from vitconvert.apps.evaluation._report import check_report_folder, to_dict, write_reports
from vitconvert.apps.evaluation._report_html import html
from vitconvert.apps.evaluation._result import Evaluation, PairedDifference, Share
from vitconvert.apps.evaluation._tally import PER_PAIR, PER_SIDE, State, Tally, read_state
from vitconvert.apps.evaluation._terminal import show
from vitconvert.errors import CheckpointError, DataError

NAMES = ("a/1.png", 'quote".png', "comma, and\nline\r.png", "\ud800half", EVIL, "=1+1", '"', "é")


def printed(found: Evaluation, width: int = 80) -> str:
    """Give what a terminal shows."""
    screen = Screen()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(screen):
        patch.setenv("COLUMNS", str(width))
        show(found)
    text = click.unstyle(screen.getvalue())
    assert max(map(len, text.splitlines())) <= width
    return text


class Screen(io.StringIO):
    """A terminal that keeps what is shown."""

    def isatty(self) -> bool:
        """Tell that it is one."""
        return True


def words(text: str) -> str:
    """Undo the wrapping of lines."""
    return " ".join(text.split())


# -- Figures


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval(count: int, of: int, low: float, high: float) -> None:
    """The four examples of Newcombe (1998), to four digits; the other end mirrors."""
    assert Share(count, of).interval == pytest.approx((low, high), abs=5e-5)
    assert Share(of - count, of).interval == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_paired_interval() -> None:
    """Bonett and Price by hand: 1 and 7 of 21 become 2 and 8 of 23."""
    difference = PairedDifference(1, 7, 21)
    half = 1.959964 * ((10 / 23 - (6 / 23) ** 2) / 23) ** 0.5

    assert difference.value == -6 / 21
    assert difference.interval == pytest.approx((-6 / 23 - half, -6 / 23 + half))
    # Where both sides are right on the same images, the interval is small, not nothing.
    low, high = PairedDifference(0, 0, 10_000).interval
    assert -low == high == pytest.approx(1.959964 * 2**0.5 / 10_002, rel=1e-3)


def test_difference_and_agreement_by_hand() -> None:
    """Four images and three classes, of which everything can be counted."""
    one = [[2, 1, 0], [0, 3, 1], [0, 0, 5], [1, 0, 0]]
    other = [[2, 1.5, 0], [4, 3, 1], [0, 0, 5], [1, 0, 0]]
    found = evaluation(one, other, labels=[0, 1, 2, 1])

    data = to_dict(found)

    assert [side["top1"]["count"] for side in data["sides"]] == [3, 2]
    assert data["sides"][0]["top5"] is None  # of three classes
    assert data["sides"][0]["confusion"] == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    told = data["comparison"]
    assert (told["only_first_right"], told["only_second_right"]) == (1, 0)
    assert told["top1_difference"] == 0.25
    assert (told["same_prediction"]["count"], told["same_prediction"]["of"]) == (3, 4)
    assert told["largest_logit_difference"] == 4.0
    assert told["mean_logit_difference"] == pytest.approx((0.5 + 4) / 12)
    (apart,) = data["disagreements"]
    assert (apart["index"], apart["label"], apart["class"]) == (1, 1, "class 1")
    assert apart["paddle"] == {"predicted": 1, "class": "class 1", "margin": 2.0}
    assert apart["torch"] == {"predicted": 0, "class": "class 0", "margin": 1.0}
    assert not apart["rounding"]
    text = words(printed(found))
    assert "Paddle - PyTorch: +25.00 points (+1 of 4 images;" in text
    assert "only one is right Paddle 1, PyTorch 0" in text
    assert "same prediction 3 of 4" in text
    assert "logit difference largest 4, mean 0.38" in text


def test_confusions_and_worst_classes() -> None:
    """The most frequent first; a class without images is not the worst, nor in the list."""
    labels = [0, 0, 0, 1, 1, 2]
    found = evaluation(np.eye(4)[[1, 1, 0, 2, 1, 2]] * 5, labels=labels)

    assert most_confused(found, found.sides[0]) == [(0, 1, 2), (1, 2, 1)]
    assert worst_classes(found, found.sides[0]) == [(0, 1, 3), (1, 1, 2), (2, 1, 1)]


# -- The verdict


SURE = np.tile([5.0, 1.0, 0.0], (10, 1))


def close_logits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Make logits whose best two classes are exchanged by less than rounding, on some images."""
    one, other = SURE.copy(), SURE.copy()
    one[:count], other[:count] = [5, 5 - 1e-6, 0], [5 - 1e-6, 5, 0]
    return one, other


def close(count: int) -> Evaluation:
    return evaluation(*close_logits(count))


def further() -> Evaluation:
    """Make sides that agree, though their logits are further apart than rounding brings them."""
    return evaluation(SURE, SURE + np.array([0.0, 0.0, 0.1]))


def broken() -> Evaluation:
    other = SURE.copy()
    other[3, 1] = np.nan
    return evaluation(SURE, other)


@pytest.mark.parametrize(
    ("found", "same", "told"),
    [
        (random(1234), True, "both classify all 1,234 images the same."),
        (random(1), True, "both classify the one image the same."),
        (close(3), True, "3 of 10 images are classified differently, by no more than rounding."),
        (close(1), True, "1 of 10 images is classified differently, by no more than rounding."),
        (
            disagreeing(3),
            False,
            "NOT THE SAME: 3 of 3 images are classified differently by more than",
        ),
        (further(), False, "NOT THE SAME: both classify all 10 images the same, but the logits"),
        (broken(), False, "the logits of 1 image are not finite in PyTorch: 00003.png."),
        (evaluation(np.zeros((2, 3))), None, None),
        (evaluation(np.zeros((0, 3)), np.zeros((0, 3))), True, "no image was evaluated"),
    ],
)
def test_the_verdict_says_what_is_the_case(
    found: Evaluation, same: bool | None, told: str | None
) -> None:
    """It is the last line of the terminal, and at the head of the page and in the JSON."""
    assert found.same is same
    if told is None:
        assert verdict(found) is None
        return
    assert told in words(printed(found))
    assert words(printed(found)).endswith(words(str(verdict(found))))
    assert told in unescape(html(found))
    assert told in to_dict(found)["verdict"]


def test_what_rounding_cannot_explain_is_counted_and_comes_first() -> None:
    """Of three disagreements two are rounding; the third is the worst."""
    sides = close_logits(2)
    sides[1][7] = [0, 5, 0]
    found = evaluation(*sides)

    assert worst_first(found)[0] == 7
    assert (
        "3 of 10 images are classified differently, 1 of them by more than rounding; the worst is "
        in (verdict(found) or "")
    )
    assert "00007.png" in (verdict(found) or "")


# -- Published figures


def of_imagenet(count: int = 50_000, **more: Any) -> Evaluation:
    """Make an evaluation of LITv2-S that is right for 82 % of the images."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 1000, count)
    right = np.arange(count) < 0.82 * count
    made = evaluation(np.zeros((count, 6)), labels=np.zeros(count), variant="litv2_small", **more)
    predicted = np.where(right, labels, (labels + 1) % 1000)
    side = replace(made.sides[0], predicted=predicted, hit5=right)
    known = {"num_classes": 1000, "classes": (), "labels": labels, "sides": (side,)}
    return replace(made, **{**known, **{k: v for k, v in more.items() if k == "num_classes"}})


def test_published_figure_in_the_interval() -> None:
    """With the same images, classes and preprocessing there is nothing to remark."""
    found = of_imagenet()

    told = published(found)

    assert [one.top1 for one in told] == [82.0, 82.03]
    assert all(one.inside and not one.remarks for one in told)
    assert (
        "82% for litv2_s.pth (README, data/build.py and configs of the source repository); in"
        in (words(printed(found)))
    )


def test_published_figure_outside() -> None:
    """Which side of the interval it is on is said."""
    (low,) = published(replace(of_imagenet(), published=({"top1": 81.0, "source": "a paper"},)))
    (high,) = published(replace(of_imagenet(), published=({"top1": 83.0, "source": "a paper"},)))

    assert (low.inside, high.inside) == (False, False)
    assert low.sentence.startswith("81% (a paper); below the 95% interval (81.")
    assert high.sentence.startswith("83% (a paper); above the 95% interval")


def test_published_figure_of_the_evaluated_file() -> None:
    """Of several, the one whose checkpoint has the name of the file, whatever its format."""
    found = of_imagenet()
    side = replace(found.sides[0], facts={"file": "/x/alpha_0.9.pdparams"})

    assert [one.top1 for one in published(replace(found, sides=(side,)))] == [82.03]


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        ({"size": [256, 256]}, "other preprocessing: size 256/256, not 224/224"),
        ({"crop_pct": 0.9}, "crop_pct 0.9, not 0.875"),
        ({"mean": [0.5, 0.5, 0.5]}, "mean 0.5/0.5/0.5, not 0.485/0.456/0.406"),
        ({"interpolation": "bilinear"}, "interpolation bilinear, not bicubic"),
    ],
)
def test_published_figure_of_other_preprocessing(change: dict[str, Any], remark: str) -> None:
    """Every value that differs is named, and no other."""
    found = of_imagenet()
    told = published(replace(found, preprocessing={**found.preprocessing, **change}))[0]

    assert [remark in one for one in told.remarks] == [True]
    assert told.remarks[0].count("not") == 1
    assert "not comparable" in told.sentence


def test_published_figure_of_other_images_or_classes() -> None:
    """Of other classes nothing is said but that; of fewer images both."""
    fewer = published(of_imagenet(1000))[0]
    other = published(of_imagenet(num_classes=10))[0]

    assert fewer.remarks == ("published for 50,000 images, evaluated on 1,000 images",)
    assert fewer.inside
    assert other.remarks == ("published for 1,000 classes, this head has 10",)
    assert other.inside is None
    assert "interval" not in other.sentence


# -- The terminal


def test_the_terminal_shows_every_figure() -> None:
    """A line per figure, a column per side, in 80 columns."""
    found = random(10_000)
    one, other = found.sides

    text = printed(found)

    lines = {line[:17].strip(): line[17:].split("  ") for line in text.splitlines()}
    for name in ("top-1", "right", "95% interval", "top-5", "loss", "images/s, model"):
        assert name in lines, text
    top1 = [found.top1(side) for side in (one, other)]
    assert all(f"{100 * share.value:.2f}%" in text for share in top1)
    assert all(f"{share.count:,} of 10,000" in text for share in top1)
    low, high = top1[0].interval
    assert f"{100 * low:.2f} to {100 * high:.2f}%" in text
    assert f"{found.loss(one):.4f} nats" in text
    assert f"{10_000 / 0.30000000000000004:,.1f}" in text
    assert "3.00 GiB" in text
    assert "81.2 images/s, 12.5 s in all" in text
    assert "32x32 pixels, center crop 1, bicubic, mean 0.4914/0.4822/0.4465" in words(text)
    assert "PARTIAL" not in text


def test_a_partial_evaluation_says_how_to_go_on() -> None:
    """With what is done, of how many; images that cannot be read are done with."""
    found = replace(random(90), wanted=200, unreadable=(("x.png", "truncated"),) * 10)
    told = "PARTIAL: interrupted after 100 of 200 images; the figures are for these only, "
    told += "which were drawn at random from all of them."

    assert told in words(printed(found))
    assert "--resume" in printed(found)
    assert told in unescape(html(found))
    assert to_dict(found)["partial"] is True


def test_images_that_cannot_be_read_are_counted_and_named() -> None:
    """The first few, once each, spelled so that none controls the terminal."""
    bad = tuple((name := f"{i}\x1b[31m\n.png", f"{name}: is empty") for i in range(5))

    text = printed(replace(random(5), unreadable=bad, wanted=10))

    assert "5 images, left out of all figures" in text
    assert "2\\x1b[31m\\n.png: is empty" in text
    assert text.count("2\\x1b") == 1
    assert "and 2 more" in text
    assert "\x1b" not in text


def test_logits_that_are_not_finite_are_shown() -> None:
    """Their number on each side, the images, and that they count as wrong."""
    text = words(printed(broken()))

    assert "logits not finite 0 images 1 image" in text
    assert "not finite logits of PyTorch: 00003.png; counted as wrong" in text
    assert "largest 0, mean 0; 1 image not finite left out" in text


# -- The folder


def tally_of(found: Evaluation) -> Tally:
    """Give the figures of an evaluation as a run adds to them."""
    columns = {"index": [found.indices]}
    for side in found.sides:
        columns |= {f"{side.framework}.{name}": [getattr(side, name)] for name in PER_SIDE}
    if len(found.sides) == 2:
        columns |= {name: [getattr(found, name)] for name in PER_PAIR}
    names = [side.framework for side in found.sides]
    return Tally(
        columns=columns,
        unreadable=[(found.count + i, why) for i, (_, why) in enumerate(found.unreadable)],
        model_seconds=dict.fromkeys(names, 0.1 + 0.2),
        timed=dict.fromkeys(names, found.count),
        peak_bytes={name: {"process": 3 << 30} for name in names},
        seconds=12.5,
        run_seconds=0.7,
        run_timed=7,
    )


def state_of(found: Evaluation) -> State:
    environment = {side.framework: {"device": "cpu", "threads": 2} for side in found.sides}
    return State({"batch_size": 4, "names": list(NAMES)}, environment, tally_of(found))


ODD = np.array([np.nan, np.inf, 5e-324, 0.1 + 0.2, 1 / 3, -0.0, 1.7976931348623157e308, 1e22])


def odd(two: bool) -> Evaluation:
    """Make an evaluation of one or two sides with odd numbers and names."""
    found = random(len(NAMES), names=NAMES)
    sides = (replace(found.sides[0], loss=ODD), found.sides[1])
    return replace(found, sides=sides if two else sides[:1])


@pytest.mark.parametrize("two", [False, True])
def test_a_state_comes_back_as_it_was_written(two: bool, tmp_path: Path) -> None:
    """Every array bit by bit, whatever the texts hold and however odd the numbers."""
    bad = ((EVIL + "2", "is \udcff empty"), ("n", "truncated"))
    given = state_of(replace(odd(two), unreadable=bad))
    (tmp_path / "state.npz").write_bytes(given.to_bytes())

    back = read_state(tmp_path / "state.npz")

    assert (back.request, back.environment) == (given.request, given.environment)
    columns, before = back.tally.arrays(), given.tally.arrays()
    assert columns.keys() == before.keys()
    assert columns["paddle.loss"].tobytes() == ODD.tobytes()
    for name, column in before.items():
        assert column.dtype == columns[name].dtype
        assert column.tobytes() == columns[name].tobytes()
    assert ("torch.margin" in columns) == ("difference" in columns) == two
    assert back.tally.unreadable == [(8, "is \udcff empty"), (9, "truncated")]
    assert replace(back.tally, columns={}) == replace(given.tally, columns={})


def test_a_state_of_nothing_is_written_and_read(tmp_path: Path) -> None:
    """Interrupted before the first batch was done."""
    (tmp_path / "state.npz").write_bytes(State({}, {}, Tally()).to_bytes())

    assert read_state(tmp_path / "state.npz") == State({}, {}, Tally())


def test_a_state_holds_every_batch_that_is_whole(tmp_path: Path) -> None:
    """In the order of the images, whatever order the batches were in; none of half a batch."""
    tally = tally_of(random(5))
    later = {"index": [np.arange(11, 6, -1)]}
    tally.columns = {n: [*later.get(n, c), *c] for n, c in tally.columns.items()}
    tally.columns["paddle.loss"].append(np.zeros(5))
    (tmp_path / "state.npz").write_bytes(State({}, {"paddle": {}, "torch": {}}, tally).to_bytes())

    columns = read_state(tmp_path / "state.npz").tally.arrays()

    assert columns["index"].tolist() == [0, 1, 2, 3, 4, 7, 8, 9, 10, 11]
    assert {len(column) for column in columns.values()} == {10}


@pytest.mark.parametrize("two", [False, True])
def test_figures_in_images_csv_are_exact(two: bool, tmp_path: Path) -> None:
    """Python and most other programs read the very same float64 from it."""
    found = odd(two)
    write_reports(found, tmp_path, photos(found))

    with (tmp_path / "images.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    def column(name: str) -> bytes:
        return np.array([float(row[name]) for row in rows]).tobytes()

    assert column("index") == found.indices.astype(float).tobytes()
    assert column("label") == found.labels.astype(float).tobytes()
    for side in found.sides:
        for name in PER_SIDE:
            assert column(f"{side.framework}_{name}") == getattr(side, name).astype(float).tobytes()
        right = (side.predicted == found.labels).astype(float)
        assert column(f"{side.framework}_correct") == right.tobytes()
    assert ("torch_loss" in rows[0]) == ("difference" in rows[0]) == two
    for name in PER_PAIR if two else ():
        assert column(name) == getattr(found, name).tobytes()
    names = [row["name"].removeprefix("'") for row in rows]
    assert tuple(json.loads(n) if n.startswith('"') else n for n in names) == NAMES


def test_rows_are_one_line_of_valid_text_each(tmp_path: Path) -> None:
    """Other programs read images.csv as well."""
    found = random(len(NAMES), names=NAMES)
    write_reports(found, tmp_path, photos(found))

    lines = (tmp_path / "images.csv").read_bytes().decode("utf-8").splitlines()

    assert len(lines) == 1 + len(NAMES)
    assert lines[0] == (
        "index,name,label,class,paddle_predicted,paddle_correct,paddle_hit5,paddle_loss,"
        "paddle_margin,paddle_largest,torch_predicted,torch_correct,torch_hit5,torch_loss,"
        "torch_margin,torch_largest,difference,mean_difference"
    )
    side, label = found.sides[0], int(found.labels[0])
    assert lines[1].split(",")[:8] == [
        "0", "a/1.png", str(label), f"class {label}", str(side.predicted[0]),
        str(int(side.predicted[0] == label)), str(int(side.hit5[0])), repr(float(side.loss[0])),
    ]  # fmt: skip


def test_report_json_has_everything_but_the_rows(tmp_path: Path) -> None:
    """Strict JSON, with hashes, options, environment and the images that need a look."""
    found = disagreeing(3, unreadable=(("bad.png", "truncated"),), wanted=4)
    write_reports(found, tmp_path, photos(found))

    data = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)

    assert data["kind"] == "vitconvert evaluation"
    assert data["sides"][0]["facts"]["sha256"] == "ab" * 32
    assert data["options"] == {"dtype": "float32", "limit": None}
    assert data["environment"] == {"python": "3.11"}
    assert data["unreadable"] == [{"index": 3, "name": "bad.png", "reason": "truncated"}]
    assert [one["name"] for one in data["disagreements"]] == list(found.names)
    assert data["images"]["rows"] == 3
    assert "loss" not in data["disagreements"][0]


def test_the_contact_sheet_comes_and_goes(tmp_path: Path) -> None:
    """It is there if two sides disagree, and not from an earlier run."""
    from PIL import Image

    write_reports(disagreeing(3), tmp_path, photos(disagreeing(3)))
    assert left(tmp_path) == ["disagreements.png", "images.csv", "report.html", "report.json"]
    with Image.open(tmp_path / "disagreements.png") as sheet:
        assert sheet.width > 3 * 160

    write_reports(random(3), tmp_path, photos(random(3)))
    assert not (tmp_path / "disagreements.png").exists()


def test_images_that_are_gone_do_not_stop_the_report(tmp_path: Path) -> None:
    """Hours of work are worth more than a thumbnail."""
    found = disagreeing(2)
    write_reports(found, tmp_path, photos(found, missing=True))

    assert "cannot be read any more" in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["evaluated"] == 2


def test_a_state_is_there_as_long_as_there_is_something_to_resume(tmp_path: Path) -> None:
    """It appears with the report of an unfinished evaluation, and goes with that of the whole."""
    found = replace(random(3), wanted=5)
    write_reports(found, tmp_path, photos(found), state_of(found))
    assert read_state(tmp_path / "state.npz").tally.arrays()["index"].tolist() == [0, 1, 2]
    assert json.loads((tmp_path / "report.json").read_text())["partial"]

    write_reports(random(5), tmp_path, photos(random(5)))
    assert left(tmp_path) == ["images.csv", "report.html", "report.json"]


@pytest.mark.parametrize("renamed", [1, 2, 3])
def test_a_kill_while_files_get_their_names_leaves_a_whole_state(
    renamed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever other files are still the older ones: only the state is read."""
    older, newer = replace(random(3), wanted=9), replace(random(5), wanted=9)
    write_reports(older, tmp_path, photos(older), state_of(older))
    rename, count = Path.replace, [0]

    def killed(self: Path, target: Path) -> Path:
        count[0] += 1
        if count[0] > renamed:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_reports(newer, tmp_path, photos(newer), state_of(newer))
    monkeypatch.undo()

    check_report_folder(tmp_path, resume=True, force=False)
    assert len(read_state(tmp_path / "state.npz").tally.arrays()["index"]) in (3, 5)


def made(path: Path, **changes: Any) -> None:
    """Change arrays of state.npz; None takes one away."""
    with np.load(path) as file:
        arrays = {**dict(file), **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


def facts(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the JSON of state.npz."""
    with np.load(path) as file:
        data = json.loads(file["facts"].tobytes())
    change(data)
    made(path, facts=np.frombuffer(json.dumps(data).encode(), np.uint8))


def renamed(path: Path, name: str, other: str) -> None:
    """Rename a column, in the list of columns as well."""
    with np.load(path) as file:
        arrays = {other if n == name else n: array for n, array in file.items()}
    np.savez(path, **arrays)
    facts(path, lambda d: d.update(columns=[n for n in arrays if n != "facts"]))


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


OBJECTS = np.array([{"a": 1}], object)
# What is done to state.npz, and what the error says.
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no state": (lambda p: p.unlink(), "cannot be read: No such file"),
    "empty": (lambda p: p.write_bytes(b""), "is damaged, .* not a zip"),
    "half": (lambda p: p.write_bytes(p.read_bytes()[:1500]), "is damaged, .* not a zip"),
    "a digit": (lambda p: flip(p, p.read_bytes().index(b"paddle.loss.npy") + 150), "checksum of"),
    "text": (lambda p: p.write_text("index,name\n0,a.png\n"), "is damaged, .* not a zip"),
    "pickle": (lambda p: made(p, index=OBJECTS), "Object arrays cannot be loaded"),
    "no facts": (lambda p: made(p, facts=None), "is damaged, .*facts"),
    "no json": (lambda p: made(p, facts=np.zeros(3, np.uint8)), "is damaged, .*Expecting value"),
    "a list": (lambda p: made(p, facts=np.frombuffer(b"[]", np.uint8)), "is damaged"),
    "other": (lambda p: facts(p, lambda d: d.update(format="x 2")), "its format is 'x 2', expect"),
    "a key": (lambda p: facts(p, lambda d: d.pop("request")), "is damaged, .*: request is missing"),
    "a figure": (lambda p: facts(p, lambda d: d["tally"].update(a=1)), "tally.a is unknown"),
    "unreadable": (lambda p: facts(p, lambda d: d["tally"].update(unreadable=[[None]])), "a list"),
    "a column": (lambda p: made(p, **{"torch.loss": None}), "it holds the columns"),
    "a name": (lambda p: renamed(p, "torch.loss", "torch.los"), "another type: torch.los, torch.l"),
    "a side": (lambda p: facts(p, lambda d: d["environment"].pop("torch")), "difference, .*torch"),
    "a type": (lambda p: made(p, index=np.zeros(5, "f4")), "of another type: index"),
    "a length": (lambda p: made(p, index=np.arange(4)), "its columns have different lengths"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_one_clear_error(damage: str, tmp_path: Path) -> None:
    """It names the file; nothing of it is used."""
    path = tmp_path / "state.npz"
    path.write_bytes(state_of(random(5)).to_bytes())
    do, message = DAMAGES[damage]
    do(path)

    with pytest.raises(DataError, match=rf"state\.npz: .*{message}"):
        read_state(path)


def test_no_byte_of_a_state_changes_unnoticed(tmp_path: Path) -> None:
    """Either the file is refused, or what it says is the same."""
    path, whole = tmp_path / "state.npz", state_of(random(3))
    content = whole.to_bytes()
    for at in range(0, len(content), 7):
        path.write_bytes(content)
        flip(path, at)
        try:
            found = read_state(path)
        except DataError:
            continue
        assert found.to_bytes() == content, at


# -- Before any work is done


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """Make the report of an unfinished evaluation."""
    folder, found = tmp_path / "out", replace(random(3), wanted=9)
    folder.mkdir()
    write_reports(found, folder, photos(found), state_of(found))
    return folder


def test_a_new_or_empty_folder_is_fine(tmp_path: Path) -> None:
    """It is made later, by who claims it; what a killed run left does not count."""
    with pytest.raises(CheckpointError, match="does not hold an evaluation report to resume"):
        check_report_folder(tmp_path / "new", resume=True, force=False)
    assert not (tmp_path / "new").exists()
    check_report_folder(tmp_path / "new", resume=False, force=False)
    assert not (tmp_path / "new").exists()
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".report.json.0123abcd.part").touch()
    check_report_folder(tmp_path / "new", resume=False, force=False)


def test_a_report_that_is_there_needs_a_word(ours: Path) -> None:
    """--resume or --force; both are named, and checking changes nothing."""
    before = {path.name: path.read_bytes() for path in ours.iterdir()}
    with pytest.raises(CheckpointError, match=r"--resume .* or --force"):
        check_report_folder(ours, resume=False, force=False)
    check_report_folder(ours, resume=True, force=False)
    check_report_folder(ours, resume=False, force=True)
    assert {path.name: path.read_bytes() for path in ours.iterdir()} == before


def test_a_finished_evaluation_is_not_resumed(ours: Path) -> None:
    """There is nothing left to do, and nothing to do it from."""
    write_reports(random(3), ours, photos(random(3)))
    with pytest.raises(DataError, match=r"no state\.npz to resume from: .* is finished"):
        check_report_folder(ours, resume=True, force=False)
    check_report_folder(ours, resume=False, force=True)


@pytest.mark.parametrize("force", [False, True])
def test_other_peoples_folders_are_left_alone(force: bool, tmp_path: Path) -> None:
    """Not even --force writes among other files, or over another report.json."""
    (tmp_path / "thesis.txt").write_text("...")
    texts = ('{"kind": "other"}', "{", "[" * 100_000, "[]", '{"proved": 1}')
    for text in (None, *texts):
        if text is not None:
            (tmp_path / "report.json").write_text(text)
        with pytest.raises(CheckpointError, match="exists and is not an evaluation report"):
            check_report_folder(tmp_path, resume=False, force=force)
