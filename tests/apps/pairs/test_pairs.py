"""Many pairs of models in one table, which a later run continues."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tools.small_pair import enter, forget, plant, write_pair
from tracing import run_here
from vitconvert.apps.pairs import check_pairs, read_pairs
from vitconvert.apps.pairs._run import _Series
from vitconvert.cli import cli
from vitconvert.errors import CheckpointError, ParityError

GOOD = """
torch_model = "small_torch:net"
paddle_model = "small_paddle:net"
table = "small.toml"
torch = "w.safetensors"
paddle = "w.pdparams"
"""
PAIRS = "".join(f'[[pair]]\nname = "{name}"{GOOD}' for name in ("one", "two"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the small pair and a list of two, in which the user is."""
    enter(tmp_path, monkeypatch)
    (tmp_path / "pairs.toml").write_text(PAIRS)
    monkeypatch.setattr("vitconvert.parity._run.run", run_here)
    yield tmp_path
    forget()


def run(*arguments: str) -> Result:
    forget()
    asked = ["parity", "--pairs", "pairs.toml", "--markdown", "t.md", "--device", "cpu"]
    return CliRunner().invoke(cli, [*asked, *arguments])


def rows() -> list[str]:
    text = Path("t.md").read_text()
    return [line for line in text.splitlines() if line.startswith("| ")][2:]


@pytest.mark.torch
@pytest.mark.paddle
def test_a_later_run_compares_what_is_missing_or_has_changed(folder: Path) -> None:
    """What was proved stays, as long as files, code and options are the same."""
    (folder / "w.pdparams").rename(folder / "kept")
    with (folder / "pairs.toml").open("a") as file:
        file.write(f'[[pair]]\nname = "three"{GOOD}input_size = [8, 8]\n')
        file.write('[[pair]]\nname = "gone"\nvariant = "shunted_t"\ntorch = "x"\npaddle = "y"\n')
    assert run().exit_code == 1
    assert [row.split(" | ")[6] for row in rows()] == ["ERROR"] * 4
    (folder / "kept").rename(folder / "w.pdparams")

    first, second = run("--seeds", "2"), run("--seeds", "2")
    assert first.exit_code == second.exit_code == 1
    assert first.output.count("PASS, PROVED: both checkpoints") == 3
    assert "t.md holds the table: 3 of 4 models PASS." in first.output
    assert second.output.count("PASS, kept: proved before, and nothing has changed.") == 3
    assert "gone: ERROR: x: " in second.output
    assert "| three | 8x8 | 296 |" in rows()[2]
    assert rows()[3].startswith("| gone | - |")
    assert "vitconvert parity --pairs pairs.toml --markdown t.md" in Path("t.md").read_text()

    (folder / "pairs.toml").write_text(PAIRS)
    assert "one: compared again: seeds was 2, is now 1." in run().output
    plant(folder, "True")
    done = run()
    assert "small_paddle.py has changed." in done.output
    assert done.output.count("FAIL, NOT PROVED: first wrong layer:") == 2
    write_pair(folder)
    assert run().output.count("compared again: was not proved") == 2
    assert run().exit_code == 0
    (folder / "small.toml").write_text((folder / "small.toml").read_text() + "\n")
    assert "one: compared again: the table has changed." in run().output
    assert "kept" not in run("--force").output
    assert run("--limit", "1e-12").output.count("FAIL, kept") == 2  # another table, no other proof


