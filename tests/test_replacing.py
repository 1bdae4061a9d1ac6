"""Reports that take the place of older ones, and runs that write the same file."""

import tracemalloc
from pathlib import Path

import click
import pytest

from vitconvert import CheckpointError
from vitconvert.commands.options import check_reports
from vitconvert.commands.replacing import check_replaced, write_report

JSON = '{\n "vitconvert": "0.1",\n "model": "tiny",\n "proved": true\n}'
MARKDOWN = "**tiny: PROVED**, both compute the same.\n\n- made with vitconvert 0.1\n"
HTML = '<title>NOT PROVED: parity of tiny</title><meta name="generator" content="vitconvert">'
EVALUATION = "**tiny: SAME**\n\n- evaluation made with vitconvert 0.1\n"


@pytest.fixture(autouse=True)
def command() -> object:
    """Let a command run."""
    with click.Context(click.Command("parity")) as context:
        yield context


@pytest.mark.parametrize(
    ("option", "text"), [("report", JSON), ("markdown", MARKDOWN), ("html", HTML)]
)
def test_a_report_says_what_it_replaces(option: str, text: str, tmp_path: Path) -> None:
    """Of which model that was, and from when; a new one has nothing to say."""
    path = tmp_path / "proof"
    check_reports({option: path})
    assert write_report(path, text.encode(), "the report") == f"{path} holds the report."
    check_reports({option: path})
    told = write_report(path, b"new", "the report")

    assert told.startswith(f"{path} holds the report; it replaced that of tiny, written 20")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("before", [None, JSON])
def test_a_run_does_not_replace_what_another_wrote_meanwhile(
    before: str | None, tmp_path: Path
) -> None:
    """Two runs with one --report: that of the later one is beside the other, and it says so."""
    path = tmp_path / "proof.json"
    (tmp_path / "proof.2.json").write_text("of a third")
    if before is not None:
        path.write_text(before)
    check_reports({"report": path})
    path.unlink(missing_ok=True)
    path.write_text("of the other")

    with pytest.raises(CheckpointError, match=r"another run wrote .*proof\.3\.json holds"):
        write_report(path, b"of this one", "the report")
    assert path.read_text() == "of the other"
    assert (tmp_path / "proof.3.json").read_text() == "of this one"
    assert len(list(tmp_path.iterdir())) == 3


def test_what_is_no_such_report_is_refused(tmp_path: Path) -> None:
    """The Markdown of an evaluation, and a file of 6 GB, of which little is read."""
    path = tmp_path / "eval.md"
    path.write_text(EVALUATION)
    with path.with_name("huge").open("wb") as file:
        file.truncate(6 << 30)

    tracemalloc.start()
    for name, mark in (("eval.md", "\n- made with vitconvert"), ("huge", '"proved"')):
        with pytest.raises(CheckpointError, match="exists and is not a parity report"):
            check_replaced(tmp_path / name, mark, "a parity report")
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


def test_a_mark_between_two_pieces_is_found(tmp_path: Path) -> None:
    """A report is read a piece at a time."""
    path = tmp_path / "long.md"
    path.write_bytes(b"x" * ((1 << 20) - 5) + b"\n- made with vitconvert 0.1")

    check_replaced(path, "\n- made with vitconvert", "a parity report")
