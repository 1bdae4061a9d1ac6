"""Ctrl-C and SIGTERM stop training between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal stopped training; the message says how to resume."""


class StopRequest:
    """Whether a signal asks training to stop.

    Stopping in the middle of a step would leave weights half changed, so the first signal is only
    noted. A second one stops at once: the state on disk is whole at any moment.
    """

    def __init__(self) -> None:
        self.is_made = False

    def note(self, _signal: int, _frame: Any) -> None:
        """Note the first signal; raise at the second."""
        if self.is_made:
            raise KeyboardInterrupt
        self.is_made = True


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note signals instead of obeying them; only the main thread can."""
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {}
    for number in _SIGNALS:
        found = signal.getsignal(number)
        if found is not signal.SIG_IGN and found is not None:  # ignored under nohup, say
            before[number] = found
            signal.signal(number, stop.note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
