"""Which device a framework computes on: asked once, and refused in one wording."""

import warnings
from importlib import import_module
from typing import Any, Literal, get_args

from ..errors import RunError
from ..sides import NAMES, Side
from ..start import Importing

Device = Literal["auto", "cpu", "gpu"]  # "auto": a GPU where the framework sees one
Place = Literal["cpu", "gpu"]

_NO_GPU = {
    "torch": "",
    "paddle": " (the package paddlepaddle is CPU only; paddlepaddle-gpu is not)",
}


def import_framework(framework: Side) -> Any:
    """Import a framework; its types do not name all that it has."""
    with Importing(), warnings.catch_warnings():  # of ccache, which matters to those who compile
        warnings.simplefilter("ignore")
        return import_module(framework)


def has_gpu(framework: Side) -> bool:
    """Tell whether a framework sees a GPU."""
    found = import_framework(framework)
    if framework == "torch":
        return bool(found.cuda.is_available())
    return bool(found.is_compiled_with_cuda() and found.device.cuda.device_count() > 0)


def check_device(device: str) -> None:
    """Refuse what is not a device.

    Raises:
        RunError: With what there is.
    """
    if device not in get_args(Device):
        raise RunError(f"device is {device!r}; expected one of {', '.join(get_args(Device))}.")


def choose_device(framework: Side, device: str) -> Place:
    """Settle on a device; nothing is set.

    Args:
        framework: That computes on it.
        device: What is asked for, a `Device`.

    Raises:
        RunError: There is no such device.
    """
    check_device(device)
    found = device != "cpu" and has_gpu(framework)
    if device == "gpu" and not found:
        raise RunError(
            f"--device gpu: {NAMES[framework]} sees no GPU here{_NO_GPU[framework]}. "
            f"Use --device cpu or auto."
        )
    return "gpu" if found else "cpu"
