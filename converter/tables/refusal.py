"""Why a checkpoint is refused: all that is wrong with it in one message, or what else it is."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from ..checkpoints import FLOATING, Checkpoint, Tensor
from ..errors import CheckpointError, ConversionError, listing, some
from ..folding import count, fold, folded
from ..lines import joined
from ..sides import NAMES, SIDES, Side
from ._other_size import other_size
from .identify import Fit, closest
from .marks import marked
from .names import Names
from .patterns import shared
from .reading import families, load_table
from .spelled import spell_axes, turned
from .table import Claim, Table, sizes_of
from .variant import Shape, Variant

_MOST_PROBLEMS = 20  # that are listed one by one
_MOST_PATTERNS = 8  # of folded names


class Problem(NamedTuple):
    """What is wrong with one entry.

    Attributes:
        key: Its name.
        kind: The problem in few words, the same for all of its kind.
        told: What was found, what was expected, and what to do.
    """

    key: str
    kind: str
    told: str


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
    if told := _unreadable(checkpoint, table, side):
        raise _ERRORS[side](f"{checkpoint.path}: ", told)
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
        raise _ERRORS[side](f"{checkpoint.path} ", told)
    name, count = match.variant.name, len(problems)
    chosen = f" ({name} was asked for)" if asked else f" ({name} comes closest)"
    heading = (
        f"{checkpoint.path} does not fit {table.file}{chosen if table.variants else ''}. "
        f"{count} problem{'s' if count > 1 else ''}:"
    )
    lines = _short(problems)
    if shown := marked([*_strangers(checkpoint, table, side), *checkpoint.beside]):
        lines.append(shown)
    if advice := other_size(match, table, side):
        lines.append(advice)
    raise _ERRORS[side](listing(heading, lines))


def refused_names(
    checkpoint: Checkpoint, table: Table, names: Names, match: Fit
) -> CheckpointError | ConversionError:
    """Say why a checkpoint does not fit a variant whole, in the names of a dialect or a target."""
    name = match.variant.name
    usual = {names.usual(key): key for key in checkpoint.tensors}
    problems = [
        *(
            Problem(
                _as_beside(key, usual),
                "missing",
                f"missing; {name} has it as {list(shape)}." if shape else "missing.",
            )
            for key, shape in match.missing.items()
        ),
        *(
            Problem(usual.get(key, key), f"not in {name}", _unknown_key(key, names, name))
            for key in match.extra
        ),
        *(
            Problem(
                usual.get(key, key),
                "another shape",
                f"shape {list(found)}, {name} has {list(expected)}.",
            )
            for key, (found, expected) in match.misshapen.items()
        ),
    ]
    chosen = f", {name} comes closest" if table.variants else ""
    heading = (
        f"{checkpoint.path} does not fit {table.file} ({names.option}{chosen}). "
        f"{len(problems)} problem{'s' if len(problems) > 1 else ''}:"
    )
    advice = other_size(match, table, names.side, names)
    lines = [*_short(problems), *([advice] if advice else [])]
    return _ERRORS[names.side](listing(heading, lines))


def _as_beside(key: str, usual: Mapping[str, str]) -> str:
    """Spell a missing key as a file spells the key that is most like it.

    Args:
        key: In the usual spelling.
        usual: That spelling -> the file's, of all keys of the file.
    """
    one = max(usual, key=lambda other: shared(key, other), default="")
    other = usual.get(one, "")
    same = shared(one[::-1], other[::-1])
    before, instead = one[: len(one) - same], other[: len(other) - same]
    return instead + key.removeprefix(before) if key.startswith(before) else key


def _unknown_key(key: str, names: Names, variant: str) -> str:
    """Say that a variant has no such tensor, and what may be done."""
    if (why := names.left_out(key, has_head=False)) is None:
        return f"{variant} has no such tensor."
    return f"{variant} has no such tensor, {why}: --num-classes 0 leaves both out."


def _unreadable(checkpoint: Checkpoint, table: Table, side: Side) -> str:
    """Say what stands in the place of most weights; "" if most can be read."""
    empty = [key for key, tensor in checkpoint.tensors.items() if 0 in tensor.shape]
    if len(empty) > 1 and 2 * len(empty) >= len(checkpoint.tensors):
        return (
            f"{len(empty)} of its {len(checkpoint.tensors)} tensors are empty, such as "
            f"{some(empty, 2)}: DeepSpeed's ZeRO-3 leaves the weights in the files of its "
            f"processes. Join them, in the folder of the checkpoint: python zero_to_fp32.py . "
            f"pytorch_model.bin"
        )
    strange = Counter(
        what
        for name, what in checkpoint.skipped.items()
        if ". " in what and table.ignored(name, side) is None
    )
    if not strange:
        return ""
    what, count = strange.most_common(1)[0]
    names = [name for name, own in checkpoint.skipped.items() if own == what]
    lines = folded(names, _MOST_PATTERNS)
    total = len(checkpoint.tensors) + len(checkpoint.skipped)
    return listing(f"{count} of its {total} entries cannot be read; each is {what}.", lines)


def _strangers(checkpoint: Checkpoint, table: Table, side: Side) -> list[str]:
    """Name the entries that the table does not know."""
    return [
        key
        for key in (*checkpoint.tensors, *checkpoint.skipped)
        if not table.claims(key, side) and table.ignored(key, side) is None
    ]


def _short(problems: list[Problem]) -> list[str]:
    """Spell all problems, or, of many, each kind folded by the numbers in the names."""
    if len(problems) <= _MOST_PROBLEMS:
        return [f"{one.key}: {one.told}" for one in problems]
    kinds: dict[str, list[Problem]] = {}
    for one in problems:
        kinds.setdefault(one.kind, []).append(one)
    lines = []
    for kind, alike in kinds.items():
        found = fold([one.key for one in alike], _MOST_PATTERNS)
        lines += [f"{pattern}: {kind}{count(len(own))}" for pattern, own in found[:_MOST_PATTERNS]]
        if rest := sum(len(own) for _, own in found[_MOST_PATTERNS:]):
            lines.append(f"and {rest} more: {kind}")
        lines.append(f"  such as {alike[0].key}: {alike[0].told}")
    return lines


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
    strangers = _strangers(checkpoint, table, side)
    shown = marked([*strangers, *checkpoint.beside])
    lines = [
        f"{pattern}{count(len(own))}{table.nearest(own[0], side)}"
        for pattern, own in fold(strangers, _MOST_PATTERNS)
    ]
    if len(lines) > _MOST_PATTERNS:
        lines = [*lines[:_MOST_PATTERNS], f"and {len(lines) - _MOST_PATTERNS} more such names"]
    unknown = listing("It does not know:", lines)
    if shown:
        first = f"is not a plain checkpoint for {table.file}. {shown}"
        return joined([first, joined([f"{known}. ", unknown], "")])
    if not table.variants:
        rows = some([f"{row.name_on(side)} ({row.kind.name})" for row in table.rows], 3)
        rows = f"its rows begin with {rows}" if rows else "it has no rows"
        told = (
            f"is not of the model of this table: {known}; {rows}. Take the "
            f"table of that model, or let `vitconvert table` propose one. "
        )
    else:
        told = (
            f"is not a {table.title} checkpoint: {known}. See what it holds: vitconvert inspect "
            f"{checkpoint.path}. For a model of your own, `vitconvert table` proposes a table, and "
            f"`vitconvert convert` converts by it. "
        )
    return joined([told, unknown], "")


def _problems(checkpoint: Checkpoint, table: Table, match: Fit, side: Side) -> Iterator[Problem]:
    """Give all that is wrong between a checkpoint and a variant, in the order of the file."""
    targets = Counter[str]()
    for key, tensor in checkpoint.tensors.items():
        claims = table.claims(key, side)
        target = claims[0].name_on("paddle" if side == "torch" else "torch") if claims else None
        targets.update([target] if target else [])
        if found := _problem(key, tensor, claims, table, match, side):
            yield Problem(key, *found)
        elif target and table.variants and tensor.dtype not in FLOATING:
            told = f"{tensor.dtype}; expected one of {', '.join(FLOATING)}. Save the checkpoint "
            yield Problem(key, f"of dtype {tensor.dtype}", told + "with floating weights.")
    for name, what in checkpoint.skipped.items():
        if table.ignored(name, side) is None:
            told = f"{what}, not a tensor that can be read. Take it out of the checkpoint."
            yield Problem(name, "cannot be read", told)
    for key, shape in match.missing.items():
        where = f"row {table.claims(key, side)[0].row.number} of {table.file}"
        told = f"missing; {match.variant.name} has it as {list(shape)} ({where}). Take a complete "
        yield Problem(key, "missing", told + "checkpoint.")
    for key, number in targets.items():
        if number > 1:
            told = f"{number} tensors would become this one. Check the columns of {table.file}."
            yield Problem(key, "made of several tensors", told)
    if not targets and not match.distance:
        yield Problem(table.file, "claims nothing", "claims no tensor.")


def _problem(
    key: str, tensor: Tensor, claims: list[Claim], table: Table, match: Fit, side: Side
) -> tuple[str, str] | None:
    """Say what is wrong with the name or shape of a tensor, in short and whole; None if nothing."""
    if len(claims) > 1:
        rows = " and ".join(f"row {claim.row.number}" for claim in claims)
        return (
            "claimed by several rows",
            f"claimed by {rows} of {table.file}. Each key may match one row only: make one pattern "
            f"more specific.",
        )
    if not claims:
        if table.ignored(key, side) is not None:
            return None
        entry = "an [ignore]" if side == "torch" else "a [paddle_only]"
        return (
            "claimed by no row",
            f"no row of {table.file} claims this {list(tensor.shape)} tensor. Add a row, or "
            f"{entry} entry with its reason, or remove it from the checkpoint."
            f"{table.nearest(key, side)}",
        )
    alone = claims[0].paddle if side == "torch" else None
    if alone is not None and table.ignored(alone, "paddle") is not None:
        return (
            "in [paddle_only] as well",
            f"row {claims[0].row.number} of {table.file} makes {alone} of it, but [paddle_only] "
            f"says that PyTorch has no such tensor. Remove that entry, or the tensor.",
        )
    if key in match.misshapen:
        told = _misshapen(*match.misshapen[key], claims[0], table, match.variant, side)
        return "another shape", told
    try:
        turned(tensor.shape, claims[0], sizes_of(table, match.variant), side)
    except ValueError as error:
        shape, axes = list(tensor.shape), spell_axes(claims[0], table, side)
        return "a shape that its kind does not have", f"shape {shape} does not fit {axes}: {error}."
    if key in match.extra:
        return (
            f"not in {match.variant.name}",
            f"{match.variant.name} has no such tensor, though row {claims[0].row.number} of "
            f"{table.file} describes it. Is it another variant?",
        )
    return None


def _misshapen(
    found: Shape, expected: Shape, claim: Claim, table: Table, variant: Variant, side: Side
) -> str:
    other = ""
    if claim.rule.axes is not None:
        sizes = sizes_of(table, variant)
        with suppress(ValueError):
            shapes = [list(turned(shape, claim, sizes, side)) for shape in (found, expected)]
            name = "Paddle" if side == "torch" else "PyTorch"
            other = f" (in {name} {shapes[0]} and {shapes[1]})"
    return (
        f"shape {list(found)}, {variant.name} has {list(expected)}{other}; row "
        f"{claim.row.number} of {table.file}, kind '{claim.row.kind.name}'. Is it another variant, "
        f"or a changed model?"
    )
