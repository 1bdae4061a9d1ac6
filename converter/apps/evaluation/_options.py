"""How an evaluation can be run."""

from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

from ...errors import RunError
from ...running.device import Device, check_device

DType = Literal["float32", "float64"]
Runner = Literal["eager", "inference"]  # what runs the Paddle model


@dataclass(frozen=True)
class EvaluationOptions:
    """How an evaluation is run.

    Attributes:
        device: "cpu"; "gpu"; or "auto", a GPU where the framework has one.
        batch_size: Images that a model is given at once.
        workers: Threads that read images; 0: none of their own.
        limit: Evaluate so many images only, evenly spread over the data; all if None.
        dtype: "float32" or "float64".
        engine: What runs the Paddle model: "eager", or "inference", its deployed form.
        strict: Whether an image that cannot be read ends it.
        exif: Whether images are turned as their EXIF orientation says.
    """

    device: Device = "auto"
    batch_size: int = 32
    workers: int = 2
    limit: int | None = None
    dtype: DType = "float32"
    engine: Runner = "eager"
    strict: bool = False
    exif: bool = False

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            RunError: With what was found and what was expected.
        """
        check_device(self.device)
        for name, found, kind in (("dtype", self.dtype, DType), ("engine", self.engine, Runner)):
            if found not in get_args(kind):
                expected = ", ".join(get_args(kind))
                raise RunError(f"{name} is {found!r}; expected one of {expected}.")
        if self.batch_size < 1 or self.workers < 0 or (self.limit is not None and self.limit < 1):
            raise RunError(
                f"batch size {self.batch_size}, workers {self.workers}, limit {self.limit}: "
                f"expected at least 1, 0 and 1."
            )
        if self.engine == "inference" and self.dtype != "float32":
            raise RunError("the deployed form computes in float32; dtype is 'float64'.")


class EvaluationArguments(TypedDict, total=False):
    """The same as arguments of a function, each of which may be left out."""

    device: Device
    batch_size: int
    workers: int
    limit: int | None
    dtype: DType
    engine: Runner
    strict: bool
    exif: bool
