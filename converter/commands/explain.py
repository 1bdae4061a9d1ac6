"""The command that shows where a model looked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import ModelError
from ..tables.reading import find_variant
from ..terminal import printable
from .options import CLASSES, DEVICE, FILE, OUTPUT, progress_bar

_MAPS = (".npy", ".json")


@click.command()
@click.argument("variant")
@click.option("--weights", required=True, type=FILE, help="Checkpoint of the model.")
@click.option(
    "--image", "images", required=True, multiple=True, type=FILE, help="Image; can be repeated."
)
@click.option(
    "--class",
    "target",
    metavar="N|NAME",
    help="The class to explain.  [default: of each image the predicted one]",
)
@click.option("--classes", type=FILE, help=CLASSES)
@click.option("--out", required=True, type=OUTPUT, help="Image to write, a .png.")
@click.option("--map", "maps", type=OUTPUT, help="Write the maps as numbers: an .npy or .json.")
@click.option(
    "--framework",
    type=click.Choice(["paddle", "torch"]),
    help="Which one runs the model.  [default: whose weights they are]",
)
@click.option(
    "--method",
    type=click.Choice(["occlusion", "lime"]),
    default="occlusion",
    show_default=True,
    help="Slide a grey window, or hide random sets of segments (needs the package lime).",
)
@click.option(
    "--measure",
    type=click.Choice(["probability", "log-odds"]),
    default="probability",
    show_default=True,
    help="What is watched; log-odds change where a probability is 0 or 1 already.",
)
@click.option(
    "--window",
    type=click.IntRange(1),
    help="Pixels of the window's side.  [default: a fifth of the image]",
)
@click.option(
    "--stride",
    type=click.IntRange(1),
    help="Pixels between two places of it.  [default: a quarter of it]",
)
@click.option("--samples", type=click.IntRange(10), help="Of LIME.  [default: 1000]")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Of LIME.  [default: 0]")
@click.option(
    "--batch",
    "batch_size",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="Images at once.",
)
@click.option("--device", type=DEVICE, default="auto", show_default=True, help="Where to run.")
@click.option("--force", is_flag=True, help="Replace what is written if it exists.")
def explain(
    variant: str,
    weights: Path,
    images: tuple[Path, ...],
    target: str | None,
    classes: Path | None,
    out: Path,
    maps: Path | None,
    framework: Any,
    device: Any,
    force: bool,
    **given: Any,
) -> None:
    """Show where a model looked: which parts of an image its answer depends on.

    A grey window is slid over what the model sees of the image. Where hiding it costs the class
    probability, the map is orange; where it helps the class, blue. No gradients are used. The
    image is preprocessed as in evaluation.

    \b
    Examples:
      vitconvert explain shunted_s --weights S.pdparams --image dog.jpg --out dog.png
      vitconvert explain shunted_s --weights S.pdparams --image dog.jpg \\
                         --classes names.txt --class beagle --out beagle.png
    """
    from ..apps.explanation import Options, write_explained
    from ..apps.explanation import explain as explain_images
    from ..files import check_distinct, check_target
    from ..images import read_classes

    try:
        find_variant(variant)
    except ModelError as error:
        raise click.BadParameter(str(error), param_hint="VARIANT") from error
    options = Options(**_meant(given))
    if out.suffix.lower() != ".png":
        raise click.BadParameter(f"{out} is no .png.", param_hint="--out")
    if maps is not None and maps.suffix not in _MAPS:
        raise click.BadParameter(f"{maps} is no {' or '.join(_MAPS)}.", param_hint="--map")
    for path in (out, maps):
        if path is not None:
            check_target(path, force)
    for image in images:
        check_distinct(image=image, out=out, map=maps, weights=weights, classes=classes)
    names = () if classes is None else read_classes(classes)
    with progress_bar() as progress:
        found = explain_images(
            variant,
            weights,
            images,
            target=target,
            classes=names,
            framework=framework,
            device=device,
            options=options,
            progress=progress,
        )
    write_explained(found, out, maps, force)
    for one in found.explanations:
        click.echo(printable(_line(found, one)))
    click.echo(f"{out} holds {len(images)} explanation{'s' * (len(images) > 1)}: {found.method}.")
    if maps is not None:
        click.echo(f"{maps} holds the maps.")


def _meant(given: dict[str, Any]) -> dict[str, Any]:
    """Leave out the options that were not given, refuse those of the other method."""
    of = {"occlusion": ("window", "stride"), "lime": ("samples", "seed")}
    given = {name: value for name, value in given.items() if value is not None}
    for method, names in of.items():
        if method != given["method"] and (wrong := [n for n in names if n in given]):
            raise click.UsageError(f"--{wrong[0]} is of --method {method}.")
    return given


def _line(found: Any, one: Any) -> str:
    """Say in a line what was found for one image."""
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
