"""Fine-tuning in Paddle: augmentation, schedule, state that can be resumed, curves.

The command line needs the options without the rest, so that `train` is imported when first used.
"""

from typing import TYPE_CHECKING, Any

from ._settings import Settings

if TYPE_CHECKING:
    from ._run import Summary, train

__all__ = ["Settings", "Summary", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import _run

    return getattr(_run, name)
