"""Open files that may be hostile, each in a process of its own, and tell what came of it.

    python tests/tools/open_apart.py < PATHS    answers each line, a path, with a line of JSON

A file that crashes its reader, or makes it hang or fill the memory, ends that process alone.

    refused     the message of a CheckpointError
    raised      any other exception
    opened      whether it was refused while it was read, not before
    values      name -> values, if it was read; strings for floats that JSON does not have
    killed      the signal that ended the process
    events      what Python was asked to do meanwhile that a reader has no need of
    megabytes   by how much the memory grew at most
"""

import json
import os
import resource
import sys
import traceback
from pathlib import Path
from typing import Any

from vitconvert import CheckpointError, open_checkpoint

MOST_MEMORY = 1 << 30  # bytes more than before
MOST_TIME = 60  # seconds of the processor, on the slowest machine: what takes longer hangs

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_UNNEEDED = ("os.", "subprocess.", "socket.", "shutil.", "ctypes.", "code.")


def tell(path: str) -> dict[str, Any]:
    """Read a whole checkpoint."""
    events: list[str] = []

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event.startswith(_UNNEEDED) or (event == "open" and args[2] & _WRITING):
            events.append(event)

    sys.addaudithook(watch)
    answer: dict[str, Any]
    opened = False
    try:
        found = open_checkpoint(path)
        opened = True
        found.check()
        values = {}
        for name, tensor in found.tensors.items():
            array = tensor.read()
            values[name] = array.tolist() if array.size < 100 else f"{array.size} values"
        answer = {"values": values, "notes": list(found.notes())}
    except CheckpointError as error:
        answer = {"refused": str(error)}
    except Exception:
        answer = {"raised": traceback.format_exc(-2)[-2000:]}
    return answer | {"events": events, "opened": opened}


def tell_apart(path: str) -> dict[str, Any]:
    """Do so in a child."""
    pages = [int(word) for word in Path("/proc/self/statm").read_text().split()]
    receiver, sender = os.pipe()
    child = os.fork()
    if not child:
        most = pages[0] * resource.getpagesize() + MOST_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_TIME, MOST_TIME))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with os.fdopen(sender, "w") as pipe:
            json.dump(tell(path), pipe)
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver) as pipe:
        told = pipe.read()
    _, status, usage = os.wait4(child, 0)
    answer = {"killed": os.WTERMSIG(status)} if os.WIFSIGNALED(status) else json.loads(told)
    grown = usage.ru_maxrss * 1024 - pages[1] * resource.getpagesize()
    return {"events": [], **answer, "megabytes": max(0, round(grown / 1e6))}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(tell_apart(line.rstrip("\n"))), flush=True)
