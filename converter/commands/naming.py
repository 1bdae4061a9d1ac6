"""Options about the names of tensors: renames, dialects and targets, a head that is dropped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import click

from .options import ImageSize, add

F = TypeVar("F", bound=Callable[..., Any])


class Renaming(click.ParamType[tuple[str, str]]):
    """Beginnings of names, such as fc=head."""

    name = "OLD=NEW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        if isinstance(value, tuple):
            return value
        old, _, new = str(value).partition("=")
        if not (old.strip(".") and new.strip(".")) or "=" in new:
            self.fail(f"{value!r}: expected OLD=NEW, such as fc=head.", param, ctx)
        return old.strip("."), new.strip(".")


def _as_dict(
    ctx: click.Context, param: click.Parameter, pairs: tuple[tuple[str, str], ...]
) -> dict[str, str] | None:
    """Give renames as Python takes them; None if there are none."""
    if twice := [old for old, count in Counter(old for old, _ in pairs).items() if count > 1]:
        raise click.BadParameter(f"{twice[0]!r} is renamed twice.", ctx, param)
    return dict(pairs) or None


def rename_option(name: str = "rename", what: str = "") -> Callable[[F], F]:
    """Make the option that renames tensors of a file."""
    return click.option(
        f"--{name}",
        type=Renaming(),
        multiple=True,
        callback=_as_dict,
        help=f"Rename tensors{what}: OLD begins their names, as in fc=head. May be repeated.",
    )


naming_options = add(
    click.option(
        "--dialect",
        metavar="NAME",
        help="Whose names the PyTorch checkpoint has: huggingface, official …  [default: found; "
        "written: the table's own]",
    ),
    click.option(
        "--target",
        metavar="NAME",
        help="Whose names the Paddle checkpoint has: paddleclas …  [default: the same]",
    ),
)


class Classes(click.ParamType[int]):
    """A number of classes, or "drop" for a model without a head."""

    name = "N|drop"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        if value == "drop":
            return 0
        if not re.fullmatch(r"[0-9]{1,8}", str(value)):
            self.fail(f"{value!r}: expected a number of classes, or drop.", param, ctx)
        return int(value)


NUM_CLASSES = click.option(
    "--num-classes",
    type=Classes(),
    metavar="N|drop",
    help="Size of the head: another one than the file's is made anew, not trained; drop, or 0, "
    "leaves it out: the model then gives features.",
)
size_options = add(
    click.option(
        "--image-size",
        type=ImageSize(),
        metavar="HxW",
        help="Resize tables of positions for images of this size, once and for all.",
    ),
    click.option(
        "--in-chans",
        type=click.IntRange(1, 1024),
        help="Fit the first convolution to images of so many channels.",
    ),
)
