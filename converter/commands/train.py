"""The command that fine-tunes a variant in Paddle."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..apps.training import Settings
from .options import DEVICE, FILE, OUTPUT, ImageSize

if TYPE_CHECKING:
    from ..apps.training import Listener, Summary

_DATA = click.Path(exists=True, path_type=Path)

# Of `Settings`, in the order of --help; defaults are its own.
_OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (
        ("--data",),
        {
            "type": _DATA,
            "help": "Images: a folder with train/ and val/ or test/, train.zip and test.zip, or "
            "cifar-10-python.tar.gz.",
        },
    ),
    (("--val-data",), {"type": _DATA, "help": "Images to evaluate.  [default: of --data]"}),
    (
        ("--weights",),
        {
            "type": FILE,
            "help": "Paddle checkpoint to begin with; one for other classes gets a new head.  "
            "[default: random]",
        },
    ),
    (("--num-classes",), {"type": int, "help": "Classes.  [default: of the images]"}),
    (("--epochs",), {"type": int, "help": "Times that all images are seen."}),
    (("--batch-size",), {"type": int, "help": "Images of a step, of all devices together."}),
    (("--lr",), {"type": float, "help": "Highest learning rate."}),
    (
        ("--warmup-epochs",),
        {"type": float, "help": "In which it rises from 0.  [default: a tenth of --epochs]"},
    ),
    (("--min-lr",), {"type": float, "help": "That of the end.  [default: a hundredth of --lr]"}),
    (("--weight-decay",), {"type": float, "help": "Not of norms and biases."}),
    (("--label-smoothing",), {"type": float, "help": "Share spread over all classes."}),
    (
        ("--drop-path",),
        {"type": float, "help": "Rate of the last block.  [default: the variant's]"},
    ),
    (("--mixup",), {"type": float, "help": "Parameter of its beta distribution; 0 for none."}),
    (
        ("--color-jitter",),
        {"type": float, "help": "Most that brightness, contrast, saturation change by."},
    ),
    (("--flip/--no-flip",), {"help": "Mirror every other image."}),
    (
        ("--crop",),
        {
            "type": click.Choice(["padded", "resized", "none"]),
            "help": "Move by up to an eighth of the side, or cut out and resize a part.  [default: "
            "padded up to 64 pixels, else resized]",
        },
    ),
    (("--crop-scale",), {"type": float, "help": "Smallest share of the area that resized takes."}),
    (
        ("--image-size", "--img-size", "img_size"),
        {"type": ImageSize(), "metavar": "HxW", "help": "Pixels.  [default: the variant's]"},
    ),
    (("--seed",), {"type": int, "help": "Of everything random."}),
    (("--limit",), {"type": int, "help": "Take so many images of each set, evenly spread."}),
    (("--amp",), {"is_flag": True, "help": "Mixed precision, on a GPU."}),
    (("--clip-grad",), {"type": float, "help": "Largest norm of all gradients.  [default: none]"}),
    (("--workers",), {"type": int, "help": "Threads that prepare images."}),
    (("--device",), {"type": DEVICE, "help": "Where to train."}),
    (
        ("--save-every",),
        {"type": int, "help": "Steps between two saves.  [default: at the end of an epoch only]"},
    ),
    (("--visualdl",), {"is_flag": True, "help": "Write logs for VisualDL, too."}),
)


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for every field of `Settings` but the variant."""
    defaults = vars(Settings("", ""))
    for names, how in reversed(_OPTIONS):
        name = names[-1].strip("-").partition("/")[0].replace("-", "_")
        default = None if name == "data" else defaults[name]
        shown = default is not None and not how.get("is_flag")
        command = click.option(*names, default=default, show_default=shown, **how)(command)
    return command


@click.command("train")
@click.argument("variant", required=False)
@settings_options
@click.option("--out", type=OUTPUT, required=True, help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option("--force", is_flag=True, help="Replace the run in --out.")
@click.pass_context
def train(
    ctx: click.Context,
    /,
    variant: str | None,
    out: Path,
    resume: bool,
    force: bool,
    **options: Any,  # those of `Settings`
) -> None:
    """Train or fine-tune VARIANT on labelled images, in Paddle.

    --out gets the weights of the best and of the last epoch, the learning curves, a sheet of
    predictions, and the state from which --resume goes on: to the bit where the run would be.

    \b
    Examples:
      vitconvert train shiftvit_cifar --data cifar10/ --weights shiftvit.pdparams --out run
      vitconvert train --resume --out run
    """
    from ..apps.training import Interrupted
    from ..apps.training import train as run
    from ..running.team import expected_team

    if resume and force:
        raise click.UsageError("--resume goes on with a run, --force replaces it: not both.")
    settings = _settings(ctx, variant, out, resume, options)
    try:
        with _bar() as listener:
            done = run(settings, out, resume=resume, force=force, listener=listener)
    except Interrupted as interruption:
        if expected_team(["paddle"]).leads:
            click.echo(str(interruption), err=True)
        ctx.exit(130)
    if expected_team(["paddle"]).leads:
        _show(done)


def _settings(
    ctx: click.Context, variant: str | None, out: Path, resume: bool, options: dict[str, Any]
) -> Settings:
    """Make the settings of what was given; of a resumed run the rest is as it was."""
    from ..apps.training import stored_settings

    # From another folder the run goes on as well.
    options = {n: str(v.absolute()) if isinstance(v, Path) else v for n, v in options.items()}
    if not resume:
        for name, value in (("argument VARIANT", variant), ("option --data", options["data"])):
            if value is None:
                raise click.UsageError(f"missing {name}; only --resume does without.")
        return Settings(variant=str(variant), **options)
    given = {
        name: value
        for name, value in options.items()
        if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    }
    if variant is not None:
        given["variant"] = variant
    return Settings(**{**vars(stored_settings(out)), **given})


@contextmanager
def _bar() -> Iterator[Listener | None]:
    """Show epoch, loss, rate and the time that the epoch will still take; only on a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    loss = TextColumn("loss {task.fields[loss]:.3f}, {task.fields[rate]:.0f} images/s")
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), loss, TimeLeft()
    with Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    ) as display:
        task = display.add_task("reading images", total=None, loss=0.0, rate=0.0)
        shown = [0]

        def tell(epoch: int, epochs: int, done: int, total: int, loss: float, rate: float) -> None:
            if epoch != shown[0]:
                shown[0] = epoch
                display.reset(task, total=total)
            text = f"epoch {epoch}/{epochs}{', evaluating' if done == total else ''}"
            display.update(task, description=text, completed=done, loss=loss, rate=rate)

        yield tell


def _show(done: Summary) -> None:
    """Say what came out and where it lies."""
    folder, best, last = done.folder, done.best, done.last
    click.echo(f"best: epoch {best['epoch']}, top-1 {best['val_top1']:.2f} %: {folder.best}")
    click.echo(f"last: epoch {last['epoch']}, top-1 {last['val_top1']:.2f} %: {folder.last}")
    click.echo(f"curves: {folder.curves}, {folder.table}; log: {folder.log}")
    click.echo(f"predictions: {folder.sheet}")
