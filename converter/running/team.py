"""Several processes that share the images, started by Paddle's or PyTorch's launcher."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import RunError
from ..sides import SIDES, Side

# What each launcher tells its processes: which this is, how many there are, how many here.
_LAUNCHERS: dict[Side, tuple[str, str, str]] = {
    "paddle": ("PADDLE_TRAINER_ID", "PADDLE_TRAINERS_NUM", "PADDLE_LOCAL_SIZE"),
    "torch": ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
}


@dataclass(frozen=True)
class Team:
    """The processes that share the work.

    Attributes:
        rank: Which of them this one is, from 0.
        size: How many there are.
        here: How many of them are on this machine.
        launcher: Whose launcher started them; None for a single process.
    """

    rank: int = 0
    size: int = 1
    here: int = 1
    launcher: Side | None = None

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks; the others are silent."""
        return self.rank == 0

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
                f"process {self.rank} of {self.size} cannot meet the others: {error}"
            ) from error

    def gather(self, share: Any) -> list[Any]:
        """Bring together what every process has, in the order of their ranks."""
        found: list[Any] = []
        if self.launcher == "paddle":
            import paddle.distributed as paddle

            paddle.all_gather_object(found, share)
        elif self.launcher == "torch":
            import torch.distributed as torch

            found = [None] * self.size
            torch.all_gather_object(found, share)
        return found or [share]

    def leave(self) -> None:
        """Part from the others."""
        if self.launcher == "torch":
            import torch.distributed as torch

            torch.destroy_process_group()

    # What training needs, with Paddle's launcher.

    def add(self, values: Sequence[float]) -> list[float]:
        """Add numbers of all processes, in float64."""
        if self.size == 1:
            return list(values)
        import paddle
        from paddle import distributed

        tensor = paddle.to_tensor(np.array(values, np.float64))
        distributed.all_reduce(tensor)
        return [float(value) for value in tensor.numpy()]

    def share_statistics(self, model: Any) -> None:
        """Give all processes the running statistics of the first, which nothing else aligns.

        Paddle counts those of a BatchNorm among the parameters, as ones that are not trained.
        """
        if self.size > 1:
            from paddle import distributed

            for value in model.state_dict().values():
                if value.stop_gradient:
                    distributed.broadcast(value, 0)

    def wait(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            from paddle import distributed

            distributed.barrier()


def expected_team(launchers: Sequence[Side] = SIDES[::-1]) -> Team:
    """Tell from the environment, which a launcher sets, who takes part.

    Args:
        launchers: Whose launchers count; Paddle's goes first.

    Raises:
        RunError: The environment makes no sense.
    """
    for launcher in launchers:
        names = _LAUNCHERS[launcher]
        told = [os.environ.get(name, d) for name, d in zip(names, "011", strict=True)]
        numbers = [int(word) if word.isdecimal() else -1 for word in told]
        rank, size, here = numbers
        if min(numbers) < 0 or here < 1 or rank >= size > 1:
            said = ", ".join(f"{n}={word!r}" for n, word in zip(names, told, strict=True))
            raise RunError(f"the environment has {said}; expected what a launcher sets, or none.")
        if size > 1:
            return Team(rank, size, here, launcher)
    return Team()
