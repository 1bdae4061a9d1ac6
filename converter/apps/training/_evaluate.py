"""Top-1, top-5 and loss of a model while it is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import RunError
from ..evaluation import judge

if TYPE_CHECKING:
    from ...images import Images, Preprocessing
    from ...running.team import Team


@dataclass(frozen=True)
class Score:
    """The result of an evaluation.

    Attributes:
        loss: Mean cross entropy, of labels that are not smoothed; nan if logits are not finite.
        top1: Percent of images whose label has the highest logit.
        top5: Percent of those whose label is among the highest five.
        images: How many were evaluated, each once.
        unreadable: How many could not be read.
    """

    loss: float
    top1: float
    top5: float
    images: int
    unreadable: int


def evaluate(
    model: Any,
    images: Images,
    chosen: np.ndarray,
    preprocessing: Preprocessing,
    batch_size: int,
    workers: int,
    team: Team,
    check: Callable[[], None],
) -> Score:
    """Evaluate a model; every process of a team takes a part of the images.

    Args:
        model: In any mode; it is in training mode afterwards.
        images: Where they come from.
        chosen: int64 [N], indices of the images to evaluate.
        preprocessing: From image to input.
        batch_size: Images at a time, in each process.
        workers: Threads that prepare them.
        team: The processes.
        check: Called after every batch; may raise to end it.

    Raises:
        RunError: No image can be read.
    """
    import paddle

    from ...images import load_batches

    own = [int(index) for index in chosen[team.rank :: team.size]]
    sums = np.zeros(5)  # loss, top-1, top-5, images, unreadable
    model.eval()
    try:
        with paddle.no_grad():
            for batch in load_batches(images, own, preprocessing, batch_size, workers):
                sums[4] += len(batch.unreadable)
                if len(batch.indices):
                    logits = model(paddle.to_tensor(batch.images)).numpy()
                    labels = images.labels[batch.indices]
                    found = judge(logits, labels)
                    hits = (found["predicted"] == labels).sum(), found["hit5"].sum()
                    sums[:4] += (found["loss"].sum(), *hits, len(labels))
                check()
    finally:
        model.train()
    loss, top1, top5, count, unreadable = team.add([float(value) for value in sums])
    if not count:
        raise RunError(f"{images.source}: none of its images can be read.")
    return Score(loss / count, 100 * top1 / count, 100 * top5 / count, int(count), int(unreadable))
