"""Write a training checkpoint as the official Shunted Transformer script saves it.

    python tests/tools/make_checkpoint.py shunted_t shunt_t.pth

The weights are the deterministic noise of tests/golden/rule.py. Wrapper, optimizer and Namespace
are those of main.py in https://github.com/OliverRensu/Shunted-Transformer.
"""

import argparse
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vitconvert._models import build
from vitconvert._table import find_variant

sys.path.insert(0, str(Path(__file__).parents[1]))

from golden import rule

OPTIMIZER = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.05, "amsgrad": False}


def make_state(variant: str, num_classes: int = 1000) -> "OrderedDict[str, torch.Tensor]":
    """Make a state dict with the names, order, shapes and metadata of the official model."""
    state = build("torch", find_variant(variant)[1], num_classes).state_dict()
    for name, value in state.items():
        kind = "int64" if value.dtype == torch.int64 else "float32"
        state[name] = torch.from_numpy(rule.weight(name, value.shape, kind))
    return state


def make_checkpoint(variant: str, num_classes: int = 1000) -> dict[str, Any]:
    """Make the dict that the official script saves after an epoch, keys in its order."""
    state = make_state(variant, num_classes)
    parameters = [k for k in state if "running" not in k and "num_batches" not in k]
    moment = torch.from_numpy(np.full(state[parameters[0]].shape, 1e-3, np.float32))
    moments = {"step": 1000, "exp_avg": moment, "exp_avg_sq": moment**2}
    indices = list(range(len(parameters)))
    args = argparse.Namespace(
        model=variant, batch_size=128, epochs=300, input_size=224, opt="adamw", sched="cosine",
        lr=1e-3, warmup_epochs=5, mixup=0.8, cutmix=1.0, data_path="/imagenet", device="cuda",
    )  # fmt: skip
    return {
        "model": state,
        "optimizer": {
            "state": {0: moments},
            "param_groups": [{**OPTIMIZER, "params": indices}],
        },
        "lr_scheduler": {"base_values": [1e-3], "t_initial": 300, "lr_min": 1e-5},
        "epoch": 299,
        "scaler": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 7},
        "args": args,
    }


if __name__ == "__main__":
    variant, path = sys.argv[1], Path(sys.argv[2])
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(make_checkpoint(variant), path)
    print(f"made {path}: {variant}, weights are seeded noise, {path.stat().st_size:,} bytes")
