"""Write small checkpoints as the torch that runs this writes them, and what they must give.

    python tests/tools/make_old_torch.py tests/data/old_torch

The files of that folder come from torch 1.4.0, 1.6.0 and 1.12.1 under Python 3.8; the script needs
torch and numpy alone and runs under all of them, and under the torch of today. Of each release:

    torch-<version>-legacy.pth       the form before torch 1.6: pickles, then the raw storages
    torch-<version>-zip.pth          the form since torch 1.6
    torch-<version>-{legacy,zip}-cuda.pth    the same two with storages tagged cuda:0

`expected.npz` and `expected_cuda.npz` hold the arrays by key, bfloat16 as its bits in uint16; they
are the same under every release.
"""

from __future__ import annotations  # Python 3.8 cannot evaluate OrderedDict[..]

import argparse
from collections import OrderedDict
from pathlib import Path
from typing import Any, cast
from unittest import mock

import numpy as np
import torch
from torch import nn

VERSION = torch.__version__.split("+")[0]
HAS_ZIP = tuple(map(int, VERSION.split(".")[:2])) >= (1, 6)  # that of 1.4 was an experiment


def count(*shape: int) -> torch.Tensor:
    """Make the float32 tensor 0, 1, 2, .. of a shape."""
    return torch.arange(float(np.prod(shape))).reshape(shape)


def make_state() -> OrderedDict[str, torch.Tensor]:
    """Make a state dict with its `_metadata`, and one key for each way a tensor lies in memory."""
    model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3))
    state = cast("OrderedDict[str, torch.Tensor]", model.state_dict())
    for start, value in enumerate(state.values(), 1):
        value.copy_(count(*value.shape) / 4 + start)

    matrix = count(4, 6) / 8 - 1
    image = count(4, 4, 3, 2) / 2
    shared = count(20) - 10
    tied = count(3, 2) + 0.5
    state["matrix"] = matrix
    state["transposed"] = matrix.t()  # the storage of "matrix"
    state["permuted"] = count(2, 3, 4, 5).permute(0, 2, 3, 1)
    conv = count(4, 3, 2, 2) / 4
    state["channels_last"] = conv.contiguous(memory_format=torch.channels_last)
    state["sliced"] = image[1:3, ::2, :, 1]  # its storage is saved whole
    state["expanded"] = count(3, 1).expand(3, 4)
    state["empty"] = torch.zeros(0, 5)
    state["scalar"] = torch.tensor(2.5)
    state["shared.low"] = shared[2:8].reshape(2, 3)
    state["shared.high"] = shared[11:]
    state["tied.a"] = tied
    state["tied.b"] = tied
    state["parameter"] = nn.Parameter(count(2, 3) - 0.25)

    state["float64"] = count(5).to(torch.float64) / 1024 + 1
    state["float16"] = (count(5) - 2).to(torch.float16)  # torch 1.4 cannot subtract in float16
    state["bfloat16"] = (count(5) - 2.5).to(torch.bfloat16)
    state["int64"] = count(5).to(torch.int64) - 2**40
    state["int32"] = count(5).to(torch.int32) - 2**20
    state["int16"] = count(5).to(torch.int16) - 2**10
    state["int8"] = count(5).to(torch.int8) - 2
    state["uint8"] = count(5).to(torch.uint8) + 250
    state["bool"] = count(5) % 2 == 0
    return state


def make_cuda_state() -> OrderedDict[str, torch.Tensor]:
    """Make the few tensors that are saved as if they lay on a GPU."""
    weight = count(3, 4) / 2
    state = OrderedDict(weight=weight, transposed=weight.t(), half=count(6).to(torch.float16))
    state["steps"] = torch.tensor(9)
    return state


def to_numpy(value: torch.Tensor) -> np.ndarray:
    """Copy a tensor to a contiguous array; bfloat16 gives its bits, the upper half of float32's."""
    if value.dtype != torch.bfloat16:
        return np.ascontiguousarray(value.detach().numpy()).reshape(value.shape)
    return (to_numpy(value.float()).view(np.uint32) >> 16).astype(np.uint16)


def save(folder: Path, state: OrderedDict[str, torch.Tensor], suffix: str = "") -> None:
    """Save one state in each form of this release, and its arrays beside them."""
    checkpoint = {"model": state, "epoch": 7, "args": argparse.Namespace(lr=0.1)}
    forms = {"legacy": False, "zip": True} if HAS_ZIP else {"legacy": False}
    for form, is_zip in forms.items():
        path = folder / f"torch-{VERSION}-{form}{suffix.replace('_', '-')}.pth"
        torch.save(checkpoint, str(path), _use_new_zipfile_serialization=is_zip)
        print(path)
    arrays: dict[str, Any] = {key: to_numpy(value) for key, value in state.items()}
    np.savez(str(folder / f"expected{suffix}.npz"), **arrays)


def save_all(folder: Path) -> None:
    """Save everything the docstring of this file lists."""
    save(folder, make_state())
    with mock.patch("torch.serialization.location_tag", return_value="cuda:0"):
        save(folder, make_cuda_state(), "_cuda")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    save_all(parser.parse_args().folder)
