"""The commands that convert: one for every family, and one for a table of the user's own."""

from pathlib import Path
from typing import Any

import click

from ..sides import CASTS
from ..tables.reading import load_table
from .options import DEVICE, FILE, OUTPUT, Size, check_reports, finish, progress_bar, report_options
from .show import show_plan


def family_command(family: str) -> click.Command:
    """Make the command that converts checkpoints of one family."""
    title = load_table(family).title
    names = list(load_table(family).variants)

    @click.command(
        name=family,
        short_help=f"Convert a {title} checkpoint and prove it.",
        help=f"""Convert a {title} checkpoint from PyTorch to Paddle, or back, and prove that both
        compute the same.

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
    @click.option(
        "--src",
        required=True,
        type=FILE,
        help="Checkpoint: .pth, .pt, .bin, .safetensors, *.index.json, .npz; or a .pdparams.",
    )
    @click.option(
        "--dst",
        required=True,
        type=OUTPUT,
        help="What to write: .pdparams, .safetensors, .safetensors.index.json; or a .pth.",
    )
    @click.option(
        "--variant",
        type=click.Choice(names),
        metavar="VARIANT",
        help="Size of the model, see `vitconvert models`.  [default: found from names and shapes]",
    )
    @click.option(
        "--weights",
        metavar="KEY",
        help="Which weights to take where a file has several: model_ema …  [default: model]",
    )
    @click.option(
        "--dtype", type=click.Choice(CASTS), help="Cast floating tensors.  [default: as they are]"
    )
    @click.option(
        "--max-shard-size",
        type=Size(),
        metavar="SIZE",
        help="Of each file, where DST is a .safetensors.index.json.  [default: 5GB]",
    )
    @click.option("--no-parity", is_flag=True, help="Convert only; prove nothing.")
    @click.option("--no-verify", is_flag=True, help="Do not read back what was written.")
    @click.option(
        "--device", type=DEVICE, default="auto", show_default=True, help="Where to check parity."
    )
    @click.option("--dry-run", is_flag=True, help="Print what would be done to every tensor; stop.")
    @click.option("--force", is_flag=True, help="Replace DST if it exists.")
    @report_options
    def command(
        src: Path,
        dst: Path,
        variant: str | None,
        weights: str | None,
        dtype: str | None,
        max_shard_size: int | None,
        no_parity: bool,
        no_verify: bool,
        device: Any,
        dry_run: bool,
        force: bool,
        report: Path | None,
        html: Path | None,
        markdown: Path | None,
    ) -> None:
        from ..checkpoints.target import MAX_SHARD_SIZE, check_side, format_of
        from ..conversion import convert, plan
        from ..files import unverified

        reports = {"report": report, "html": html, "markdown": markdown}
        if any(reports.values()) and (no_parity or dry_run):
            raise click.UsageError("a report is of parity: not with --no-parity or --dry-run.")
        if max_shard_size is not None and format_of(dst) != "sharded":
            raise click.UsageError(
                f"--max-shard-size is of a sharded checkpoint: DST is the name of its index, such "
                f"as {dst.name.partition('.')[0]}.safetensors.index.json."
            )
        if dry_run:
            made = plan(src, family, variant, weights)[1]
            check_side(dst, src, made.source)
            show_plan(made, dtype)
            return
        check_reports(reports, source=src, target=dst, unverified=unverified(dst))
        with progress_bar() as progress:
            done = convert(
                src,
                dst,
                family,
                variant=variant,
                weights=weights,
                dtype=dtype,
                max_shard_size=max_shard_size or MAX_SHARD_SIZE,
                parity=not no_parity,
                verify=not no_verify,
                device=device,
                force=force,
                progress=progress,
            )
        if done.report is not None:
            finish(done.report, reports, done.path)
        else:
            click.echo(f"{done.path} written; parity was not checked (--no-parity).")

    return command


@click.command()
@click.option("--table", "rows", type=FILE, required=True, help="Table of your own.")
@click.option("--src", type=FILE, required=True, help="PyTorch checkpoint.")
@click.option("--dst", type=OUTPUT, required=True, help="What to write: .pdparams, .safetensors.")
@click.option("--weights", metavar="KEY", help="Which of several weights in the file.")
@click.option("--dtype", type=click.Choice(CASTS), help="Cast floating tensors.")
@click.option("--no-verify", is_flag=True, help="Do not read back what was written.")
@click.option("--force", is_flag=True, help="Replace DST if it exists.")
def convert(
    rows: Path,
    src: Path,
    dst: Path,
    weights: str | None,
    dtype: str | None,
    no_verify: bool,
    force: bool,
) -> None:
    """Convert a PyTorch checkpoint of a model of your own, by a table.

    Proves nothing by itself: `vitconvert parity` with both models and this table does.

    \b
    Example:
      vitconvert convert --table net.toml --src net.pth --dst net.pdparams
    """
    from ..conversion import convert_with_table

    with progress_bar() as progress:
        count = convert_with_table(
            src,
            dst,
            rows,
            weights=weights,
            dtype=dtype,
            verify=not no_verify,
            force=force,
            progress=progress,
        )
    click.echo(
        f"{dst} written: {count} tensors. Not proved yet: vitconvert parity --table {rows} …"
    )
