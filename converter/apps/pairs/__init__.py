"""Compare many pairs of models, and put them in one table for reviewers."""

from ._entries import Entry, read_pairs
from ._run import check_pairs
from ._state import results_beside

__all__ = ["Entry", "check_pairs", "read_pairs", "results_beside"]
