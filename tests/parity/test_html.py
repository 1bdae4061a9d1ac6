"""The page of a parity report: what it says without a script, and what its script does."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pages import Page, assert_loads_nothing, browsed, dataset

from vitconvert.parity._compare import LayerResult, SettingResult
from vitconvert.parity._figures import OutputFigures
from vitconvert.parity._gradients import GradientResult
from vitconvert.parity._html import html
from vitconvert.parity._report import Report

EVIL = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
COLLECTOR = """<head><script>
window.errors = [];
window.onerror = (message) => { errors.push(String(message)); };
window.addEventListener("unhandledrejection", (event) => errors.push(String(event.reason)));
document.addEventListener("securitypolicyviolation", (event) => errors.push(event.blockedURI));
</script>"""
# What a test's script may use; it gives its result to `done`.
HELPERS = r"""
const all = (selector) => [...document.querySelectorAll(selector)];
const seen = (selector) => all(selector).filter((one) => one.checkVisibility());
const names = () => seen(".layers tr:not(.group) th .name").map((one) => one.textContent);
const column = (title) => {
  const at = all(".layers thead th").findIndex((one) => one.textContent === title);
  return seen(".layers tbody tr:not(.group)").map((row) => row.children[at].textContent);
};
const heading = (title) => all(".layers thead button").find((one) => one.textContent === title);
const set = (id, value) => {
  const box = document.getElementById(id);
  if (box.type === "checkbox") box.checked = value; else box.value = value;
  box.dispatchEvent(new Event(box.type === "checkbox" ? "change" : "input"));
};
const done = (result) => { document.body.dataset.result = JSON.stringify(result); };
"""

Browse = Callable[..., Any]


def layer(name: str, verdict: Any = "same", float64: float | None = 1e-15, **more: Any) -> Any:
    figures = {"float32_reference": 4e-7, "float32_candidate": 5e-7, "alone": 0.0} | more
    return LayerResult(name, name, "linear", (2, 8), verdict, float64=float64, **figures)


def good() -> Report:
    """Give a small report of a model with two blocks."""
    blocks = [f"blocks.{i}.{part}" for i in range(2) for part in ("a", "b", "c", "d", "e")]
    layers = [layer(n, float64=(i * 7 % 11) * 1e-15) for i, n in enumerate(blocks)]
    layers[-1] = replace(layers[-1], kind="output")
    output = [OutputFigures(run, 5.1e-15, 8.5e-16, 0.0, 5.1e-15, 1.0, 2) for run in ("float64",)]
    return Report(
        model="tiny",
        reference={"framework": "torch", "label": "torch", "torch": "2.13", "sha256": "a" * 64},
        candidate={"framework": "paddle", "label": "Paddle", "paddle": "3.3", "sha256": "b" * 64},
        inputs={"shape": [2, 3, 32, 32], "sha256": "c" * 64},
        layers=tuple(layers),
        settings=(SettingResult("blocks.0.a", "layer_norm", "eps", 1e-6, 1e-6, True),),
        output=tuple(output),
        weights=20,
        seconds=1.5,
    )


def bad() -> Report:
    """Give a report with a layer of every verdict, and all else wrong that there can be."""
    wrong = [
        layer("blocks.1.a", "differs", 2e-3, alone=2e-3, note="what it gives differs"),
        layer("blocks.1.b", "inherits", 3e-3),
        layer("blocks.1.c", "imprecise", off="candidate", note="float32 error of Paddle 3.0e-04"),
        layer("blocks.1.d", "not finite", None, float32_candidate=None, alone=None, note="512"),
        layer("blocks.1.e", "missing", None, alone=None, note="did not run this layer"),
        layer(f"head.{EVIL}", "settings", note=f"eps is {EVIL}"),
        layer("shape", "shape", None, float32_reference=None, float32_candidate=None),
        layer("weights", "weights", float("inf"), alone=float("nan")),
    ]
    return replace(
        good(),
        layers=(*good().layers[:5], *wrong),
        settings=(*good().settings, SettingResult("blocks.1.a", "x", "eps", 1e-6, None, False)),
        gradients=(GradientResult("w", 1e-15, True), GradientResult("input", None, False, EVIL)),
        training=("a.running_var: after one step differs by 3.0e-02, unexplained",),
        diagnosis=("`blocks.1.a` differs by itself: its weight <b>is</b> zero throughout.",),
        output=(OutputFigures("float64", float("nan"), None, 0.0, None, None, 0),),
        model=EVIL,
    )


def measured() -> Report:
    layers = [replace(one, float64=None, alone=None) for one in good().layers]
    return replace(good(), layers=tuple(layers), proves=False)


REPORTS = {"PROVED": good, "NOT PROVED": bad, "MEASURED": measured}


# -- What is in the page itself


@pytest.mark.parametrize("verdict", REPORTS)
def test_the_verdict_needs_no_script(verdict: str) -> None:
    """Verdict, claim, diagnosis and the figures of the output are in the HTML, the first first."""
    report = REPORTS[verdict]()

    text = Page(html(report)).text

    assert report.verdict == verdict
    body = text[text.index("Parity of") - 20 :]
    assert body.index(verdict) < body.index(report.claim) < body.index("Output of the whole model")
    for line in report.diagnosis:
        assert line.replace("`", "") in body
    for line in report.training:
        assert line in body


def test_the_figures_of_the_output_need_no_script() -> None:
    """Every figure of a precision is in a column of its own; one that is missing is a dash."""
    text = " ".join(Page(html(good())).text.split())

    assert "Largest difference5.11e-15" in text.replace("5.1e-15", "5.11e-15")
    assert "Own error of torch0" in text
    assert "Same top-12 of 2" in text
    assert "Largest difference\u2013" in Page(html(bad())).text


@pytest.mark.parametrize("verdict", REPORTS)
def test_nothing_is_loaded(verdict: str) -> None:
    """No element names another file, no style does, and no attribute is a script."""
    assert_loads_nothing(html(REPORTS[verdict]()))


@pytest.mark.parametrize("verdict", REPORTS)
def test_the_data_is_in_the_page_and_is_json(verdict: str) -> None:
    """It is what the JSON report holds; what is not finite is null there, and nowhere else."""
    report = REPORTS[verdict]()

    page = html(report)

    assert json.loads(Page(page).json) == json.loads(report.to_json())
    assert "NaN" not in page
    assert "Infinity" not in Page(page).json


def test_data_cannot_break_out() -> None:
    """Markup in a name, a note or a gradient stays text."""
    page = html(bad())

    elements = [tag for tag, _ in Page(page).elements]
    assert elements.count("script") == 2
    assert "img" not in elements
    assert EVIL in Page(page).text


def test_data_that_looks_like_a_placeholder_stays_as_it_is() -> None:
    """The template is filled once."""
    page = html(replace(good(), model="@@json@@ $model {claim}"))

    assert page.count("@@json@@ $model {claim}") == 3


def test_a_file_name_that_is_no_text_can_be_written() -> None:
    """Half a surrogate pair, as the name of a file may hold, does not stop the page."""
    report = replace(good(), reference=good().reference | {"file": "a\udcff.pth"})

    assert "a\\udcff.pth" in html(report).encode().decode()


# -- What its script does


@pytest.fixture
def browse(tmp_path: Path) -> Browse:
    """Give a function that opens a report in Chromium, runs a script there and gives its result."""

    def run(report: Report, script: str, width: int = 1400) -> Any:
        file = tmp_path / "report.html"
        page = html(report).replace("<head>", COLLECTOR, 1)
        script = f"{HELPERS}\n{script}\nwindow.dispatchEvent(new Event('resize'));"
        last = "setTimeout(() => { document.body.dataset.errors = JSON.stringify(errors); }, 300);"
        for text in (script, last):
            page = f"<script>{text}</script></body>".join(page.rsplit("</body>", 1))
        file.write_text(page, encoding="utf-8")
        dom = browsed(file, width)
        assert dataset(dom, "errors") == []
        return dataset(dom, "result")

    return run


@pytest.mark.browser
@pytest.mark.parametrize("verdict", REPORTS)
def test_every_layer_has_a_row(browse: Browse, verdict: str) -> None:
    """Unfolded, the table holds every layer in order of execution, by its name as it is."""
    report = REPORTS[verdict]()

    found = browse(report, "find('#unfold').click(); done([names(), window.hacked ?? null]);")

    assert found == [[one.layer for one in report.layers], None]


@pytest.mark.browser
def test_a_report_without_layers_has_a_page(browse: Browse) -> None:
    """What is not there is not shown."""
    empty = replace(good(), layers=(), settings=(), output=())

    shown = browse(empty, "done(seen('section > h2').map((one) => one.textContent.split(':')[0]));")

    assert shown[0] == "Output of the whole model"
    assert shown[1:] == ["What was compared, and where", "Input and criteria"]


@pytest.mark.browser
def test_sorting(browse: Browse) -> None:
    """A heading sorts, a second click turns it round; what is not there is last either way."""
    script = """
    set("grouped", false);
    const found = ["float64 models", "float64 models", "Verdict", "Layer"].map((title) => {
      heading(title).click();
      return [column(title), heading(title).closest("th").ariaSort];
    });
    done(found);
    """
    report = bad()

    up, down, verdicts, layers = browse(report, script)

    figures = [one.float64 for one in report.layers if one.float64 not in (None, float("inf"))]
    shown = ["0" if figure == 0 else f"{figure:.1e}" for figure in sorted(figures)]
    assert up == [shown + ["\u2013"] * 4, "ascending"]
    assert down == [shown[::-1] + ["\u2013"] * 4, "descending"]
    assert verdicts[0][4:7] == ["\u2713 same", "\u21b3 inherits", "\u2717 differs"]
    assert layers[0][:2] == ["blocks.0.a", "blocks.0.b"]


@pytest.mark.browser
def test_equal_rows_keep_their_order(browse: Browse) -> None:
    """Sorting is stable, in both directions."""
    script = """
    set("grouped", false);
    done([1, 2].map(() => { heading("Verdict").click(); return column("#"); }));
    """

    assert browse(good(), script) == [[str(i) for i in range(1, 11)]] * 2


@pytest.mark.browser
def test_blocks_sort_by_their_worst_layer(browse: Browse) -> None:
    """With blocks, a heading orders the blocks and the rows within each."""
    script = """
    find("#unfold").click();
    for (const _ of [1, 2]) heading("float64 models").click();
    done([seen(".group button").map((one) => one.textContent), column("float64 models")]);
    """
    layers = [layer(f"b.{i}.{j}", float64=(10 * i + j) * 1e-15) for i in (1, 2) for j in range(5)]

    found = browse(replace(good(), layers=tuple(layers)), script)

    assert found == [["b.2", "b.1"], [f"{one.float64:.1e}" for one in layers[::-1]]]


@pytest.mark.browser
def test_folding(browse: Browse) -> None:
    """Blocks fold one by one and all at once; only those with a wrong layer are open at first."""
    script = """
    const steps = [names()];
    const first = all(".group button")[0];
    for (const button of [first, first, find("#unfold"), find("#fold")]) {
      button.click();
      steps.push([names().length, first.ariaExpanded]);
    }
    done(steps);
    """
    layers = bad().layers

    at_first, *steps = browse(bad(), script)

    assert at_first == [one.layer for one in layers[5:]]
    assert steps == [[13, "true"], [8, "false"], [13, "true"], [3, "false"]]


@pytest.mark.browser
def test_a_proved_report_is_folded_at_first(browse: Browse) -> None:
    """Where all is the same, the blocks are enough."""
    script = "done([names(), seen('.group button').map((one) => one.textContent)]);"

    assert browse(good(), script) == [[], ["blocks.0", "blocks.1"]]


@pytest.mark.browser
def test_filter(browse: Browse) -> None:
    """Text is searched for in names, kinds, verdicts and notes, and what is found is shown."""
    script = """
    const tried = ["S.0.B", "inherits", "did not run", "nowhere", ""].map((text) => {
      set("filter", text);
      return names();
    });
    set("only", true);
    done([...tried, names(), find("#shown").textContent]);
    """
    wrong = [one.layer for one in bad().layers[5:]]

    *tried, cleared, only, told = browse(bad(), script)

    assert tried == [["blocks.0.b"], ["blocks.1.b"], ["blocks.1.e"], []]
    assert cleared == only == wrong
    assert told == "8 of 13 outputs"


@pytest.mark.browser
def test_the_legend_toggles_series(browse: Browse) -> None:
    """A click on an entry takes its series out of the plot, another brings it back."""
    script = """
    const drawn = () => all("#plot [data-series]").map((one) => one.dataset.series);
    const button = all("#legend button")[0];
    const steps = [drawn()];
    for (const _ of [1, 2]) { button.click(); steps.push([drawn().length, button.ariaPressed]); }
    done([...steps, all("#legend button").map((one) => one.textContent)]);
    """

    drawn, *steps, titles = browse(good(), script)

    assert drawn == ["float64", "alone", "float32_reference", "float32_candidate"]
    assert steps == [[3, "false"], [4, "true"]]
    assert titles[2:] == ["float32 error, torch", "float32 error, Paddle"]


@pytest.mark.browser
def test_wrong_layers_are_marked_in_the_plot(browse: Browse) -> None:
    """Also those without any figure; what only inherits has a mark of its own."""
    script = "done([all('#plot .fault').length, all('#plot .heir').length]);"

    assert browse(bad(), script) == [7, 1]
    assert browse(good(), script) == [0, 0]


@pytest.mark.browser
def test_exact_zeros_are_drawn_on_the_lowest_line(browse: Browse) -> None:
    """A difference of nothing has no logarithm; it is below the smallest there is."""
    script = """
    const marks = find('[data-series="float64"] .line').getAttribute("d");
    done([marks.match(/ (\\d+)/g).map(Number), frame.floor]);
    """
    layers = [layer("a", float64=0.0), layer("b", float64=1e-17), layer("c", float64=1.0)]

    (zero, tiny, one), floor = browse(replace(good(), layers=tuple(layers)), script)

    assert zero == floor
    assert one < tiny < zero


@pytest.mark.browser
def test_the_plot_tells_figures_and_leads_to_rows(browse: Browse) -> None:
    """Pointing at a mark or the arrow keys tell of a layer; a click or Enter shows its row."""
    script = """
    const type = (key) => plot.dispatchEvent(new KeyboardEvent("keydown", { key }));
    const point = (kind, order) => {
      const box = svg.getBoundingClientRect(), scale = box.width / frame.width;
      const place = { clientX: box.left + xOf(order) * scale,
                      clientY: box.top + yOf(layers[order].float64) * scale, bubbles: true };
      svg.dispatchEvent(new PointerEvent(kind, place));
    };
    const row = () => seen(".layers tr.found .name").map((one) => one.textContent);
    set("filter", "nothing of this name");
    point("pointermove", 3);
    const pointed = tip.textContent;
    point("click", 3);
    const clicked = row();
    type("End"); type("ArrowLeft");
    const pressed = plot.getAttribute("aria-valuetext");
    type("Enter");
    done([pointed, clicked, pressed, row(), document.activeElement.className.includes("found")]);
    """

    pointed, clicked, pressed, entered, focused = browse(good(), script)

    assert pointed.startswith("blocks.0.d#4, linear: \u2713 samefloat64, models1.0e-14")
    assert clicked == ["blocks.0.d"]
    assert pressed.startswith("blocks.1.d, same, float64, models 1.0e-15, float64, each layer")
    assert entered == ["blocks.1.d"]
    assert focused


@pytest.mark.browser
def test_disagreements_come_first_and_are_open(browse: Browse) -> None:
    """Long tables are folded unless something in them is wrong, which is then their first row."""
    script = """
    const first = (id) => all(`${id} tbody tr`)[0]?.textContent ?? "";
    const found = (id) => [find(`${id} details`).open, first(id)];
    setTimeout(() => done(["#settings", "#gradients"].map(found)));
    """

    settings, gradients = browse(bad(), script)

    assert settings == [True, "blocks.1.axeps0.000001\u2013\u2717 differs"]
    assert gradients == [True, f"input\u2013\u2717 differs{EVIL}"]
    assert browse(good(), script) == [[False, ""], [False, ""]]


@pytest.mark.browser
@pytest.mark.parametrize("verdict", REPORTS)
@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_does_not_scroll_sideways(browse: Browse, verdict: str, width: int) -> None:
    """Wide tables scroll in a box of their own."""
    page = json.dumps(html(REPORTS[verdict]())).replace("<", "\\u003c")
    script = f"""
    const inset = make("iframe", {{ width: {width}, style: "border: 0", srcdoc: {page} }});
    inset.onload = () => {{
      const inner = inset.contentDocument;
      for (const one of inner.querySelectorAll("details")) one.open = true;
      inner.getElementById("unfold").click();
      done([inset.contentWindow.innerWidth, inner.documentElement.scrollWidth]);
    }};
    document.body.append(inset);
    """

    # A window of Chromium is never narrower than 500 pixels: a frame can be.
    inner, scrolled = browse(good(), script)

    assert inner == width
    assert scrolled <= width
