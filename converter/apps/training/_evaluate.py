"""Top-1, top-5 and loss of a model while it is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import RunError, listing
from ..evaluation import judge
from ._readable import reasons

if TYPE_CHECKING:
    from ...images import Images, Preprocessing
    from ...running.team import Team


@dataclass(frozen=True)
class Validation:
    """Validation images: `chosen`, int64 [N], are the indices of those to evaluate."""

    images: Images
    chosen: np.ndarray
    preprocessing: Preprocessing


def evaluate(
    model: Any,
    data: Validation,
    batch_size: int,
    workers: int,
    team: Team,
    check: Callable[[], None],
) -> dict[str, Any]:
    """Evaluate a model; every process of a team takes a part of the images.

    Args:
        model: In any mode; it is in training mode afterwards.
        data: The images.
        batch_size: Images at a time, in each process.
        workers: Threads that prepare them.
        team: The processes.
        check: Called after every batch; may raise to end it.

    Returns:
        Columns of the epoch's row: the mean cross entropy, of labels that are not smoothed, nan if
        logits are not finite; top-1 and top-5 in percent; how many images were evaluated, each
        once, and how many could not be read.

    Raises:
        RunError: No image can be read.
    """
    import paddle

    from ...images import load_batches

    own = [int(index) for index in data.chosen[team.rank :: team.size]]
    sums = np.zeros(5)  # loss, top-1, top-5, images, unreadable
    why = dict[int, str]()
    model.eval()
    try:
        with paddle.no_grad():
            for batch in load_batches(data.images, own, data.preprocessing, batch_size, workers):
                sums[4] += len(batch.unreadable)
                why |= dict(batch.unreadable)
                if len(batch.indices):
                    logits = model(paddle.to_tensor(batch.images)).numpy()
                    labels = data.images.labels[batch.indices]
                    found = judge(logits, labels)
                    hits = (found["predicted"] == labels).sum(), found["hit5"].sum()
                    sums[:4] += (found["loss"].sum(), *hits, len(labels))
                check()
    finally:
        model.train()
    loss, top1, top5, count, unreadable = team.add([float(value) for value in sums])
    if not count:
        heading = f"{data.images.source}: none of the validation images can be read:"
        raise RunError(listing(heading, reasons(data.images, why)))
    return {
        "val_loss": loss / count,
        "val_top1": 100 * top1 / count,
        "val_top5": 100 * top5 / count,
        "val_images": int(count),
        "val_unreadable": int(unreadable),
    }
