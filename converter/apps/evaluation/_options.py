"""How an evaluation can be run."""

from dataclasses import dataclass

from ...errors import RunError


@dataclass(frozen=True)
class Options:
    """How an evaluation is run.

    Attributes:
        device: "cpu"; "gpu"; or "auto", a GPU where the framework has one.
        batch_size: Images that a model is given at once.
        workers: Threads that read images; 0: none of their own.
        limit: Evaluate so many images only, evenly spread over the data; all if None.
        dtype: "float32" or "float64".
        engine: What runs the Paddle model: "eager", or "inference", its deployed form.
        strict: Whether an image that cannot be read ends it.
    """

    device: str = "auto"
    batch_size: int = 32
    workers: int = 2
    limit: int | None = None
    dtype: str = "float32"
    engine: str = "eager"
    strict: bool = False

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            RunError: With what was found and what was expected.
        """
        expected = {
            "device": ("auto", "cpu", "gpu"),
            "dtype": ("float32", "float64"),
            "engine": ("eager", "inference"),
        }
        for name, values in expected.items():
            if getattr(self, name) not in values:
                found = getattr(self, name)
                raise RunError(f"{name} is {found!r}; expected one of {', '.join(values)}.")
        if self.batch_size < 1 or self.workers < 0 or (self.limit is not None and self.limit < 1):
            raise RunError(
                f"batch size {self.batch_size}, workers {self.workers}, limit {self.limit}: "
                f"expected at least 1, 0 and 1."
            )
        if self.engine == "inference" and self.dtype != "float32":
            raise RunError("the deployed form computes in float32; dtype is 'float64'.")
