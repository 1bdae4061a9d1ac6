"""What a side is made from: a model, its weights, a device. It travels to a worker as JSON."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

from ..checkpoints import Checkpoint, Selection, open_checkpoint, open_selected
from ..checkpoints.selection import read_selection
from ..errors import ModelError, RunError, VitconvertError, brief, nearest
from ..models import build
from ..plain import sha256
from ..reference import import_beside_torchvision
from ..sides import NAMES, Side
from ..tables.border import find_names
from ..tables.opening import reopen
from ..tables.reading import find_variant, read_table
from ..tables.table import Table
from ..tables.variant import Variant
from .compat import enable_compat, is_compat, plain_name, spell_lacking
from .device import Device
from .foreign import Foreign, build_foreign

_INSTALLED = {"site-packages", "dist-packages"}
_FRAMEWORKS = {"torch", "paddle"}  # whose own lines say nothing to a user


@dataclass(frozen=True)
class Subject:
    """The model that one side runs: a shipped variant, or what a function of the user's gives.

    Attributes:
        name: For example "shunted_s", or "package.module:function"; with "compat:" before it for
            PyTorch source that runs as Paddle.
        num_classes: Size of the head of a variant; 0 for none.
        table: File with the table of a model of the user's; empty for a variant, and where such a
            model needs none because its names are as they are in its checkpoint.
        output: What the whole model gives: "logits", "features", or a name that no layer has.
        target: Of the table: the names that the Paddle model has, which is the target's own or the
            user's; that of the table, if empty.
    """

    name: str
    num_classes: int = 0
    table: str = ""
    output: str = "model output"  # no layer can be called so
    target: str = ""

    @property
    def is_own(self) -> bool:
        """Whether the model is the user's own."""
        return ":" in self.name

    def read_table(self) -> Table:
        """Read the table that pairs the layers; one without rows if there is none."""
        if self.table:
            return read_table(Path(self.table))
        if self.is_own:
            return Table((), {}, Path(), False, self.name)
        return find_variant(self.name)[0]

    def variant(self) -> Variant:
        """Give the variant; for a model of the user's own one without sizes."""
        if self.is_own:
            return Variant(self.name, self.name, {}, {}, (0, 0))
        return find_variant(self.name)[1]

    def build(self, framework: Side) -> Any:
        """Build the model in the framework's default floating type."""
        if self.is_own:
            return call_factory(self.name)
        if framework == "paddle" and (foreign := self.foreign()) is not None:
            return build_foreign(foreign.names, foreign.variant, self.num_classes)
        return build(framework, find_variant(self.name)[1], self.num_classes)

    def foreign(self) -> Foreign | None:
        """Give what shows the model of a target under our names; None for any other model."""
        if not self.target:
            return None
        table, variant = self.read_table(), self.variant()
        return Foreign(find_names(table, "paddle", self.target), table, variant, self.num_classes)


def check_factory(name: str, side: Side) -> None:
    """Refuse what cannot be called.

    Raises:
        ModelError: It does not name a module and a function.
    """
    module, _, function = plain_name(name).partition(":")
    if not (module and function):
        raise ModelError(f"{name!r}: expected package.module:function.")
    if is_compat(name) and side != "paddle":
        raise ModelError(
            f"{name}: compat: runs PyTorch source as Paddle; expected {plain_name(name)} for the "
            f"{NAMES[side]} model."
        )


def call_factory(name: str) -> Any:
    """Call "package.module:function", found in the current folder or installed.

    With "compat:" before it, Paddle answers to its `import torch`, then and later in this process.

    Raises:
        ModelError: There is no such module or function, it cannot be called without arguments, or
            its own code fails.
    """
    try:
        if is_compat(name):
            enable_compat()
            return _call_factory(name)
        # timm imports torchvision, which does not load beside a CPU build of PyTorch.
        return import_beside_torchvision(lambda: _call_factory(name))
    except VitconvertError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise ModelError(f"{name} raises {type(error).__name__}: {spell_fault(error)}") from error


