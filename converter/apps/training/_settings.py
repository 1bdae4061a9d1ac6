"""What a training run is asked for, and whether a resumed one is asked for the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from ...errors import RunError, listing
from ...running.device import Device

Crop = Literal["padded", "resized", "none"]
# What may differ from one start of a run to the next. Another device rounds otherwise and so ends
# with other bits; nothing else here changes a number.
FREE = ("data", "val_data", "workers", "device", "save_every", "visualdl")


@dataclass(frozen=True)
class Settings:
    """Options of `vitconvert train`; see docs/train.md.

    Attributes:
        variant: Name of a variant with a head.
        data: Where the images to learn from are.
        val_data: Where those to evaluate are; `data` if None.
        weights: Paddle checkpoint to begin with; freshly initialised if None.
        num_classes: Of the head; that of the images if None.
        epochs: Times that all images are seen.
        batch_size: Images of a step, of all devices together.
        lr: Highest learning rate.
        warmup_epochs: In which it rises linearly from 0; a tenth of `epochs` if None.
        min_lr: That of the end; a hundredth of `lr` if None.
        weight_decay: Of weights of linear layers and convolutions alone.
        label_smoothing: Share of the target that is spread over all classes.
        drop_path: Rate of the last block; the variant's own if None.
        mixup: Parameter of the beta distribution; 0 for none.
        color_jitter: Most that brightness, contrast and saturation change by, as a share.
        flip: Whether every other image is mirrored.
        crop: "padded", "resized" or "none"; None for "padded" up to 64 pixels, else "resized".
        crop_scale: Smallest share of an image's area that "resized" takes.
        img_size: Height and width in pixels; the variant's own if None.
        seed: Of everything random.
        limit: Most images to learn from and to evaluate; all if None.
        amp: Whether to compute in mixed precision, float16.
        clip_grad: Largest norm of all gradients together; None for no limit.
        workers: Threads that prepare images; 0 for none.
        device: Where to train.
        save_every: Steps between two saves of the state; at the end of an epoch it is saved anyway.
        visualdl: Whether to write logs for VisualDL.
    """

    variant: str
    data: str
    val_data: str | None = None
    weights: str | None = None
    num_classes: int | None = None
    epochs: int = 30
    batch_size: int = 128
    lr: float = 1e-3
    warmup_epochs: float | None = None
    min_lr: float | None = None
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    drop_path: float | None = None
    mixup: float = 0.2
    color_jitter: float = 0.2
    flip: bool = True
    crop: Crop | None = None
    crop_scale: float = 0.25
    img_size: tuple[int, int] | None = None
    seed: int = 0
    limit: int | None = None
    amp: bool = False
    clip_grad: float | None = None
    workers: int = 2
    device: Device = "auto"
    save_every: int | None = None
    visualdl: bool = False

    def __post_init__(self) -> None:
        if problems := list(_problems(self)):
            raise RunError(listing("These options of training cannot be used:", problems))

    @property
    def warmup(self) -> float:
        """Epochs of warm-up."""
        return self.epochs / 10 if self.warmup_epochs is None else self.warmup_epochs

    @property
    def lowest_lr(self) -> float:
        """Learning rate of the end."""
        return self.lr / 100 if self.min_lr is None else self.min_lr

    def to_dict(self) -> dict[str, Any]:
        """Give all options as plain data."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def from_dict(options: Mapping[str, Any], where: str) -> Settings:
    """Take the options of a run from what was stored of them.

    Raises:
        RunError: They are not what this version stores.
    """
    names = {field.name for field in fields(Settings)}
    if options.keys() != names:
        odd = ", ".join(sorted(options.keys() ^ names))
        raise RunError(f"{where}: its options are of another version ({odd}). Begin a new run.")
    try:
        size = options["img_size"]
        return Settings(**{**options, "img_size": None if size is None else (size[0], size[1])})
    except (TypeError, IndexError, KeyError) as error:
        raise RunError(f"{where}: its options are damaged: {error!r:.200}.") from error


def check_same(stored: Settings, asked: Settings, where: str) -> None:
    """Refuse to go on with a run in another way than it was begun.

    Raises:
        RunError: Every option that differs.
    """
    old, new = stored.to_dict(), asked.to_dict()
    problems = [
        f"--{name.replace('_', '-')}: was {old[name]}, is now {new[name]}."
        for name in old
        if name not in FREE and old[name] != new[name]
    ]
    if problems:
        advice = (
            "Leave them out: what is not given is as it was. For another schedule begin a new run "
            "with --weights and the last weights of this one."
        )
        raise RunError(listing(f"{where} was begun with other options:", [*problems, advice]))


def _problems(asked: Settings) -> list[str]:
    """Say what is out of its range, in the order of the options."""
    most = asked.epochs
    ranges: list[tuple[str, float | None, bool, str]] = [
        ("epochs", asked.epochs, asked.epochs >= 1, "at least 1"),
        ("batch-size", asked.batch_size, asked.batch_size >= 1, "at least 1"),
        ("lr", asked.lr, asked.lr > 0, "over 0"),
        ("warmup-epochs", asked.warmup, 0 <= asked.warmup <= most, f"0 to {most}, the epochs"),
        ("min-lr", asked.lowest_lr, 0 <= asked.lowest_lr <= asked.lr, f"0 to {asked.lr}, the lr"),
        ("weight-decay", asked.weight_decay, asked.weight_decay >= 0, "at least 0"),
        ("label-smoothing", asked.label_smoothing, 0 <= asked.label_smoothing < 1, "0 to below 1"),
        ("drop-path", asked.drop_path, 0 <= (asked.drop_path or 0) < 1, "0 to below 1"),
        ("mixup", asked.mixup, asked.mixup >= 0, "at least 0"),
        ("color-jitter", asked.color_jitter, 0 <= asked.color_jitter <= 1, "0 to 1"),
        ("crop-scale", asked.crop_scale, 0 < asked.crop_scale <= 1, "over 0, at most 1"),
        ("seed", asked.seed, 0 <= asked.seed < 2**63, "0 to 2^63 - 1"),
        ("limit", asked.limit, asked.limit is None or asked.limit >= 1, "at least 1"),
        ("clip-grad", asked.clip_grad, asked.clip_grad is None or asked.clip_grad > 0, "over 0"),
        ("workers", asked.workers, asked.workers >= 0, "at least 0"),
        ("save-every", asked.save_every, (asked.save_every or 1) >= 1, "at least 1"),
    ]
    return [
        f"--{name} is {value}; expected {expected}."
        for name, value, good, expected in ranges
        if not good or (value is not None and not math.isfinite(value))
    ]
