"""A model with its weights, as a function of arrays; only its own framework is imported."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...checkpoints import open_checkpoint
from ...errors import ModelError, RunError
from ...models import build, check_side, load, require
from ...sides import NAMES, Side
from ...tables.plan import check_paddle, make_plan
from ...tables.reading import find_variant

Device = Literal["auto", "cpu", "gpu"]


@dataclass(frozen=True)
class Predictor:
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


def load_predictor(
    variant: str, weights: Path, framework: Side | None = None, device: Device = "auto"
) -> Predictor:
    """Build a model and load its weights; the file says how many classes it tells apart.

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
    place = (_place_torch if framework == "torch" else _place_paddle)(device)
    model = build(framework, found, num_classes)
    load(framework, model, variant, checkpoint, num_classes)
    model.eval()
    predict = (_torch if framework == "torch" else _paddle)(model, place)
    return Predictor(predict, num_classes, framework, place)


def _place_torch(device: Device) -> str:
    import torch

    has_gpu = torch.cuda.is_available()
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return _choose("torch", device, has_gpu)


def _place_paddle(device: Device) -> str:
    with warnings.catch_warnings():  # of ccache, which matters to who compiles
        warnings.simplefilter("ignore")
        import paddle as imported

    paddle: Any = imported
    has_gpu = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    place = _choose("paddle", device, has_gpu)
    paddle.set_device(place)
    if place == "gpu":
        paddle.set_flags({"FLAGS_cudnn_deterministic": True})
    return place


def _choose(framework: Side, device: Device, has_gpu: bool) -> str:
    if device == "gpu" and not has_gpu:
        raise RunError(
            f"--device gpu: {NAMES[framework]} sees no GPU here. Use --device cpu or auto."
        )
    return "gpu" if has_gpu and device != "cpu" else "cpu"


def _torch(model: Any, place: str) -> Callable[[np.ndarray], np.ndarray]:
    import torch

    where = "cuda" if place == "gpu" else "cpu"
    model.to(where)

    def predict(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            logits: np.ndarray = model(torch.from_numpy(images).to(where)).cpu().numpy()
        return logits

    return predict


def _paddle(model: Any, place: str) -> Callable[[np.ndarray], np.ndarray]:
    import paddle as imported

    paddle: Any = imported

    def predict(images: np.ndarray) -> np.ndarray:
        with paddle.no_grad():
            logits: np.ndarray = model(paddle.to_tensor(images, place=place)).numpy()
        return logits

    return predict
