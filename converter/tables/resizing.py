"""Another image size, patch size or number of channels: which tensors change, and into what.

`[resize]` of a table names them. They change only if the user asks for another size, and there is
no way back. A plan needs names and shapes alone, and no framework.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ..checkpoints import Tensor
from ..errors import ConversionError, listing
from ._resize_find import Entry, Finder, Found
from ._resize_sizes import Asked, Change, Sizes, Subject
from ._resized import Changes, computed
from .resize_rules import FUNCTIONS, Rules
from .variant import Shape, ShapePattern, Variant

__all__ = ["Asked", "Resizing", "Step", "check_resize", "plan_resizing", "variant_at"]

_INPUTS = {name for name, function in FUNCTIONS.items() if function.channels}
_GRIDS = FUNCTIONS.keys() - _INPUTS
_MOST = 1 << 27  # numbers of a resized tensor, or of a matrix that resizes; 1 GiB in float64


@dataclass(frozen=True)
class Step:
    """What becomes of one tensor.

    Attributes:
        pattern: The entry of [resize] that names it.
        changes: Functions and what each does, in the order they run.
    """

    pattern: str
    changes: Changes

    @property
    def shape(self) -> Shape:
        """What the tensor will have."""
        return self.changes[-1][1].shape

    @property
    def what(self) -> str:
        """All that happens, for people."""
        return "; ".join(change.what for _name, change in self.changes)


@dataclass(frozen=True)
class Resizing:
    """What is resized of a checkpoint: PyTorch key -> step. A tensor without one stays as it is."""

    steps: Mapping[str, Step]

    def apply(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Put the resized tensors in the place of those stored; computed when first read.

        Raises:
            ConversionError: A tensor does not hold floating numbers.
        """
        return {
            key: computed(key, tensor, self.steps[key].changes) if key in self.steps else tensor
            for key, tensor in tensors.items()
        }

    def facts(self) -> list[str]:
        """Say what is resized, for a report: a line for all tensors that fare alike."""
        alike: dict[tuple[str, str], list[str]] = {}
        for key, step in self.steps.items():
            alike.setdefault((step.pattern, step.what), []).append(key)
        return [
            f"{keys[0] if len(keys) == 1 else f'{pattern} ({len(keys)} tensors)'}: {what}"
            for (pattern, what), keys in alike.items()
        ]


def plan_resizing(
    rules: Rules, shapes: Mapping[str, Shape], variant: Variant, asked: Asked
) -> Resizing:
    """Decide what becomes of the tensors of a checkpoint. Reads none.

    Args:
        rules: [resize] of the table.
        shapes: PyTorch core name -> shape in the file.
        variant: Which variant the file is of.
        asked: What shall be otherwise.

    Raises:
        ConversionError: Something asked is impossible; all problems are listed.
    """
    _check_asked(rules, variant, asked)
    rule_of = Found(Finder(rules), variant)
    steps, problems = _steps(rule_of, shapes, asked)
    if problems:
        raise ConversionError(listing(f"{variant.name} cannot be resized:", problems))
    wants_channels = asked.in_chans not in (None, rule_of.channels)
    # With other channels alone, the size that is asked for is the variant's own.
    is_own_size = asked == Asked(variant.input_size, asked.in_chans)
    wants_grid = asked.grid and not is_own_size
    for wanted, functions in ((wants_grid, _GRIDS), (wants_channels, _INPUTS)):
        if wanted and not any(functions & set(rule_of.functions(key)) for key in shapes):
            raise ConversionError(
                f"{variant.name}: no entry of [resize] names a tensor of the file with a function "
                f"that this needs: {', '.join(sorted(functions))}. Leave the option out."
            )
    return Resizing(steps)


