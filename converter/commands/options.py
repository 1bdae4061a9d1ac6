"""What several commands share: kinds of parameters, reports, a progress bar."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from ..errors import CheckpointError, ModelError, VitconvertError, nearest
from ..hub import Name, is_name, located, parse
from ..lines import Lines, one_line
from ..running.device import Device
from ..terminal import only_report, say, say_report, shown
from .replacing import check_replaced, write_report

if TYPE_CHECKING:
    from ..parity import Report
    from ..terminal import Progress

_EVERY_LAYER = "vitconvert.every_layer"  # of click's context: whether a report shows all layers
_PATIENCE = 1.0  # seconds before a progress bar appears

F = TypeVar("F", bound=Callable[..., Any])


class Choice(click.Choice[str]):
    """One of some names; the nearest is suggested."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Say what there is."""
        return super().get_invalid_choice_message(value, ctx) + nearest(value, self.choices)


class VariantOf(Choice):
    """A variant of a family, also at another size: vit_tiny_patch16_224@384."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check the name, and that a size follows it if anything does."""
        from ..tables.sized import parse_size

        try:
            base, asked = parse_size(str(value))
        except ModelError as error:
            self.fail(str(error), param, ctx)
        known = super().convert(base, param, ctx)
        return known if asked is None else value


class Existing(click.Path):
    """What is to be read; the nearest name in its folder is suggested if it is not there."""

    def __init__(self, file: bool = True, folder: bool = True) -> None:
        super().__init__(exists=True, file_okay=file, dir_okay=folder, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check that it is there."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            path, there = Path(value), list[str]()
            if path.is_symlink() and not path.exists():
                self.fail(f"{str(path)!r} is a link that leads nowhere.", param, ctx)
            if not path.exists() and path.parent.is_dir():
                # With another ending it is another thing, unless the ending is what is wrong.
                names = [one.name for one in path.parent.iterdir()]
                there = [n for n in names if Path(n).suffix == path.suffix] or names
            self.fail(error.message + nearest(path.name, there), param, ctx)


class Source(Existing):
    """A checkpoint to read: a path, or its name on the hub; `fetched` makes that a path, too."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check that a path is there, and that a name is well-formed."""
        if not isinstance(value, str) or not is_name(value):
            return super().convert(value, param, ctx)
        try:
            return parse(value)
        except CheckpointError as error:
            self.fail(str(error), param, ctx)


def fetched(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command have files for the names of the hub that it was given."""

    @wraps(command)
    def with_files(*args: Any, **given: Any) -> None:
        files = {k: located(v) if isinstance(v, Name) else v for k, v in given.items()}
        command(*args, **files)

    return with_files


SOURCE_FILE, SOURCE = Source(folder=False), Source()
FILE, FOLDER, FILE_OR_FOLDER = Existing(folder=False), Existing(file=False), Existing()
OUTPUT = click.Path(path_type=Path)
PYTHON = "Interpreter that has {}; its packages and its version of Python are used."
CLASSES = (
    "Names of the model's classes: a text, one to a line, or a training's run.json.  [default: "
    "the run.json beside the weights, if there is one]"
)
DEVICE = Choice(get_args(Device))


def known_variant(_ctx: click.Context, _param: click.Parameter, name: str) -> str:
    """Refuse a variant that no table has, as wrong usage."""
    from ..tables.reading import find_variant

    try:
        find_variant(name)
    except ModelError as error:
        raise click.BadParameter(str(error)) from error
    return name


class Size(click.ParamType[int]):
    """A number of bytes, such as 2GB or 500MiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        from ..checkpoints.target import parse_size

        try:
            return parse_size(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class ImageSize(click.ParamType[tuple[int, int]]):
    """Height and width in pixels, such as 224x224, or 224 for both."""

    name = "image size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        match = re.fullmatch(r"([1-9][0-9]{0,4})(?:x([1-9][0-9]{0,4}))?", str(value))
        if match is None:
            self.fail(
                f"{value!r} is not a size; expected pixels such as 224x224, or 224.", param, ctx
            )
        return int(match[1]), int(match[2] or match[1])


class Batches(click.ParamType[tuple[int, ...]]):
    """One or several batch sizes, such as 2, or 1,8."""

    name = "N[,N]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read them."""
        if not re.fullmatch(r"[1-9][0-9]{0,4}(?:,[1-9][0-9]{0,4})*", str(value)):
            self.fail(f"{value!r}: expected numbers of images, such as 2, or 1,8.", param, ctx)
        sizes = tuple(map(int, str(value).split(",")))
        if len(set(sizes)) < len(sizes):
            self.fail(f"{value!r} has a size twice.", param, ctx)
        return sizes


def add(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Add options to a command, in this order."""

    def added(command: F) -> F:
        return reduce(lambda made, option: option(made), reversed(options), command)

    return added


# How a report can be written: option -> what it is, and a word that every one of them holds.
_REPORTS = {
    "report": ("the parity report as JSON", '"proved"'),
    "html": ("it as a page for a browser", 'content="vitconvert'),
    "markdown": ("it as a Markdown table; - prints it", "\n- made with vitconvert"),
}


def report_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that write a parity report; they reach the command as `reports`."""

    @wraps(command)
    def with_reports(**given: Any) -> None:
        reports = {name: given.pop(name) for name in _REPORTS}
        click.get_current_context().meta[_EVERY_LAYER] = given.pop("every_layer")
        command(reports=reports, **given)

    click.option("--all", "every_layer", is_flag=True, help="Show every layer, not ten.")(
        with_reports
    )
    for name, (what, _mark) in reversed(_REPORTS.items()):
        click.option(f"--{name}", type=OUTPUT, callback=aside, help=f"Write {what}.")(with_reports)
    return with_reports


def aside(_ctx: click.Context, _param: click.Parameter, path: Path | None) -> Path | None:
    """Keep stdout for a report that is printed there."""
    if str(path) == "-":
        only_report()
    return path


INPUT_SIZE = click.option(
    "--input-size",
    type=ImageSize(),
    metavar="HxW",
    help="Pixels of noise or an image.  [default: the model's own]",
)
running_options = add(
    click.option("--device", type=DEVICE, default="auto", show_default=True, help="Where to run."),
    click.option("--tf32", is_flag=True, help="Let a GPU compute float32 in TF32."),
    click.option(
        "--input",
        metavar="FILE",
        help="An image, preprocessed as the model's own were, or an .npy of floats [B, 3, H, W].  "
        "[default: seeded noise]",
    ),
    click.option(
        "--batch",
        "batch_size",
        type=Batches(),
        help="Images of noise; several, such as 1,8, one run each.  [default: 2]",
    ),
    click.option(
        "--seeds",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Kinds of noise for every batch size.",
    ),
    INPUT_SIZE,
    click.option(
        "--backward",
        is_flag=True,
        help="Include the gradients of every parameter and of the input.",
    ),
)


python_options = add(
    click.option("--torch-python", metavar="PATH", help=PYTHON.format("PyTorch")),
    click.option("--paddle-python", metavar="PATH", help=PYTHON.format("Paddle")),
)
model_options = add(  # for models of the user's own
    click.option(
        "--torch-model",
        metavar="PKG.MOD:FUNC",
        help="Function that builds a PyTorch model of your own; in this folder, or installed.",
    ),
    click.option("--paddle-model", metavar="PKG.MOD:FUNC", help="The same for a Paddle model."),
)


def check_reports(reports: dict[str, Path | None], **files: Path | None) -> None:
    """Refuse reports that cannot be written, before any work is done.

    Args:
        reports: Those of `report_options`.
        files: Others that are read or written; no two may be the same.

    Raises:
        CheckpointError: One cannot be written, or would replace something else.
    """
    from ..files import check_distinct

    asked = {name: path for name, path in reports.items() if path}
    if any(str(path) == "-" and name != "markdown" for name, path in asked.items()):
        raise click.UsageError("- prints a report, which works with --markdown only.")
    written = {name: path for name, path in asked.items() if str(path) != "-"}
    if written:
        check_distinct(**files, **written)
    for name, path in written.items():
        check_replaced(path, _REPORTS[name][1], "a parity report")


def finish(
    report: Report,
    reports: dict[str, Path | None],
    converted: Path | None = None,
    limit: float | None = None,
) -> None:
    """Show a parity report, write it where asked for, and exit with its verdict.

    Args:
        report: What was found.
        reports: Those of `report_options`.
        converted: File that was written, too.
        limit: Of the float32 difference in the Markdown table, if it is not the usual one.
    """
    from ..parity import LIMIT, Report, html, markdown, show

    makers: dict[str, Callable[[Report], str]] = {
        "report": Report.to_json,
        "html": html,
        "markdown": lambda one: markdown(one, limit or LIMIT, this_command()),
    }
    show(report, click.get_current_context().meta.get(_EVERY_LAYER, False))
    if converted is not None:
        say(f"{converted} holds the converted weights.")
    errors = list[VitconvertError]()
    for name, path in reports.items():
        if path is None:
            continue
        text = makers[name](report)
        if str(path) == "-":
            say_report(text)
            continue
        try:
            say(write_report(path, text.encode(), "the report"))
        except VitconvertError as error:  # the others are written all the same
            errors.append(error)
    if errors:
        told = [part for error in errors for part in (Lines("\n"), error)]
        raise CheckpointError(*told[1:])
    if not report.proved:
        sys.exit(1)


def this_command() -> str:
    """Spell the command that is running, to be pasted into a shell."""
    from ..markdown import command_line

    return command_line(click.get_current_context().find_root().obj)


@contextmanager
def progress_bar(wanted: bool = True) -> Iterator[Progress | None]:
    """Show a progress bar on the terminal once work takes a second; none elsewhere."""
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_dumb_terminal:  # it cannot take back what it shows
        yield None
        return
    display = progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,  # `say` writes above the bar
    )
    task = display.add_task("starting", total=None)
    timer = threading.Timer(_PATIENCE, display.start)
    timer.daemon = True
    timer.start()

    def advance(text: str, done: int, total: int) -> None:
        if done < display.tasks[0].completed:  # the next part of the work has a time of its own
            display.reset(task)
        display.update(task, description=one_line(text), completed=done, total=total)

    try:
        with shown(display):
            yield advance
    finally:
        timer.cancel()
        timer.join()
        display.stop()
