"""The command that writes a model in Paddle's inference form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import some
from ..terminal import say
from .options import CLASSES, FILE, OUTPUT, SOURCE_FILE, ImageSize, fetched, known_variant


class _Size(ImageSize):
    """An image size, or the word free."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        return "free" if value == "free" else super().convert(value, param, ctx)


@click.command()
@click.argument("variant", callback=known_variant)
@click.option("--weights", required=True, type=SOURCE_FILE, help="Paddle checkpoint.")
@click.option("--out", required=True, type=OUTPUT, help="Folder to write.")
@click.option(
    "--num-classes",
    type=click.IntRange(0),
    help="Refuse weights with another number of classes.  [default: accept any number]",
)
@click.option(
    "--image-size",
    type=_Size(),
    metavar="HxW|free",
    help="Image size in pixels, or free for any size, if the model allows it.  [default: that of "
    "the variant]",
)
@click.option("--classes", type=FILE, help=CLASSES)
@click.option("--force", is_flag=True, help="Replace an existing export.")
@fetched
def export(variant: str, weights: Path, out: Path, classes: Path | None, **how: Any) -> None:
    """Export a Paddle model in inference form, for paddle.inference, and check it.

    The folder --out holds the program, its parameters and vitconvert.json. The program takes
    batches of any size. vitconvert runs it and compares it with the original model; the folder
    appears only if they differ by no more than rounding.

    \b
    Examples:
      vitconvert export shunted_s --weights shunt_s.pdparams --out shunt_s
      vitconvert export shunted_s --weights D --out DIR --image-size 256x192
      vitconvert export shiftvit_cifar --weights D --out DIR --image-size free
      vitconvert export shunted_s --weights D --out DIR --classes names.txt
    """
    from ..apps.deploy import export as write
    from ..images import read_classes

    names = () if classes is None else read_classes(classes)
    done = write(variant, weights, out, classes=names, **how)
    facts, check = done.facts, done.check
    size = facts.image_size
    pixels = f"{size[0]}x{size[1]} pixels" if size else "any size from 32x32 pixels on"
    output = f"{facts.num_classes} classes" if facts.num_classes else "features, no head"
    output += f" ({some(facts.classes, 3)})" if facts.classes else ""
    say(f"{out} holds {variant}: images of {pixels}, any batch size, {output}.")
    say(
        f"Compared with the original model in float32: largest difference "
        f"{check.max_abs_diff:.1e}, {check.relative_diff:.1e} of the largest logit."
    )
    say(
        f"Error from float64, of the largest logit: {check.error:.1e} as exported, "
        f"{check.eager_error:.1e} as the original model."
    )
