"""Run PyTorch source as Paddle: `paddle.enable_compat()`, and what it lacks.

Under it `import torch` gives Paddle's own functions by PyTorch's names. It stays on for the rest of
the process, since a model may import as it runs, and so it is for workers alone.
"""

from functools import cache
from types import ModuleType

from ..errors import ModelError
from .device import import_framework

_PREFIX = "compat:"  # before the "package.module:function" of a PyTorch model
_SINCE = "3.3"


def is_compat(factory: str) -> bool:
    """Tell whether a function builds a PyTorch model that is to run as Paddle.

    "compat:build" is none: it is the function of a module that is called so.
    """
    return factory.startswith(_PREFIX) and ":" in factory.removeprefix(_PREFIX)


def plain_name(factory: str) -> str:
    """Give "package.module:function" alone."""
    return factory.removeprefix(_PREFIX) if is_compat(factory) else factory


@cache
def enable_compat() -> None:
    """Let Paddle answer to `import torch` from now on.

    Raises:
        ModelError: This release of Paddle cannot.
    """
    paddle = import_framework("paddle")
    if not hasattr(paddle, "enable_compat"):
        raise ModelError(
            f"Paddle {paddle.__version__} cannot run PyTorch source: expected {_SINCE} or newer, "
            f"which has paddle.enable_compat()."
        )
    paddle.enable_compat()


def is_enabled() -> bool:
    """Tell whether PyTorch source runs as Paddle in this process."""
    return enable_compat.cache_info().currsize > 0


def spell_lacking(error: Exception) -> str:
    """Say what of PyTorch Paddle lacks, if an error in PyTorch source comes of that; else nothing.

    The proxy of "torch.nn" asks "paddle.nn", so that the errors name what the source does not.
    """
    if not is_enabled():
        return ""
    paddle, lacking = import_framework("paddle"), ""
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        lacking = f"{error.obj.__name__}.{error.name}"
    elif isinstance(error, AttributeError) and isinstance(error.obj, paddle.Tensor):
        lacking = f"torch.Tensor.{error.name}"
    elif isinstance(error, ModuleNotFoundError):
        lacking = error.name or ""
    elif isinstance(error, ImportError):
        lacking = f"{error.name}.{_wanted(error)}"
    library, _, rest = lacking.partition(".")
    if library not in ("paddle", "torch"):
        return ""
    return f"Paddle {paddle.__version__} has no torch.{rest} under paddle.enable_compat()"


def _wanted(error: ImportError) -> str:
    """Give the name that a module was asked for, which Python 3.11 has in the message alone."""
    return error.msg.removeprefix("cannot import name ").split("'")[1] if "'" in error.msg else "?"
