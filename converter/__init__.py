"""Convert PyTorch weights of vision transformers to PaddlePaddle, with proof.

The public names are those of `__all__`. They are imported when first used, so that
`import vitconvert` and `vitconvert --help` stay instant.
"""

from __future__ import annotations

from .version import __version__ as __version__

TYPE_CHECKING = False  # without importing typing: signals are not minded yet

if TYPE_CHECKING:
    from typing import Any

    from .apps.deploy import Predictor, export
    from .apps.evaluation import Evaluation, evaluate
    from .apps.explanation import explain
    from .apps.training import Settings, train
    from .checkpoints import Checkpoint, Tensor, open_checkpoint
    from .conversion import Conversion, convert
    from .errors import (
        CheckpointError,
        ConversionError,
        DataError,
        ModelError,
        ParityError,
        RunError,
        TableError,
        VitconvertError,
    )
    from .images import Preprocessing
    from .models import create_model, list_models
    from .parity import Pair, Report, check_parity, compare_traces, dump


__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Conversion",
    "ConversionError",
    "DataError",
    "Evaluation",
    "ModelError",
    "Pair",
    "ParityError",
    "Predictor",
    "Preprocessing",
    "Report",
    "RunError",
    "Settings",
    "TableError",
    "Tensor",
    "VitconvertError",
    "check_parity",
    "compare_traces",
    "convert",
    "create_model",
    "dump",
    "evaluate",
    "explain",
    "export",
    "list_models",
    "open_checkpoint",
    "train",
]

_HOMES = {
    "conversion": ("Conversion", "convert"),
    "errors": (
        "CheckpointError",
        "ConversionError",
        "DataError",
        "ModelError",
        "ParityError",
        "RunError",
        "TableError",
        "VitconvertError",
    ),
    "images": ("Preprocessing",),
    "models": ("create_model", "list_models"),
    "checkpoints": ("Checkpoint", "Tensor", "open_checkpoint"),
    "apps.deploy": ("Predictor", "export"),
    "apps.evaluation": ("Evaluation", "evaluate"),
    "apps.explanation": ("explain",),
    "apps.training": ("Settings", "train"),
    "parity": ("Pair", "Report", "check_parity", "compare_traces", "dump"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
