"""The options of a training run; a resumed run must have the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Literal, NamedTuple, get_type_hints

from ...checked import checked
from ...errors import RunError, listing, some
from ...running.device import Device

Crop = Literal["padded", "resized", "none"]

# Options that may change when a run resumes. Another device rounds differently and so ends with
# other bits; nothing else here changes a number.
FREE = ("data", "val_data", "workers", "device", "save_every", "visualdl")


class Range(NamedTuple):
    """Which values an option may have, in words and as a function."""

    words: str
    fits: Callable[[float], bool]


@dataclass(frozen=True)
class Option:
    """Facts about a field of `Settings`, besides its type and default.

    Attributes:
        help: Text of --help and of the table in docs/train.md.
        values: Those that it may have, besides None.
        unset: The meaning of None, in words.
    """

    help: str
    values: Range | None
    unset: str


def option(default: Any, text: str, values: Range | None = None, unset: str = "") -> Any:
    """Make a field of `Settings`."""
    return field(default=default, metadata={"option": Option(text, values, unset)})


_FROM_0 = Range("at least 0", lambda x: x >= 0)
_FROM_1 = Range("at least 1", lambda x: x >= 1)
_ABOVE_0 = Range("above 0", lambda x: x > 0)
_TO_1 = Range("0 to 1", lambda x: 0 <= x <= 1)
_BELOW_1 = Range("0 to below 1", lambda x: 0 <= x < 1)
_SHARE = Range("above 0, at most 1", lambda x: 0 < x <= 1)
_SEED = Range("0 to 2^63 - 1", lambda x: 0 <= x < 2**63)
_DATA = (
    "Images: a folder with train/ and val/ or test/, train.zip and test.zip, or "
    "cifar-10-python.tar.gz."
)
_CROP = """\
padded: shift images by up to an eighth of their side; resized: cut out a part and resize it."""
_VARIANT = "that of the variant"


@dataclass(frozen=True)
class Settings:
    """Options of `vitconvert train`; docs/train.md describes them."""

    variant: str = option(MISSING, "Name of a variant with a head.")
    data: str = option(MISSING, _DATA)
    val_data: str | None = option(None, "Validation images.", None, "those in --data")
    weights: str | None = option(
        None, "Paddle checkpoint; a head for other classes is replaced.", None, "random weights"
    )
    num_classes: int | None = option(
        None, "Number of classes; the images must have as many.", None, "that of the images"
    )
    epochs: int = option(30, "Passes over all training images.", _FROM_1)
    batch_size: int = option(128, "Images per step, over all devices.", _FROM_1)
    lr: float = option(1e-3, "Highest learning rate.", _ABOVE_0)
    warmup_epochs: float | None = option(
        None, "Epochs in which the learning rate rises from 0.", _FROM_0, "a tenth of --epochs"
    )
    min_lr: float | None = option(None, "Learning rate at the end.", _FROM_0, "a hundredth of --lr")
    weight_decay: float = option(0.05, "Not applied to norms and biases.", _FROM_0)
    label_smoothing: float = option(0.1, "Share spread over all classes.", _BELOW_1)
    drop_path: float | None = option(None, "Rate of the last block.", _BELOW_1, _VARIANT)
    mixup: float = option(0.2, "Parameter of the beta distribution; 0 turns mixup off.", _FROM_0)
    color_jitter: float = option(
        0.2, "Largest change of brightness, contrast and saturation; 0 turns it off.", _TO_1
    )
    flip: bool = option(True, "Mirror each image with probability 1/2.")
    crop: Crop | None = option(None, _CROP, None, "padded up to 64 pixels, else resized")  # noqa: RUF009
    crop_scale: float = option(0.25, "Smallest share of the area that resized cuts out.", _SHARE)
    img_size: tuple[int, int] | None = option(None, "Image size in pixels.", None, _VARIANT)
    exif: bool = option(False, "Turn images as their EXIF orientation says.")
    seed: int = option(0, "Seed of everything random.", _SEED)
    limit: int | None = option(
        None, "Use at most this many images of each set, evenly spread.", _FROM_1, "all images"
    )
    amp: bool = option(False, "Compute in mixed precision (float16), on a GPU.")
    clip_grad: float | None = option(None, "Largest norm of all gradients.", _ABOVE_0, "no limit")
    workers: int = option(2, "Threads that prepare images.", _FROM_0)
    device: Device = option("auto", "Where to train.")  # noqa: RUF009
    save_every: int | None = option(
        None, "Steps between two saves of the state.", _FROM_1, "only at the end of each epoch"
    )
    visualdl: bool = option(False, "Write logs for VisualDL, too.")

    def __post_init__(self) -> None:
        if problems := list(_problems(self)):
            raise RunError(listing("These options cannot be used:", problems))

    def learning_rate(self, step: int, steps_per_epoch: int) -> float:
        """Compute the learning rate of one step: up linearly, then down as a cosine.

        A function of the step's number alone, so that a resumed run needs no history. The last step
        of the warm-up is the first with the highest rate, the last step of all has the lowest.

        Args:
            step: From 0, over all epochs.
            steps_per_epoch: Steps of one epoch.
        """
        warmup = self.epochs / 10 if self.warmup_epochs is None else self.warmup_epochs
        lowest = self.lr / 100 if self.min_lr is None else self.min_lr
        last = self.epochs * steps_per_epoch - 1
        rising = min(round(warmup * steps_per_epoch), last + 1)
        if step < rising:
            return self.lr * (step + 1) / rising
        done = (step - rising + 1) / (last - rising + 1)  # over 0, at most 1
        return lowest + (self.lr - lowest) / 2 * (1 + math.cos(math.pi * done))

    def to_dict(self) -> dict[str, Any]:
        """Give all options as plain data."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def from_dict(options: Mapping[str, Any], where: str) -> Settings:
    """Read the stored options of a run.

    Raises:
        RunError: They are not what this version stores, or out of range.
    """
    names = {field.name for field in fields(Settings)}
    if options.keys() != names:
        odd = some(sorted(options.keys() ^ names))
        raise RunError(f"{where}: its options come from another version ({odd}). Start a new run.")
    problems: list[str] = []
    found = checked(Settings, options, "", problems)
    if found is None:
        raise RunError(listing(f"{where}: its options are damaged:", problems))
    return found


