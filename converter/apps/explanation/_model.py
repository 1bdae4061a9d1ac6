"""A model with its weights, as a function of arrays; only its own framework is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...checkpoints import open_checkpoint
from ...errors import ModelError
from ...models import check_side, require
from ...running.device import Device
from ...running.setup import Setup, Subject
from ...running.side import as_function, make_side
from ...sides import Side
from ...tables.plan import check_paddle, make_plan
from ...tables.reading import find_variant


@dataclass(frozen=True)
class Classifier:
    """A model that is ready to run.

    Attributes:
        predict: float32 [B, 3, H, W], normalised -> logits, float32 [B, num_classes].
        num_classes: Of its head.
        framework: That runs it.
        device: Where it runs: "cpu" or "gpu".
    """

    predict: Callable[[np.ndarray], np.ndarray]
    num_classes: int
    framework: Side
    device: str


def load_classifier(
    variant: str, weights: Path, framework: Side | None = None, device: Device = "auto"
) -> Classifier:
    """Build a model and load its weights; the file determines its number of classes.

    Args:
        variant: A name of `list_models`, such as "shunted_s".
        weights: A .pdparams for Paddle; a .pth or .safetensors for PyTorch.
        framework: The one the file is of if None; Paddle if the file does not say.
        device: "auto" takes a GPU where the framework sees one.

    Raises:
        ModelError: The variant is unknown or has no head, or the framework is not installed.
        CheckpointError: The file cannot be read, or is of the other framework.
        ConversionError: Names or shapes in the file do not fit the model.
        RunError: There is no such device.
    """
    table, found = find_variant(variant)
    if not found.num_classes:
        raise ModelError(
            f"{variant} is a backbone without a head: it predicts no class that could be explained."
        )
    checkpoint = open_checkpoint(weights)
    framework = framework or checkpoint.side or "paddle"
    check_side(framework, checkpoint)
    require(framework)
    if framework == "torch":
        num_classes = make_plan(checkpoint, table, variant).num_classes
    else:
        num_classes = check_paddle(checkpoint, table, found)
    if num_classes < 2:
        head = f"a head for {num_classes} class" if num_classes else "no head"
        raise ModelError(f"{weights} has {head}: it predicts no class that could be explained.")
    subject = Subject(variant, num_classes, output="logits")
    side = make_side(Setup(framework, subject, str(weights.absolute()), device=device))
    predict = as_function(side, side.model("float32"), "float32")
    return Classifier(predict, num_classes, framework, "cpu" if side.device == "cpu" else "gpu")
