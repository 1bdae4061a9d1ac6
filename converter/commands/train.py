"""The command that trains a variant in Paddle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from ..apps.training import Option, Settings, flag, options
from ..terminal import say
from .options import (
    FILE_OR_FOLDER,
    OUTPUT,
    SOURCE_FILE,
    Choice,
    ImageSize,
    add,
    fetched,
    progress_bar,
)

# Types of fields whose annotation says too little.
_TYPES = {
    "data": FILE_OR_FOLDER,
    "val_data": FILE_OR_FOLDER,
    "weights": SOURCE_FILE,
    "img_size": ImageSize(),
}
_DEFAULTS = Settings("", "")


def _option(name: str, hint: Any, option: Option) -> Any:
    """Make the option of a field of `Settings`, with its type, default and help."""
    default: Any = None if name == "data" else getattr(_DEFAULTS, name)
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
    values = Choice(choices) if isinstance(choices[0], str) else known[0]
    return click.option(*names, type=_TYPES.get(name, values), **how)


@click.command("train")
@click.argument("variant", required=False)
@add(*(_option(name, *facts) for name, facts in options().items() if name != "variant"))
@click.option("--out", type=OUTPUT, required=True, help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Resume the run in --out.")
@click.option("--force", is_flag=True, help="Replace the run in --out.")
@click.pass_context
@fetched
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
    leads = expected_team(["paddle"]).leads
    try:
        with progress_bar(leads) as advance:

            def show(epoch: int, of: int, step: int, steps: int, loss: float, rate: float) -> None:
                at = "evaluating" if step == steps else f"step {step}/{steps}"
                if advance is not None:
                    text = f"epoch {epoch}/{of}, {at}: loss {loss:.3f}, {rate:.0f} images/s"
                    advance(text, step, steps)

            done = run(settings, out, resume=resume, force=force, listener=show)
    except Interrupted as interruption:
        if leads:
            say(str(interruption), err=True)
        ctx.exit(130)
    if leads:
        folder = done.folder
        for name, row, file in (("best", done.best, folder.best), ("last", done.last, folder.last)):
            say(f"{name}: epoch {row['epoch']}, top-1 {row['val_top1']:.2f}%: {file}")
        drawn = f"{folder.curves}, " if folder.curves.exists() else ""
        say(f"curves: {drawn}{folder.table}; log: {folder.log}")
        say(f"predictions: {folder.sheet}")


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
