"""The worker processes: what the program of one does besides its job."""

import json
import os
import sys
import threading
from typing import Any, TextIO


def is_class(layer: Any, expected: str) -> bool:
    """Tell whether a layer is of exactly the class of that name."""
    module, _, name = expected.rpartition(".")
    return type(layer) is getattr(sys.modules.get(module), name, None)


def tell(parent: TextIO, message: object) -> None:
    """Send the parent process one line."""
    print(json.dumps(message), file=parent, flush=True)


def end_with_parent() -> None:
    """End this process when the one that started it is gone, however it went.

    That one holds the other end of our stdin, which becomes empty for everybody else.
    """
    parent, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def watch() -> None:
        while os.read(parent, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
