"""Fine-tuning in Paddle: augmentation, schedule, state that can be resumed, curves.

The command line needs the options without the rest, so that the rest is imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._settings import Option, Settings, flag, options

if TYPE_CHECKING:
    from ._interrupt import Interrupted
    from ._run import Summary, stored_settings, train
    from ._trainer import Listener

__all__ = [
    "Interrupted",
    "Listener",
    "Option",
    "Settings",
    "Summary",
    "flag",
    "options",
    "stored_settings",
    "train",
]

_HOMES = {
    "_interrupt": ("Interrupted",),
    "_run": ("Summary", "stored_settings", "train"),
    "_trainer": ("Listener",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
