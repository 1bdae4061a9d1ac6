"""The models of pairs.toml: `zoo:torch.vit_base` is a function that builds one.

The worker processes of `vitconvert table` import this module, each with its own framework.
"""

import tomllib
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

PAIRS = tomllib.loads((Path(__file__).parent / "pairs.toml").read_text(encoding="utf-8"))


class Factories:
    """One side of all pairs, by name."""

    def __init__(self, find: Callable[[str, str], Any], side: str) -> None:
        self.find, self.side = find, side

    def __getattr__(self, pair: str) -> Any:
        if pair not in PAIRS:
            raise AttributeError(pair)
        library, model = PAIRS[pair][self.side].split()
        options = PAIRS[pair].get("options" if self.side == "torch" else "paddle_options", {})
        return partial(self.find(library, model), **options)


def _torch_model(library: str, model: str) -> Any:
    from vitconvert.models_torch._torchvision import import_torchvision

    torchvision = import_torchvision()
    if library == "timm":
        return partial(import_module("timm").create_model, model, pretrained=False)
    return getattr(torchvision.models, model)


def _paddle_model(library: str, model: str) -> Any:
    if library == "paddle.vision":
        return getattr(import_module("paddle.vision.models"), model)
    given = _prepare_ppcls()
    backbone = import_module("ppcls.arch.backbone")
    towers = import_module("ppcls.arch.backbone.model_zoo.foundation_vit")
    tower = model.removeprefix("foundation_vit.")
    found = getattr(backbone, model, None) or getattr(towers, tower)
    return found if isinstance(found, type) else partial(found, **given)


@cache
def _prepare_ppcls() -> dict[str, Any]:
    from vitconvert.running.foreign import prepare_ppcls

    return prepare_ppcls()


torch = Factories(_torch_model, "torch")
paddle = Factories(_paddle_model, "paddle")
