"""What the command line prints of plans and checkpoints."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import click

from ..terminal import console, printable

if TYPE_CHECKING:
    from ..checkpoints import Checkpoint
    from ..tables.plan import Plan

# Of the header of a .safetensors, which may hold anything.
_MOST_TEXTS = 20
_LONGEST_TEXT = 200


def show_plan(plan: Plan, dtype: str | None) -> None:
    """Print what would become of every tensor."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("source", "operation", "target", "reason"):
        table.add_column(heading, no_wrap=True)
    for step in plan.steps:
        cells = (step.source or "-", step.operation, step.target or "-", step.reason)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console().print(table)
    counts = {
        op: sum(1 for s in plan.steps if s.operation == op)
        for op in ("transpose", "copy", "drop", "restore")
    }
    listed = ", ".join(f"{n} to {op}" for op, n in counts.items() if n)
    cast = f" Floating tensors would be cast to {dtype}." if dtype else ""
    click.echo(f"{len(plan.steps)} tensors: {listed}.{cast} Nothing was written (--dry-run).")


def show_checkpoint(checkpoint: Checkpoint) -> None:
    """Print what a checkpoint holds, and what it looks like."""
    from rich.table import Table
    from rich.text import Text

    from ..sides import NAMES
    from ..tables.identify import identify, show_head

    size = sum(path.stat().st_size for path in checkpoint.files)
    files = f" in {len(checkpoint.files)} files" if len(checkpoint.files) > 1 else ""
    click.echo(f"{checkpoint.path}: {checkpoint.format}, {size:,} bytes{files}")
    for note in checkpoint.notes():
        click.echo(printable(f"  {note}"))
    for key, text in islice(checkpoint.metadata.items(), _MOST_TEXTS):
        click.echo(printable(f"  {key}: {text[:_LONGEST_TEXT]}"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("tensor", no_wrap=True)
    table.add_column("shape", no_wrap=True)
    table.add_column("dtype", no_wrap=True)
    for name, tensor in checkpoint.tensors.items():
        table.add_row(Text(printable(name)), Text(str(list(tensor.shape))), tensor.dtype)
    console().print(table)
    click.echo(f"{len(checkpoint.tensors)} tensors, {checkpoint.nbytes:,} bytes")
    # Without linear layers both frameworks' tensors look alike; then the kind of file tells.
    own = checkpoint.side or "torch"
    found = identify(checkpoint.shapes)
    sure = {match.variant.name for match, side in found if side == own}
    found = [(m, side) for m, side in found if side == own or m.variant.name not in sure]
    looks = [
        f"{match.variant.name} (family {match.variant.family}, {show_head(match.num_classes)}, "
        f"{NAMES[side]} names)"
        for match, side in found
    ]
    click.echo(f"looks like: {' or '.join(looks) or 'no variant known here'}")