def variant_at(variant: Variant, rules: Rules, asked: Asked) -> Variant:
    """Give a variant as it is at other sizes: its shapes, input size and config.

    Args:
        variant: As it was published.
        rules: [resize] of its table.
        asked: What shall be otherwise.

    Raises:
        ConversionError: As `plan_resizing`.
    """
    steps = plan_resizing(rules, _own_shapes(variant), variant, asked).steps
    shapes: dict[str, ShapePattern] = {
        key: steps[key].shape if key in steps else own for key, own in variant.shapes.items()
    }
    return replace(
        variant,
        shapes=shapes,
        config={**variant.config, **asked.config},
        torch_config={**variant.torch_config, **asked.config},
        input_size=asked.image_size or variant.input_size,
    )


def check_resize(rules: Rules, variants: Mapping[str, Variant]) -> Iterator[str]:
    """Say which entries name no tensor of any variant, or one that their function cannot resize."""
    used, find = set[str](), Finder(rules)
    for variant in variants.values():
        named = {key: shape for key, shape in variant.shapes.items() if find(key)}
        used |= {rule.pattern for key in named if (rule := find(key))}
        rule_of = Found(find, replace(variant, shapes=named))
        # Another size of everything, so that every function has to find its grid.
        asked = Asked((variant.input_size[0] * 2, variant.input_size[1] * 2), 1)
        try:
            problems = _steps(rule_of, _own_shapes(rule_of.variant), asked)[1]
        except ConversionError as error:
            problems = [str(error)]
        yield from (f"resize: variant {variant.name}: {problem}" for problem in problems)
    if any(variant.shapes for variant in variants.values()):
        for pattern in rules.keys() - used:
            yield f"resize: {pattern!r} names no tensor of any variant."


def _check_asked(rules: Rules, variant: Variant, asked: Asked) -> None:
    """Refuse sizes that cannot be, and any where the table does not say what to do."""
    if asked == Asked():
        return
    if not rules:
        raise ConversionError(
            f"{variant.name}: its table has no [resize], so it is for images of its own channels "
            f"and, where that matters, of its own size. Leave --image-size and --in-chans out, or "
            f"add the section: see docs/tables.md."
        )
    for pair in (asked.image_size, asked.patch_size, asked.window):
        if pair is not None and min(pair) < 1:
            raise ConversionError(f"{pair[0]}x{pair[1]} cannot be a size, expected 1x1 or more.")
    if asked.in_chans is not None and asked.in_chans < 1:
        raise ConversionError(f"{asked.in_chans} channels: expected a number from 1 on.")


def _steps(
    rule_of: Found, shapes: Mapping[str, Shape], asked: Asked
) -> tuple[dict[str, Step], list[str]]:
    """Give what becomes of each tensor that changes, and what is wrong with others."""
    sizes = rule_of.sizes(asked)
    steps, problems = dict[str, Step](), list[str]()
    for key, shape in shapes.items():
        if (rule := rule_of(key)) is None:
            continue
        own = _numbers(rule_of.variant.shapes[key])
        try:
            if changes := tuple(_changes(key, shape, own, rule, sizes)):
                steps[key] = Step(rule.pattern, changes)
        except ConversionError as error:
            problems.append(str(error))
    return steps, problems


def _own_shapes(variant: Variant) -> dict[str, Shape]:
    return {key: _numbers(shape) for key, shape in variant.shapes.items()}


def _numbers(shape: ShapePattern) -> Shape:
    """Give a shape without the number of classes, which no function here looks at."""
    return tuple(0 if isinstance(n, str) else n for n in shape)


def _changes(
    key: str, shape: Shape, own: Shape, rule: Entry, sizes: Sizes
) -> Iterator[tuple[str, Change]]:
    """Give what the functions of an entry do to a tensor, one after the other."""
    for name in rule.functions:
        function = FUNCTIONS[name]
        wanted = sizes.asked.in_chans is not None if function.channels else sizes.asked.grid
        subject = Subject(key, shape, own, rule.stage)
        if not wanted or (change := function.aim(subject, sizes)) is None:
            continue
        lengths = zip(change.old, change.new, strict=True)
        largest = max(math.prod(change.shape), *(old * new for old, new in lengths))
        if largest > _MOST:
            raise subject.refused(
                f"{change.what}: more than {_MOST} numbers. Ask for a smaller size."
            )
        yield name, change
        shape = change.shape
