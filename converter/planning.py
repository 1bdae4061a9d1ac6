"""Decide what becomes of every tensor of a checkpoint, and say so; nothing is written."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoints import Checkpoint, Renames
from .errors import CheckpointError, ConversionError, nearest, some
from .lines import Lines
from .tables.border import laid_out_alike
from .tables.identify import show_head, twins
from .tables.opening import open_weights
from .tables.plan import Plan, make_plan, source_side
from .tables.reading import families, find_variant, load_table, read_table
from .tables.sized import MARK, at_size, parse_size, sized
from .tables.table import Table
from .tables.variant import Variant

if TYPE_CHECKING:
    from .parity import Pair

_SHARD = re.compile(r"-[0-9]{5}-of-[0-9]{5}\.")  # in the name of a file that an index names

log = logging.getLogger("vitconvert")


def plan(
    src: str | Path,
    family: str | Path | Pair,
    variant: str | None = None,
    weights: str | None = None,
    rename: Renames | None = None,
    num_classes: int | None = None,
    dialect: str | None = None,
    target: str | None = None,
    image_size: tuple[int, int] | None = None,
    in_chans: int | None = None,
) -> tuple[Checkpoint, Plan]:
    """Open a checkpoint and decide what becomes of every tensor; nothing is written.

    Args:
        src: As for `convert`, and so are the others.
        family: A family, or the table of your own models.
        variant: Of the family.
        weights: Which weights to take where the file holds several.
        rename: Beginnings of names -> what takes their place.
        num_classes: Size of the head; 0 drops it.
        dialect: Whose names the PyTorch checkpoint has, or gets.
        target: Whose names the Paddle checkpoint gets, or has.
        image_size: Height and width in pixels.
        in_chans: Channels of an image.

    Raises:
        CheckpointError: The file cannot be read, or is a Paddle checkpoint that does not fit.
        ConversionError: It does not fit the family or the variant.
        TableError: A table is malformed.
    """
    table = _table(family)
    if not table.variants and (num_classes, image_size, in_chans) != (None, None, None):
        raise ConversionError(
            f"{table.file} has no variants, so it does not say which tensors are the head, and "
            f"which depend on the size of an image."
        )
    names: dict[str, Any] = {
        "weights": weights,
        "rename": rename,
        "dialect": dialect,
        "target": target,
    }
    is_asked = variant is not None
    if MARK in (variant or ""):
        table = _at_its_size(table, str(variant), image_size, in_chans)
    elif image_size is not None or in_chans is not None:
        base = table.variants.get(variant or "") or _published(src, table, num_classes, names)
        table, other = find_variant(at_size(base, image_size, in_chans))
        variant = other.name
    checkpoint = open_weights(src, table, variant, num_classes=num_classes, **names)
    for note in checkpoint.notes():
        log.info("%s: %s", src, note)
    try:
        made = make_plan(checkpoint, table, variant, source_side(checkpoint, table))
    except (CheckpointError, ConversionError) as error:
        if _SHARD.search(checkpoint.path.name):
            hint = "looks like one file of a sharded checkpoint: give its *.index.json instead."
            raise type(error)(f"{src}: {hint}", Lines("\n"), error) from error
        raise
    for note in made.notes():
        log.info("%s: %s", src, note)
    if (dialect if made.source == "torch" else target) is None:
        for alike in laid_out_alike(checkpoint, table, made.source, made.variant):
            log.info(
                "%s: its weights may be laid out as the table's own or as those of %s, since no "
                "shape differs; taken as the table's own: %s decides",
                src,
                alike.title or alike.name,
                alike.option,
            )
    if table.variants:
        log.info("variant: %s", _describe(made, is_asked))
        if made.variant.num_classes and not made.num_classes:
            log.info(
                "no head: %s", "dropped, as asked" if num_classes == 0 else "the file has none"
            )
    elif idle := _idle_rows(checkpoint, made):
        what = "no tensor of %s belongs to %s of %s; correct only if such a layer has none"
        log.info(what, src, some(idle), table.file)
    if restored := [step.target for step in made.steps if step.operation == "restore"]:
        counters = "counter, which Paddle does not have, starts"
        if len(restored) > 1:
            counters = "counters, which Paddle does not have, start"
        log.info("%d step %s at 0", len(restored), counters)
    return checkpoint, made


def _at_its_size(
    table: Table, name: str, image_size: tuple[int, int] | None, in_chans: int | None
) -> Table:
    """Give the table of a variant whose name says its size; any other table as it is."""
    if (image_size, in_chans) != (None, None):
        raise ConversionError(
            f"{name} says its size itself: leave --image-size and --in-chans out. With channels "
            f"the name is such as {name.partition(MARK)[0]}@224x224x1."
        )
    base, asked = parse_size(name)
    known = table.variants.get(base)
    return table if known is None or asked is None else sized(table, known, name, asked)[0]


def _published(
    src: str | Path, table: Table, num_classes: int | None, names: Mapping[str, Any]
) -> Variant:
    """Find which published variant a file is, that is to become one of another size."""
    checkpoint = open_weights(src, table, num_classes=num_classes, **names)
    return make_plan(checkpoint, table, None, source_side(checkpoint, table)).variant


def _table(family: str | Path | Pair) -> Table:
    """Give the table of a family, or read that of a file or a pair."""
    if not isinstance(family, str):
        table = read_table(family if isinstance(family, Path) else Path(family.table))
        has_shapes = all(variant.shapes for variant in table.variants.values())
        return table if has_shapes else replace(table, variants={})
    if family not in (known := families()):
        raise ConversionError(
            f"no family {family!r}.{nearest(family, known)} There are: {', '.join(known)}."
        )
    return load_table(family)


def _idle_rows(checkpoint: Checkpoint, made: Plan) -> list[str]:
    """Name the rows of layers with tensors that have none in a checkpoint.

    A table without shapes does not show whether they are missing: a norm without scale and bias
    has none. The models would, when they are loaded.
    """
    claims = (made.table.claims(key, made.source) for key in checkpoint.tensors)
    busy = {claim.row.number for found in claims for claim in found}
    return [
        f"row {row.number} ({row.name_on(made.source)})"
        for row in made.table.rows
        if row.kind.tensors and row.number not in busy
    ]


def _describe(made: Plan, asked: bool) -> str:
    """Say which variant and which head was found, and what else it could have been."""
    how = "as asked" if asked else "found from names and shapes"
    table, variant = made.table.whole or made.table, made.variant.base or made.variant
    others = [] if asked else [table.variants[one] for one in twins(variant, table)]
    if others:
        how += f", which are also those of {some([one.name for one in others])}"
        if differing := [one.name for one in others if not one.computes(variant)]:
            verb = "computes" if len(differing) == 1 else "compute"
            how += f"; {some(differing)} {verb} another function"
        how += ": --variant decides"
    return f"{made.variant.name}, {show_head(made.num_classes)} ({how})"
