"""Asks timm where the weights of a model are; a program, since timm imports PyTorch.

It prints a JSON: `hub` and `file`, `url`, the full `name`; or, of an unknown name, `known` ones.
"""

import json
import sys
from importlib import import_module
from typing import Any


def ask(model: str) -> dict[str, Any]:
    """Look a model up: its pretrained weights, those of the default tag if the name has none."""
    import_module("vitconvert.models_torch._torchvision").import_torchvision()
    timm = import_module("timm")
    name, _, tag = model.partition(".")
    if not timm.is_model(name):
        return {"known": timm.list_models()}
    tags = timm.list_pretrained(f"{name}.*")
    if tag and model not in tags:
        return {"known": tags}
    config = timm.models.get_pretrained_cfg(model)
    full = f"{name}.{config.tag}" if config.tag else name
    return {
        "name": full,
        "hub": config.hf_hub_id or "",
        "file": config.hf_hub_filename or "",
        "url": config.url or "",
    }


if __name__ == "__main__":
    print(json.dumps(ask(sys.argv[1])))  # noqa: T201 - for the process that asks
