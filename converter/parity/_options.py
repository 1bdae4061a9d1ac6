"""The options of a parity check."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from ..errors import RunError
from ..running.device import Device, check_device
from ..sides import Side

BATCH_SIZE = 2  # of noise, if nothing else is asked for


@dataclass(frozen=True)
class Pair:
    """Two models of the user's own, and the table that pairs their layers.

    Attributes:
        torch_model: Function that builds the PyTorch model, as "package.module:function".
        paddle_model: The same for Paddle.
        table: TOML file with the rows; only `evaluate` does without.
    """

    torch_model: str
    paddle_model: str
    table: str | Path = ""


class RunOptions(TypedDict, total=False):
    """How models are run, as arguments of a function, each of which may be left out.

    Attributes:
        device: "cpu"; "gpu"; or "auto", the default: a GPU where the framework has one.
        tf32: Whether a GPU may compute float32 in TF32.
        input: An image or .npy; seeded noise if None.
        batch_size: Images of noise, or several such numbers; 2 if None.
        seeds: Kinds of noise for every batch size; 1 if not given. The layers are compared with
            seed 0 and the first batch size, the output of the whole models with all of them.
        input_size: Height and width in pixels; the variant's own, or 224 x 224, if None.
        backward: Whether gradients are compared, too.
        torch_python: Interpreter that has PyTorch; this one if None.
        paddle_python: Interpreter that has Paddle; this one if None.
    """

    device: Device
    tf32: bool
    input: str | None
    batch_size: int | tuple[int, ...] | None
    seeds: int
    input_size: tuple[int, int] | None
    backward: bool
    torch_python: str | None
    paddle_python: str | None


def check_options(options: RunOptions, model: str | Path | Pair = "") -> None:
    """Refuse values that make no sense, and a pair without a table.

    Raises:
        RunError: With what was found and what was expected.
        TypeError: There is no such option.
    """
    if unknown := options.keys() - RunOptions.__annotations__.keys():
        raise TypeError(f"unexpected keyword arguments: {', '.join(sorted(unknown))}")
    if isinstance(model, Pair) and not model.table:
        raise RunError(f"{model}: has no table; expected the file that pairs the layers.")
    check_device(options.get("device", "auto"))
    size = options.get("input_size")
    if size is not None and not (isinstance(size, tuple) and len(size) == 2):
        raise RunError(f"input_size is {size!r}; expected (height, width).")
    sizes = (*batch_sizes(options), *(size or (1, 1)))
    if not all(type(number) is int and number > 0 for number in sizes):
        raise RunError(f"batch size, height and width are {sizes}; expected positive numbers.")
    batches, seeds = batch_sizes(options), options.get("seeds", 1)
    if not batches or len(set(batches)) < len(batches):
        raise RunError(f"batch sizes are {batches}; expected one or more, each of them once.")
    if not (type(seeds) is int and seeds > 0):
        raise RunError(f"seeds is {seeds!r}; expected a positive number.")


def batch_sizes(options: RunOptions) -> tuple[int, ...]:
    """Return the batch sizes of the noise, the one that layers are compared with first."""
    given = options.get("batch_size")
    if given is None:
        return (BATCH_SIZE,)
    return tuple(given) if isinstance(given, tuple | list) else (given,)


def pythons(options: RunOptions) -> dict[Side, str | None]:
    """Return the interpreter of each side."""
    return {"torch": options.get("torch_python"), "paddle": options.get("paddle_python")}
