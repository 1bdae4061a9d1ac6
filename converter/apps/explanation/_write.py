"""Writing an explanation: the image, and the maps as numbers, each whole or not at all."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...files import write_all
from ._draw import draw

if TYPE_CHECKING:
    from ._explain import Explained


def write_explained(found: Explained, out: Path, maps: Path | None, force: bool) -> None:
    """Write the image and, if asked for, the maps; both are complete before one gets its name.

    Args:
        found: All explanations.
        out: The image, a PNG.
        maps: An .npy, float64 [N, H, W], or a .json with all that is known.
        force: Whether files that are there may be replaced.

    Raises:
        CheckpointError: A file cannot be written; nothing is left behind.
    """
    files = {out: _png(found)}
    if maps is not None:
        files[maps] = _npy(found) if maps.suffix == ".npy" else _json(found)
    write_all(files, force)


def _png(found: Explained) -> bytes:
    data = io.BytesIO()
    draw(found).save(data, "PNG", optimize=False)
    return data.getvalue()


def _npy(found: Explained) -> bytes:
    data = io.BytesIO()
    np.save(data, np.stack([one.heat for one in found.explanations]), allow_pickle=False)
    return data.getvalue()


def _json(found: Explained) -> bytes:
    images: list[dict[str, Any]] = [
        {
            "image": one.name,
            "class": one.target,
            "class_name": found.class_name(one.target),
            "measure": one.measure,
            "flat": one.is_flat,
            "probabilities": one.probabilities.tolist(),
            "map": one.heat.tolist(),
        }
        for one in found.explanations
    ]
    facts = {
        "variant": found.variant,
        "weights": found.weights,
        "framework": found.framework,
        "device": found.device,
        "method": found.method,
        "forward_passes": found.passes,
        "classes": list(found.classes),
        "images": images,
    }
    return json.dumps(facts, ensure_ascii=False).encode() + b"\n"
