"""The commands that convert: one for every family, and one for a table of the user's own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..files import unverified
from ..sides import CASTS
from ..tables.reading import load_table
from ..terminal import print_table, printable
from .options import (
    DEVICE,
    FILE,
    OUTPUT,
    Choice,
    Size,
    add,
    check_reports,
    finish,
    progress_bar,
    report_options,
)

if TYPE_CHECKING:
    from ..conversion import Conversion
    from ..tables.plan import Plan

_SOURCE_AND_TARGET = (
    click.option(
        "--src",
        required=True,
        type=FILE,
        help="Checkpoint: .pth, .pt, .bin, .safetensors, *.index.json, .npz; or a .pdparams.",
    ),
    click.option(
        "--dst",
        required=True,
        type=OUTPUT,
        help="What to write: .pdparams, .safetensors, .safetensors.index.json; or a .pth.",
    ),
)
_CONVERTING = (
    click.option(
        "--weights",
        metavar="KEY",
        help="Which weights to take if a file has several: model_ema …  [default: model]",
    ),
    click.option(
        "--dtype", type=Choice(CASTS), help="Cast floating tensors.  [default: as they are]"
    ),
    click.option(
        "--max-shard-size",
        type=Size(),
        metavar="SIZE",
        help="Largest file, if DST is a .safetensors.index.json.  [default: 5GB]",
    ),
)
_WRITING = (
    click.option("--no-verify", is_flag=True, help="Do not read back what was written."),
    click.option("--dry-run", is_flag=True, help="Print what would be done to every tensor; stop."),
    click.option("--force", is_flag=True, help="Replace DST if it exists."),
)
_PROVING = (
    click.option("--no-parity", is_flag=True, help="Convert only; prove nothing."),
    click.option(
        "--device", type=DEVICE, default="auto", show_default=True, help="Where to check parity."
    ),
)


def family_command(family: str) -> click.Command:
    """Make the command that converts checkpoints of one family."""
    table = load_table(family)

    @click.command(
        name=family,
        short_help=f"Convert a {table.title} checkpoint and prove it.",
        help=f"""Convert a {table.title} checkpoint from PyTorch to Paddle, or back, and prove that
        both compute the same.

        The new file gets its name only when parity holds; otherwise it stays as DST.unverified and
        the exit status is 1.

        \b
        Examples:
          vitconvert {family} --src model.pth --dst model.pdparams
          vitconvert {family} --src model.pth --dst model.pdparams --dry-run
          vitconvert {family} --src model.pth --dst model.pdparams --report proof.json
          vitconvert {family} --src model.pth --dst half.safetensors --dtype float16
          vitconvert {family} --src model.pdparams --dst model.pth
        """,
    )
    @add(*_SOURCE_AND_TARGET)
    @click.option(
        "--variant",
        type=Choice(table.variants),
        metavar="VARIANT",
        help="Size of the model, see `vitconvert models`.  [default: found from names and shapes]",
    )
    @add(*_CONVERTING, *_PROVING, *_WRITING)
    @report_options
    def command(
        src: Path,
        dst: Path,
        dry_run: bool,
        no_parity: bool,
        reports: dict[str, Path | None],
        **how: Any,
    ) -> None:
        if any(reports.values()) and (no_parity or dry_run):
            raise click.UsageError(
                "a report shows the parity check: leave out --no-parity and --dry-run."
            )
        if not dry_run:
            check_reports(reports, source=src, target=dst, unverified=unverified(dst))
        done = _run(family, src, dst, dry_run=dry_run, parity=not no_parity, **how)
        if done is not None and done.report is not None:
            finish(done.report, reports, done.path)
        elif done is not None:
            click.echo(f"{done.path} written; parity was not checked (--no-parity).")

    return command


def _run(
    family: str | Path,
    src: Path,
    dst: Path,
    *,
    dry_run: bool,
    no_verify: bool,
    weights: str | None,
    dtype: str | None,
    max_shard_size: int | None,
    variant: str | None = None,
    **how: Any,
) -> Conversion | None:
    """Convert, or only show how; then there is no result."""
    from ..checkpoints.target import MAX_SHARD_SIZE, check_side, format_of
    from ..conversion import convert, plan

    if max_shard_size is not None and format_of(dst) != "sharded":
        raise click.UsageError(
            f"--max-shard-size works with a sharded checkpoint only: expected DST to be its index, "
            f"such as {dst.name.partition('.')[0]}.safetensors.index.json."
        )
    if dry_run:
        made = plan(src, family, variant, weights)[1]
        check_side(dst, src, made.source)
        _show(made, dtype)
        return None
    with progress_bar() as progress:
        return convert(
            src,
            dst,
            family,
            variant=variant,
            weights=weights,
            dtype=dtype,
            max_shard_size=max_shard_size or MAX_SHARD_SIZE,
            verify=not no_verify,
            progress=progress,
            **how,
        )


def _show(plan: Plan, dtype: str | None) -> None:
    """Print what would become of every tensor."""
    rows = ((s.source or "-", s.operation, s.target or "-", s.reason) for s in plan.steps)
    print_table(rows, "source", "operation", "target", "reason")
    counts = Counter[str](step.operation for step in plan.steps)
    order = ("transpose", "copy", "drop", "restore")
    listed = ", ".join(f"{counts[name]} to {name}" for name in order if counts[name])
    cast = f" Floating tensors would be cast to {dtype}." if dtype else ""
    if plan.source == "torch":
        for pattern, reason in plan.table.paddle_only.items():
            click.echo(printable(f"Paddle alone has {pattern}, which is not written: {reason}"))
    click.echo(f"{len(plan.steps)} tensors: {listed}.{cast} Nothing was written (--dry-run).")


@click.command(name="convert")
@click.option("--table", "rows", type=FILE, required=True, help="Table of your own.")
@add(*_SOURCE_AND_TARGET, *_CONVERTING, *_WRITING)
def convert_by_table(rows: Path, src: Path, dst: Path, **asked: Any) -> None:
    """Convert a checkpoint of a model of your own, by a table; to Paddle or back.

    Proves nothing by itself: `vitconvert parity` with both models and this table does.

    \b
    Examples:
      vitconvert convert --table net.toml --src net.pth --dst net.pdparams
      vitconvert convert --table net.toml --src net.pdparams --dst net.pth
    """
    done = _run(rows, src, dst, parity=False, **asked)
    if done is not None:
        count = sum(1 for step in done.plan.steps if step.target is not None)
        click.echo(
            f"{dst} written: {count} tensors. Not proved yet: vitconvert parity --table {rows} …"
        )
