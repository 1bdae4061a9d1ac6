"""Options about the names of tensors: renames, dialects and targets, a head that is dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import click

from .options import Choice, add

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


def _zero(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    return None if value is None else int(value)


NO_HEAD = click.option(
    "--num-classes",
    type=Choice(["0"]),
    callback=_zero,
    help="0 drops the head on purpose: the model then gives features.",
)
