"""Write a training checkpoint as the official script of a variant saves it.

    python tests/tools/make_checkpoint.py shunted_t shunt_t.pth

The weights are the deterministic noise of tests/golden/rule.py. What lies around them follows the
official repositories, as the golden data says, and for a detector's backbone the files of
MMDetection.
"""

import argparse
import json
import sys
import types
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vitconvert.models import build
from vitconvert.tables.reading import find_variant

sys.path.insert(0, str(Path(__file__).parents[1]))

from golden import rule

State = OrderedDict[str, torch.Tensor]

OPTIMIZER = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.05, "amsgrad": False}


def make_state(variant: str, num_classes: int | None = None, seed: str = "") -> State:
    """Make a state dict with the names, order, shapes and metadata of the official model.

    Args:
        variant: For example "shunted_t".
        num_classes: Size of the head; as published if None.
        seed: What stands before a name in the seed of its noise, "ema." for averaged weights.
    """
    found = find_variant(variant)[1]
    with torch.device("meta"):  # no memory, no initialisation
        classes = found.num_classes if num_classes is None else num_classes
        state: State = build("torch", found, classes).state_dict()
    for name, value in state.items():
        kind = "int64" if value.dtype == torch.int64 else "float32"
        state[name] = torch.from_numpy(rule.weight(seed + name, value.shape, kind))
    return state


def make_checkpoint(variant: str, num_classes: int | None = None) -> dict[str, Any]:
    """Make the dict that the official script saves after an epoch, keys in its order."""
    found = find_variant(variant)[1]
    state = make_state(variant, num_classes)
    if found.num_classes == 0:
        return detector(state)
    args = argparse.Namespace(
        model=variant, batch_size=128, epochs=300, input_size=224, opt="adamw", sched="cosine",
        lr=1e-3, warmup_epochs=5, mixup=0.8, cutmix=1.0, data_path="/imagenet", device="cuda",
    )  # fmt: skip
    makers: dict[str, Callable[[], Any]] = {
        "model": lambda: state,
        "optimizer": lambda: optimizer(state),
        "lr_scheduler": lambda: {"base_values": [1e-3], "t_initial": 300, "lr_min": 1e-5},
        "max_accuracy": lambda: 81.9,
        "epoch": lambda: 299,
        "config": lambda: cfg_node({"MODEL": {"NAME": variant, "LIT": dict(found.config)}}),
        "amp": lambda: OrderedDict(loss_scaler0={"loss_scale": 65536.0, "unskipped": 7}),
        "model_ema": lambda: make_state(variant, num_classes, "ema."),
        "scaler": lambda: {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 7},
        "args": lambda: args,
    }
    return {key: makers[key]() for key in saved_keys(found.family)}


def saved_keys(family: str) -> list[str]:
    """Give what the official script saves, which any golden data of a family says; or weights."""
    golden = sorted((Path(__file__).parents[1] / "golden").glob(f"{family}_*.json"))
    facts = (json.loads(file.read_text()) for file in golden)
    return next((list(one["checkpoint"]["keys"]) for one in facts), ["model"])


def optimizer(state: State) -> dict[str, Any]:
    """Make AdamW's state with moments of the first parameter, so that files stay small."""
    parameters = [k for k in state if "running" not in k and "num_batches" not in k]
    moment = torch.from_numpy(np.full(state[parameters[0]].shape, 1e-3, np.float32))
    moments = {"step": 1000, "exp_avg": moment, "exp_avg_sq": moment**2}
    indices = list(range(len(parameters)))
    return {"state": {0: moments}, "param_groups": [{**OPTIMIZER, "params": indices}]}


def cfg_node(content: dict[str, Any]) -> dict[str, Any]:
    """Make a tree of yacs.config.CfgNode; a class of that name stands in, yacs is not needed."""
    if "yacs" not in sys.modules:

        class CfgNode(dict[str, Any]):
            pass

        CfgNode.__module__, CfgNode.__qualname__ = "yacs.config", "CfgNode"
        sys.modules["yacs"], config = types.ModuleType("yacs"), types.ModuleType("yacs.config")
        vars(config)["CfgNode"] = CfgNode
        sys.modules["yacs.config"] = config
    node: dict[str, Any] = sys.modules["yacs.config"].CfgNode(
        {k: cfg_node(v) if isinstance(v, dict) else v for k, v in content.items()}
    )
    node.__dict__.update(__immutable__=True, __deprecated_keys__=set(), __new_allowed__=False)
    return node


def detector(state: State) -> dict[str, Any]:
    """Put a backbone among the other parts of a detector, as MMDetection saves it."""
    others = ["neck.lateral_convs.0.conv.weight", "bbox_head.retina_cls.weight"]
    whole = OrderedDict((f"backbone.{name}", value) for name, value in state.items())
    whole |= {name: torch.from_numpy(rule.weight(name, (8, 8, 1, 1))) for name in others}
    return {"meta": {"epoch": 12, "mmdet_version": "2.20.0"}, "state_dict": whole}


if __name__ == "__main__":
    variant, path = sys.argv[1], Path(sys.argv[2])
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(make_checkpoint(variant), path)
    print(f"made {path}: {variant}, weights are seeded noise, {path.stat().st_size:,} bytes")
