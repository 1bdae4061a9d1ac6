"""How a signal ends the program; it imports nothing that takes time, see `__main__`."""

import atexit
import os
import signal
import sys
import threading

_INTERRUPTED = 130  # exit status; also of a command that Ctrl-C or a signal ended later
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SOON = 0.01  # seconds
_is_running = False
_was_interrupted = False


def begin() -> None:
    """Mind Ctrl-C and the signals that end a process; those that are ignored stay so."""
    for ending in _ENDINGS:
        if signal.getsignal(ending) is not signal.SIG_IGN:  # as under nohup
            signal.signal(ending, _end)
    signal.signal(signal.SIGALRM, _end)
    sys.unraisablehook = _lost
    atexit.register(_finish)  # the first to register is the last that is called


class Importing:
    """Keep Paddle, as it is imported, from taking SIGTERM for itself: it comes afterwards."""

    def __enter__(self) -> None:
        """Hold back what ends the process; Ctrl-C is minded all the time."""
        self._held: set[int] | None = None
        if threading.current_thread() is threading.main_thread():
            self._held = set(signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS[1:]))

    def __exit__(self, *_: object) -> None:
        """Mind the signals again."""
        if self._held is not None:
            for ending in _ENDINGS:
                if callable(known := signal.getsignal(ending)):  # by whoever asked for it
                    signal.signal(ending, known)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._held)


def running(is_so: bool) -> None:
    """Note whether a command runs, which cleans up when it is interrupted."""
    global _is_running
    _is_running = is_so


def was_interrupted() -> bool:
    """Tell whether the command was interrupted: an import may make another error of that."""
    return _was_interrupted


def _end(_signal: int, _frame: object) -> None:
    """Interrupt the command that runs; without one, end at once: there is nothing to clean up."""
    global _was_interrupted
    if _is_running:
        _was_interrupted = True
        raise KeyboardInterrupt
    try:
        sys.stdout.flush()
        os.write(2, b"Interrupted.\n")
    finally:
        os._exit(_INTERRUPTED)


def _lost(what: "sys.UnraisableHookArgs", /) -> None:
    """Interrupt once more, soon, if Python ignored it: it came as something was thrown away."""
    if issubclass(what.exc_type, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, _SOON)
    else:
        sys.__unraisablehook__(what)


def _finish() -> None:
    """Let nothing change the exit status any more: all is done, and cleaned up."""
    for ending in (*_ENDINGS, signal.SIGALRM):
        signal.signal(ending, signal.SIG_IGN)
    # Had Ctrl-C come within exec(), as of a dataclass, Python would end by SIGINT; this resets it.
    exec("")
