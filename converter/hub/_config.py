"""The config.json beside a checkpoint, as the hub's repositories have it: a hint, never proof."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..plain import open_plain

CONFIG = "config.json"
_LARGEST = 1 << 20  # bytes; a config has a few thousand


@dataclass(frozen=True)
class Config:
    """What a config.json says of the model.

    Attributes:
        architecture: The model, as timm names it, such as "vit_small_patch16_224"; or the class of
            transformers, such as "ViTForImageClassification".
        tag: Of timm's pretrained weights, such as "augreg_in21k"; "" if it does not say.
        kind: What transformers calls `model_type`, such as "vit"; "" if it does not say.
    """

    architecture: str
    tag: str = ""
    kind: str = ""


def config_beside(path: Path) -> Config | None:
    """Read what the config.json beside a checkpoint, or in its folder, says of the model.

    Returns:
        None if there is none that names an architecture.
    """
    file = (path if path.is_dir() else path.parent) / CONFIG
    try:
        with os.fdopen(open_plain(file), "rb") as opened:
            text = opened.read(_LARGEST + 1)
        found = json.loads(text) if len(text) <= _LARGEST else None
    except (CheckpointError, OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    classes, pretrained = found.get("architectures"), found.get("pretrained_cfg")
    first = classes[0] if isinstance(classes, list) and classes else ""
    architecture = _text(found.get("architecture")) or _text(first)
    tag = _text(pretrained.get("tag")) if isinstance(pretrained, dict) else ""
    return Config(architecture, tag, _text(found.get("model_type"))) if architecture else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
