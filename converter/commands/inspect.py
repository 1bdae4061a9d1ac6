"""The commands that show what a checkpoint holds, and which models there are."""

from pathlib import Path

import click

from ..tables.reading import load_table, variants
from ..terminal import console
from .options import FILE
from .show import show_checkpoint


@click.command()
@click.argument("file", type=FILE)
@click.option("--weights", metavar="KEY", help="Which of several weights to show.")
def inspect(file: Path, weights: str | None) -> None:
    """Show what a checkpoint holds, and which variant it looks like.

    \b
    Example:
      vitconvert inspect shunt_s.pth
    """
    from ..checkpoints import open_checkpoint

    checkpoint = open_checkpoint(file, weights)
    show_checkpoint(checkpoint)


@click.command()
def models() -> None:
    """List the models that can be converted.

    With the top-1 of each released checkpoint, in percent on ImageNet, and how images were
    brought to the input size: by that filter, a crop from the center with this share of the
    shorter side, or the whole image squashed.

    \b
    Example:
      vitconvert models
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("variant", "input"):
        table.add_column(heading, no_wrap=True)
    for heading in ("parameters", "top-1"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("evaluated with", no_wrap=True)
    for name, variant in variants().items():
        height, width = variant.input_size
        millions = load_table(variant.family).parameters(variant) / 1e6
        top1 = ", ".join(str(figures["top1"]) for figures in variant.published)
        crops = {"{interpolation}, {crop_mode} {crop_pct}".format(**f) for f in variant.published}
        table.add_row(
            name, f"{height}x{width}", f"{millions:.1f} M", top1 or "-", ", ".join(crops) or "-"
        )
    console().print(table)
