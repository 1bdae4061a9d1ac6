"""Schedule, randomness, augmentation, batches and state of training; no model is built."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from conftest import ROOT
from training import make_images, settings
from vitconvert import RunError
from vitconvert.apps.training import Settings, flag, options
from vitconvert.apps.training._augment import Augmentation
from vitconvert.apps.training._batches import Batches, mixed, smoothed, spread
from vitconvert.apps.training._prepare import prepare
from vitconvert.apps.training._random import Purpose, generator
from vitconvert.apps.training._settings import check_same
from vitconvert.apps.training._state import COLUMNS, Position, read_state, write_state
from vitconvert.commands.train import train
from vitconvert.images import open_images, preprocessing_of
from vitconvert.running.team import Team
from vitconvert.tables.reading import find_variant


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the images once."""
    return make_images(tmp_path_factory.mktemp("images"))


def batches(data: Path, team: Team | None = None, **options: Any) -> Batches:
    """Open what one process is given; without colours, which Paddle changes."""
    asked = settings(data, **{"color_jitter": 0.0, **options})
    return prepare(asked).batches(asked, team or Team())


# -- schedule


def test_learning_rate_rises_linearly_and_falls_as_a_cosine() -> None:
    """Up to lr at the end of the warm-up, to min-lr at the last step, half way in between."""
    asked = Settings("v", "d", epochs=10, lr=0.8, min_lr=0.2, warmup_epochs=2)
    rates = [asked.learning_rate(step, 4) for step in range(40)]

    assert np.allclose(rates[:8], 0.8 * np.arange(1, 9) / 8)
    assert np.isclose(rates[39], 0.2)
    assert np.isclose(rates[23], 0.5)
    assert all(np.diff(rates[7:]) < 0)


def test_a_run_of_one_step_has_a_rate() -> None:
    """With and without warm-up."""
    assert Settings("v", "d", epochs=1, warmup_epochs=1, lr=0.5).learning_rate(0, 1) == 0.5
    assert Settings("v", "d", epochs=1, warmup_epochs=0, lr=0.5).learning_rate(0, 1) == 0.005


# -- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "--epochs is 0; expected at least 1"),
        ({"lr": float("nan")}, "--lr is nan"),
        ({"label_smoothing": 1.0}, "--label-smoothing is 1.0; expected 0 to below 1"),
        ({"min_lr": 1.0}, "--min-lr is 1.0; expected 0 to 0.001 \\(--lr\\)"),
        ({"epochs": 2, "warmup_epochs": 3.0}, "expected 0 to 2 \\(--epochs\\)"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    """With what was expected."""
    with pytest.raises(RunError, match=message):
        Settings("v", "d", **options)


def test_the_documentation_lists_every_option() -> None:
    """With its default and its help; in the order of --help."""
    text = (ROOT / "docs" / "train.md").read_text()
    table = text.partition("## All options")[2].partition("\n\n## ")[0]
    found = [line for line in table.splitlines() if line.startswith("| `--")]
    others = {"img_size": "`, `--img-size", "flip": "`, `--no-flip"}
    expected = []
    for name, (_type, option) in list(options().items())[1:]:
        default = getattr(Settings("v", ""), name)
        switch = {"True": "on", "False": "off"}
        shown = option.unset or switch.get(str(default), default)
        names = f"`{flag(name)}{others.get(name, '')}`"
        expected.append(" ".join(f"| {names} | {shown} | {option.help} |".split()))

    assert found[: len(expected)] == expected
    rest = [line.split("`")[1].split()[0] for line in found[len(expected) :]]
    assert rest == ["--out", "--resume", "--force"]


def test_every_option_has_its_type_and_default() -> None:
    """On the command line, from the fields of Settings."""
    usual = Settings("v", "d")
    found: dict[str, Any] = {p.name: p for p in train.params if p.name}

    for name, (hint, _option) in list(options().items())[1:]:
        assert name == "data" or found[name].default == getattr(usual, name), name
        if int in (hint, *get_args(hint)):
            assert found[name].type is click.INT, name
    assert found["crop"].type.choices == ("padded", "resized", "none")
    assert found["device"].type.choices == ("auto", "cpu", "gpu")
    assert found["flip"].secondary_opts == ["--no-flip"]
    assert found["amp"].is_flag


def test_a_run_resumes_only_with_the_same_options() -> None:
    """Every number that would change is named; where images lie and threads may change."""
    begun = Settings("v", "d")
    check_same(
        begun, replace(begun, data="elsewhere", workers=7, device="cpu", save_every=3), "run"
    )

    with pytest.raises(RunError) as caught:
        check_same(begun, replace(begun, lr=0.5, epochs=40, img_size=(64, 32)), "run")
    for change in ("lr: was 0.001, is now 0.5.", "epochs: was 30, is now 40.",
                   "image-size: was None, is now [64, 32]."):  # fmt: skip
        assert f"--{change}" in str(caught.value)


# -- randomness and augmentation


def test_random_numbers_depend_on_every_part_of_their_purpose() -> None:
    """Seed, purpose, epoch and image; and on nothing else."""
    first = generator(1, Purpose.IMAGE, 2, 3).random(4)
    others = [
        generator(2, Purpose.IMAGE, 2, 3),
        generator(1, Purpose.MIXUP, 2, 3),
        generator(1, Purpose.IMAGE, 3, 3),
        generator(1, Purpose.IMAGE, 2, 4),
    ]

    assert np.array_equal(first, generator(1, Purpose.IMAGE, 2, 3).random(4))
    assert not any(np.intersect1d(first, other.random(1000)).size for other in others)


def augmentation(**how: Any) -> Augmentation:
    """Make one that does nothing but what is asked for."""
    usual = preprocessing_of(find_variant("shunted_cifar_tiny")[1])
    plain = {"crop": "none", "crop_scale": 0.25, "flip": False, "color_jitter": 0.0}
    return Augmentation(usual, Settings("v", "d", **{**plain, **how}))


def image(width: int = 32, height: int = 32) -> Image.Image:
    """Make one whose every pixel tells its place."""
    rows, columns = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([rows, columns, rows * 0 + 200], 2).astype(np.uint8))


