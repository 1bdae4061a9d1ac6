"""Several processes that share the images, started by Paddle's or PyTorch's launcher."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ..errors import RunError

# What each launcher tells its processes: launcher -> (which this is, how many, how many here).
_LAUNCHERS = {
    "paddle": ("PADDLE_TRAINER_ID", "PADDLE_TRAINERS_NUM", "PADDLE_LOCAL_SIZE"),
    "torch": ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
}


@dataclass(frozen=True)
class Processes:
    """The processes that share the work.

    Attributes:
        launcher: "paddle", "torch", or "" for a single process.
        rank: Which of them this one is, from 0.
        count: How many there are.
        here: How many of them are on this machine.
    """

    launcher: str
    rank: int
    count: int
    here: int

    @property
    def threads(self) -> int:
        """How many threads of the processor each has."""
        return max(1, len(os.sched_getaffinity(0)) // self.here)

    def join(self) -> None:
        """Meet the others; to be called before the work, so that what fails does so at once.

        Raises:
            RunError: The others cannot be reached.
        """
        try:
            if self.launcher == "paddle":
                import paddle.distributed as paddle

                paddle.init_parallel_env()
            elif self.launcher == "torch":
                import torch.distributed as torch

                torch.init_process_group("gloo")
        except (RuntimeError, ValueError, OSError) as error:
            raise RunError(
                f"process {self.rank} of {self.count} cannot meet the others: {error}"
            ) from error

    def gather(self, share: Any) -> list[Any]:
        """Bring together what every process has, in the order of their ranks."""
        if self.launcher == "":
            return [share]
        found: list[Any] = [None] * self.count
        if self.launcher == "paddle":
            import paddle.distributed as paddle

            found = []
            paddle.all_gather_object(found, share)
        else:
            import torch.distributed as torch

            torch.all_gather_object(found, share)
        return found

    def leave(self) -> None:
        """Part from the others."""
        if self.launcher == "torch":
            import torch.distributed as torch

            torch.destroy_process_group()


def processes() -> Processes:
    """Read what a launcher has told this process.

    Raises:
        RunError: It has said what makes no sense.
    """
    for launcher, names in _LAUNCHERS.items():
        told = [os.environ.get(name, d) for name, d in zip(names, "011", strict=True)]
        if not all(word.isdecimal() for word in told) or int(told[0]) >= max(int(told[1]), 1):
            said = ", ".join(f"{n}={word!r}" for n, word in zip(names, told, strict=True))
            raise RunError(f"the environment has {said}; expected what a launcher sets, or none.")
        rank, count, here = map(int, told)
        if count > 1:
            return Processes(launcher, rank, count, here)
    return Processes("", 0, 1, 1)
