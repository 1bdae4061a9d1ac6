"""Every exception this package raises on purpose.

    VitconvertError
    ├── CheckpointError    a checkpoint cannot be read, or a file or folder cannot be written
    ├── TableError         a mapping table contradicts itself
    ├── ConversionError    a checkpoint and a table, or a variant, do not fit together
    ├── ModelError         a model cannot be built: unknown variant, missing framework
    ├── ParityError        a parity check could not be carried out
    ├── DataError          images or their labels cannot be read, or do not fit the model
    └── RunError           a model could not be run, trained or deployed

A parity check that was carried out and failed is a result, not an exception.
"""

import errno
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Self

from .lines import Lines, joined, one_line, printable


class VitconvertError(Exception):
    """Base of all errors that a user can cause and fix.

    Its text is one line, but for those of `listing` and of other such errors in it: a name in it
    that comes from a file cannot begin another.
    """

    def __init__(self, *parts: object) -> None:
        """Join texts, and other errors of this package, whose lines stay lines."""
        texts = (p.lines if isinstance(p, VitconvertError) else p for p in parts)
        spelled = (printable(one) if isinstance(one, str) else one_line(one) for one in texts)
        super().__init__(Lines("".join(spelled)))
        self.asks: tuple[str, ...] = ()
        self.side: str | None = None

    def asking(self, *options: str, side: str | None = None) -> Self:
        """Note the options that the message asks for, and of which side's file it speaks.

        A command that calls them otherwise, or lacks them, can then say what else to do.
        """
        self.asks, self.side = options, side
        return self

    @property
    def lines(self) -> Lines:
        """The text, with its lines."""
        return Lines(self.args[0])


class CheckpointError(VitconvertError):
    """A checkpoint cannot be read, or a file or folder cannot be written."""


class TableError(VitconvertError):
    """A mapping table is malformed or contradicts itself."""


class ConversionError(VitconvertError):
    """A checkpoint does not fit the table or the variant."""


class ModelError(VitconvertError):
    """A model cannot be built."""


class ParityError(VitconvertError):
    """A parity check could not be carried out."""


class DataError(VitconvertError):
    """Images or their labels cannot be read, or do not fit the model."""


class RunError(VitconvertError):
    """A model could not be run, trained or deployed."""


def listing(heading: str, problems: Sequence[str]) -> Lines:
    """Join all problems of one pass under a heading, one to a line."""
    return joined([heading, *problems], "\n  ")


def brief(error: BaseException) -> str:
    """Give what a framework says, without the place in its own source that Paddle appends.

    On one line: its own lines are those of somebody else.
    """
    return " ".join(str(error).partition("\n  [Hint")[0].split()) or type(error).__name__


def some(names: Sequence[str], most: int = 8) -> str:
    """List the first few names, and count the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Say which name was probably meant: " Did you mean 'x'?"; nothing if none is like it."""
    found = get_close_matches(name, list(candidates), 1)
    return f" Did you mean {found[0]!r}?" if found else ""


# What may be done about an error of the system, by its number.
_WAYS_OUT = {
    errno.ENOSPC: "Make room on that disk, or choose another.",
    errno.EDQUOT: "Your share of that disk is used up: make room, or choose another.",
    errno.EFBIG: "See `ulimit -f`, and which sizes that file system allows.",
    errno.EROFS: "Choose a folder that is not mounted read-only.",
    errno.EACCES: "Choose a folder that you may write to.",
    errno.EPERM: "Choose a folder that you may write to.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
}


def way_out(error: Exception) -> str:
    """Say what may be done about an error of the system, after a blank; "" if not known."""
    advice = _WAYS_OUT.get(error.errno or 0, "") if isinstance(error, OSError) else ""
    return f" {advice}" if advice else ""
