"""An evaluation as one HTML page that needs nothing but a browser, not even a script."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from importlib.resources import files

from ...page import facts, fill, items, plain, rows, section, side_by_side, text, with_code
from ...sides import describe_side
from ._confusion import show_confusion
from ._disagreements import Shown
from ._drawing import intervals
from ._phrases import (
    class_name,
    comparison,
    described,
    figures,
    how_far,
    images,
    number,
    percent,
    rates,
    unreadable,
    verdict,
)
from ._published import published
from ._result import Evaluation

_LISTED = 200  # images that cannot be read


def html(evaluation: Evaluation, shown: Sequence[Shown] = ()) -> str:
    """Give an evaluation as a page that asks for no other file, from wherever it is opened.

    Args:
        evaluation: What was found.
        shown: Images that two sides classify differently, the worst first.

    Returns:
        HTML 5, to be written as UTF-8.
    """
    good = evaluation.same and evaluation.count
    tone = "plain" if evaluation.same is None else "proved" if good else "not-proved"
    if tone != "not-proved" and evaluation.partial:
        tone = "measured"
    claim = verdict(evaluation) or ""
    sign = {"proved": "\u2713 ", "not-proved": "\u2717 "}.get(tone, "")
    summary = [
        images(evaluation.count),
        f"{evaluation.num_classes:,} classes",
        *(describe_side(side.label, side.framework, side.facts) for side in evaluation.sides),
        f"{evaluation.data} ({evaluation.described})",
    ]
    heads = "".join(f'<th scope="col">{text(side.label)}</th>' for side in evaluation.sides)
    values = {
        "variant": text(evaluation.variant),
        "class": tone,
        "headline": text(_headline(evaluation)),
        "claim": f'<p class="claim">{sign}{with_code(claim)}</p>' if claim else "",
        "partial": _partial(evaluation),
        "summary": items(summary),
        "heads": heads,
        "figures": _figures(evaluation),
        "drawing": intervals(evaluation, published(evaluation)),
        "comparison": _facts(
            "comparison",
            "Comparison",
            "How both sides compare on the same images",
            comparison(evaluation),
        ),
        "published": _facts(
            "published",
            "Published",
            "Published figures",
            [("top-1", one.sentence) for one in published(evaluation)],
        ),
        "disagreements": _disagreements(evaluation, shown),
        "confusion": show_confusion(evaluation),
        "unreadable": _unreadable(evaluation),
        "speed": rows([("end to end", rates(evaluation))]),
        "sides": section(
            "sides",
            "Weights, versions and devices",
            facts(
                "Files, hashes, versions and devices of every side",
                side_by_side(*(side.facts for side in evaluation.sides)),
                ("Fact", *(side.label for side in evaluation.sides)),
            ),
        ),
        "how": section(
            "how",
            "Images, preprocessing and options",
            facts("What was evaluated, and how", _how(evaluation), ("Fact", "Value")),
        ),
    }
    return fill(files(__package__).joinpath("report.html"), values)


def _figures(evaluation: Evaluation) -> str:
    """Give a row for each figure; those that belong to the one above it are set back."""
    lines = []
    for name, cells in figures(evaluation):
        row = rows([(name.strip(), *cells)])
        lines.append(row.replace("<tr>", '<tr class="part">', 1) if name.startswith(" ") else row)
    return "\n".join(lines)


def _headline(evaluation: Evaluation) -> str:
    """Give the top-1 accuracy, of both sides where they differ."""
    told = [percent(evaluation.top1(side).value) for side in evaluation.sides]
    return " / ".join(dict.fromkeys(told))


def _partial(evaluation: Evaluation) -> str:
    told = how_far(evaluation)
    return f'<p class="partial">{text(told)}</p>' if told else ""


def _facts(name: str, title: str, caption: str, cells: Sequence[tuple[str, str]]) -> str:
    """Give a section with a table of facts, or nothing if there are none."""
    return section(name, title, facts(caption, cells)) if cells else ""


def _disagreements(evaluation: Evaluation, shown: Sequence[Shown]) -> str:
    """Show the images that two sides classify differently, the worst first."""
    count = len(evaluation.disagreements)
    if not count:
        return ""
    most = f" The worst {len(shown)} are shown; report.json has all." if count > len(shown) else ""
    note = (
        f'<p class="hint">{images(count)}, {len(evaluation.unexplained):,} of them by more than '
        f"rounding.{most} The margin is by how much the largest logit exceeds the second.</p>"
    )
    tiles = "\n".join(_tile(evaluation, one) for one in shown)
    content = f'{note}\n<div class="tiles">\n{tiles}\n</div>'
    return section("disagreements", "Classified differently", content)


def _tile(evaluation: Evaluation, shown: Shown) -> str:
    row, encoded = shown.row, shown.encoded()
    name = text(evaluation.names[row])
    image = '<p class="missing">cannot be read any more</p>'
    if encoded is not None:
        media, content = encoded
        sharp = ' class="sharp"' if media == "image/png" else ""
        data = b64encode(content).decode("ascii")
        image = f'<img{sharp} alt="{name}" src="data:{media};base64,{data}">'
    told = [("true", class_name(evaluation, int(evaluation.labels[row])))]
    for side in evaluation.sides:
        predicted = class_name(evaluation, int(side.predicted[row]))
        told.append((side.label, f"{predicted}, margin {number(float(side.margin[row]))}"))
    told.append(("logits apart", number(float(evaluation.difference[row]))))
    words = "".join(f"<div><dt>{text(what)}</dt><dd>{text(cell)}</dd></div>" for what, cell in told)
    good = evaluation.is_rounding(row)
    judged = '<p class="same">rounding</p>' if good else '<p class="wrong">more than rounding</p>'
    return (
        f'<figure>{image}<figcaption><span class="name">{name}</span><dl>{words}</dl>{judged}'
        f"</figcaption></figure>"
    )


def _unreadable(evaluation: Evaluation) -> str:
    count = len(evaluation.unreadable)
    if not count:
        return ""
    more = f" The first {_LISTED} are listed; report.json has all." if count > _LISTED else ""
    note = f'<p class="hint">{images(count)}, left out of all figures.{more}</p>'
    table = facts("Images that cannot be read", unreadable(evaluation)[:_LISTED])
    return section("unreadable", "Cannot be read", f"{note}\n{table}")


def _how(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    """Give what the images were, how they were prepared, and on what all of this ran."""
    yield "images", evaluation.data
    yield "found there", evaluation.described
    yield "evaluated", f"{evaluation.count:,} of {evaluation.wanted:,}"
    yield "preprocessing", described(evaluation.preprocessing)
    yield "processes", str(evaluation.processes)
    for name, value in evaluation.options.items():
        yield name.replace("_", " "), plain(value)
    for name, value in evaluation.environment.items():
        yield name, plain(value)
