"""Where a run computes: one process on one device, or several that share every batch."""

from __future__ import annotations

import os

from ...errors import RunError
from ...running.device import choose_device, import_framework
from ...running.team import Team
from ._settings import Settings


def threads() -> int:
    """Give the threads of the processor for a matrix product: Paddle's own default is one."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else 1


def set_device(settings: Settings, team: Team) -> str:
    """Set the device of this process, and meet the others; give its name for people.

    Raises:
        RunError: There is no such device, or it cannot do what was asked for.
    """
    device, paddle = choose_device("paddle", settings.device), import_framework("paddle")
    if settings.amp and device == "cpu":
        raise RunError(
            "--amp: Paddle computes float16 on a GPU only; on the CPU its layers have no float16 "
            "kernels. Leave --amp out, or take --device gpu."
        )
    if settings.batch_size % team.size:
        raise RunError(
            f"--batch-size is {settings.batch_size}, of all processes together; expected a "
            f"multiple of {team.size}, as many as were started."
        )
    paddle.device.set_device(device)
    # Whatever a Predictor in this process has set it to: the bits of a run depend on it.
    paddle.base.core.set_num_threads(threads())
    team.join()
    if device == "gpu":
        return f"{team.size} GPUs" if team.size > 1 else str(paddle.device.cuda.get_device_name())
    return f"CPU, {team.size} processes" if team.size > 1 else "CPU"
