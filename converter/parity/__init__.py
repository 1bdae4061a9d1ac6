"""Parity: run both models in two processes, compare every paired layer, report."""

from ._alike import WrongSetting, wrong_settings
from ._backward import floating
from ._compare import LayerResult, spell_value
from ._distance import FLOAT64_LIMIT
from ._forms import Form, find_forms
from ._html import html
from ._markdown import LIMIT, Row, markdown, page, row_of
from ._options import Pair, RunOptions, check_options, pythons
from ._record import LiveCall, watched
from ._report import Report
from ._run import check_parity, compare_traces, dump
from ._subject import describe_checkpoint, make_subject, open_for
from ._terminal import show, summary

__all__ = [
    "FLOAT64_LIMIT",
    "LIMIT",
    "Form",
    "LayerResult",
    "LiveCall",
    "Pair",
    "Report",
    "Row",
    "RunOptions",
    "WrongSetting",
    "check_options",
    "check_parity",
    "compare_traces",
    "describe_checkpoint",
    "dump",
    "find_forms",
    "floating",
    "html",
    "make_subject",
    "markdown",
    "open_for",
    "page",
    "pythons",
    "row_of",
    "show",
    "spell_value",
    "summary",
    "watched",
    "wrong_settings",
]
