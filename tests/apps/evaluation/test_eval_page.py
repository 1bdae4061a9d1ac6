"""The page of an evaluation: what it says, and that it is one file that runs nothing."""

import io
import json
import re
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluated import EVIL, disagreeing, evaluation, photos, random
from pages import Page, assert_loads_nothing, browsed, dataset

from vitconvert.apps.evaluation._report import write_reports
from vitconvert.apps.evaluation._report_html import html
from vitconvert.apps.evaluation._result import Evaluation


def text_of(page: str) -> str:
    return " ".join(Page(page).text.split())


def written(found: Evaluation, folder: Path, **more: Any) -> str:
    """Give the page as it is written, with its images."""
    write_reports(found, folder, photos(found, **more))
    return (folder / "report.html").read_text("utf-8")


def everything(count: int = 5, classes: int = 10) -> Evaluation:
    """Make an evaluation that has all there is to show, under hostile names."""
    bad = ((EVIL + "!", EVIL),)
    found = disagreeing(count, classes, unreadable=bad, wanted=count + 9, variant="litv2_small")
    facts = {"file": EVIL, "sha256": "c" * 64}
    sides = tuple(replace(side, facts=facts) for side in found.sides)
    names, labels = tuple(f"{EVIL}{i}" for i in range(count)), tuple(EVIL for _ in range(classes))
    options = {"dtype": "float32", "note": EVIL}
    return replace(found, names=names, classes=labels, sides=sides, data=EVIL, options=options)


@pytest.mark.parametrize("classes", [10, 1000])
def test_the_page_loads_and_runs_nothing(classes: int, tmp_path: Path) -> None:
    """No script, no address, no handler; what names hold stays text, placeholders too."""
    page = written(everything(classes=classes), tmp_path)

    assert_loads_nothing(page, images=True)
    assert "script" not in [tag for tag, _ in Page(page).elements]
    assert "<b>" in page  # not everything is escaped
    assert EVIL.replace("\udcff", "\\udcff") in text_of(page)
    assert page.count("color-scheme: light dark") == 1


def test_the_page_shows_what_the_terminal_shows() -> None:
    """Every figure and every fact."""
    found = random(500, variant="litv2_small")
    text = text_of(html(found))

    share = found.top1(found.sides[0])
    low, high = share.interval
    for told in (
        f"{100 * share.value:.2f}%",
        f"{share.count} of 500",
        f"{100 * low:.2f} to {100 * high:.2f}%",
        "both classify all 500 images the same.",
        "Paddle - PyTorch: +0.00 points (0 of 500 images; 95% interval for paired samples",
        "not comparable: published for 1,000 classes, this head has 10; published for 50,000",
        "81.2 images/s, 12.5 s in all",
        "224x224 pixels, center crop 0.875, bicubic",
        "ab" * 32,
        "3.00 GiB",
        "Paddle 3.3.1 on cpu",
        "limit\u2013",
    ):
        assert told in text, told


def test_at_most_forty_images_are_in_the_page(tmp_path: Path) -> None:
    """The worst; the note says how many there are, and each has its name and both classes."""
    page = written(disagreeing(45), tmp_path)

    images = [attributes for tag, attributes in Page(page).elements if tag == "img"]
    assert len(images) == 40
    assert all((one["src"] or "").startswith("data:image/png;base64,") for one in images)
    assert images[0]["alt"] == "00000.png"
    text = text_of(page)
    assert "45 images, 45 of them by more than rounding. The worst 40 are shown" in text
    assert "true class 0" in re.sub("(true|Paddle|PyTorch)(?=class)", r"\1 ", text)


def test_large_images_are_embedded_small(tmp_path: Path) -> None:
    """As JPEG, no larger than they are shown."""
    from PIL import Image

    page = written(disagreeing(1), tmp_path, size=(600, 800))

    (image,) = [attributes for tag, attributes in Page(page).elements if tag == "img"]
    media, _, content = str(image["src"]).partition(";base64,")
    assert media == "data:image/jpeg"
    with Image.open(io.BytesIO(b64decode(content))) as small:
        assert small.size == (240, 180)


def test_few_classes_have_a_matrix_and_many_have_lists() -> None:
    """Up to 20 classes the whole table; of more what is most often taken for what."""
    few, many = html(random(300, 20)), html(random(300, 21))

    assert few.count('<table class="matrix">') == 1  # both sides have the same
    assert "Paddle and PyTorch" in text_of(few)
    assert len(re.findall(r'<td class="(?:hit|miss|none)"', few)) == 400
    assert 'class="matrix"' not in many
    assert "Most frequent confusions, Paddle and PyTorch" in text_of(many)
    assert "Worst classes, Paddle and PyTorch" in text_of(many)
    assert html(disagreeing(3)).count('<table class="matrix">') == 2


def test_the_page_of_one_side_compares_nothing() -> None:
    """No verdict, no agreement, no disagreements."""
    text = text_of(html(evaluation(np.eye(10))))

    assert "10.00% top-1 of shiftvit_cifar" in text
    for absent in ("PyTorch", "The two sides", "Classified differently", "the same"):
        assert absent not in text


def test_the_page_can_be_used_without_a_mouse_or_colours() -> None:
    """Boxes that scroll take the focus and have a name; tables have captions and headings."""
    elements = Page(html(everything())).elements

    boxes = [attributes for _, attributes in elements if attributes.get("class") == "box"]
    assert boxes
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in boxes)
    count = [tag for tag, _ in elements]
    assert count.count("caption") == count.count("table")
    assert all(a.get("scope") for tag, a in elements if tag == "th")
    titles = {attributes.get("id") for _, attributes in elements}
    named = [a["aria-labelledby"] for _, a in elements if "aria-labelledby" in a]
    assert set(named) <= titles


@pytest.mark.browser
@pytest.mark.parametrize("classes", [10, 1000])
@pytest.mark.parametrize("width", [390, 1300])
def test_the_page_does_not_scroll_sideways(classes: int, width: int, tmp_path: Path) -> None:
    """On a phone as on a desk; what is wide scrolls in a box of its own."""
    page = json.dumps(written(everything(classes=classes), tmp_path)).replace("<", "\\u003c")
    outer = tmp_path / "outer.html"
    outer.write_text(
        f"""<body><script>
        const inset = document.createElement("iframe");
        Object.assign(inset, {{ width: {width}, height: 900, style: "border: 0", srcdoc: {page} }});
        inset.onload = () => {{
          const inner = inset.contentDocument.documentElement;
          const widths = [inset.contentWindow.innerWidth, inner.scrollWidth];
          document.body.dataset.result = JSON.stringify(widths);
        }};
        document.body.append(inset);
        </script></body>"""
    )

    inner, scrolled = dataset(browsed(outer), "result")

    assert inner == width
    assert scrolled <= width