@pytest.mark.torch
@pytest.mark.paddle
def test_an_interrupted_run_is_continued(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the second pair: the table has the first, and so has the next run."""

    def interrupted(*given: object) -> object:
        if json.loads(Path("t.md.json").read_text())["pairs"]:
            raise KeyboardInterrupt
        return run_here(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("vitconvert.parity._run.run", interrupted)
    done = run()
    assert done.exit_code == 130
    assert "t.md holds the results so far; the same command continues." in done.output
    assert [row.split(" | ")[6] for row in rows()] == ["PASS", "-"]
    assert Path("t.md").read_text().startswith("**1 of 2 models PASS**, 1 not compared yet")

    monkeypatch.setattr("vitconvert.parity._run.run", run_here)
    done = run()
    assert done.exit_code == 0
    assert "one: PASS, kept" in done.output
    assert "two: PASS, PROVED" in done.output
    assert not list(folder.glob("*.part"))


def test_all_problems_of_a_list_are_named(tmp_path: Path) -> None:
    """In one message, each with its pair."""
    (tmp_path / "p.toml").write_text(
        """
        pairs = 3
        [[pair]]
        name = "a"
        variant = "shunted_z"
        torch = "x"
        paddle = "y"
        [[pair]]
        name = "a"
        variant = "shunted_s"
        torch_model = "net"
        torch = "x"
        paddle = "y"
        input_size = [0, 8]
        [[pair]]
        name = "b"
        torch_model = "net"
        paddle_model = "net:a"
        torch = "x"
        padle = "y"
        [[pair]]
        torch_model = "net"
        torch = "x"
        paddle = 7
        [[pair]]
        name = "a"
        torch_model = "net"
        torch = "x"
        paddle = "y"
        """
    )
    with pytest.raises(ParityError) as caught:
        read_pairs(tmp_path / "p.toml")

    found = str(caught.value).split("\n  ")
    assert found[0].endswith("p.toml cannot be used:")
    assert found[1:] == [
        "pairs is unknown, expected [[pair]] alone. Did you mean 'pair'?",
        *[line for line in found if "no variant is called 'shunted_z'. Did you mean" in line],
        "pair 2 (a): input_size is [0, 8], expected [height, width] in pixels.",
        "pair 3 (b): padle is unknown. Did you mean 'paddle'?",
        "pair 3 (b): paddle is missing, expected a text that is not empty.",
        "pair 4: name is missing, expected a text that is not empty.",
        "pair 4: paddle is 7, expected a text that is not empty.",
        "pair 5 (a): has no paddle_model and no table, expected a variant, see `vitconvert "
        "models`, or torch_model, paddle_model, table.",
        "pair 5 (a): torch_model: 'net': expected package.module:function.",
        "3 pairs are called 'a', expected names that differ.",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pair = [", "cannot be read as a list of pairs"),
        ("", "expected one or more"),
        ("pair = [1]", "expected one or more"),
        ("[pair]\nname = 'x'", "expected one or more"),
    ],
)
def test_file_that_is_not_a_list_of_pairs_is_refused(
    text: str, message: str, tmp_path: Path
) -> None:
    """With what was expected."""
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(ParityError, match=message):
        read_pairs(tmp_path / "p.toml")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--torch", "w.safetensors"], "--torch is for one pair of models, --pairs for many"),
        (["shunted_s"], "VARIANT is for one pair of models"),
        (["--paddle-weights", "x"], "--paddle-weights is for one pair"),
        (["--report", "r.json"], "--report is for one pair"),
        (["--markdown", "-"], "--pairs needs --markdown FILE"),
    ],
)
def test_options_of_one_pair_are_refused(arguments: list[str], message: str) -> None:
    """Nothing that is given is ignored."""
    done = run(*arguments)

    assert done.exit_code == 2
    assert message in done.stderr
    assert not Path("t.md").exists()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("text", ["{}", "[1]", "notes", '{"format": "vitconvert pairs 9"}'])
def test_a_file_of_another_kind_is_not_replaced(text: str) -> None:
    """Not even with --force: it lies where the results would."""
    Path("t.md.json").write_text(text)

    done = run("--force")

    assert done.exit_code == 1
    assert "t.md.json: exists and does not hold results of pairs" in done.stderr
    assert Path("t.md.json").read_text() == text


def test_a_pair_that_cannot_be_read_does_not_stop_the_others(folder: Path) -> None:
    """Without a framework: every file is checked before one is started."""
    (folder / "w.pdparams").write_bytes(b"nonsense")
    told: list[str] = []

    made = check_pairs(read_pairs(folder / "pairs.toml"), folder / "t.md", tell=told.append)

    assert [row.result(1e-4) for row in made] == ["ERROR", "ERROR"]
    assert [line.split(":")[:2] for line in told] == [["one", " ERROR"], ["two", " ERROR"]]
    assert "not a checkpoint" in told[0]


def test_two_runs_with_one_table_do_not_overwrite_each_other(tmp_path: Path) -> None:
    """The one that finds the other's results stops, and says what to do."""
    table = tmp_path / "table.md"
    one, other = (_Series([], table, 1e-4, "", {}, {}, print) for _ in range(2))
    one.save()
    one.save()
    other.save()

    with pytest.raises(CheckpointError, match="another run writes this table"):
        one.save()
    other.save()
