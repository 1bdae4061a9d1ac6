"""The command for whoever adds a family: it writes the names and shapes of every variant.

The converter needs them without importing a framework, so they are kept as data beside the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

import click

from ..errors import TableError
from ..files import write_whole
from ..tables.reading import read_table, table_files
from ..tables.table import Table
from ..tables.variant import ShapePattern, Variant
from ..terminal import say
from .options import FILE


@click.command()
@click.argument("tables", type=FILE, nargs=-1, metavar="[TABLE]...")
def shapes(tables: tuple[Path, ...]) -> None:
    """Write shapes/<family>.toml beside each TABLE, from its PyTorch models.

    For whoever adds a family, or changes one. Without TABLE: of every family there is.

    \b
    Example:
      vitconvert shapes families/tiny.toml
    """
    for path in tables or table_files().values():
        table = read_table(path.absolute())
        if not table.variants:
            raise TableError(f"{path}: has no [variants], whose shapes could be written. Add some.")
        target = path.parent / "shapes" / path.name
        target.parent.mkdir(exist_ok=True)
        write_whole(target, render(table).encode())
        say(f"{target} written: {len(table.variants)} variants.")


def shape_patterns(variant: Variant, table: Table) -> dict[str, ShapePattern]:
    """Build a variant with two numbers of classes; where a size follows, that axis is named."""
    import torch

    from ..models import build_from

    with torch.device("meta"):  # no memory, no initialisation
        # timm publishes many without a head, and builds each with one.
        sizes = (1000, 7) if variant.num_classes or table.torch else (0, 0)
        one, two = (build_from(table, "torch", variant, n).state_dict() for n in sizes)
    return {
        key: tuple(
            n if n == m else "num_classes" for n, m in zip(value.shape, two[key].shape, strict=True)
        )
        for key, value in one.items()
    }


def fold(patterns: Mapping[str, ShapePattern]) -> Iterator[tuple[str, ShapePattern]]:
    """Fold keys that differ in their last number alone into one line with a range."""
    groups: dict[tuple[str, str, ShapePattern], list[int]] = {}
    plain: list[tuple[str, ShapePattern]] = []
    for key, shape in patterns.items():
        match = re.fullmatch(r"(.*\.)(\d+)(\..*)", key)
        if match:
            groups.setdefault((match[1], match[3], shape), []).append(int(match[2]))
        else:
            plain.append((key, shape))
    for (head, tail, shape), numbers in groups.items():
        # Numbers that follow each other differ from their places by the same amount.
        for _, run in groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0]):
            found = [number for _place, number in run]
            middle = f"{{{found[0]}..{found[-1]}}}" if len(found) > 1 else str(found[0])
            yield f"{head}{middle}{tail}", shape
    yield from plain


def _beside(
    patterns: dict[str, ShapePattern], others: dict[str, dict[str, ShapePattern]]
) -> tuple[str, dict[str, ShapePattern]]:
    """Give the variant that differs least, and what differs; all, if that is more than half."""
    name, least = "", patterns
    for other, known in others.items():
        if known.keys() <= patterns.keys():
            listed = {key: shape for key, shape in patterns.items() if known.get(key) != shape}
            if len(listed) < len(least) and len(listed) <= len(patterns) // 2:
                name, least = other, listed
    return name, least


def render(table: Table) -> str:
    """Spell the shapes of all variants of a family in TOML, each set once."""
    lines = [
        "# PyTorch key = shape, for every variant; {0..2} stands for 0, 1 and 2. same_as names the",
        "# variant that has the same but for what is listed. Written by `vitconvert shapes` from",
        "# the PyTorch models.",
    ]
    lines += spell_shapes((one.name, shape_patterns(one, table)) for one in table.variants.values())
    return "\n".join(lines) + "\n"


def spell_shapes(variants: Iterable[tuple[str, Mapping[str, ShapePattern]]]) -> Iterator[str]:
    """Spell names and shapes of variants as lines of TOML, each set once."""
    whole: dict[str, dict[str, ShapePattern]] = {}
    for variant, patterns in variants:
        yield from ("", f"[{variant}]")
        folded = dict(fold(patterns))
        name, listed = _beside(folded, whole)
        if name:
            yield f'same_as = "{name}"'
        else:
            whole[variant] = folded
        for key, shape in listed.items():
            axes = ", ".join(str(n) if isinstance(n, int) else f'"{n}"' for n in shape)
            yield f'"{key}" = [{axes}]'
