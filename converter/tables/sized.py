"""Variants at other sizes: "vit_tiny_patch16_224@384x384" is one for images of that size.

A third number is the channels of an image: "vit_tiny_patch16_224@224x224x1". Files made for the
size that was published are resized to it, by [resize] of the table.
"""

import re
from dataclasses import replace

from ..checkpoints import Checkpoint
from ..errors import ModelError
from .resizing import Asked, plan_resizing, variant_at
from .table import Table
from .variant import Variant

MARK = "@"
_SIZE = re.compile(r"([1-9][0-9]{0,4})(?:x([1-9][0-9]{0,4})(?:x([1-9][0-9]{0,3}))?)?")


def at_size(
    variant: Variant, image_size: tuple[int, int] | None = None, in_chans: int | None = None
) -> str:
    """Name a variant at another size; by its own name if nothing is asked."""
    if image_size is None and in_chans is None:
        return variant.name
    numbers = [*(image_size or variant.input_size), *([in_chans] if in_chans else [])]
    return variant.name + MARK + "x".join(map(str, numbers))


def parse_size(name: str) -> tuple[str, Asked | None]:
    """Divide a name into that of the published variant, and the size asked for; None if none is.

    Raises:
        ModelError: What follows the mark is not a size.
    """
    base, mark, size = name.partition(MARK)
    if not mark:
        return name, None
    if (match := _SIZE.fullmatch(size)) is None:
        raise ModelError(
            f"{name!r}: {size!r} is not a size; expected pixels such as 384 or 384x512, or with "
            f"channels 224x224x1."
        )
    height, width, channels = match.groups()
    return base, Asked((int(height), int(width or height)), int(channels) if channels else None)


def sized(table: Table, base: Variant, name: str, asked: Asked) -> tuple[Table, Variant]:
    """Give the table and the variant of a size.

    Raises:
        ConversionError: The table does not say how, or the size cannot be.
    """
    memo = ("sized", name)
    if memo not in table.memo:
        # Models whose tensors do not depend on the size have no img_size: only channels change.
        own = asked.image_size == base.input_size
        size = replace(asked, image_size=None if own else asked.image_size).config
        made = replace(
            variant_at(base, table.resize, asked),
            name=name,
            config={**base.config, **size},
            torch_config={**base.torch_config, **size},
            base=base,
        )
        table.memo[memo] = replace(table, variants={name: made}, whole=table.whole or table), made
    found: tuple[Table, Variant] = table.memo[memo]
    return found


def published(table: Table, variant: Variant) -> Table:
    """Give the table of the variant that another one was made of."""
    assert variant.base is not None
    return replace(table, variants={variant.base.name: variant.base}, whole=table.whole or table)


def resize(checkpoint: Checkpoint, table: Table, variant: Variant) -> Checkpoint:
    """Give the weights of a published variant as those of another size; read when they are used.

    Args:
        checkpoint: PyTorch weights under the table's names, of the published size.
        table: Of the family.
        variant: What they become.

    Raises:
        ConversionError: Something asked is impossible; all problems are listed.
    """
    asked = parse_size(variant.name)[1]
    assert asked is not None
    assert variant.base is not None
    plan = plan_resizing(table.resize, checkpoint.shapes, variant.base, asked)
    told = (f"resized, which cannot be undone: {fact}" for fact in plan.facts())
    return replace(
        checkpoint,
        tensors=plan.apply(checkpoint.tensors),
        sources={k: keys for k, keys in checkpoint.sources.items() if k not in plan.steps},
        altered={**checkpoint.altered, **dict.fromkeys(plan.steps, "resize")},
        selection=replace(checkpoint.selection, resized=variant.name.partition(MARK)[2]),
        remarks=(*checkpoint.remarks, *told),
    )
