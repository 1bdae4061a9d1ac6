"""Why a checkpoint is refused: all that is wrong with it in one message, or what else it is."""

from collections import Counter
from collections.abc import Iterator

from ..checkpoints import FLOATING, Checkpoint, Tensor
from ..errors import CheckpointError, ConversionError, listing, some
from ..sides import NAMES, SIDES, Side
from .identify import Fit, closest, turned
from .reading import families, load_table
from .table import Claim, Table
from .variant import Shape

_ERRORS: dict[Side, type[CheckpointError | ConversionError]] = {
    "torch": ConversionError,
    "paddle": CheckpointError,
}


def refuse_misfit(
    checkpoint: Checkpoint, table: Table, match: Fit, asked: str | None, side: Side
) -> None:
    """Refuse a checkpoint that does not fit a variant whole.

    Args:
        checkpoint: The file.
        table: The family it should be of.
        match: How it compares with the variant that was asked for, or with the closest one.
        asked: The variant that was asked for, if any.
        side: The framework it should be of.

    Raises:
        ConversionError: It does not fit, and is a PyTorch checkpoint.
        CheckpointError: The same of a Paddle checkpoint.
    """
    problems = list(_problems(checkpoint, table, match, side))
    if not problems:
        return
    better = match if asked is None else closest(checkpoint.shapes, table, side)
    told = _other_family(checkpoint, table, better, side)
    if not told and match.distance > 0 and better.distance == 0:
        told = (
            f"is a {better.variant.name}, not a {asked}: {len(problems)} tensors do not fit. "
            f"Ask for {better.variant.name}, or take the other file."
        )
    told = told or _unknown(checkpoint, table, side)
    if told:
        raise _ERRORS[side](f"{checkpoint.path} {told}")
    name, count = match.variant.name, len(problems)
    chosen = f" ({name} was asked for)" if asked else f" ({name} comes closest)"
    heading = (
        f"{checkpoint.path} does not fit {table.file}{chosen if table.variants else ''}. "
        f"{count} problem{'s' if count > 1 else ''}:"
    )
    raise _ERRORS[side](listing(heading, problems))


def _other_family(checkpoint: Checkpoint, table: Table, own: Fit, expected: Side) -> str:
    """Say what else a file is, or nearly is; "" if nothing is much closer than the family."""
    if not table.variants:
        return ""
    others = [
        (closest(checkpoint.shapes, other, side), side)
        for other in map(load_table, families())
        for side in SIDES
        if (other.family, side) != (table.family, expected)
    ]
    nearest, side = min(others, key=lambda found: found[0].distance)
    if 4 * nearest.distance >= own.distance:
        return ""
    word = "comes closest to" if nearest.distance else "is"
    found = nearest.variant
    advice = f"Convert it with: vitconvert {found.family}"
    if found.family == table.family:
        advice = f"Take the {NAMES[expected]} checkpoint."
    return (
        f"{word} a {found.name} as {NAMES[side]} has it (family {found.family}), not a "
        f"{NAMES[expected]} checkpoint of {table.title}. {advice}"
    )


def _unknown(checkpoint: Checkpoint, table: Table, side: Side) -> str:
    """Say that most names of a file are unknown, without listing them; "" if they are not."""
    names = list(checkpoint.tensors)
    claimed = sum(
        1 for key in names if table.claims(key, side) or table.ignored(key, side) is not None
    )
    if 2 * claimed >= len(names):
        return ""
    known = f"{table.file} knows {claimed} of its {len(names)} tensors"
    if not table.variants:
        rows = some([f"{row.name_on(side)} ({row.kind.name})" for row in table.rows], 3)
        return (
            f"is not of the model of this table: {known}, which begin with {some(names, 3)}; its "
            f"rows begin with {rows}. Take the table of that model, or let `vitconvert table` "
            f"propose one."
        )
    return (
        f"is not a {table.title} checkpoint: {known}, which begin with {some(names, 3)}. See what "
        f"it holds: vitconvert inspect {checkpoint.path}. For a model of your own, `vitconvert "
        f"table` proposes a table, and `vitconvert convert` converts by it."
    )


def _problems(checkpoint: Checkpoint, table: Table, match: Fit, side: Side) -> Iterator[str]:
    """Give all that is wrong between a checkpoint and a variant, in the order of the file."""
    targets = Counter[str]()
    for key, tensor in checkpoint.tensors.items():
        claims = table.claims(key, side)
        target = claims[0].name_on("paddle" if side == "torch" else "torch") if claims else None
        targets.update([target] if target else [])
        if told := _problem(key, tensor, claims, table, match, side):
            yield f"{key}: {told}"
        elif target and table.variants and tensor.dtype not in FLOATING:
            yield (
                f"{key}: {tensor.dtype}; expected one of {', '.join(FLOATING)}. Save the "
                f"checkpoint with floating weights."
            )
    for name, what in checkpoint.skipped.items():
        if table.ignored(name, side) is None:
            yield f"{name}: {what}, not a tensor that can be read. Take it out of the checkpoint."
    for key, shape in match.missing.items():
        where = f"row {table.claims(key, side)[0].row.number} of {table.file}"
        yield (
            f"{key}: missing; {match.variant.name} has it as {list(shape)} ({where}). Take a "
            f"complete checkpoint."
        )
    for key, count in targets.items():
        if count > 1:
            yield (
                f"{key}: {count} tensors would become this one. Check the columns of {table.file}."
            )
    if not targets and not match.distance:
        yield f"{table.file} claims no tensor."


def _problem(
    key: str, tensor: Tensor, claims: list[Claim], table: Table, match: Fit, side: Side
) -> str:
    """Say what is wrong with the name or shape of a tensor; "" if nothing is."""
    if len(claims) > 1:
        rows = " and ".join(f"row {claim.row.number}" for claim in claims)
        return (
            f"claimed by {rows} of {table.file}. Each key may match one row only: make one pattern "
            f"more specific."
        )
    if not claims:
        if table.ignored(key, side) is not None:
            return ""
        entry = "an [ignore]" if side == "torch" else "a [paddle_only]"
        return (
            f"no row of {table.file} claims this {list(tensor.shape)} tensor. Add a row, or "
            f"{entry} entry with its reason, or remove it from the checkpoint."
            f"{table.nearest(key, side)}"
        )
    alone = claims[0].paddle if side == "torch" else None
    if alone is not None and table.ignored(alone, "paddle") is not None:
        return (
            f"row {claims[0].row.number} of {table.file} makes {alone} of it, but [paddle_only] "
            f"says that PyTorch has no such tensor. Remove that entry, or the tensor."
        )
    if key in match.misshapen:
        return _misshapen(*match.misshapen[key], claims[0], table, match.variant.name, side)
    if key in match.extra:
        return (
            f"{match.variant.name} has no such tensor, though row {claims[0].row.number} of "
            f"{table.file} describes it. Is it another variant?"
        )
    return ""


def _misshapen(
    found: Shape, expected: Shape, claim: Claim, table: Table, variant: str, side: Side
) -> str:
    other = ""
    if len(found) == len(expected) and claim.rule.transpose:
        shapes = f"{list(turned(found, claim))} and {list(turned(expected, claim))}"
        other = f" (in {'Paddle' if side == 'torch' else 'PyTorch'} {shapes})"
    return (
        f"shape {list(found)}, {variant} has {list(expected)}{other}; row {claim.row.number} of "
        f"{table.file}, kind '{claim.row.kind.name}'. Is it another variant, or a changed model?"
    )
