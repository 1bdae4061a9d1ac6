"""How a signal ends the program; it imports nothing that takes time, see `__main__`."""

import os
import signal
import sys

_INTERRUPTED = 130  # exit status; also of a command that Ctrl-C or a signal ended later
_is_running = False


def begin() -> None:
    """Mind Ctrl-C and the signals that end a process; those that are ignored stay so."""
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:  # as under nohup
            signal.signal(ending, _end)


def running(is_so: bool) -> None:
    """Note whether a command runs, which cleans up when it is interrupted."""
    global _is_running
    _is_running = is_so


def _end(_signal: int, _frame: object) -> None:
    """Interrupt the command that runs; without one, end at once: there is nothing to clean up."""
    if _is_running:
        raise KeyboardInterrupt
    try:
        sys.stdout.flush()
        os.write(2, b"Interrupted.\n")
    finally:
        os._exit(_INTERRUPTED)
