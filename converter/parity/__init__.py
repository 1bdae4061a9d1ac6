"""Parity: run both models in two processes, compare every paired layer, report."""

from ._compare import LayerResult
from ._distance import FLOAT64_LIMIT
from ._html import html
from ._markdown import LIMIT, Row, markdown, page, row_of
from ._options import Pair, RunOptions
from ._record import LiveCall, watched
from ._report import Report
from ._run import check_parity, compare_traces, describe_checkpoint, dump, make_subject
from ._terminal import show, summary

__all__ = [
    "FLOAT64_LIMIT",
    "LIMIT",
    "LayerResult",
    "LiveCall",
    "Pair",
    "Report",
    "Row",
    "RunOptions",
    "check_parity",
    "compare_traces",
    "describe_checkpoint",
    "dump",
    "html",
    "make_subject",
    "markdown",
    "page",
    "row_of",
    "show",
    "summary",
    "watched",
]
