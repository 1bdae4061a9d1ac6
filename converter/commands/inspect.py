"""The commands that show what a checkpoint holds, and which models there are."""

from itertools import islice
from pathlib import Path

import click

from ..errors import nearest
from ..lines import Lines, joined
from ..markdown import quoted
from ..sides import NAMES
from ..tables.reading import families, load_table, variants
from ..tables.table import Table
from ..tables.variant import PREPROCESSING, Variant
from ..terminal import print_table, say
from .naming import rename_option
from .options import SOURCE, fetched

# Of the header of a .safetensors, which may hold anything.
_MOST_TEXTS = 20
_LONGEST_TEXT = 200
# At most 80 columns wide, but for the name of the file.
_OWN_MODEL = """
For a model of your own, vitconvert proposes a table, proves it, and converts by
it; both functions build a model and take no arguments:
  vitconvert table --torch-model PKG.MOD:FUNC --paddle-model PKG.MOD:FUNC \\
      --out my.toml
  vitconvert convert --table my.toml --src {src} \\
      --dst my{end} \\
      --torch-model PKG.MOD:FUNC --paddle-model PKG.MOD:FUNC
docs/parity.md, "Your own pair of models", describes both."""


@click.command()
@click.argument("file", type=SOURCE)
@click.option("--weights", metavar="PREFIX", help="Which of several weights to show.")
@rename_option()
@fetched
def inspect(file: Path, weights: str | None, rename: dict[str, str] | None) -> None:
    """Show what a checkpoint holds, and which variant it looks like.

    \b
    Examples:
      vitconvert inspect shunt_s.pth
      vitconvert inspect dino.pth --weights teacher.backbone
    """
    from ..tables.choosing import look
    from ..tables.heads import missing_head
    from ..tables.identify import identify, show_head

    checkpoint, several, close = look(file, weights, rename)
    size = sum(path.stat().st_size for path in checkpoint.files)
    files = f" in {len(checkpoint.files)} files" if len(checkpoint.files) > 1 else ""
    say(f"{checkpoint.path}: {checkpoint.format}, {size:,} bytes{files}")
    texts = islice(checkpoint.metadata.items(), _MOST_TEXTS)
    for line in (*checkpoint.notes(), *(f"{key}: {text[:_LONGEST_TEXT]}" for key, text in texts)):
        say(f"  {line}")
    tensors = checkpoint.tensors
    rows = ((name, str(list(one.shape)), one.dtype) for name, one in tensors.items())
    print_table(rows, "tensor", "shape", "dtype")
    say(f"{len(tensors)} tensors, {checkpoint.nbytes:,} bytes")
    # Without linear layers both frameworks' tensors look alike; then the kind of file decides.
    own = checkpoint.side or "torch"
    found = identify(checkpoint.shapes)
    if checkpoint.selection.spelling:  # these are not the names that a table's variants have
        found = []
    sure = {match.variant.name for match, side in found if side == own}
    looks = [
        f"{match.variant.name} (family {match.variant.family}, {show_head(match.num_classes)}, "
        f"{NAMES[side]} names)"
        for match, side in found
        if side == own or match.variant.name not in sure
    ]
    looks += [
        f"{_with_twins(one.fit.variant)} (family {one.fit.variant.family}, "
        f"{show_head(one.fit.num_classes)}, names of {one.names.name})"
        for one in several
        if one.names is not None and one.selection == checkpoint.selection
    ]
    unknown = (
        f"no variant, but close to {close.fit.variant.name}" if close else "no variant known here"
    )
    say(f"looks like: {' or '.join(looks) or unknown}")
    for match, side in [*found, *([(close.fit, close.side)] if close else [])][:1]:
        if told := missing_head(checkpoint, load_table(match.variant.family), match, side):
            say(joined(["note: ", told], ""))
    if len(several) > 1:
        say("Several of its weights look like a variant:")
        for one in several:
            path = quoted(one.selection.path)
            way = f"--weights {path}" if one.selection.path else "without --weights"
            say(f"  {way}    {one.spell()}")
    if close:
        command = f"vitconvert {close.fit.variant.family} --src {quoted(str(file))}"
        say(f"What does not fit: {command} --dst my.pdparams --dry-run")
    if not (looks or close):
        end = ".pth" if own == "paddle" else ".pdparams"
        say(Lines(_OWN_MODEL.format(src=quoted(str(file)), end=end)), whole=True)


def _with_twins(variant: Variant) -> str:
    """Name a variant, and those with the same names and shapes."""
    from ..tables.identify import twins

    return " or ".join([variant.name, *twins(variant, load_table(variant.family))])


@click.command()
@click.argument("family", required=False)
def models(family: str | None) -> None:
    """List the models that can be converted: of all families, or of FAMILY.

    With the top-1 of each released checkpoint, in percent on ImageNet, and how images were
    brought to the input size: by that filter, a crop from the center with this share of the
    shorter side, or the whole image squashed. Of timm's models, that is of the usual checkpoint.

    \b
    Examples:
      vitconvert models
      vitconvert models swin
    """
    known = families()
    if family is not None and family not in known:
        raise click.BadParameter(
            f"{family!r} is not a family.{nearest(family, known)} There are: {', '.join(known)}.",
            param_hint="FAMILY",
        )
    variants()  # refuses a name that two families have
    for name in known if family is None else [family]:
        table = load_table(name)
        count = "1 variant" if len(table.variants) == 1 else f"{len(table.variants)} variants"
        say(f"{name}: {table.title}, {count}")
        print_table(
            (_row(table, variant) for variant in table.variants.values()),
            "variant",
            "input",
            "parameters",
            "top-1",
            "evaluated with",
            right=("parameters", "top-1"),
        )


def _row(table: Table, variant: Variant) -> tuple[str, ...]:
    """Describe a variant."""
    height, width = variant.input_size
    millions = table.parameters(variant) / 1e6
    figures = [one for one in variant.published if "top1" in one]
    shown = figures or variant.published[:1]
    how = dict.fromkeys(
        f"{one['interpolation']}, {one['crop_mode']} {one['crop_pct']}"
        for one in ({**PREPROCESSING, **own} for own in shown)
    )
    top1 = ", ".join(str(one["top1"]) for one in figures)
    size = f"{height}x{width}"
    return variant.name, size, f"{millions:.1f} M", top1 or "-", ", ".join(how) or "-"