def test_padded_crop_moves_by_at_most_an_eighth() -> None:
    """Every shift up to 4 pixels in both directions comes, and the frame is black."""
    change, shifts = augmentation(crop="padded"), Counter[tuple[int, int]]()
    for index in range(400):
        pixels = np.asarray(change(image(), generator(0, Purpose.IMAGE, 0, index)))
        top, left = pixels[16, 16, :2].astype(int) - 16
        shifts[top, left] += 1
        assert (pixels[:, :, 2] == 0).sum() == 32 * 32 - (32 - abs(top)) * (32 - abs(left))
    assert {top for top, _ in shifts} == {left for _, left in shifts} == set(range(-4, 5))


def test_half_of_the_images_are_mirrored() -> None:
    """And the others are as they were."""
    change, plain = augmentation(flip=True), np.asarray(image())
    found = [np.asarray(change(image(), generator(0, Purpose.IMAGE, 0, i))) for i in range(200)]
    mirrored = [np.array_equal(one, plain[:, ::-1]) for one in found]

    assert 70 < sum(mirrored) < 130
    assert all(m or np.array_equal(one, plain) for m, one in zip(mirrored, found, strict=True))


def test_resized_crop_takes_a_part_of_at_least_the_scale() -> None:
    """Here of a larger image, brought to the model's size."""
    change, areas = augmentation(crop="resized", crop_scale=0.5), []
    for index in range(100):
        made = np.asarray(change(image(120, 80), generator(0, Purpose.IMAGE, 0, index)))
        assert made.shape == (32, 32, 3)
        high, wide = (np.ptp(made[:, :, axis].astype(float)) * 32 / 31 for axis in (0, 1))
        areas.append(high * wide / (120 * 80))
    assert 0.42 < min(areas) < 0.6
    assert 0.8 < max(areas) <= 1.1


@pytest.mark.paddle
def test_colours_change_within_their_limits() -> None:
    """By another factor every time; black stays black."""
    grey, change = Image.new("RGB", (32, 32), (100, 100, 100)), augmentation(color_jitter=0.2)
    found = [
        int(np.asarray(change(grey, generator(0, Purpose.IMAGE, 0, i)))[0, 0, 0]) for i in range(60)
    ]

    assert min(found) >= 79
    assert max(found) <= 121
    assert len(set(found)) > 15


def test_small_images_are_padded_and_large_ones_resized(data: Path) -> None:
    """Unless something else is asked for."""
    small, large = (
        preprocessing_of(find_variant(v)[1]) for v in ("shunted_cifar_tiny", "shunted_t")
    )

    assert Augmentation(small, settings(data)).crop == "padded"
    assert Augmentation(large, settings(data)).crop == "resized"
    assert Augmentation(large, settings(data, crop="none")).crop == "none"


# -- batches


def test_labels_are_smoothed() -> None:
    """The share goes to all classes alike, the label's own among them."""
    assert np.allclose(
        smoothed([2, 0], 4, 0.2), [[0.05, 0.05, 0.85, 0.05], [0.85, 0.05, 0.05, 0.05]]
    )


