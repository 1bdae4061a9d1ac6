"""Convert a checkpoint as the usual script does: torch.load, transpose, paddle.save.

    python benchmarks/usual.py [--fsync] SRC DST

This is its fastest form: no model is built, and a transposed array is saved as it is.
"""

import os
import sys
from pathlib import Path

import paddle
import torch

RENAMED = {"running_mean": "_mean", "running_var": "_variance"}

if __name__ == "__main__":
    src, dst = map(Path, sys.argv[-2:])
    state = torch.load(src, map_location="cpu", weights_only=False)
    converted = {}
    for name, tensor in state.get("model", state).items():
        layer, _, leaf = name.rpartition(".")
        if leaf == "num_batches_tracked":
            continue
        array = tensor.numpy()
        if leaf == "weight" and array.ndim == 2:
            array = array.transpose()
        converted[f"{layer}.{RENAMED.get(leaf, leaf)}".lstrip(".")] = array
    paddle.save(converted, str(dst))
    if "--fsync" in sys.argv:
        with dst.open("rb") as file:
            os.fsync(file.fileno())
