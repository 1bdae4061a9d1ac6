"""The command that evaluates checkpoints on labelled images."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..terminal import say, say_report
from .options import (
    CLASSES,
    DEVICE,
    FILE,
    FILE_OR_FOLDER,
    OUTPUT,
    SOURCE,
    SOURCE_FILE,
    Choice,
    ImageSize,
    aside,
    fetched,
    known_variant,
    model_options,
    progress_bar,
    this_command,
)
from .replacing import check_replaced, write_report

if TYPE_CHECKING:
    from ..apps.evaluation import Evaluation
    from ..parity import Pair


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


def _known(ctx: click.Context, param: click.Parameter, name: str | None) -> str | None:
    return None if name is None else known_variant(ctx, param, name)


@click.command("eval", short_help="Measure accuracy on labelled images, with both frameworks.")
@click.argument("variant", metavar="[VARIANT]", required=False, callback=_known)
@click.option(
    "--data",
    required=True,
    type=FILE_OR_FOLDER,
    help="Folder or archive of images, one folder per class; ImageNet's flat val with its "
    "labels; cifar-10-python.tar.gz.",
)
@click.option(
    "--weights",
    type=SOURCE,
    help="Paddle checkpoint, or a folder made by `vitconvert export`.",
)
@click.option(
    "--torch-weights", type=SOURCE_FILE, help="PyTorch checkpoint; it gets the very same arrays."
)
@click.option(
    "--torch-key", metavar="KEY", help="Key of the weights, if the PyTorch file holds several."
)
@click.option("--classes", type=FILE, help=CLASSES)
@model_options
@click.option("--table", type=FILE, help="Of such models: checks names; may [ignore] tensors.")
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
@click.option("--exif", is_flag=True, help="Turn images as their EXIF orientation says.")
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
@click.option(
    "--markdown",
    type=OUTPUT,
    callback=aside,
    help="Write a table for a pull request; - prints it.",
)
@click.option("--resume", is_flag=True, help="Resume the interrupted evaluation in --report.")
@click.option("--force", is_flag=True, help="Replace an existing report.")
@fetched
def evaluate(
    variant: str | None,
    data: Path,
    report: Path | None,
    markdown: Path | None,
    torch_model: str | None,
    paddle_model: str | None,
    table: Path | None,
    classes: Path | None,
    **options: Any,
) -> None:
    """Measure accuracy on labelled images: top-1, top-5, loss and speed.

    With --weights and --torch-weights, both models run side by side. Images are preprocessed once,
    as the variant was published, and both models get the very same arrays. The exit status is 0
    only if both classify all images the same, except for rounding. If the names of the model's
    classes are known, those of the images are compared with them: another order is mapped, other
    names are refused. Ctrl-C shows the figures so far; --resume continues. Models of your own take
    the place of VARIANT.

    \b
    Examples:
      vitconvert eval shunted_s --weights shunt_s.pdparams --data imagenet/val
      vitconvert eval shunted_s --weights shunt_s.pdparams \\
                      --torch-weights shunt_s.pth --data imagenet/val --report out
      vitconvert eval shunted_s --weights D --data DIR --engine inference
      vitconvert eval shunted_s --weights D --data DIR --limit 1000 --workers 4
      vitconvert eval --paddle-model paddle_net:build --weights D \\
                      --torch-model net:build --torch-weights S \\
                      --data imagenet/val --markdown eval.md

    \b
    On several devices or machines, every image counted once:
      python -m paddle.distributed.launch --nproc_per_node 2 \\
                      $(which vitconvert) eval shunted_s --weights D --data DIR
      torchrun --nproc-per-node 2 -m vitconvert eval shunted_s \\
                      --torch-weights S --data DIR
    """
    from ..apps.evaluation import ReportError, evaluate, show
    from ..images import read_classes
    from ..running.team import expected_team
    from ..tables.variant import PREPROCESSING

    if options["weights"] is None and options["torch_weights"] is None:
        raise click.UsageError("give --weights (Paddle), --torch-weights (PyTorch), or both.")
    models = {"torch_model": torch_model, "paddle_model": paddle_model}
    model = _subject(variant, models, table, options)
    is_first = expected_team().leads
    if markdown is not None and is_first:
        named = {"report": report, "table": table, "classes": classes}
        _check_markdown(markdown, **named, **_weights(options))
    how = {name: options.pop(name) for name in ("size", *PREPROCESSING)}
    options["classes"] = () if classes is None else read_classes(classes)
    try:
        with progress_bar(is_first) as progress:
            result = evaluate(
                model, data, report=report, preprocessing=how, progress=progress, **options
            )
    except ReportError as error:
        show(error.result)
        raise
    if not is_first:
        return
    if not result.count:
        say("Interrupted before the first batch was complete.")
        sys.exit(130)
    show(result)
    if report is not None:
        say(f"{report} holds the report.")
    if markdown is not None:
        _write_markdown(result, markdown)
    if result.partial:
        sys.exit(130)
    if result.same is False or not result.finite:
        sys.exit(1)


def _weights(options: dict[str, Any]) -> dict[str, Path | None]:
    return {name: options[name] for name in ("weights", "torch_weights")}


def _subject(
    variant: str | None, models: dict[str, str | None], table: Path | None, options: dict[str, Any]
) -> str | Pair:
    """Return the shipped variant, or the models of the user's own that have weights here."""
    from ..parity import Pair

    given = [name for name, value in {**models, "table": table}.items() if value is not None]
    if variant is not None:
        if given:
            raise click.UsageError(
                f"VARIANT is a shipped model, {_option(given[0])} is for your own: not both."
            )
        return variant
    if not any(models.values()):
        raise click.UsageError(
            "give a VARIANT, see `vitconvert models`; or, for models of your own, --paddle-model, "
            "--torch-model, or both."
        )
    for side, weights in (("torch", "torch_weights"), ("paddle", "weights")):
        model = f"{side}_model"
        if (models[model] is None) != (options[weights] is None):
            there, missing = (model, weights) if models[model] else (weights, model)
            raise click.UsageError(f"{_option(there)} needs {_option(missing)}.")
    return Pair(models["torch_model"] or "", models["paddle_model"] or "", table or "")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check_markdown(path: Path, **files: Path | None) -> None:
    """Refuse a file that cannot be written to, before any work is done."""
    from ..apps.evaluation import MARK
    from ..files import check_distinct

    if str(path) != "-":
        check_distinct(**files, markdown=path)
        check_replaced(path, MARK, "the Markdown of an evaluation")


def _write_markdown(result: Evaluation, path: Path) -> None:
    """Write the table for a pull request, or print it."""
    from ..apps.evaluation import markdown

    text = markdown(result, this_command())
    if str(path) == "-":
        say_report(text)
    else:
        say(write_report(path, text.encode(errors="replace"), "the table"))