@contextmanager
def own_code(framework: Side) -> Iterator[None]:
    """Turn whatever the code of a user's model raises into one line, with its place.

    Raises:
        RunError: With what it was.
    """
    try:
        yield
    except (VitconvertError, OSError, MemoryError):
        raise
    except Exception as error:  # the user's code may raise anything
        kind = type(error).__name__
        raise RunError(
            f"the {NAMES[framework]} model raises {kind}: {spell_fault(error)}"
        ) from error


def spell_fault(error: Exception) -> str:
    """Say what went wrong, and in which line of the user's code, or else of a library's."""
    frames = traceback.extract_tb(error.__traceback__)
    lacking = spell_lacking(error)
    # What is lacking is missed in Paddle's code, on behalf of the line before it.
    last = [f for f in frames if _may_be_at_fault(f.filename)] if lacking else frames
    others = [f for f in last[-1:] if not _FRAMEWORKS & set(Path(f.filename).parts)]
    own = [frame for frame in frames if _is_own(Path(frame.filename))] or others
    where = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"{lacking or brief(error)}{where}"


def _may_be_at_fault(file: str) -> bool:
    """Tell whether a file is neither a framework's nor of what imports modules."""
    return file[0] != "<" and not (_FRAMEWORKS | {"importlib"}) & set(Path(file).parts)


def _is_own(file: Path) -> bool:
    """Tell whether a file is in the current folder and not of an installed package."""
    return file.is_relative_to(Path.cwd()) and not _INSTALLED & set(file.parts)


def _call_factory(name: str) -> Any:
    module_name, _, function = plain_name(name).partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        if spell_lacking(error):
            raise
        raise ModelError(f"{name}: {error}. Is it in {Path.cwd()}, or installed?") from error
    for part in function.split("."):
        if not hasattr(found, part):
            raise ModelError(f"{name}: {module_name} has no {function}.{nearest(part, dir(found))}")
        found = getattr(found, part)
    wanted = "expected a function without arguments that builds the model"
    if not callable(found):
        raise ModelError(f"{name}: is of type {type(found).__name__}; {wanted}.")
    try:
        signature(found).bind()
    except TypeError as error:
        raise ModelError(f"{name}: {error}; {wanted}. Write one that calls it.") from error
    except ValueError:  # a function in C, which does not show its arguments
        pass
    return found()


def code_of(name: str) -> dict[str, str]:
    """Return the files of the user's own code that this process has imported, with their sha256.

    Those are the module of "package.module:function", and all that lies below the current folder,
    but for installed packages.
    """
    here = sys.modules.get(plain_name(name).partition(":")[0])
    files = set[Path]()
    for module in list(sys.modules.values()):
        file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
        if isinstance(file, str) and file.endswith(".py"):
            path = Path(file)
            if module is here or _is_own(path):
                files.add(path)
    return {str(path): sha256(path) for path in sorted(files)}


@dataclass(frozen=True)
class Setup:
    """A model with its weights on a device.

    Attributes:
        framework: That runs it.
        subject: The model.
        checkpoint: Its weights, an absolute path; empty for the model as it was built.
        selection: Which tensors of the file are the weights; by the looks of its names if None.
        device: What is asked for.
        rounded: Key -> dtype that its tensor is rounded to first.
        tf32: Whether a GPU may compute float32 in TF32.
    """

    framework: Side
    subject: Subject
    checkpoint: str = ""
    selection: Selection | None = None
    device: Device = "auto"
    rounded: dict[str, str] = field(default_factory=dict)
    tf32: bool = False

    def open(self) -> Checkpoint:
        """Open exactly the weights that were chosen where the work was planned.

        They have our names, but for a target's own model: its own.
        """
        if self.selection is None:
            return open_checkpoint(self.checkpoint)
        if self.subject.target and self.framework == "paddle":
            return open_selected(self.checkpoint, self.selection)
        table, variant = self.subject.read_table(), self.subject.variant()
        classes = self.subject.num_classes
        return reopen(self.checkpoint, self.selection, table, variant, self.framework, classes)


def read_setup(data: dict[str, Any]) -> Setup:
    """Make a setup of what came as JSON."""
    selection = data["selection"] and read_selection(data["selection"])
    return Setup(**data | {"subject": Subject(**data["subject"]), "selection": selection})
