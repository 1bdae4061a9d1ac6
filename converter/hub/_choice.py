"""Which file of a repository is the checkpoint, if nobody says."""

from collections.abc import Sequence

from ..errors import CheckpointError, listing, nearest, some
from ._names import Name

INDEX = ".index.json"
# The first of these that is there: names that transformers, timm and OpenCLIP write.
_USUAL = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
)
_ENDINGS = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".pdparams", ".npz")
# Files beside the weights that training programs write.
_BESIDE = ("optimizer", "scheduler", "scaler", "rng_state", "random_states", "training_args")
_MOST = 12  # files that an error lists


def choose(name: Name, files: Sequence[str]) -> str:
    """Choose the checkpoint among the files of a repository.

    Args:
        name: What was asked for; its file, if it names one.
        files: Their paths in the repository.

    Raises:
        CheckpointError: It does not have that file, it has several and none is the usual one, or
            it has none.
    """
    found = [file for file in files if _may_be(file)]
    spelled = f"hf://{name.repository}" + (f"@{name.revision}" if name.revision else "")
    if name.file:
        if name.file in files:
            return name.file
        hint = nearest(name.file, found) or nearest(name.file, files)
        there = f" It has {some(found)}." if found else ""
        raise CheckpointError(f"{name}: the repository has no file {name.file!r}.{hint}{there}")
    for usual in _USUAL:
        if usual in files:
            return usual
    alone = [file for file in found if "/" not in file] or found
    if len(alone) == 1:
        return alone[0]
    if not found:
        raise CheckpointError(
            f"{name}: the repository has no checkpoint; its files: {some(files) or 'none'}."
        )
    rest = [f"and {len(found) - _MOST} more"] if len(found) > _MOST else []
    raise CheckpointError(
        listing(
            f"{name}: the repository has {len(found)} checkpoints, none under a usual name. Name "
            f"one:",
            [f"{spelled}/{file}" for file in found[:_MOST]] + rest,
        )
    )


def _may_be(file: str) -> bool:
    """Tell whether a file may be a checkpoint, by its name; of a sharded one the index alone."""
    base = file.rpartition("/")[2]
    if base.endswith(INDEX):
        return True
    return base.endswith(_ENDINGS) and "-of-" not in base and not base.startswith(_BESIDE)
