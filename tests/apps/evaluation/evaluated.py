"""Evaluations made by hand, for tests of how they are shown and written."""

from typing import Any

import numpy as np

from vitconvert.apps.evaluation._result import Evaluation, Scores
from vitconvert.errors import DataError
from vitconvert.images import Images
from vitconvert.tables.reading import find_variant

EVIL = "</script><script>alert(1)</script><img src=x onerror='alert(1)'>@@style@@ \udcff"


def scores(label: str, logits: Any, labels: np.ndarray, **more: Any) -> Scores:
    """Make the figures of a side from its logits, each as its definition says."""
    x = np.asarray(logits, np.float64)
    ordered = np.sort(x, 1)
    rank = (x > x[np.arange(len(x)), labels][:, None]).sum(1)
    finite = np.isfinite(x).all(1)
    known: dict[str, Any] = {
        "predicted": np.where(finite, x.argmax(1), -1),
        "hit5": finite & (rank < 5),
        "loss": np.log(np.exp(x).sum(1)) - x[np.arange(len(x)), labels],
        "margin": ordered[:, -1] - ordered[:, -2],
        "largest": np.abs(x).max(1),
        "model_seconds": 0.1 + 0.2,
        "timed": len(x),
        "peak_bytes": {"process": 3 << 30},
        "facts": {
            "file": f"/w/{label}.pdparams",
            "sha256": "ab" * 32,
            "device": "cpu",
            "paddle": "3.3.1",
        },
    }
    return Scores(label, **known | more)


def evaluation(
    first: Any, second: Any = None, labels: Any = None, variant: str = "shiftvit_cifar", **more: Any
) -> Evaluation:
    """Make an evaluation from the logits of one side or two."""
    x = np.asarray(first, np.float64)
    labels = np.zeros(len(x), np.int64) if labels is None else np.asarray(labels, np.int64)
    sides, apart = [scores("Paddle", x, labels)], np.zeros((0, 1))
    if second is not None:
        sides.append(scores("PyTorch", second, labels))
        apart = np.abs(x - np.asarray(second, np.float64))
    found = find_variant(variant)[1]
    known: dict[str, Any] = {
        "variant": variant,
        "num_classes": x.shape[1],
        "data": "photos.zip",
        "described": "zip of class folders",
        "classes": tuple(f"class {i}" for i in range(x.shape[1])),
        "preprocessing": {"size": list(found.input_size), **jsonable(found.preprocessing)},
        "indices": np.arange(len(x)),
        "names": tuple(f"{i:05}.png" for i in range(len(x))),
        "labels": labels,
        "sides": tuple(sides),
        "difference": apart.max(1),
        "mean_difference": apart.mean(1),
        "unreadable": (),
        "wanted": len(x),
        "seconds": 12.5,
        "end_to_end": 81.25,
        "published": found.published,
        "environment": {"python": "3.11"},
        "options": {"dtype": "float32", "limit": None},
    }
    return Evaluation(**known | more)


def jsonable(values: dict[str, Any]) -> dict[str, Any]:
    return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}


def random(count: int, classes: int = 10, noise: float = 1e-6, **more: Any) -> Evaluation:
    """Make two sides that differ by rounding."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, classes)) * 3
    labels = rng.integers(0, classes, count)
    return evaluation(x, x + noise * rng.standard_normal(x.shape), labels, **more)


def disagreeing(count: int = 3, classes: int = 10, **more: Any) -> Evaluation:
    """Make two sides that give all images different classes, surely."""
    one, other = np.zeros((count, classes)), np.zeros((count, classes))
    one[:, 0], other[:, 1] = 9, 9
    return evaluation(one, other, **more)


def photos(found: Evaluation, size: tuple[int, int] = (8, 6), missing: bool = False) -> Images:
    """Give the images of an evaluation: grey ones, after those that cannot be read."""
    names = (*found.names, *(name for name, _ in found.unreadable))

    def read(index: int) -> np.ndarray:
        if missing:
            raise DataError(f"{names[index]}: gone")
        return np.full((*size, 3), index % 256, np.uint8)

    labels = np.zeros(len(names), np.int64)
    return Images(found.data, found.described, found.classes, labels, names, read)
