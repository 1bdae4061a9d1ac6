"""Texts of files stay in their place: in the terminal, in CSV, Markdown and HTML, in errors."""

import csv
import io
import json
import logging
import re
from contextlib import redirect_stdout
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from evaluated import evaluation, photos
from safetensors.numpy import save_file
from small_trace import write_trace

from tools import handmade
from vitconvert import compare_traces
from vitconvert.apps.evaluation import markdown as markdown_of_evaluation
from vitconvert.apps.evaluation import show as show_evaluation
from vitconvert.apps.evaluation._disagreements import find_shown
from vitconvert.apps.evaluation._report import ROWS, write_reports
from vitconvert.apps.evaluation._report_html import html as html_of_evaluation
from vitconvert.cli import _Echo, cli
from vitconvert.errors import DataError, RunError, listing
from vitconvert.images import open_images
from vitconvert.lines import Lines, csv_cell, one_line, printable
from vitconvert.markdown import cell, code, line, table
from vitconvert.parity import html, markdown, show

CONTROLS = "\r\x1b[31m\u202e\u2028\u200b\x85\x0b"
UNSEEN = {letter for letter in CONTROLS if not letter.isprintable()}
FORGED = f"w\nPROVED: both\n  PROVED: both\n\nlooks like: shunted_s{CONTROLS}`|<b>**[x](y)"
FILE = f"w\nPROVED: both\n  PROVED: both{CONTROLS}\udcff`|<b>**[x](y)"
ROWS_OF_TABLE = f"""
title = {json.dumps(FORGED)}
rows = [["fc", "fc", "linear"], [{json.dumps(FORGED)}, "own", "param"]]
[ignore]
gone = {json.dumps(FORGED)}
"""


def stays(text: str) -> bool:
    """Tell whether a text has no line that a file made, and nothing that does not print."""
    forged = re.search(
        r"^\s*(PROVED: both$|PROVED: both\\|looks like: shunted_s)", text, re.MULTILINE
    )
    return forged is None and all(part.isprintable() for part in text.split("\n"))


