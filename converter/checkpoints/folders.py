"""A folder in place of a file: which checkpoint is in it, or what the folder is."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

from ..errors import CheckpointError, some

_MOST = 10_000  # names that are looked at
_ENDINGS = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".pdparams", ".npz")
_INDEX = ".index.json"

# Files beside the weights that training programs write.
_OTHERS = (
    "optimizer",
    "scheduler",
    "scaler",
    "rng_state",
    "random_states",
    "training_args",
    "optim",
    "trainer_state",
)


def find(folder: Path) -> tuple[Path, str]:
    """Find the one checkpoint in a folder, such as one of Hugging Face.

    Returns:
        The file or index, and what there is to say about the choice.

    Raises:
        CheckpointError: There is none, or several that may differ; or the folder is something
            else, with what to do.
    """
    names = _names(folder)
    if told := _known(folder, names):
        raise CheckpointError(f"{folder}: {told}")
    found = _candidates(folder, names)
    if len(found) > 1 and len({_stem(name) for name in found}) == 1:
        safe = [name for name in found if ".safetensors" in name]
        if len(safe) == 1:
            others = some([name for name in found if name not in safe])
            return folder / safe[0], f"took {safe[0]} of the folder, not {others}"
    if len(found) > 1:
        raise CheckpointError(
            f"{folder}: a folder with {len(found)} checkpoints: {some(found)}. Give one of them."
        )
    if not found:
        raise CheckpointError(
            f"{folder}: a folder with {some(names) or 'nothing'} in it; expected one checkpoint, "
            f"such as model.safetensors or model.safetensors.index.json."
        )
    return folder / found[0], f"took {found[0]} of the folder"


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in islice(folder.iterdir(), _MOST))
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be read: {error.strerror}.") from error


def _candidates(folder: Path, names: list[str]) -> list[str]:
    """Name the files that may be the weights; of a sharded checkpoint the index alone."""
    found = [name for name in names if name.endswith(_INDEX)]
    stems = tuple(f"{name.partition('.')[0]}-" for name in found)
    for name in names:
        is_shard = name.startswith(stems) and "-of-" in name if stems else False
        if name.endswith(_ENDINGS) and not (is_shard or name.startswith(_OTHERS)):
            found.append(name)
    return [name for name in found if (folder / name).is_file()]


def _stem(name: str) -> str:
    """Give what model.safetensors and pytorch_model.bin have in common."""
    return name.partition(".")[0].replace("pytorch_model", "model")


def _known(folder: Path, names: list[str]) -> str:
    """Recognise folders that hold something else than one checkpoint; "" if it does not."""
    for is_one, told in _KINDS:
        if is_one(names):
            return told.format(folder=folder, name=folder.name or "weights")
    for inner in names:  # an unpacked .pth has one folder, which is named as the file was
        try:
            is_pickle = (folder / inner / "data.pkl").is_file()
        except OSError:
            continue
        if is_pickle:
            return _UNPACKED.format(parent=folder, inner=inner)
    if "data.pkl" in names:
        return _UNPACKED.format(parent=folder.parent, inner=folder.name)
    return ""


_UNPACKED = (
    "an unpacked .pth: torch.save wrote one file, which a browser or a program unpacked. Download "
    "it again, or pack it: (cd {parent} && zip -0 -r packed.pth {inner})"
)
_OTHER = "vitconvert reads PyTorch and Paddle weights only; take those of the PyTorch release."
_KINDS: tuple[tuple[Callable[[list[str]], bool], str], ...] = (
    (
        lambda names: ".metadata" in names or any(name.endswith(".distcp") for name in names),
        "a distributed checkpoint of PyTorch (DCP), in parts. Join them: "
        "python -m torch.distributed.checkpoint.format_utils dcp_to_torch {folder} out.pth",
    ),
    (
        lambda names: (
            "zero_to_fp32.py" in names or any(name.startswith("zero_pp_rank_") for name in names)
        ),
        "a checkpoint of DeepSpeed, in parts. Join them, in that folder: "
        "python zero_to_fp32.py . pytorch_model.bin",
    ),
    (lambda names: "saved_model.pb" in names, f"a SavedModel of TensorFlow. {_OTHER}"),
    (
        lambda names: "checkpoint" in names and any(".data-00000-of-" in name for name in names),
        f"a checkpoint of TensorFlow. {_OTHER}",
    ),
    (
        lambda names: bool({"_CHECKPOINT_METADATA", "_METADATA"} & set(names)),
        f"a checkpoint of Orbax (JAX). {_OTHER}",
    ),
    (
        lambda names: (
            any(name.endswith((".pdmodel", ".pdiparams")) for name in names)
            and not any(name.endswith(".pdparams") for name in names)
        ),
        "an inference export of Paddle, whose weights have no names. Take the .pdparams of the "
        "model, which paddle.save(model.state_dict(), ...) writes.",
    ),
)


def part_of_folder(path: Path) -> str:
    """Say what a file is a part of that cannot be read alone; "" if of nothing."""
    if path.name == ".metadata" or path.suffix == ".distcp":
        command = "python -m torch.distributed.checkpoint.format_utils dcp_to_torch"
        return (
            f"one part of a distributed checkpoint of PyTorch (DCP). Join its folder: "
            f"{command} {path.parent} out.pth"
        )
    if ".data-00000-of-" in path.name:
        return f"one part of a checkpoint of TensorFlow. {_OTHER}"
    return ""
