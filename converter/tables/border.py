"""Where other names become ours, and ours others: before the plan, and after it."""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ..checkpoints import FLOATING, Checkpoint, Tensor
from ..checkpoints.arranging import zeros
from ..errors import ConversionError, nearest
from ..sides import Side
from .moving import check_computed, our_tensors, their_tensors
from .names import Names
from .spelled import axis_on, side_patterns
from .table import Table, sizes_of
from .variant import Shape, Variant


def find_names(table: Table, side: Side, name: str) -> Names:
    """Give a dialect or a target of a table.

    Raises:
        ConversionError: It has none of that name.
    """
    known = table.names_on(side)
    if name in known:
        return known[name]
    what = "dialect" if side == "torch" else "target"
    there = f"there are: {', '.join(known)}" if known else f"it has no {what}s"
    raise ConversionError(f"{table.file} has no {what} {name!r}; {there}.{nearest(name, known)}")


def to_ours(
    checkpoint: Checkpoint, table: Table, side: Side, variant: Variant, num_classes: int
) -> Checkpoint:
    """Give a checkpoint under our names, its tensors as views.

    One that has our names already stays as it is.

    Raises:
        ConversionError: A part of a tensor is missing or has another length; or what must be zero
            is not.
    """
    if not checkpoint.selection.spelling:
        return checkpoint
    names = find_names(table, side, checkpoint.selection.spelling)
    reasons = {key: names.left_out(key, num_classes > 0) for key in checkpoint.tensors}
    kept = {key: t for key, t in checkpoint.tensors.items() if reasons[key] is None}
    try:
        check_computed(names, checkpoint.tensors)
        expected, sizes = side_patterns(variant, table, side), sizes_of(table, variant)
        made = our_tensors(names, kept, expected, sizes, axis_on(table, side))
    except ValueError as error:
        raise ConversionError(
            f"{checkpoint.path}: does not have the tensors of {names.option}: {error}."
        ) from error
    spelled = _called(names, kept)
    dtypes = [tensor.dtype for tensor in made.values() if tensor.dtype in FLOATING]
    for key, shape in absent(made, table, names, variant, num_classes):
        made[key] = zeros(shape, next(iter(dtypes), "float32"))
        spelled[key] = "zeros"
    sources = {
        str(move.targets[0]): checkpoint.sources[str(move.sources[0])]
        for move in names.moves(kept)
        if move.renames and move.sources[0] in checkpoint.sources
    }
    return replace(
        checkpoint,
        tensors=made,
        sources=sources,
        spelled=spelled,
        left_out={key: why for key, why in reasons.items() if why is not None},
    )


def _called(names: Names, theirs: Iterable[str]) -> dict[str, str]:
    """Say of which of their tensors ours are made: "q + k + v"."""
    return {
        own: _shown(move.sources)
        for move in names.moves(theirs)
        for own in move.targets
        if own is not None and move.sources != (own,)
    }


def _shown(keys: Sequence[str | None]) -> str:
    """Spell the parts of a tensor: "attn.q.weight + k.weight + v.weight"."""
    named = [key or "zeros" for key in keys]
    words = [re.split(r"(?<=[./])", key) for key in named if key != "zeros"]
    shared = 0
    for same in zip(*words, strict=False) if len(words) > 1 else ():
        if len(set(same)) > 1:
            break
        shared += len(same[0])
    return " + ".join([named[0], *(k if k == "zeros" else k[shared:] for k in named[1:])])


def absent(
    made: Container[str], table: Table, names: Names, variant: Variant, num_classes: int
) -> Iterator[tuple[str, Shape]]:
    """Give our tensors that no model of these names holds, since they are zero."""
    for key, pattern in side_patterns(variant, table, names.side).items():
        is_here = num_classes or "num_classes" not in pattern
        if is_here and key not in made and not any(names.move(key, back=True).targets):
            yield key, variant.resolve(pattern, num_classes)


def called_by(names: Names, keys: Iterable[str]) -> dict[str, str]:
    """Say which tensors of theirs ours become, where they get other names: "q + k + v"."""
    return {
        own: _shown(move.targets)
        for move in names.moves(keys, back=True)
        for own in move.sources
        if own is not None and move.targets != (own,)
    }


def laid_out_alike(
    checkpoint: Checkpoint, table: Table, side: Side, variant: Variant
) -> list[Names]:
    """Find other names that are those of a file as well, and lay out tensors of these shapes.

    Nothing but square weights shows so little whose layout they have.
    """
    found, shapes = list[Names](), {k: tensor.shape for k, tensor in checkpoint.tensors.items()}
    for names in () if checkpoint.selection.spelling else table.names_on(side).values():
        moves = (names.move(key, back=True) for key in shapes)
        if not all(move.targets == move.sources for move in moves):
            continue
        if all(move.renames for move in names.moves(shapes, back=True)):
            continue
        theirs = to_theirs(checkpoint.tensors, table, names, variant)
        if {key: tensor.shape for key, tensor in theirs.items()} == shapes:
            found.append(names)
    return found


def to_theirs(
    tensors: Mapping[str, Tensor], table: Table, names: Names, variant: Variant
) -> dict[str, Tensor]:
    """Give tensors under the names of a dialect or a target, as views.

    Raises:
        ConversionError: A part of a tensor is missing or has another length; or what must be zero
            is not.
    """
    try:
        return their_tensors(names, tensors, sizes_of(table, variant), axis_on(table, names.side))
    except ValueError as error:
        raise ConversionError(f"{names.option}: {error}.") from error
