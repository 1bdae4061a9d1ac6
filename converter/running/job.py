"""What one worker is asked to do; it travels as JSON."""

import sys
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..models import build
from ..sides import Side
from ..tables.reading import find_variant, read_table
from ..tables.table import Table

DTYPES = ("float64", "float32")
TRACE = "trace.json"  # in the folder that a job writes; it appears last
FAILURE = 3  # exit status: the last line on stdout is the reason
ROOM = "The traces of a large model take up to 11 GB; TMPDIR names another folder."


@dataclass(frozen=True)
class Subject:
    """The model that one side runs: a variant of ours, or what a function of the user's gives.

    Attributes:
        name: For example "shunted_s", or "package.module:function".
        num_classes: Size of the head of a variant; 0 for none.
        table: File with the table of a model of the user's; empty for a variant.
        output: What the whole model gives: "logits", "features", or a name that no layer has.
    """

    name: str
    num_classes: int = 0
    table: str = ""
    output: str = "model output"  # no layer can be called so

    def read_table(self) -> Table:
        """Read the table that pairs the layers."""
        return read_table(Path(self.table)) if self.table else find_variant(self.name)[0]

    def build(self, framework: Side) -> Any:
        """Build the model in the framework's default floating type."""
        if self.table:
            return call_factory(self.name)
        return build(framework, find_variant(self.name)[1], self.num_classes)


def call_factory(name: str) -> Any:
    """Call "package.module:function", found in the current folder or installed.

    Raises:
        ModelError: There is no such module or function.
    """
    module_name, _, function = name.partition(":")
    if not (module_name and function):
        raise ModelError(f"{name!r}: expected package.module:function.")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        raise ModelError(f"{name}: {error}. Is it in {Path.cwd()}, or installed?") from error
    for part in function.split("."):
        if not hasattr(found, part):
            raise ModelError(f"{name}: {module_name} has no {function}.")
        found = getattr(found, part)
    return found()


@dataclass(frozen=True)
class Job:
    """What one worker does; all paths absolute."""

    framework: Side
    subject: Subject
    checkpoint: str
    weights: str | None
    device: str  # auto, cpu or gpu
    inputs: str  # .npy, float32 [B, 3, H, W]
    out: str  # folder for the trace
    about_input: dict[str, Any] = field(default_factory=dict)
    about_checkpoint: dict[str, Any] = field(default_factory=dict)
    rounded: dict[str, str] = field(default_factory=dict)  # key -> dtype it is rounded to first
    dtypes: tuple[str, ...] = DTYPES
    tf32: bool = False
    feed: str = ""  # folder of the reference trace whose inputs each layer alone is given
    backward: bool = False
    inputs_of_layers: bool = True  # whether what layers are given is written, too


def read_job(data: dict[str, Any]) -> Job:
    """Make a job of what came as JSON."""
    subject, dtypes = Subject(**data["subject"]), tuple(data["dtypes"])
    return Job(**data | {"subject": subject, "dtypes": dtypes})
