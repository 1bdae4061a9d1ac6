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


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Note signals in an event instead of obeying them; only the main thread can.

    Stopping in the middle of a step would leave weights half changed, so the first signal is only
    noted. A second one stops at once: the state on disk is whole at any moment.
    """
    stop, before = threading.Event(), {}

    def note(_signal: int, _frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            found = signal.getsignal(number)
            if found is not signal.SIG_IGN and found is not None:  # ignored under nohup, say
                before[number] = signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
