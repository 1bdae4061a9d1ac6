"""The options of a training run, and whether a resumed run has the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal, get_args, get_type_hints

from ...errors import RunError, listing

Crop = Literal["padded", "resized", "none"]
Device = Literal["auto", "cpu", "gpu"]


@dataclass(frozen=True)
class Range:
    """Which values an option may have, in words and as a function."""

    words: str
    fits: Callable[[float], bool]


_FROM_0 = Range("at least 0", lambda x: x >= 0)
_FROM_1 = Range("at least 1", lambda x: x >= 1)
_ABOVE_0 = Range("above 0", lambda x: x > 0)
_TO_1 = Range("0 to 1", lambda x: 0 <= x <= 1)
_BELOW_1 = Range("0 to below 1", lambda x: 0 <= x < 1)
_SHARE = Range("above 0, at most 1", lambda x: 0 < x <= 1)
_SEED = Range("0 to 2^63 - 1", lambda x: 0 <= x < 2**63)


@dataclass(frozen=True)
class Option:
    """What is known of a field of `Settings`, apart from its type and default.

    Attributes:
        help: Text of --help and of the table in docs/train.md.
        values: Which ones it may have, apart from None.
        unset: What None stands for, in words.
        is_free: Whether it may differ when a run is resumed. Another device rounds differently and
            so ends with other bits; no other free option changes a number.
    """

    help: str
    values: Range | None = None
    unset: str = ""
    is_free: bool = False


@dataclass(frozen=True)
class Settings:
    """Options of `vitconvert train`; docs/train.md describes them."""

    variant: Annotated[str, Option("Name of a variant with a head.")]
    data: Annotated[
        str,
        Option(
            "Images: a folder with train/ and val/ or test/, train.zip and test.zip, or "
            "cifar-10-python.tar.gz.",
            is_free=True,
        ),
    ]
    val_data: Annotated[
        str | None, Option("Validation images.", unset="those in --data", is_free=True)
    ] = None
    weights: Annotated[
        str | None,
        Option(
            "Paddle checkpoint to start from; its head is replaced if it has another number of "
            "classes.",
            unset="random weights",
        ),
    ] = None
    num_classes: Annotated[
        int | None,
        Option("Number of classes; the images must have as many.", unset="that of the images"),
    ] = None
    epochs: Annotated[int, Option("Passes over all training images.", _FROM_1)] = 30
    batch_size: Annotated[int, Option("Images per step, over all devices.", _FROM_1)] = 128
    lr: Annotated[float, Option("Highest learning rate.", _ABOVE_0)] = 1e-3
    warmup_epochs: Annotated[
        float | None,
        Option(
            "Epochs in which the learning rate rises from 0; may be a fraction.",
            _FROM_0,
            unset="a tenth of --epochs",
        ),
    ] = None
    min_lr: Annotated[
        float | None,
        Option("Learning rate at the end.", _FROM_0, unset="a hundredth of --lr"),
    ] = None
    weight_decay: Annotated[
        float,
        Option("Weight decay of linear layers and convolutions, not of norms and biases.", _FROM_0),
    ] = 0.05
    label_smoothing: Annotated[
        float, Option("Share of the target that is spread over all classes.", _BELOW_1)
    ] = 0.1
    drop_path: Annotated[
        float | None,
        Option("Drop path rate of the last block.", _BELOW_1, unset="that of the variant"),
    ] = None
    mixup: Annotated[
        float, Option("Parameter of mixup's beta distribution; 0 turns mixup off.", _FROM_0)
    ] = 0.2
    color_jitter: Annotated[
        float,
        Option("Largest change of brightness, contrast and saturation; 0 turns it off.", _TO_1),
    ] = 0.2
    flip: Annotated[bool, Option("Mirror each image with probability 1/2.")] = True
    crop: Annotated[
        Crop | None,
        Option(
            "padded: shift images by up to an eighth of their side; resized: cut out a part and "
            "resize it.",
            unset="padded up to 64 pixels, else resized",
        ),
    ] = None
    crop_scale: Annotated[
        float, Option("Smallest share of the area that resized cuts out.", _SHARE)
    ] = 0.25
    img_size: Annotated[
        tuple[int, int] | None,
        Option("Height and width in pixels, or one number for both.", unset="that of the variant"),
    ] = None
    seed: Annotated[int, Option("Seed of everything random.", _SEED)] = 0
    limit: Annotated[
        int | None,
        Option(
            "Use at most this many images of each set, evenly spread.", _FROM_1, unset="all images"
        ),
    ] = None
    amp: Annotated[bool, Option("Compute in mixed precision (float16), on a GPU.")] = False
    clip_grad: Annotated[
        float | None,
        Option("Largest norm of all gradients together.", _ABOVE_0, unset="no limit"),
    ] = None
    workers: Annotated[int, Option("Threads that prepare images.", _FROM_0, is_free=True)] = 2
    device: Annotated[Device, Option("Where to train.", is_free=True)] = "auto"
    save_every: Annotated[
        int | None,
        Option(
            "Steps between two saves of the state.",
            _FROM_1,
            unset="only at the end of each epoch",
            is_free=True,
        ),
    ] = None
    visualdl: Annotated[bool, Option("Write logs for VisualDL, too.", is_free=True)] = False

    def __post_init__(self) -> None:
        if problems := list(_problems(self)):
            raise RunError(listing("These options cannot be used:", problems))

    @property
    def warmup(self) -> float:
        """Epochs of warm-up."""
        return self.epochs / 10 if self.warmup_epochs is None else self.warmup_epochs

    @property
    def lowest_lr(self) -> float:
        """Learning rate at the end."""
        return self.lr / 100 if self.min_lr is None else self.min_lr

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
        odd = ", ".join(sorted(options.keys() ^ names))
        raise RunError(f"{where}: its options are of another version ({odd}). Start a new run.")
    try:
        size = options["img_size"]
        return Settings(**{**options, "img_size": None if size is None else (size[0], size[1])})
    except (TypeError, IndexError, KeyError) as error:
        raise RunError(f"{where}: its options are damaged: {error!r:.200}.") from error


def options() -> dict[str, tuple[Any, Option]]:
    """Give the type of every field of `Settings`, and what else is known of it."""
    hints = get_type_hints(Settings, include_extras=True)
    return {name: get_args(hint) for name, hint in hints.items()}


def check_same(stored: Settings, asked: Settings, where: str) -> None:
    """Refuse to resume a run with other options.

    Raises:
        RunError: Every option that differs.
    """
    old, new = stored.to_dict(), asked.to_dict()
    problems = [
        f"{flag(name)}: was {old[name]}, is now {new[name]}."
        for name, (_type, option) in options().items()
        if not option.is_free and old[name] != new[name]
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
