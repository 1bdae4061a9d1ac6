"""The command that trains a variant in Paddle."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ..apps.training import Option, Settings, flag, options
from .options import FILE, OUTPUT, ImageSize

if TYPE_CHECKING:
    from ..apps.training import Listener, Summary

_DATA = click.Path(exists=True, path_type=Path)

# Types of fields whose annotation does not tell.
_TYPES = {"data": _DATA, "val_data": _DATA, "weights": FILE, "img_size": ImageSize()}


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for every field of `Settings` but the variant."""
    defaults = vars(Settings("", ""))
    for name, (hint, option) in reversed(options().items()):
        if name != "variant":
            default = None if name == "data" else defaults[name]
            command = _option(name, hint, option, default)(command)
    return command


def _option(name: str, hint: Any, option: Option, default: Any) -> Callable[..., Any]:
    """Make the option of a field, with its type, default and help."""
    text = f"{option.help}  [default: {option.unset}]" if option.unset else option.help
    shown = default is not None and default is not False
    names, how = [flag(name)], {"default": default, "help": text, "show_default": shown}
    if name == "img_size":
        names += ["--img-size", name]
        how["metavar"] = "HxW"
    if hint is bool:
        names = [f"{flag(name)}/--no-{name}"] if default else names
        return click.option(*names, is_flag=True, **how)
    known = [part for part in get_args(hint) if part is not type(None)] or [hint]
    choices = get_args(known[0]) or known  # of `Literal[...]`, or of that or None
    values = click.Choice(choices) if isinstance(choices[0], str) else known[0]
    return click.option(*names, type=_TYPES.get(name, values), **how)


@click.command("train")
@click.argument("variant", required=False)
@settings_options
@click.option("--out", type=OUTPUT, required=True, help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Resume the run in --out.")
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

    The folder --out gets the weights of the best and the last epoch, the learning curves, a sheet
    of predictions, and the state that --resume continues from. A resumed run ends with the same
    weights as one that was never interrupted.

    \b
    Examples:
      vitconvert train shiftvit_cifar --data cifar10/ --out run \\
                       --weights shiftvit.pdparams
      vitconvert train --resume --out run
    """
    from ..apps.training import Interrupted
    from ..apps.training import train as run
    from ..running.team import expected_team

    if resume and force:
        raise click.UsageError(
            "--resume continues a run and --force replaces it: give only one of them."
        )
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
    """Make the settings; options that are left out keep the values of a resumed run."""
    from ..apps.training import stored_settings

    # Absolute, so that the run can be resumed from another folder.
    options = {n: str(v.absolute()) if isinstance(v, Path) else v for n, v in options.items()}
    if not resume:
        for name, value in (("argument VARIANT", variant), ("option --data", options["data"])):
            if value is None:
                raise click.UsageError(f"missing {name}; it can be left out with --resume only.")
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
    """Show epoch, loss, rate and the rest of the epoch's time; only on a terminal."""
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
    """Print the best and the last top-1, and where the files are."""
    folder, best, last = done.folder, done.best, done.last
    click.echo(f"best: epoch {best['epoch']}, top-1 {best['val_top1']:.2f} %: {folder.best}")
    click.echo(f"last: epoch {last['epoch']}, top-1 {last['val_top1']:.2f} %: {folder.last}")
    click.echo(f"curves: {folder.curves}, {folder.table}; log: {folder.log}")
    click.echo(f"predictions: {folder.sheet}")
