"""The command that evaluates checkpoints on images."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click

from ..terminal import console
from .options import DEVICE, FILE, OUTPUT, ImageSize, progress_bar

_DATA = click.Path(exists=True, path_type=Path)


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


def preprocessing_options(command: Any) -> Any:
    """Add the options that override how images become a variant's input."""
    for option in (
        click.option("--std", type=Channels(), help="Of the channels, 0..1."),
        click.option("--mean", type=Channels(), help="Of the channels red, green, blue, 0..1."),
        click.option(
            "--interpolation",
            type=click.Choice(["bicubic", "bilinear", "lanczos", "nearest"]),
            help="Filter that resizes images.",
        ),
        click.option(
            "--crop-mode",
            type=click.Choice(["center", "squash"]),
            help="A crop from the center, or the whole image squashed.",
        ),
        click.option(
            "--crop-pct",
            type=click.FloatRange(0, 1, min_open=True),
            help="Share of the shorter side that the crop keeps.",
        ),
        click.option(
            "--image-size", "size", type=ImageSize(), metavar="HxW", help="Pixels of the input."
        ),
    ):
        command = option(command)
    return command


@click.command("eval", short_help="Classify labelled images, with both frameworks.")
@click.argument("variant")
@click.option(
    "--data",
    required=True,
    type=_DATA,
    help="Folder or archive of images, one folder per class; ImageNet's flat val with its "
    "labels; cifar-10-python.tar.gz.",
)
@click.option(
    "--weights",
    type=click.Path(exists=True, path_type=Path),
    help="Paddle checkpoint, or the folder that `vitconvert export` made.",
)
@click.option("--torch-weights", type=FILE, help="PyTorch checkpoint, run on the very same arrays.")
@click.option("--torch-key", metavar="KEY", help="Which of several weights in the PyTorch file.")
@click.option(
    "--engine",
    type=click.Choice(["eager", "inference"]),
    default="eager",
    show_default=True,
    help="What runs the Paddle model; inference is its deployed form.",
)
@click.option("--device", type=DEVICE, default="auto", show_default=True, help="Where to run.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    default="float32",
    show_default=True,
    help="Precision of both models.",
)
@click.option(
    "--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Images at once."
)
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=2,
    show_default=True,
    help="Threads that read images.",
)
@click.option(
    "--limit", type=click.IntRange(1), help="Only so many images, evenly spread.  [default: all]"
)
@click.option("--strict", is_flag=True, help="Stop at an image that cannot be read.")
@preprocessing_options
@click.option(
    "--report",
    type=OUTPUT,
    help="Folder to write: report.html, report.json, images.csv, and the images that differ.",
)
@click.option("--resume", is_flag=True, help="Go on with the interrupted run in --report.")
@click.option("--force", is_flag=True, help="Replace the report that is there.")
def evaluate(
    variant: str,
    data: Path,
    weights: Path | None,
    torch_weights: Path | None,
    torch_key: str | None,
    report: Path | None,
    resume: bool,
    force: bool,
    size: tuple[int, int] | None,
    crop_pct: float | None,
    crop_mode: str | None,
    interpolation: str | None,
    mean: tuple[float, float, float] | None,
    std: tuple[float, float, float] | None,
    **options: Any,
) -> None:
    """Classify labelled images: top-1, top-5, loss, speed; of both frameworks side by side.

    Images are resized, cropped and normalised once, as the variant was published; the very same
    arrays go to both models. With --weights and --torch-weights the exit status is 0 only if both
    classify alike but for rounding. Ctrl-C shows what there is so far, --resume goes on.

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

    if weights is None and torch_weights is None:
        raise click.UsageError("give --weights (Paddle), --torch-weights (PyTorch), or both.")
    is_first = expected_team().leads
    how = {
        "size": size,
        "crop_pct": crop_pct,
        "crop_mode": crop_mode,
        "interpolation": interpolation,
        "mean": mean,
        "std": std,
    }
    try:
        with progress_bar(is_first) as progress:
            result = evaluate(
                variant,
                data,
                weights=weights,
                torch_weights=torch_weights,
                torch_key=torch_key,
                preprocessing=how,
                report=report,
                resume=resume,
                force=force,
                progress=progress,
                **options,
            )
    except ReportError as error:
        show(error.result, console())
        raise
    if not is_first:
        return
    if not result.count:
        click.echo("Interrupted before the first batch was done.")
        sys.exit(130)
    show(result, console())
    if report is not None:
        click.echo(f"{report} holds the report.")
    if result.partial:
        sys.exit(130)
    if result.same is False or not result.finite:
        sys.exit(1)
