"""Compare the logits of a deployed model with those of the original."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ...errors import RunError

CEILING = 1e-4  # largest difference from the original, as a share of the largest logit
TIMES = 8.0  # how many times the error of the original in float32 may be
LEAST_ERROR = 16 * float(np.finfo(np.float32).eps)  # a smaller error of the original counts as this


@dataclass(frozen=True)
class Check:
    """How far the deployed model is from the original, the most of all batches.

    Attributes:
        max_abs_diff: From the original in float32.
        relative_diff: The same as a share of the largest logit.
        error: From the original in float64, as a share of the largest logit.
        eager_error: The same of the original in float32.
    """

    max_abs_diff: float
    relative_diff: float
    error: float
    eager_error: float

    def to_dict(self) -> dict[str, float]:
        """Give the figures by name."""
        return asdict(self)


def compare(
    deployed: Sequence[np.ndarray],
    eager: Sequence[np.ndarray],
    truth: Sequence[np.ndarray],
    name: str,
) -> Check:
    """Compare batch by batch.

    Args:
        deployed: Logits [B, num_classes] of each batch, float32.
        eager: The same of the original model.
        truth: The same in float64.
        name: Of the model.

    Raises:
        RunError: They differ by more than rounding.
    """
    rows = []
    for found, near, exact in zip(deployed, eager, truth, strict=True):
        if found.shape != near.shape:
            raise RunError(
                f"{name}: the deployed model gives {list(found.shape)}, the original "
                f"{list(near.shape)}. Nothing was written."
            )
        # Not numpy's own float64 of a float32 difference: the subtraction must not round.
        found, near = found.astype("f8"), near.astype("f8")
        largest = float(np.abs(exact).max()) or 1.0
        diff = float(np.abs(found - near).max())
        errors = (float(np.abs(found - exact).max()), float(np.abs(near - exact).max()))
        rows.append((diff, diff / largest, errors[0] / largest, errors[1] / largest))
    check = Check(*(float(np.max(column)) for column in zip(*rows, strict=True)))
    allowed = max(TIMES * check.eager_error, LEAST_ERROR)
    # Not `>`, so that NaN fails.
    if not (check.relative_diff <= CEILING and check.error <= allowed):
        raise RunError(
            f"{name}: the deployed model differs from the original by {check.max_abs_diff:.2e}, "
            f"{check.relative_diff:.2e} of the largest logit (allowed: {CEILING:.0e}); its error "
            f"from float64 is {check.error:.2e} (allowed: {allowed:.2e}). Nothing was written."
        )
    return check
