"""Several processes that share the images, started by Paddle's or PyTorch's launcher."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
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

    @property
    def _distributed(self) -> Any:
        """The module of the framework that launched this process."""
        return import_module(f"{self.launcher}.distributed")

    def join(self) -> None:
        """Meet the others; callers do so before the work, so that what fails does so at once.

        Raises:
            RunError: The others cannot be reached.
        """
        try:
            if self.launcher == "paddle":
                self._distributed.init_parallel_env()
            elif self.launcher == "torch":
                self._distributed.init_process_group("gloo")
        except (RuntimeError, ValueError, OSError) as error:
            raise RunError(
                f"process {self.rank} of {self.size} cannot meet the others: {error}"
            ) from error

    def gather(self, share: Any) -> list[Any]:
        """Bring together what every process has, in the order of their ranks."""
        if self.launcher is None:
            return [share]
        found: list[Any] = [None] * self.size if self.launcher == "torch" else []
        self._distributed.all_gather_object(found, share)
        return found

    def leave(self) -> None:
        """Part from the others."""
        if self.launcher == "torch":
            self._distributed.destroy_process_group()

    # What training needs, with Paddle's launcher.

    def add(self, values: Sequence[float]) -> list[float]:
        """Add numbers of all processes, in float64."""
        if self.size == 1:
            return list(values)
        import paddle

        tensor = paddle.to_tensor(np.array(values, np.float64))
        self._distributed.all_reduce(tensor)
        return [float(value) for value in tensor.numpy()]

    def share_statistics(self, model: Any) -> None:
        """Give all processes the running statistics of the first, which nothing else aligns.

        Paddle counts those of a BatchNorm among the parameters, as ones that are not trained.
        """
        if self.size > 1:
            for value in model.state_dict().values():
                if value.stop_gradient:
                    self._distributed.broadcast(value, 0)

    def wait(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            self._distributed.barrier()


def expected_team(launchers: Sequence[Side] = SIDES[::-1]) -> Team:
    """Find in the environment, which a launcher sets, who takes part.

    Args:
        launchers: Whose launchers count; Paddle's goes first.

    Raises:
        RunError: The environment makes no sense.
    """
    for launcher in launchers:
        names = _LAUNCHERS[launcher]
        words = [os.environ.get(name, d) for name, d in zip(names, "011", strict=True)]
        numbers = [int(word) if word.isdecimal() else -1 for word in words]
        rank, size, here = numbers
        if min(numbers) < 0 or here < 1 or rank >= size > 1:
            found = ", ".join(f"{n}={word!r}" for n, word in zip(names, words, strict=True))
            raise RunError(f"the environment has {found}; expected what a launcher sets, or none.")
        if size > 1:
            return Team(rank, size, here, launcher)
    return Team()
