"""A table is checked when it is read, and claims whole keys only."""

import tomllib
from pathlib import Path

import pytest

from vitconvert import TableError
from vitconvert.tables import reading
from vitconvert.tables.parsing import parse_table
from vitconvert.tables.table import Table

TINY = Path("tiny.toml")


def parse(text: str) -> Table:
    head = 'family = "tiny"\ntitle = "Tiny"\nsource = "here"\n'
    if "[ignore]" not in text:
        text += "\n[ignore]"
    data = tomllib.loads(f"{head}{text}\n[variants]")
    return parse_table(TINY, data, {}, reading.read_kinds())


def test_placeholders_carry_over_to_the_paddle_name() -> None:
    """{x} matches one integer, several may stand in one row."""
    table = parse('rows = [["s{a}.{b}.fc", "stages.{a}.{b}.fc", "linear"]]')

    (claim,) = table.claims("s2.11.fc.weight")
    assert claim.paddle == "stages.2.11.fc.weight"


@pytest.mark.parametrize(
    "key", ["xs2.1.fc.weight", "s2.1.fc.weight.x", "s2.1.fc", "s2.a.fc.weight", "s2x1.fc.weight"]
)
def test_matching_is_of_the_whole_key(key: str) -> None:
    """Neither prefix nor suffix, no letter for a number, a dot is a dot."""
    assert parse('rows = [["s{a}.{b}.fc", "s{a}.{b}.fc", "linear"]]').claims(key) == []


def test_a_row_may_name_the_tensor_itself() -> None:
    """Kind param has the empty leaf."""
    (claim,) = parse('rows = [["pos_embed", "pos", "param"]]').claims("pos_embed")

    assert claim.paddle == "pos"


def test_all_problems_of_a_table_are_listed_at_once() -> None:
    """Unknown kind, other placeholders, a layer twice, an ignore without reason."""
    text = """rows = [
      ["a", "a", "lineal"], ["b.{i}", "b.{j}", "linear"], ["c", "c", "block"], ["c", "d", "block"],
    ]
    [ignore]
    "x" = ""
    """

    with pytest.raises(TableError) as caught:
        parse(text)
    message = str(caught.value)
    assert message.startswith("tiny.toml cannot be used:")
    assert "row 1 (a): kind 'lineal' is unknown" in message
    assert "row 2 (b.{i}): 'b.{j}' does not have the same {placeholders}" in message
    assert "row 4 (c): an earlier row describes the same torch layer" in message
    assert "ignore is {'x': ''}, expected key patterns, each with its reason" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('rows = [["a", "a"]]', "row 1: expected [torch, paddle, kind]"),
        ("rows = 3", "rows is 3, expected a list"),
        ("title = 1", "title is 1, expected a text"),
    ],
)
def test_a_malformed_table_is_an_error_of_ours(text: str, said: str) -> None:
    """Whatever TOML holds, the answer is a TableError that names the place."""
    data = {"rows": [], "title": "t", "ignore": {}, "variants": {}, **tomllib.loads(text)}
    data |= {"family": "tiny", "source": "here"}

    with pytest.raises(TableError) as caught:
        parse_table(TINY, data, {}, reading.read_kinds())
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["\ufeff{}", "{}"])
def test_a_table_may_come_from_an_editor_on_windows(text: str, tmp_path: Path) -> None:
    """It may begin with a byte order mark, and its lines end in two characters."""
    path = tmp_path / "net.toml"
    path.write_text(text.format('rows = [["a", "a", "linear"]]\n'), "utf-8", newline="\r\n")

    assert [row.torch for row in reading.read_table(path).rows] == ["a"]


def test_pairs_of_layers_go_both_ways() -> None:
    """The same row finds a layer by its name in either model."""
    table = parse('rows = [["b.{i}.fc", "blocks.{i}.fc", "linear"]]')

    assert table.layers("torch", ["b.3.fc", "b.3"]).keys() == {"b.3.fc"}
    assert table.layers("paddle", ["blocks.3.fc"])["blocks.3.fc"][:2] == (
        "b.3.fc",
        "blocks.3.fc",
    )
