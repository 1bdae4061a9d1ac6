"""The command line: parse, call, print."""

from __future__ import annotations

import errno
import logging
import os
import sys
import warnings
from importlib import import_module
from typing import Any

import click

from .commands.advice import advice
from .errors import VitconvertError, nearest
from .lines import Lines, joined, one_line
from .start import begin, running, was_interrupted
from .tables.reading import families, titles
from .terminal import fitted, say
from .version import __version__

# Name of a command -> where it is defined, and what the list of commands says about it: `--help`
# imports none of them.
_COMMANDS = {
    "compare": ("parity.compare", "Compare two traces; needs neither framework."),
    "convert": ("convert.convert_by_table", "Convert a checkpoint of your own model, by a table."),
    "dump": ("parity.dump", "Run one model and write a trace of every layer."),
    "eval": ("eval.evaluate", "Measure accuracy on labelled images, with both frameworks."),
    "explain": ("explain.explain", "Show which parts of an image a model's answer depends on."),
    "export": ("export.export", "Export a Paddle model for paddle.inference, and check it."),
    "inspect": (
        "inspect.inspect",
        "Show what a checkpoint holds and which variant it looks like.",
    ),
    "models": ("inspect.models", "List the models that can be converted."),
    "parity": ("parity.parity", "Compare a PyTorch and a Paddle checkpoint, layer by layer."),
    "shapes": ("shapes.shapes", "Write shapes/<family>.toml beside each table."),
    "table": ("propose.table", "Propose a table for two models of your own, and prove it."),
    "train": ("train.train", "Train or fine-tune a variant on labelled images, in Paddle."),
}
_ERROR = "Error: "  # click's own, before a message


class Commands(click.Group):
    """The fixed commands, and one for every family with a table; each is imported when it runs."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Name the commands, families first."""
        return [*families(), *_COMMANDS]

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """Find a command; the command of a family is built on demand."""
        found: click.Command | None = None
        if name in _COMMANDS:
            module, attribute = _COMMANDS[name][0].split(".")
            found = getattr(import_module(f".commands.{module}", __package__), attribute)
        elif name in families():
            from .commands.convert import family_command

            found = family_command(name)
        return found

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        rows = [(n, f"Convert a {title} checkpoint and prove it.") for n, title in titles().items()]
        rows += [(name, text) for name, (_home, text) in _COMMANDS.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of a command line; of an unknown one say which is nearest."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(f"No such command {name!r}.{nearest(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the command line for reports, which show the command that made them."""
        ctx.obj = list(args)
        return super().parse_args(ctx, args)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Turn the errors of this package into one message and exit status 1, help's, too."""
        try:
            return super().main(*args, **extra)
        except VitconvertError as error:
            say(Lines(f"Error: {error.lines}"), err=True)
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        """Turn errors of the system into one message and exit status 1."""
        try:
            running(True)
            return super().invoke(ctx)
        except VitconvertError as error:
            name = ctx.invoked_subcommand or ""
            if error.asks and (command := self.get_command(ctx, name)):
                error.args = (joined([error.lines, *advice(error, command)], "\n"),)
            raise
        except click.ClickException as error:
            vars(error)["message"] = one_line(error.message)  # names of files are in it
            lines = fitted(f"{_ERROR}{error.format_message()}".split("\n"), sys.stderr)
            text = "\n".join(lines).removeprefix(_ERROR)
            vars(error)["format_message"] = lambda: text
            raise
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader closed the pipe: click handles it
                raise
            say(f"Error: {error}.", err=True)
            ctx.exit(1)
        except (KeyboardInterrupt, Exception) as error:
            if isinstance(error, click.exceptions.Exit) or not (
                isinstance(error, KeyboardInterrupt) or was_interrupted()
            ):
                raise
            running(False)
            say("Interrupted.", err=True)
            ctx.exit(130)
        finally:
            running(False)


@click.group(
    cls=Commands,
    epilog="Exit status: 0 done and proved, 1 not proved or refused, 2 wrong usage, 130 "
    "interrupted.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, package_name="vitconvert")
def cli() -> None:
    """Convert PyTorch weights of vision transformers to PaddlePaddle, with proof.

    The command of a model family converts a checkpoint and then runs both models, layer by layer:

    \b
      vitconvert shunted --src shunt_s.pth --dst shunt_s.pdparams
    """
    # Hide what Paddle prints about itself on import and export: it does not concern the user.
    warnings.filterwarnings("ignore", "No ccache found")
    os.environ.setdefault("GLOG_minloglevel", "2")
    logger = logging.getLogger("vitconvert")
    logger.setLevel(logging.INFO)
    logger.handlers = [_Echo()]
    logger.propagate = False


class _Echo(logging.Handler):
    """Prints the library's log messages."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        whole = isinstance(record.msg, Lines) and not record.args
        text = record.msg if whole else record.getMessage()
        say(text, err=record.levelno >= logging.WARNING)


def main() -> None:
    """Run the command line; a termination signal cleans up as Ctrl-C does."""
    begin()
    cli(prog_name="vitconvert")
