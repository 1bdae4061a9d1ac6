"""A Paddle model of another library, which a target of a table names: built, shown as ours.

PaddleClas is prepared here and nowhere else.
"""

import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints import held
from ..errors import ModelError, brief, nearest
from ..models import require
from ..reference import call_function, find_function
from ..start import Importing
from ..tables.border import absent
from ..tables.moving import our_tensors
from ..tables.names import Names
from ..tables.patterns import compile_pattern
from ..tables.spelled import axis_on, side_patterns
from ..tables.table import Table, sizes_of
from ..tables.variant import Variant

PPCLS = "ppcls"  # the package of PaddleClas's models, inside the one that pip installs
RELEASE = "2.6.0"  # of PaddleClas, whose names the shipped tables have
_INSTALL = (
    f"Install it: pip install --no-deps paddleclas=={RELEASE}, and pip install scikit-learn "
    f"opencv-python-headless requests tqdm pyyaml six; without --no-deps it asks for old releases "
    f"of NumPy and others."
)


def choose_model(names: Names, variant: Variant) -> str:
    """Give the function that builds a target's own model; empty if the target names no models.

    Raises:
        ModelError: It names some, but none of this variant.
    """
    if not names.models:
        return ""
    if variant.name not in names.models:
        raise ModelError(
            f"{names.title or names.name} has no model of {variant.name}."
            f"{nearest(variant.name, names.models)} It has: {', '.join(names.models)}."
        )
    return names.models[variant.name]


def build_foreign(names: Names, variant: Variant, num_classes: int) -> Any:
    """Build a target's own model, freshly initialised.

    Raises:
        ModelError: The library is not installed or has no such function, or its code fails.
    """
    require("paddle")
    name = choose_model(names, variant)
    is_ppcls = _package(name) == PPCLS
    with Importing():
        try:
            given = prepare_ppcls() if is_ppcls else {}
            found = find_function(name)
        except (ImportError, AttributeError) as error:
            install = _INSTALL if is_ppcls else f"Is it in {Path.cwd()}, or installed?"
            raise ModelError(
                f"{variant.name}: {names.option} builds the Paddle model with {name}: "
                f"{brief(error)}. {install}"
            ) from error
    return call_function(name, found, {names.num_classes: num_classes, **given})


def _package(name: str) -> str:
    """Give the outermost package of "package.module:function"."""
    return name.partition(":")[0].partition(".")[0]


def prepare_ppcls() -> dict[str, Any]:
    """Make PaddleClas's package importable, and give the arguments that all its functions want.

    Installed, it lies within another package, whose import asks for much that models do not need;
    and most of its modules write to a logger that has to be there first.

    Raises:
        ModelError: It is not installed.
    """
    if find_spec(PPCLS) is None:
        outer = find_spec("paddleclas")
        if outer is None or not outer.submodule_search_locations:
            raise ModelError(f"PaddleClas is not installed here. {_INSTALL}")
        sys.path.append(next(iter(outer.submodule_search_locations)))
    import_module(f"{PPCLS}.utils.logger").init_logger()
    return {"pretrained": False}


@dataclass(frozen=True)
class Foreign:
    """Shows the parts of a target's own model under our names.

    Attributes:
        names: Of the target.
        table: That has it.
        variant: That the model is of.
        num_classes: Size of its head; 0 for none.
    """

    names: Names
    table: Table
    variant: Variant
    num_classes: int

    def library(self) -> str:
        """Name the library that the model is from, with its release if that can be found.

        Empty for a model of the user's own.
        """
        if not self.names.models:
            return ""
        top = _package(choose_model(self.names, self.variant))
        known = ["paddleclas"] if top == PPCLS else metadata.packages_distributions().get(top, [])
        for one in known:
            with suppress(metadata.PackageNotFoundError):  # a copy of its repository
                return f"{one} {metadata.version(one)}"
        return top

    def layers(self, theirs: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
        """Name the layers, or single tensors, that have one counterpart each."""
        for name, layer in theirs:
            if (own := self.shown(name)) is not None:
                yield own, layer

    def hidden(self, layers: Container[str], state: Iterable[str]) -> set[str]:
        """Name our layers whose tensors are there, joined from several of their layers."""
        owners = {key.rpartition(".")[0] for key in state}
        return {name for name in owners if name not in layers and self.has_tensors_alone(name)}

    def has_tensors_alone(self, name: str) -> bool:
        """Tell whether their model lacks one of our layers, though its tensors can be made."""
        move = self.names.move(name, back=True)
        return not move.renames or self.is_apart(name)

    def is_apart(self, name: str) -> bool:
        """Tell whether one of our layers lacks a counterpart, though one may have its name."""
        return any(compile_pattern(pattern).fullmatch(name) for pattern in self.names.apart)

    def shown(self, name: str) -> str | None:
        """Give the name under which a layer or tensor of theirs is shown.

        Its own if our model lacks it; None for a part of a tensor, or one that lies otherwise.
        """
        if self.names.left_out(name) is not None:
            return name
        move = self.names.move(name)
        return move.targets[0] if move.renames else None

    def spelled(self, ours: Mapping[str, str]) -> dict[str, str]:
        """Give facts about our tensors by their keys instead: one tensor may be several there."""
        return {
            key: value
            for name, value in ours.items()
            for key in self.names.move(name, back=True).targets
            if key is not None
        }

    def gradients(self, theirs: Mapping[str, np.ndarray | None]) -> dict[str, np.ndarray | None]:
        """Give gradients under our names; None where a tensor, or a part of it, has none."""
        none = {key for key, gradient in theirs.items() if gradient is None}
        moves = {key: self.names.move(key) for key in theirs if self.names.left_out(key) is None}
        whole = {key for key, move in moves.items() if not none & set(move.sources)}
        found: dict[str, np.ndarray | None] = {
            own: None for key in moves.keys() - whole for own in self.names.ours(key)
        }
        there = {key: theirs[key] for key in theirs if key in whole}
        return found | self.tensors(there, lambda array: array, lambda array: array)

    def tensors(
        self,
        theirs: Mapping[str, Any],
        array: Callable[[Any], np.ndarray],
        put: Callable[[np.ndarray], Any],
    ) -> dict[str, Any]:
        """Give tensors under our names; one with one counterpart stays the tensor it is.

        Args:
            theirs: All that a model has, by key. What our model lacks keeps its name.
            array: Brings a tensor to NumPy.
            put: Makes a tensor.

        Raises:
            ModelError: They do not fit together as the target's rows say.
        """
        found, parts = dict[str, Any](), dict[str, Any]()
        for key, tensor in theirs.items():
            if (own := self.shown(key)) is not None:
                found[own] = tensor
            else:
                parts[key] = held(array(tensor))
        sizes, axis = sizes_of(self.table, self.variant), axis_on(self.table, "paddle")
        patterns = side_patterns(self.variant, self.table, "paddle")
        try:
            joined = our_tensors(self.names, parts, patterns, sizes, axis)
        except ValueError as error:
            raise ModelError(f"the model of {self.names.option}: {error}.") from error
        found |= {key: put(tensor.read()) for key, tensor in joined.items()}
        return found

    def zeros(
        self, ours: Mapping[str, Any], dtype: str, put: Callable[[np.ndarray], Any]
    ) -> dict[str, Any]:
        """Give our tensors that their model lacks, as they are zero."""
        lacking = absent(ours, self.table, self.names, self.variant, self.num_classes)
        return {key: put(np.zeros(shape, dtype)) for key, shape in lacking}