def run(*arguments: object) -> str:
    """Give all that a command prints."""
    return CliRunner().invoke(cli, [str(argument) for argument in arguments]).output


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a .safetensors with such names and texts, under such a name."""
    file = tmp_path_factory.mktemp("planted") / f"{FILE.replace('/', '')}.safetensors"
    state = {"fc.weight": np.ones((2, 3), "f4"), "gone": np.ones(1, "f4"), FORGED: np.ones(2, "f4")}
    plain = file.with_name("x.safetensors")
    save_file(state, plain, {"format": "pt", "x": FORGED, FORGED: "x"})
    return plain.rename(file)


def test_inspect(checkpoint: Path, tmp_path: Path) -> None:
    """Names of tensors and of the file, texts of the header, keys beside the weights."""
    printed = run("inspect", checkpoint)

    assert "3 tensors" in printed
    assert stays(printed), printed
    tensor = handmade.plain_tensor("0", (2,))
    tree = handmade.named(("model", handmade.named((FORGED, tensor))), (FORGED, handmade.number(3)))
    file = tmp_path / "x.pth"
    file.write_bytes(handmade.zipped(*handmade.torch_entries(tree, {"0": bytes(8)})))
    assert stays(run("inspect", file))


def test_convert(checkpoint: Path, tmp_path: Path) -> None:
    """The plan, and what is refused: rows, reasons, titles and tensors."""
    table = tmp_path / "net.toml"
    table.write_text(ROWS_OF_TABLE)
    target = tmp_path / f"{FILE}.pdparams"

    shown = [
        run("convert", "--table", table, "--src", checkpoint, "--dst", target, *more)
        for more in (["--dry-run"], [])
    ]
    table.write_text(ROWS_OF_TABLE.replace("gone", "other").replace('"own"', '"{own}"'))
    shown.append(run("convert", "--table", table, "--src", checkpoint, "--dst", target, "--force"))
    shown.append(run("shunted", "--src", checkpoint, "--dst", target, "--force"))

    assert "Nothing was written" in shown[0]
    assert "cannot be used" in shown[2]
    for printed in shown:
        assert stays(printed), printed


def test_parity(tmp_path: Path) -> None:
    """Names of layers and models, files and settings, in every report."""
    write_trace(tmp_path / "a", "torch", FORGED, FORGED)
    write_trace(tmp_path / "b", "paddle", FORGED, FORGED, seed=1)
    report = compare_traces(tmp_path / "a", tmp_path / "b")
    terminal = io.StringIO()
    with redirect_stdout(terminal):
        show(report, every_layer=True)

    assert not report.proved
    assert stays(terminal.getvalue())
    assert stays(run("compare", tmp_path / "a", tmp_path / "b"))
    text = markdown(report)
    assert stays(text)
    assert not re.search(r"(?<!\\)<b>", re.sub("``? .*? ``?|`.*?`", "", text))
    for table_of in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({row.count("|") - row.count("\\|") for row in table_of.splitlines()}) == 1
    page = unescape(re.sub(r"<script.*?</script>", "", html(report), flags=re.DOTALL))
    assert not UNSEEN & set(page)
    assert not re.search(r"^\s*PROVED: both$", page, re.MULTILINE)
    # JSON holds names as they are.
    assert json.loads(report.to_json())["model"] == FORGED


def test_evaluation(tmp_path: Path) -> None:
    """Names of images, classes and files, and why one cannot be read."""
    found = evaluation(np.eye(3), np.eye(3)[[1, 1, 2]], labels=[0, 1, 2])
    facts = [replace(side, facts={**side.facts, "file": FILE}) for side in found.sides]
    found = replace(
        found,
        data=FILE,
        described=FILE,
        classes=(FORGED, "=b", "c"),
        names=(FILE, "@b", "-c"),
        sides=tuple(facts),
        unreadable=((FILE, FORGED),),
    )
    terminal = io.StringIO()
    with redirect_stdout(terminal):
        show_evaluation(found)
    write_reports(found, tmp_path, photos(found))

    assert stays(terminal.getvalue())
    assert stays(markdown_of_evaluation(found))
    assert not UNSEEN & set(html_of_evaluation(found, find_shown(found, photos(found))))
    with (tmp_path / ROWS).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows[1:]] == ["'@b", "'-c"]
    assert rows[1]["class"] == "'=b"
    assert json.loads(rows[0]["name"]) == FILE
    assert stays((tmp_path / ROWS).read_text())


def test_folders_of_images(tmp_path: Path) -> None:
    """Class folders and images, in an error."""
    folder = tmp_path / "set" / FILE.replace("/", "")
    folder.mkdir(parents=True)
    (folder / f"{FILE}.png").write_bytes(b"x")
    images = open_images(str(tmp_path / "set"))

    with pytest.raises(DataError) as refused:
        images.open(0)

    assert stays(str(refused.value))


def test_messages() -> None:
    """An error is one line, but for those that this package made; a log message, too."""
    inner = RunError(listing(f"{FORGED} cannot be used:", [FORGED, "two"]))
    outer = DataError(f"{FORGED}: ", inner)
    record = logging.LogRecord("x", 20, "", 0, "%s: %s", (FORGED, "x"), None)
    several = logging.LogRecord("x", 20, "", 0, listing("two:", ["a", FORGED]), None, None)

    assert str(inner).count("\n") == str(outer).count("\n") == 2
    assert str(RunError(f"{FORGED}: {inner}")).count("\n") == 0
    assert stays(str(inner))
    assert stays(str(outer))
    runner = CliRunner()
    with runner.isolation() as streams:
        _Echo().emit(record)
        _Echo().emit(several)
        printed = streams[0].getvalue().decode()
    assert printed.count("\n") == 1 + 3
    assert stays(printed)


def test_what_a_message_says_can_be_read() -> None:
    """Names in any script stay as they are."""
    names = "größe, 猫, кот, ñ, 🐈, a b"

    assert one_line(names) == printable(names) == names
    assert printable("a\nb") == "a\\nb"
    assert printable(Lines("a\nb\x1b")) == "a\nb\\x1b"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@A1", "\uff1d1", "'=1", "'", "\t=1"])
def test_a_cell_of_a_csv_is_never_a_formula(name: str) -> None:
    """Whoever takes one apostrophe off reads the name."""
    spelled = csv_cell(name)

    assert spelled[0] == "'"
    assert spelled.removeprefix("'") == name
    assert csv_cell("a=1") == "a=1"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("a_b in [2, 3] of `x`", "a_b in [2, 3] of `x`"),
        ("<b>x</b> &lt;", "\\<b>x\\</b> \\&lt;"),
        ("**x** _y_ ~z~", "\\*\\*x\\*\\* \\_y\\_ \\~z\\~"),
        ("![x](http://y)", "![x\\](http://y)"),
        ("a ` b", "a \\` b"),
        ("`<b>` ``a`b``", "`<b>` ``a`b``"),
        ("# x", "\\# x"),
        ("1. x", "1\\. x"),
        ("- x\n# y", "\\- x\\n# y"),
        ("\\*x", "\\\\\\*x"),
    ],
)
def test_a_line_of_markdown_is_a_line(text: str, meant: str) -> None:
    """Code alone means something."""
    assert line(text) == meant


def test_a_name_stays_in_its_cell() -> None:
    """Whatever stands before a bar."""
    assert cell("a\\\\|b") == "a\\\\\\|b"
    assert table(("x",), [(code("a`|\n"),)])[2] == "| `` a`\\|\\n `` |"