def options() -> dict[str, tuple[Any, Option]]:
    """Return the type of every field of `Settings`, and the other facts."""
    hints = get_type_hints(Settings)
    return {one.name: (hints[one.name], one.metadata["option"]) for one in fields(Settings)}


def check_same(stored: Settings, asked: Settings, where: str) -> None:
    """Refuse to resume a run with other options.

    Raises:
        RunError: Every option that differs.
    """
    old, new = stored.to_dict(), asked.to_dict()
    problems = [
        f"{flag(name)}: was {old[name]}, is now {new[name]}."
        for name in old
        if name not in FREE and old[name] != new[name]
    ]
    if problems:
        advice = (
            "Leave them out: options that you leave out keep their values. For another schedule "
            "start a new run with --weights and the last weights of this one."
        )
        raise RunError(listing(f"{where} was started with other options:", [*problems, advice]))


def flag(name: str) -> str:
    """Give the option of the command line for a field."""
    return f"--{'image-size' if name == 'img_size' else name.replace('_', '-')}"


def _problems(asked: Settings) -> Iterator[str]:
    """Name each value that is out of its range, in the order of the options."""
    expected = {name: option.values for name, (_type, option) in options().items()}
    expected["warmup_epochs"] = Range(
        f"0 to {asked.epochs} (--epochs)", lambda x: 0 <= x <= asked.epochs
    )
    expected["min_lr"] = Range(f"0 to {asked.lr} (--lr)", lambda x: 0 <= x <= asked.lr)
    for name, values in expected.items():
        value = getattr(asked, name)
        if values and value is not None and not (math.isfinite(value) and values.fits(value)):
            yield f"{flag(name)} is {value}; expected {values.words}."