def test_mixup_mixes_targets_as_it_mixes_images() -> None:
    """Each with its neighbour; the last of an odd number stays."""
    images = np.arange(5, dtype=np.float32).reshape(5, 1, 1, 1) * np.ones((5, 3, 2, 2), np.float32)
    targets = np.eye(5, dtype=np.float32)
    made, soft = mixed(images, targets, 0.75)

    assert np.allclose(made[:, 0, 0, 0], [0.25, 0.75, 2.25, 2.75, 4])
    assert np.allclose(soft[0], [0.75, 0.25, 0, 0, 0])
    # The value of an image is its class, so that both must say the same.
    assert np.allclose(soft @ np.arange(5), made[:, 0, 0, 0])


def test_an_epoch_holds_every_image_once_in_an_order_of_its_own(data: Path) -> None:
    """Here all 20, without anything changed in them."""
    given = batches(data, crop="none", flip=False, mixup=0)
    epochs = [np.concatenate([x for x, _ in given.epoch(epoch, 0)]) for epoch in (0, 1)]
    images = open_images(data, "train")
    how = given.augmentation.preprocessing
    expected = {how(images.open(i)).tobytes() for i in range(20)}

    assert {image.tobytes() for image in epochs[0]} == expected
    assert {image.tobytes() for image in epochs[1]} == expected
    assert not np.array_equal(epochs[0], epochs[1])


@pytest.mark.parametrize("workers", [0, 3])
def test_threads_restarts_and_processes_change_no_batch(workers: int, data: Path) -> None:
    """The third batch is the same whoever makes it, in two halves as well, mixed or not."""
    images, targets = list(batches(data).epoch(1, 0))[2]

    again = next(batches(data, workers=workers).epoch(1, 2))
    halves = [next(batches(data, Team(rank, 2)).epoch(1, 2)) for rank in (0, 1)]
    for x, y in (again, tuple(map(np.concatenate, zip(*halves, strict=True)))):
        assert np.array_equal(x, images)
        assert np.array_equal(y, targets)


def test_an_image_that_cannot_be_read_is_replaced_by_the_next(tmp_path: Path) -> None:
    """Batches keep their size, and it is told of which image and why."""
    data = make_images(tmp_path)
    (data / "train" / "green" / "004.png").write_bytes(b"no image")
    given = batches(data)
    made = list(given.epoch(0, 0))

    assert [len(images) for images, _ in made] == [4] * 5
    (reason,) = given.unreadable.values()
    assert "green/004.png" in reason
    assert reason.count("green/004.png") == 1


def test_a_set_that_is_limited_is_spread_over_all(data: Path) -> None:
    """The first images would be those of the first class."""
    assert spread(10, None).tolist() == list(range(10))
    assert spread(10, 5).tolist() == [0, 2, 4, 6, 8]
    assert spread(3, 5).tolist() == [0, 1, 2]
    assert batches(data, limit=9).steps == 2


def test_fewer_images_than_a_batch_make_one_batch(data: Path) -> None:
    """Of as many as every process gets alike."""
    assert [len(x) for x, _ in batches(data, batch_size=64).epoch(0, 0)] == [20]
    assert [len(x) for x, _ in batches(data, Team(1, 3), batch_size=63).epoch(0, 0)] == [6]


# -- state


def test_state_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """Arrays and numbers, bit for bit."""
    rng = np.random.default_rng(0)
    model = {"blocks.0.fc.weight": rng.standard_normal((3, 2)).astype(np.float32)}
    slots: dict[str, np.ndarray] = {
        "moment1_0.blocks.0.fc.weight": np.array([[1e-30]], np.float32),
        "beta1_pow_acc_0.x": np.ones(1),
    }
    history: list[dict[str, float | None]] = [
        {**dict.fromkeys(COLUMNS, 1 / 3), "epoch": epoch} for epoch in (1, 2, 3)
    ]
    position = Position(3, 2, 0.1 + 0.2, 5.5, 71.0, history, {"scale": 2})
    write_state(tmp_path / "resume.safetensors", model, slots, position)

    found = read_state(tmp_path / "resume.safetensors")
    assert found[2] == position
    for one, other in zip(found[:2], (model, slots), strict=True):
        assert {k: v.tobytes() for k, v in one.items()} == {
            k: v.tobytes() for k, v in other.items()
        }


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    """With its name."""
    path = tmp_path / "resume.safetensors"
    write_state(path, {"a": np.ones(3)}, {}, Position())
    path.write_bytes(path.read_bytes()[:-4])

    with pytest.raises(RunError, match=r"resume\.safetensors: cannot resume from this file"):
        read_state(path)


@pytest.mark.parametrize("position", ["{", "[]", '{"epoch": 1, "pace": 2}', None])
def test_a_state_without_its_position_is_refused(position: str | None, tmp_path: Path) -> None:
    """As a file that somebody else has written may be."""
    path = tmp_path / "resume.safetensors"
    texts = {"version": "1"} | ({} if position is None else {"progress": position})
    save_file({"model.a": np.ones(3)}, path, texts)

    with pytest.raises(RunError, match="does not hold the position of the run"):
        read_state(path)
