"""Which classes a model takes for which."""

from __future__ import annotations

import numpy as np

from ._result import Evaluation, Scores

MATRIX = 20  # classes at most for which the whole table is shown
MOST = 20  # confusions or classes in a list


def most_confused(
    evaluation: Evaluation, side: Scores, most: int = MOST
) -> list[tuple[int, int, int]]:
    """Give the most frequent confusions: true class, predicted class, pictures."""
    wrong = (side.predicted >= 0) & (side.predicted != evaluation.labels)
    pairs = np.stack([evaluation.labels[wrong], side.predicted[wrong]], 1)
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    return [(int(found[i, 0]), int(found[i, 1]), int(counts[i])) for i in order]


def worst_classes(
    evaluation: Evaluation, side: Scores, most: int = MOST
) -> list[tuple[int, int, int]]:
    """Give the classes with the smallest share of right predictions: class, right, pictures."""
    count = evaluation.num_classes
    of = np.bincount(evaluation.labels, minlength=count)
    right = np.bincount(evaluation.labels[side.predicted == evaluation.labels], minlength=count)
    with np.errstate(invalid="ignore"):
        order = np.lexsort((-of, right / of))  # none of nothing is not a number, which is last
    return [(int(i), int(right[i]), int(of[i])) for i in order if of[i]][:most]
