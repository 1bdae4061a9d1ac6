"""Keep what a framework's C++ prints on stdout out of the program's own output."""

import ctypes
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_ONE = threading.Lock()  # stdout is the whole process'
# What Paddle 3.3.1 prints as it prepares a program for oneDNN: it concerns nobody.
_IDLE = re.compile(rb"(?m)^\w*CheckIfOneDNNSupport\n?")


@contextmanager
def stdout_aside() -> Iterator[None]:
    """Keep stdout clean while a framework is called; what is printed meanwhile goes to stderr.

    Python's `redirect_stdout` does not see what C++ prints: the descriptor itself leads elsewhere,
    and back at the end, whatever was raised. So it is for single calls, not for whole tasks. One
    thread at a time is in here; what others print meanwhile is not lost, but comes on stderr.
    """
    with _ONE:
        try:
            own = os.dup(1)
        except OSError:  # closed: there is nothing to keep clean
            own = None
        if own is None:
            yield
            return
        with tempfile.TemporaryFile() as file:
            _flush()
            os.dup2(file.fileno(), 1)
            try:
                yield
            finally:
                _flush()
                os.dup2(own, 1)
                os.close(own)
                file.seek(0)
                _pass_on(_IDLE.sub(b"", file.read()))


def _flush() -> None:
    """Empty the buffers of C and C++, which Python knows nothing of."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).fflush(None)


def _pass_on(text: bytes) -> None:
    with suppress(OSError):
        while text:
            text = text[os.write(2, text) :]
