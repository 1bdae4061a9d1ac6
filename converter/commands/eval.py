"""The command that evaluates checkpoints on labelled images."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click

from ..terminal import console
from .options import (
    DEVICE,
    FILE,
    FILE_OR_FOLDER,
    OUTPUT,
    Choice,
    ImageSize,
    known_variant,
    progress_bar,
)


class Channels(click.ParamType[tuple[float, float, float]]):
    """Three numbers, for red, green and blue: 0.485,0.456,0.406."""

    name = "R,G,B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read them."""
        parts = re.split(r"[ ,]+", str(value).strip())
        try:
            red, green, blue = (float(part) for part in parts)
        except ValueError:
            self.fail(f"{value!r}: expected three numbers, such as 0.5,0.5,0.5.", param, ctx)
        return red, green, blue


@click.command("eval", short_help="Measure accuracy on labelled images, with both frameworks.")
@click.argument("variant", callback=known_variant)
@click.option(
    "--data",
    required=True,
    type=FILE_OR_FOLDER,
    help="Folder or archive of images, one folder per class; ImageNet's flat val with its "
    "labels; cifar-10-python.tar.gz.",
)
@click.option(
    "--weights",
    type=FILE_OR_FOLDER,
    help="Paddle checkpoint, or a folder made by `vitconvert export`.",
)
@click.option(
    "--torch-weights", type=FILE, help="PyTorch checkpoint; it gets the very same arrays."
)
@click.option(
    "--torch-key", metavar="KEY", help="Key of the weights, if the PyTorch file holds several."
)
@click.option(
    "--engine",
    type=Choice(["eager", "inference"]),
    default="eager",
    show_default=True,
    help="How the Paddle model runs; inference is its deployed form.",
)
@click.option("--device", type=DEVICE, default="auto", show_default=True, help="Where to run.")
@click.option(
    "--dtype",
    type=Choice(["float32", "float64"]),
    default="float32",
    show_default=True,
    help="Precision of both models.",
)
@click.option(
    "--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Images per batch."
)
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=2,
    show_default=True,
    help="Threads that read images.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    help="Use at most this many images, evenly spread.  [default: all images]",
)
@click.option("--strict", is_flag=True, help="Stop at the first image that cannot be read.")
@click.option("--image-size", "size", type=ImageSize(), metavar="HxW", help="Input size in pixels.")
@click.option(
    "--crop-pct",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the shorter side that the crop keeps.",
)
@click.option(
    "--crop-mode",
    type=Choice(["center", "squash"]),
    help="Crop from the center, or squash the whole image.",
)
@click.option(
    "--interpolation",
    type=Choice(["bicubic", "bilinear", "lanczos", "nearest"]),
    help="Filter for resizing.",
)
@click.option("--mean", type=Channels(), help="Mean of each channel, 0..1.")
@click.option("--std", type=Channels(), help="Standard deviation of each, 0..1.")
@click.option(
    "--report",
    type=OUTPUT,
    help="Folder for report.html, report.json, images.csv and the images that differ.",
)
@click.option("--resume", is_flag=True, help="Resume the interrupted evaluation in --report.")
@click.option("--force", is_flag=True, help="Replace an existing report.")
def evaluate(variant: str, data: Path, report: Path | None, **options: Any) -> None:
    """Measure accuracy on labelled images: top-1, top-5, loss and speed.

    With --weights and --torch-weights, both models run side by side. Images are preprocessed once,
    as the variant was published, and both models get the very same arrays. The exit status is 0
    only if both classify all images the same, except for rounding. Ctrl-C shows the figures so
    far; --resume continues.

    \b
    Examples:
      vitconvert eval shunted_s --weights shunt_s.pdparams --data imagenet/val
      vitconvert eval shunted_s --weights shunt_s.pdparams \\
                      --torch-weights shunt_s.pth --data imagenet/val --report out
      vitconvert eval shunted_s --weights D --data DIR --engine inference
      vitconvert eval shunted_s --weights D --data DIR --limit 1000 --workers 4

    \b
    On several devices or machines, every image counted once:
      python -m paddle.distributed.launch --nproc_per_node 2 \\
                      $(which vitconvert) eval shunted_s --weights D --data DIR
      torchrun --nproc-per-node 2 -m vitconvert eval shunted_s \\
                      --torch-weights S --data DIR
    """
    from ..apps.evaluation import ReportError, evaluate, show
    from ..running.team import expected_team
    from ..tables.variant import PREPROCESSING

    if options["weights"] is None and options["torch_weights"] is None:
        raise click.UsageError("give --weights (Paddle), --torch-weights (PyTorch), or both.")
    is_first = expected_team().leads
    how = {name: options.pop(name) for name in ("size", *PREPROCESSING)}
    try:
        with progress_bar(is_first) as progress:
            result = evaluate(
                variant, data, report=report, preprocessing=how, progress=progress, **options
            )
    except ReportError as error:
        show(error.result, console())
        raise
    if not is_first:
        return
    if not result.count:
        click.echo("Interrupted before the first batch was complete.")
        sys.exit(130)
    show(result, console())
    if report is not None:
        click.echo(f"{report} holds the report.")
    if result.partial:
        sys.exit(130)
    if result.same is False or not result.finite:
        sys.exit(1)
