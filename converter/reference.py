"""PyTorch models that a table takes from elsewhere: timm's, or what a function gives.

This is the one place that imports timm.
"""

import sys
from collections.abc import Callable, Mapping
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from .errors import ModelError, brief, nearest

Made = TypeVar("Made")

TIMM = "timm"
RELEASE = "1.0.31"  # of timm, whose models and names the shipped tables have
_INSTALL = "Install it: pip install 'vitconvert[timm]'"


def build_reference(origin: str, name: str, arguments: Mapping[str, Any], num_classes: int) -> Any:
    """Build a PyTorch model, freshly initialised, that a table says where to find.

    Args:
        origin: "timm", or "package.module:function".
        name: Of the variant, as timm calls it.
        arguments: Passed on by keyword.
        num_classes: Size of the head; 0 for none. Passed on as well.

    Raises:
        ModelError: timm is not installed or does not know the model, there is no such function, or
            its code fails.
    """
    if origin == TIMM:
        return _build_timm(name, {**arguments, "num_classes": num_classes})
    try:
        factory = import_beside_torchvision(lambda: find_function(origin))
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"{name}: its table builds the PyTorch model with {origin}: {brief(error)}. Is it in "
            f"{Path.cwd()}, or installed? Otherwise change `torch` in the table."
        ) from error
    return call_function(origin, factory, {**arguments, "num_classes": num_classes})


def find_function(name: str) -> Any:
    """Give "package.module:function", which is installed or in the current folder.

    Raises:
        ImportError: There is no such module.
        AttributeError: It has no such function.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    module, _, function = name.partition(":")
    return reduce(getattr, function.split("."), import_module(module))


def call_function(name: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call a function that builds a model, by keyword.

    Raises:
        ModelError: Its code fails.
    """
    try:
        return function(**arguments)
    except Exception as error:  # another's code may raise anything
        raise ModelError(f"{name} raises {type(error).__name__}: {brief(error)}") from error


def import_timm() -> Any:
    """Import timm, which itself imports torchvision.

    Raises:
        ModelError: One of them is not installed.
    """
    try:
        return import_beside_torchvision(lambda: import_module("timm"))
    except ModuleNotFoundError as error:
        missing = "timm is" if error.name == "timm" else f"{error.name}, which timm needs, is"
        raise ModelError(f"{missing} not installed here. {_INSTALL}") from error


def import_beside_torchvision(make: Callable[[], Made]) -> Made:
    """Call what imports torchvision, which does not load beside a CPU build of PyTorch."""
    try:
        return make()
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        import_module("vitconvert.models_torch._torchvision").import_torchvision()
        return make()


def _build_timm(name: str, arguments: Mapping[str, Any]) -> Any:
    timm = import_timm()
    if not timm.is_model(name):
        known = timm.list_models()
        raise ModelError(
            f"timm {timm.__version__} has no model {name!r}; the tables were written for timm "
            f"{RELEASE}.{nearest(name, known)} Install that: pip install 'timm>={RELEASE}'"
        )
    return timm.create_model(name, pretrained=False, **arguments)
