"""Make the files to measure with, and compare two that should hold the same arrays.

python benchmarks/files.py noise vit_large_patch16_224|one_linear FILE.pth
python benchmarks/files.py sparse ten_gb FILE.pth|FILE.safetensors|FILE.pdparams
python benchmarks/files.py same ONE.pdparams OTHER.pdparams
"""

import os
import sys
from pathlib import Path

from vitconvert.checkpoints._tensor import view
from vitconvert.checkpoints.storage import Storage
from vitconvert.checkpoints.target import Output
from vitconvert.tables.reading import read_table

Shapes = dict[str, tuple[int, ...]]
TABLE = Path(__file__).parent / "tables" / "vit_large.toml"


def save_noise(shapes: Shapes, path: Path) -> None:
    """Save seeded noise with torch.save."""
    import torch

    seed = torch.Generator().manual_seed(0)
    torch.save({name: torch.randn(s, generator=seed) for name, s in shapes.items()}, path)


def save_sparse(shapes: Shapes, path: Path) -> None:
    """Write a sparse file: its values are zeros that take no room on the disk."""
    storage = Storage()  # never read
    storage.size = 1 << 40
    tensors = {name: view(storage, "float32", shape) for name, shape in shapes.items()}
    layout = Output(path, tensors, {"format": "pt"}).layout(tensors)
    closing = layout.closing([0] * len(layout.tensors)) if layout.closing else []
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    for offset, data in [*layout.fixed, *closing]:
        os.pwrite(handle, data, offset)
    os.ftruncate(handle, layout.size)
    os.close(handle)


def check_same(one: Path, other: Path) -> None:
    """Exit with an error unless Paddle finds the same arrays in both."""
    import numpy as np
    import paddle

    states = [paddle.load(str(path), return_numpy=True) for path in (one, other)]
    if states[0].keys() != states[1].keys():
        sys.exit(f"{one} and {other} hold different names")
    for name, array in states[0].items():
        if array.dtype != states[1][name].dtype or not np.array_equal(array, states[1][name]):
            sys.exit(f"{one} and {other} differ at {name}")


if __name__ == "__main__":
    what, name, path = sys.argv[1:]
    if what == "same":
        check_same(Path(name), Path(path))
    else:
        variant = read_table(TABLE).variants[name]
        shapes = {key: variant.resolve(shape, 1000) for key, shape in variant.shapes.items()}
        {"noise": save_noise, "sparse": save_sparse}[what](shapes, Path(path))
