"""Where a run computes: one process on one device, or several that share every batch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import RunError
from ._settings import Settings


@dataclass(frozen=True)
class Team:
    """The processes of one run.

    Attributes:
        rank: Number of this one, from 0; that one alone writes.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

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


def expected_team() -> Team:
    """Tell from the environment, which paddle.distributed.launch sets, who takes part."""
    names = ("PADDLE_TRAINER_ID", "PADDLE_TRAINERS_NUM")
    rank, size = (os.environ.get(name, "") for name in names)
    if size.isdecimal() and rank.isdecimal() and int(size) > 1:
        return Team(int(rank), int(size))
    return Team()


def threads() -> int:
    """Give the threads of the processor for a matrix product: Paddle's own default is one."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else 1


def choose_device(settings: Settings, team: Team) -> str:
    """Set the device of this process, and meet the others; give its name for people.

    Raises:
        RunError: There is no such device, or it cannot do what was asked for.
    """
    import paddle
    from paddle.base import core

    gpu = paddle.device.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    if settings.device == "gpu" and not gpu:
        raise RunError(
            "--device gpu: this Paddle finds no GPU. Install paddlepaddle-gpu, or take cpu."
        )
    on_gpu = gpu and settings.device != "cpu"
    if settings.amp and not on_gpu:
        raise RunError(
            "--amp: Paddle computes float16 on a GPU only; on the CPU its layers have no float16 "
            "kernels. Leave --amp out, or take --device gpu."
        )
    if settings.batch_size % team.size:
        raise RunError(
            f"--batch-size is {settings.batch_size}, of all processes together; expected a "
            f"multiple of {team.size}, as many as were started."
        )
    paddle.device.set_device("gpu" if on_gpu else "cpu")
    # Whatever a Predictor in this process has set it to: the bits of a run depend on it.
    core.set_num_threads(threads())
    if team.size > 1:
        paddle.distributed.init_parallel_env()
    if on_gpu:
        return f"{team.size} GPUs" if team.size > 1 else paddle.device.cuda.get_device_name()
    return f"CPU, {team.size} processes" if team.size > 1 else "CPU"
