"""What several commands share: kinds of parameters, reports, a progress bar."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from ..errors import nearest
from ..running.device import Device
from ..terminal import console

if TYPE_CHECKING:
    from ..parity import Report
    from ..terminal import Progress

F = TypeVar("F", bound=Callable[..., Any])


class Choice(click.Choice[str]):
    """One of some names; the nearest is suggested."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Say what there is."""
        return super().get_invalid_choice_message(value, ctx) + nearest(value, self.choices)


class File(click.Path):
    """A file to read; the nearest name in its folder is suggested if it is not there."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check that it is there."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            path, there = Path(value), list[str]()
            if not path.exists() and path.parent.is_dir():
                there = [one.name for one in path.parent.iterdir()]
            told = error.message + nearest(path.name, there)
            raise click.BadParameter(told, ctx, param) from None


FILE = File()
OUTPUT = click.Path(path_type=Path)
CLASSES = "Names of the classes: a text, one to a line, or a training's run.json."
DEVICE = click.Choice(get_args(Device))


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
            self.fail(f"{value!r} is no size; expected pixels such as 224x224, or 224.", param, ctx)
        return int(match[1]), int(match[2] or match[1])


# How a report can be written: option -> what it is, and a word that every one of them holds.
_REPORTS = {
    "report": ("the parity report as JSON", '"proved"'),
    "html": ("it as a page for a browser", 'content="vitconvert'),
    "markdown": ("it as a Markdown table; - prints it", "made with vitconvert"),
}


def report_options(command: F) -> F:
    """Add the options that write a parity report."""
    for name, (what, _mark) in reversed(_REPORTS.items()):
        command = click.option(f"--{name}", type=OUTPUT, help=f"Write {what}.")(command)
    return command


def running_options(command: F) -> F:
    """Add the options that say how models are run."""
    for option in reversed(
        (
            click.option(
                "--device", type=DEVICE, default="auto", show_default=True, help="Where to run."
            ),
            click.option("--tf32", is_flag=True, help="Let a GPU compute float32 in TF32."),
            click.option(
                "--input",
                metavar="FILE",
                help="An image, preprocessed as the model's own were, or an .npy of floats "
                "[B, 3, H, W].  [default: seeded noise]",
            ),
            click.option(
                "--batch",
                "batch_size",
                type=click.IntRange(1),
                help="Images of noise.  [default: 2]",
            ),
            click.option(
                "--input-size",
                type=ImageSize(),
                metavar="HxW",
                help="Pixels of noise or an image.  [default: the model's own]",
            ),
            click.option(
                "--backward",
                is_flag=True,
                help="Compare the gradients of every parameter and of the input, too.",
            ),
        )
    ):
        command = option(command)
    return command


def check_reports(reports: dict[str, Path | None], **files: Path | None) -> None:
    """Refuse reports that cannot be written, before any work is done.

    Args:
        reports: Of `report_options`.
        files: Others that are read or written; no two may be the same.
    """
    from ..files import check_distinct, check_report

    wanted = {name: path for name, path in reports.items() if path and str(path) != "-"}
    if wanted:
        check_distinct(**files, **wanted)
    for name, path in wanted.items():
        check_report(path, _REPORTS[name][1])
    if any(
        path is not None and str(path) == "-" and n != "markdown" for n, path in reports.items()
    ):
        raise click.UsageError("only --markdown can be printed: - is no name of a file.")


def finish(report: Report, reports: dict[str, Path | None], converted: Path | None = None) -> None:
    """Show a parity report, write it where asked for, and exit with its verdict."""
    from ..parity import Report, markdown, show, write_text

    def html(report: Report) -> str:
        from ..parity import html

        return html(report)

    makers = {"report": Report.to_json, "html": html, "markdown": markdown}
    show(report, console())
    if converted is not None:
        click.echo(f"{converted} holds the converted weights.")
    for name, path in reports.items():
        if path is None:
            continue
        text = makers[name](report)
        if str(path) == "-":
            click.echo("\n" + text)
        else:
            write_text(path, text)
            click.echo(f"{path} holds the report.")
    if not report.proved:
        sys.exit(1)


@contextmanager
def progress_bar(wanted: bool = True) -> Iterator[Progress | None]:
    """Show a progress bar on the terminal once work takes a second; none elsewhere."""
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    from .bar import bar

    with bar() as advance:
        yield advance


FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
PYTHON = "Interpreter that has {}; its packages and its version of Python are used."
