"""The commands that convert: one for every family, and one for a table of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..sides import CASTS
from ..tables.reading import load_table
from .options import (
    DEVICE,
    FILE,
    OUTPUT,
    Choice,
    Size,
    check_reports,
    finish,
    progress_bar,
    report_options,
)
from .show import show_plan

if TYPE_CHECKING:
    from ..conversion import Conversion

F = TypeVar("F", bound=Callable[..., Any])

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
        help="Which weights to take where a file has several: model_ema …  [default: model]",
    ),
    click.option(
        "--dtype", type=click.Choice(CASTS), help="Cast floating tensors.  [default: as they are]"
    ),
    click.option(
        "--max-shard-size",
        type=Size(),
        metavar="SIZE",
        help="Of each file, where DST is a .safetensors.index.json.  [default: 5GB]",
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


def _add(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Add options to a command, in this order."""

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


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
    @_add(*_SOURCE_AND_TARGET)
    @click.option(
        "--variant",
        type=Choice(table.variants),
        metavar="VARIANT",
        help="Size of the model, see `vitconvert models`.  [default: found from names and shapes]",
    )
    @_add(*_CONVERTING, *_PROVING, *_WRITING)
    @report_options
    def command(
        report: Path | None, html: Path | None, markdown: Path | None, **asked: Any
    ) -> None:
        _convert_family(family, {"report": report, "html": html, "markdown": markdown}, **asked)

    return command


def _convert_family(
    family: str,
    reports: dict[str, Path | None],
    src: Path,
    dst: Path,
    no_parity: bool,
    dry_run: bool,
    **how: Any,
) -> None:
    """Convert, prove, and write the reports that were asked for."""
    from ..files import unverified

    if any(reports.values()) and (no_parity or dry_run):
        raise click.UsageError("a report is of parity: not with --no-parity or --dry-run.")
    if not dry_run:
        check_reports(reports, source=src, target=dst, unverified=unverified(dst))
    done = _run(family, src, dst, dry_run=dry_run, parity=not no_parity, **how)
    if done is None:
        return
    if done.report is not None:
        finish(done.report, reports, done.path)
    else:
        click.echo(f"{done.path} written; parity was not checked (--no-parity).")


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
            f"--max-shard-size is of a sharded checkpoint: DST is the name of its index, such "
            f"as {dst.name.partition('.')[0]}.safetensors.index.json."
        )
    if dry_run:
        made = plan(src, family, variant, weights)[1]
        check_side(dst, src, made.source)
        show_plan(made, dtype)
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


@click.command(name="convert")
@click.option("--table", "rows", type=FILE, required=True, help="Table of your own.")
@_add(*_SOURCE_AND_TARGET, *_CONVERTING, *_WRITING)
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
