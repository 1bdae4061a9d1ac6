"""The program of every worker process: `python -m vitconvert.running.worker SIDE`.

Stdin gives jobs, a line of JSON each: [module, job]. That module's `carry_out(job, parent)` does
it; what it gives goes to stdout as ["done", answer], and what it tells meanwhile as ["told", what].
["failed", reason] is a failure that was foreseen: the next job may come. Any other ends the
process with a traceback on stderr. When stdin ends, the one that started us is gone, and so are we.
"""

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from ..errors import VitconvertError
from ..sides import NAMES


class Parent:
    """The process that started this one: iterated over, it gives what it sends."""

    def __init__(self) -> None:
        # Frameworks print to stdout as they please; messages get a descriptor of their own.
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._lines = os.fdopen(os.dup(0))
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        self._sent: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._lines:
            self._sent.put(json.loads(line))
        os._exit(0)  # in the middle of a job, too: nobody is left to be told

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield self._sent.get()

    def tell(self, what: object) -> None:
        """Tell something while a job is being done."""
        self.send("told", what)

    def send(self, kind: str, what: object) -> None:
        """Send one line."""
        print(json.dumps([kind, what]), file=self._out, flush=True)


def main(side: str) -> None:
    """Carry out one job after another."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks decides when to end
    parent, name = Parent(), NAMES["torch" if side == "torch" else "paddle"]
    for program, job in parent:
        try:
            answer = import_module(program).carry_out(job, parent)
        except VitconvertError as error:
            parent.send("failed", str(error))
        except (OSError, MemoryError) as error:
            reason = str(error) or "out of memory"
            parent.send("failed", f"the {name} process cannot continue: {reason}")
        except SystemExit as error:
            parent.send("failed", f"the {name} model ends the process: sys.exit({error.code!r}).")
        else:
            parent.send("done", answer)


if __name__ == "__main__":
    main(sys.argv[1])
