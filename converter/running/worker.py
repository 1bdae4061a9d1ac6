"""The program of every worker process: `python -m vitconvert.running.worker SIDE`.

Stdin holds jobs, a line of JSON each: [module, job]. That module's `carry_out(job, parent)` does
it; its answer goes to stdout as ["done", answer], and what it reports meanwhile as ["told", what].
["failed", reason] is an error of the user's: the next job may come. Any other error ends the
process with a traceback on stderr. When stdin ends, the parent is gone, and the worker ends.
"""

import json
import os
import queue
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import RunError, VitconvertError
from ..sides import NAMES


class Parent:
    """The process that started this one: iterated over, it yields what that sends."""

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
        os._exit(0)  # in the middle of a job, too: nobody is left to hear

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield self._sent.get()

    def tell(self, what: object) -> None:
        """Report something before the job is done."""
        self.send("told", what)

    def send(self, kind: str, what: object) -> None:
        """Send one line."""
        print(json.dumps([kind, what]), file=self._out, flush=True)


def main(side: str) -> None:
    """Carry out one job after another."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks decides when to end
    parent, name = Parent(), NAMES["torch" if side == "torch" else "paddle"]
    for program, job in parent:
        _stand_somewhere()
        try:
            answer = import_module(program).carry_out(job, parent)
        except VitconvertError as error:
            parent.send("failed", str(error))
        except (OSError, MemoryError) as error:
            reason = str(error) or "out of memory"
            failed = RunError(f"the {name} process cannot continue: {reason}")
            parent.send("failed", str(failed))
        except SystemExit as error:
            failed = RunError(f"the {name} model ends the process: sys.exit({error.code!r}).")
            parent.send("failed", str(failed))
        else:
            parent.send("done", answer)


def _stand_somewhere() -> None:
    """Leave a folder that was removed meanwhile: PyTorch's compiler asks where it is on import."""
    try:
        Path.cwd()
    except FileNotFoundError:
        os.chdir(tempfile.gettempdir())


if __name__ == "__main__":
    main(sys.argv[1])
