"""What a parity check can be asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from ..errors import RunError
from ..running.device import Device, check_device
from ..sides import Side


@dataclass(frozen=True)
class Pair:
    """Two models of the user's own, and the table that pairs their layers.

    Attributes:
        torch_model: Function that builds the PyTorch model, as "package.module:function".
        paddle_model: The same for Paddle.
        table: TOML file with the rows.
    """

    torch_model: str
    paddle_model: str
    table: str | Path


@dataclass(frozen=True)
class RunOptions:
    """How models are run.

    Attributes:
        device: "cpu"; "gpu"; or "auto", a GPU where the framework has one.
        tf32: Whether a GPU may compute float32 in TF32.
        input: An image or .npy; seeded noise if None.
        batch_size: Images of noise; 2 if None.
        input_size: Height and width in pixels; the variant's own, or 224 x 224, if None.
        backward: Whether gradients are compared, too.
        torch_python: Interpreter that has PyTorch; this one if None.
        paddle_python: Interpreter that has Paddle; this one if None.
    """

    device: Device = "auto"
    tf32: bool = False
    input: str | None = None
    batch_size: int | None = None
    input_size: tuple[int, int] | None = None
    backward: bool = False
    torch_python: str | None = None
    paddle_python: str | None = None

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            RunError: With what was found and what was expected.
        """
        check_device(self.device)
        size = self.input_size
        if size is not None and not (isinstance(size, tuple) and len(size) == 2):
            raise RunError(f"input_size is {size!r}; expected (height, width).")
        sizes = (2 if self.batch_size is None else self.batch_size, *(size or (1, 1)))
        if not all(isinstance(number, int) and number > 0 for number in sizes):
            raise RunError(f"batch size, height and width are {sizes}; expected positive numbers.")

    @property
    def pythons(self) -> dict[Side, str | None]:
        """The interpreter of each side."""
        return {"torch": self.torch_python, "paddle": self.paddle_python}


class RunArguments(TypedDict, total=False):
    """The same as arguments of a function, each of which may be left out."""

    device: Device
    tf32: bool
    input: str | None
    batch_size: int | None
    input_size: tuple[int, int] | None
    backward: bool
    torch_python: str | None
    paddle_python: str | None
