"""What to do where a message asks for options that the command calls otherwise, or lacks."""

from collections.abc import Iterator

import click

from ..errors import VitconvertError


def advice(error: VitconvertError, command: click.Command) -> Iterator[str]:
    """Say what takes the place of the options that an error asks for, if this command has others.

    Args:
        error: Whose message names them as the commands that convert do.
        command: That failed.
    """
    known = {name for param in command.params for name in param.opts}
    if "--rename" in known:
        if error.side == "paddle" and "--paddle-rename" in known:
            yield "For the Paddle file, the options are --paddle-weights and --paddle-rename."
    elif error.asks == ("--weights",) and error.side != "paddle" and "--torch-key" in known:
        yield "In this command, --torch-key chooses the weights of the PyTorch file."
    else:
        them = ("option", "it") if len(error.asks) == 1 else ("options", "them")
        back = ", and the new file back" if error.side == "paddle" else ""
        yield (
            f"`vitconvert {command.name}` has no such {them[0]}: convert the file with {them[1]}"
            f"{back}, by the command of its family, and take the result."
        )
