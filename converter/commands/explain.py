"""The command that shows where a model looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..terminal import say
from .options import (
    CLASSES,
    DEVICE,
    FILE,
    OUTPUT,
    SOURCE_FILE,
    Choice,
    fetched,
    known_variant,
    progress_bar,
)

_MAPS = (".npy", ".json")


@click.command()
@click.argument("variant", callback=known_variant)
@click.option("--weights", required=True, type=SOURCE_FILE, help="Checkpoint of the model.")
@click.option(
    "--image",
    "images",
    required=True,
    multiple=True,
    type=FILE,
    help="Image to explain; can be given several times.",
)
@click.option(
    "--class",
    "target",
    metavar="N|NAME",
    help="Class to explain.  [default: the predicted one of each image]",
)
@click.option("--classes", type=FILE, help=CLASSES)
@click.option("--out", required=True, type=OUTPUT, help="Image to write, a .png file.")
@click.option(
    "--map", "maps", type=OUTPUT, help="Write the maps as numbers, too: an .npy or .json file."
)
@click.option(
    "--framework",
    type=Choice(["paddle", "torch"]),
    help="Framework to run.  [default: that of the weights]",
)
@click.option(
    "--method",
    type=Choice(["occlusion", "lime"]),
    default="occlusion",
    show_default=True,
    help="Slide a grey window, or hide random sets of segments (needs the package lime).",
)
@click.option(
    "--measure",
    type=Choice(["probability", "log-odds"]),
    default="probability",
    show_default=True,
    help="What the map shows; log-odds still change where the probability is close to 0 or 1.",
)
@click.option(
    "--window",
    type=click.IntRange(1),
    help="Side of the window in pixels.  [default: a fifth of the image]",
)
@click.option(
    "--stride",
    type=click.IntRange(1),
    help="Pixels from one position to the next.  [default: a quarter of the window]",
)
@click.option("--samples", type=click.IntRange(10), help="Samples of LIME.  [default: 1000]")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Seed of LIME.  [default: 0]")
@click.option(
    "--batch",
    "batch_size",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="Images per batch.",
)
@click.option("--exif", is_flag=True, help="Turn images as their EXIF orientation says.")
@click.option("--device", type=DEVICE, default="auto", show_default=True, help="Where to run.")
@click.option("--force", is_flag=True, help="Replace existing files.")
@fetched
def explain(
    variant: str,
    weights: Path,
    images: tuple[Path, ...],
    classes: Path | None,
    out: Path,
    maps: Path | None,
    force: bool,
    **options: Any,
) -> None:
    """Show where a model looks: which parts of an image its answer depends on.

    vitconvert slides a grey window over the part of the image that the model sees. The map is
    orange where hiding lowers the probability of the class, and blue where hiding raises it. No
    gradients are used. Images are preprocessed as in evaluation.

    \b
    Examples:
      vitconvert explain shunted_s --weights S.pdparams --image dog.jpg \\
                         --out dog.png
      vitconvert explain shunted_s --weights S.pdparams --image dog.jpg \\
                         --classes names.txt --class beagle --out beagle.png
    """
    from ..apps.explanation import Options, write_explained
    from ..apps.explanation import explain as explain_images
    from ..files import check_distinct, check_target
    from ..images import read_classes

    how = Options(**_meant({name: options.pop(name) for name in vars(Options())}))
    if out.suffix.lower() != ".png":
        raise click.BadParameter(f"{out} is not a .png file.", param_hint="--out")
    if maps is not None and maps.suffix not in _MAPS:
        raise click.BadParameter(f"{maps} is not a {' or '.join(_MAPS)} file.", param_hint="--map")
    for image in images:
        check_distinct(image=image, out=out, map=maps, weights=weights, classes=classes)
    for path in (out, maps):
        if path is not None:
            check_target(path, force)
    names = () if classes is None else read_classes(classes)
    with progress_bar() as progress:
        found = explain_images(
            variant, weights, images, classes=names, options=how, progress=progress, **options
        )
    write_explained(found, out, maps, force)
    for one in found.explanations:
        say(_line(found, one))
    say(f"{out} holds {len(images)} explanation{'s' * (len(images) > 1)}: {found.method}.")
    if maps is not None:
        say(f"{maps} holds the maps.")


def _meant(given: dict[str, Any]) -> dict[str, Any]:
    """Leave out options that were not given; refuse those of the other method."""
    of = {"occlusion": ("window", "stride"), "lime": ("samples", "seed")}
    given = {name: value for name, value in given.items() if value is not None}
    for method, names in of.items():
        if method != given["method"] and (wrong := [n for n in names if n in given]):
            raise click.UsageError(f"--{wrong[0]} works with --method {method} only.")
    return given


def _line(found: Any, one: Any) -> str:
    """Summarise the explanation of one image in a line."""
    from ..apps.explanation import MEASURES, flat_text

    name, share = found.class_name(one.target), one.probabilities[one.target]
    best = int(one.probabilities.argmax())
    text = f"{one.name}: {name}, probability {share:.3f}"
    if best != one.target:
        text += f" (predicted: {found.class_name(best)}, {one.probabilities[best]:.3f})"
    if one.is_flat:
        return f"{text}. {flat_text(found, one)}"
    height, width = one.heat.shape
    top, left = divmod(int(one.heat.argmax()), width)
    where = f"row {top}, column {left} of {height}x{width}"
    kind = MEASURES[one.measure]
    lost = f"{kind.factor * one.heat.max():.3g} {kind.unit}"
    if found.is_linear:
        return f"{text}; the segment at {where}, by LIME's linear model, adds {lost}"
    return f"{text}; hiding what is around {where} costs it {lost}"
