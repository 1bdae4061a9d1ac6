"""`vitconvert convert`: a pair of the user's own is converted and proved in one call."""

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from conftest import Make, arrays, left, proof
from tools.own_pair import weights, write_pair
from tracing import run_here
from vitconvert import (
    ConversionError,
    ModelError,
    Pair,
    ParityError,
    RunError,
    check_parity,
    convert,
)
from vitconvert.cli import cli

MODELS = ["--torch-model", "pair_torch:build", "--paddle-model", "pair_paddle:build"]
FORTH = ["--table", "pair.toml", "--src", "w.safetensors", "--dst", "x.pdparams"]
FILES = ["pair.toml", "pair_paddle.py", "pair_torch.py", "w.safetensors"]
PAIR = Pair("pair_torch:build", "pair_paddle:build", "pair.toml")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a pair, in which the user is; the models run in this process."""
    write_pair(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("vitconvert.parity._run.run", run_here)
    yield tmp_path
    for module in ("pair_torch", "pair_paddle"):
        sys.modules.pop(module, None)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["convert", "--device", "cpu", *arguments])


def replace(file: str, old: str, new: str) -> None:
    text = Path(file).read_text()
    assert old in text
    Path(file).write_text(text.replace(old, new))


@pytest.mark.torch
@pytest.mark.paddle
def test_one_call_converts_and_proves_both_ways(folder: Path) -> None:
    """With every report, at the table's own image size; back into a sharded checkpoint."""
    reports = ["--report", "r.json", "--html", "r.html", "--markdown", "-"]
    done = run(*FORTH, *MODELS, *reports)

    assert done.exit_code == 0, done.output
    assert "PROVED: both checkpoints compute the same function." in done.output
    assert "x.pdparams holds the converted weights." in done.output
    found = json.loads((folder / "r.json").read_text())
    assert found["proved"]
    assert found["inputs"]["shape"] == [2, 3, 24, 32]
    assert found["candidate"]["file"] == "x.pdparams"
    assert left(folder) == sorted([*FILES, "r.html", "r.json", "x.pdparams"])

    back = ["--table", "pair.toml", "--src", "x.pdparams"]
    shards = ["--dst", "y.safetensors.index.json", "--max-shard-size", "400"]
    done = run(*back, *shards, *MODELS, "--input-size", "16x20")
    assert done.exit_code == 0, done.output
    assert "input 2x3x16x20" in done.output
    again = arrays(folder / "y.safetensors.index.json")
    assert len(list(folder.glob("y-*.safetensors"))) > 1
    assert all(np.array_equal(again[k], v) for k, v in weights().items() if k != "teacher.weight")


@pytest.mark.torch
@pytest.mark.paddle
def test_what_is_not_proved_keeps_another_name(folder: Path) -> None:
    """Exit status 1, the layer is named, and what had the name stays; the report has the file."""
    (folder / "x.pdparams").write_text("precious")
    hasty = ["--torch-model", "pair_torch:build", "--paddle-model", "pair_paddle:Hasty"]
    done = run(*FORTH, *hasty, "--force", "--report", "r.json")

    assert done.exit_code == 1
    assert "NOT PROVED: first wrong layer" in done.output
    assert "x.pdparams.unverified holds the converted weights." in done.output
    assert (folder / "x.pdparams").read_text() == "precious"
    assert json.loads((folder / "r.json").read_text())["candidate"]["file"].endswith(".unverified")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("no_such_module:build", "No module named 'no_such_module'. Is it in"),
        ("pair_torch:built", "pair_torch has no built. Did you mean 'build'?"),
        ("pair_torch:sized", "missing a required argument: 'classes'; expected a function without"),
        ("pair_torch:number", "is of type int; expected a function without arguments that builds"),
        ("pair_torch:CLASSES.nope", "pair_torch has no CLASSES.nope."),
    ],
)
@pytest.mark.torch
@pytest.mark.paddle
def test_models_that_cannot_be_built_leave_the_file_unverified(
    model: str, message: str, folder: Path
) -> None:
    """What is wrong with the function, and what is expected."""
    done = run(*FORTH, "--torch-model", model, *MODELS[2:])

    assert done.exit_code == 1
    assert message in done.output
    assert "the converted weights stay in x.pdparams.unverified" in done.output
    assert left(folder) == sorted([*FILES, "x.pdparams.unverified"])


def test_ctrl_c_before_the_verdict_leaves_the_file_unverified(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is whole, only not proved; exit status 130."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vitconvert.parity.check_parity", interrupt)
    monkeypatch.setattr("vitconvert.running.interpreters.missing", lambda _sides: [])
    done = run(*FORTH, *MODELS)

    assert done.exit_code == 130
    assert left(folder) == sorted([*FILES, "x.pdparams.unverified"])
    assert len(arrays(folder / "x.pdparams.unverified")) == 10


@pytest.mark.torch
@pytest.mark.paddle
@pytest.mark.parametrize("back", [False, True])
def test_without_models_the_command_that_proves_is_printed(back: bool) -> None:
    """It runs once the functions are filled in; of what was cast and converted back, too."""
    done = run(*FORTH, "--dtype", "float16")
    if back:
        arguments = ["--table", "pair.toml", "--src", "x.pdparams", "--dst", "a b.pth"]
        done = run(*arguments, "--dtype", "bfloat16")

    assert done.exit_code == 0
    told, command = done.output.split("Not proved yet; to prove it:\n")
    assert told.endswith(" tensors. ")
    for side in ("torch", "paddle"):
        command = command.replace("PKG.MOD:FUNC", f"pair_{side}:build", 1)
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:2] == ["vitconvert", "parity"]
    assert "--paddle-model pair_paddle:build" in command
    proved = CliRunner().invoke(cli, [*words[1:], "--device", "cpu"])
    assert proved.exit_code == 0, proved.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (MODELS[:2], "--paddle-model is missing: the proof runs both models."),
        (MODELS[2:], "--torch-model is missing: the proof runs both models."),
        (["--html", "r.html"], "--html belongs to the parity check: give --torch-model and"),
        (["--input-size", "32"], "--input-size belongs to the parity check: give --torch-model"),
        (
            [*MODELS, "--no-parity", "--paddle-python", "python"],
            "--paddle-python belongs to the parity check: leave out --no-parity.",
        ),
        ([*MODELS, "--dry-run", "--report", "r.json"], "leave out --no-parity and --dry-run."),
        ([*MODELS, "--max-shard-size", "1MB"], "--max-shard-size works with a sharded"),
    ],
)
def test_options_that_contradict_each_other(
    arguments: list[str], message: str, folder: Path
) -> None:
    """Are wrong usage, before anything is read or written."""
    done = run(*FORTH, *arguments)

    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert left(folder) == FILES


def test_dry_run_needs_no_model(folder: Path) -> None:
    """Every tensor and what would become of it; nothing is written."""
    models = ["--torch-model", "not.there:yet", "--paddle-model", "not.there:either"]
    done = run(*FORTH, *models, "--dry-run")

    assert done.exit_code == 0
    assert "only for training" in done.output
    assert "11 tensors: 2 to transpose, 8 to copy, 1 to drop. Nothing was written" in done.output
    assert left(folder) == FILES


def test_no_parity_runs_no_model(folder: Path) -> None:
    """The models are only named in the command that proves it later."""
    models = ["--torch-model", "not.there:yet", "--paddle-model", "not.there:either"]
    done = run(*FORTH, *models, "--no-parity")

    assert done.exit_code == 0
    assert "--torch-model not.there:yet" in done.output
    assert left(folder) == sorted([*FILES, "x.pdparams"])


def test_a_file_that_does_not_fit_is_refused_with_rows_and_tensors(folder: Path) -> None:
    """Some tensors without a row; nearly all; and rows without a tensor, which may be correct."""
    replace("pair.toml", '  ["fc1",  "fc1",  "linear"],\n', "")
    done = run(*FORTH)
    assert done.exit_code == 1
    assert "does not fit pair.toml. 2 problems:" in done.output
    assert "fc1.weight: no row of pair.toml claims this [8, 8] tensor." in done.output

    (folder / "other.toml").write_text('rows = [["body.{i}.fc", "b.{i}.fc", "linear"]]')
    done = run("--table", "other.toml", *FORTH[2:])
    assert done.exit_code == 1
    assert "other.toml knows 0 of its 11 tensors; its rows begin with body.{i}.fc" in done.output
    assert "It does not know:\n" in done.output
    assert left(folder) == sorted([*FILES, "other.toml"])

    write_pair(folder)
    replace("pair.toml", "rows = [", 'rows = [["neck.{i}", "neck.{i}", "layer_norm"],')
    done = run(*FORTH)
    assert done.exit_code == 0
    expected = "no tensor of w.safetensors belongs to row 1 (neck.{i}) of pair.toml"
    assert expected in done.output


@pytest.mark.torch
@pytest.mark.paddle
def test_a_table_that_does_not_fit_the_model_names_the_tensors() -> None:
    """And the file by the name that it is left under."""
    replace("pair.toml", '["head", "fc", ', '["head", "out",')
    done = run(*FORTH, *MODELS)

    assert done.exit_code == 1
    assert "Error: x.pdparams.unverified does not fit the model:" in done.output
    assert "out.weight: the model has no such tensor." in done.output
    assert ".part" not in done.output


@pytest.mark.torch
@pytest.mark.paddle
def test_from_python_a_pair_proves_and_a_table_converts(folder: Path) -> None:
    """What parity cannot be checked with is refused before anything is written."""
    done = convert("w.safetensors", "x.pdparams", PAIR, device="cpu", batch_size=1)
    assert proof(done).proved
    assert proof(done).inputs["shape"] == [1, 3, 24, 32]
    assert done.path == Path("x.pdparams")

    table, how = Path("pair.toml"), "y.pdparams"
    assert convert("w.safetensors", how, table, parity=False).report is None
    refused: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (table, {}, ConversionError, r"pass Pair\(torch_model, paddle_model, table\)"),
        (table, {"parity": False, "input_size": (8, 8)}, ConversionError, "input_size: for the"),
        (Pair("a:b", "c:d"), {}, RunError, "has no table"),
        (Pair("a", "c:d", table), {}, ModelError, r"'a': expected package\.module:function"),
        (PAIR, {"input_size": (0, 8)}, RunError, "expected positive numbers"),
        (PAIR, {"torch_python": "/no/python"}, ModelError, "--torch-python /no/python: does not"),
        (PAIR, {"speed": 1}, TypeError, "unexpected keyword arguments: speed"),
    ]
    for model, options, kind, message in refused:
        with pytest.raises(kind, match=message):
            convert("w.safetensors", "z.pdparams", model, **options)
    with pytest.raises(ParityError, match="has no table"):
        check_parity(Pair("a:b", "c:d"), torch_checkpoint="w", paddle_checkpoint="x")
    assert "z.pdparams" not in " ".join(left(folder))


@pytest.mark.torch
@pytest.mark.paddle
def test_a_proposed_table_ends_with_the_command_that_converts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From two models to a proved file, typing what is printed; the file's names filled in."""
    monkeypatch.setattr("vitconvert.apps.proposal._outline.run", run_here)
    found = CliRunner().invoke(
        cli, ["table", *MODELS, "--input-size", "24x32", "--out", "new.toml"]
    )
    assert found.exit_code == 0, found.output
    command = found.output[found.output.rindex("vitconvert convert") :].replace("\\\n", " ")
    words = shlex.split(command)
    words[words.index("--src") + 1] = "w.safetensors"
    assert words[:2] == ["vitconvert", "convert"]

    with (folder / "new.toml").open("a") as table:
        table.write('[ignore]\n"teacher.weight" = "only for training"\n')
    done = run(*words[2:])
    assert done.exit_code == 0, done.output
    assert f"{words[words.index('--dst') + 1]} holds the converted weights." in done.output


def test_inspect_of_an_unknown_file_says_what_to_do_at_eighty_columns(plain: Make) -> None:
    """Propose a table, convert by it; a known file needs none of it."""
    convert("w.safetensors", "x.pdparams", Path("pair.toml"), parity=False)
    for file, target in (("w.safetensors", "my.pdparams"), ("x.pdparams", "my.pth")):
        shown = CliRunner().invoke(cli, ["inspect", file]).output
        hint = shown.split("looks like: no variant known here\n")[1]
        assert "vitconvert table --torch-model PKG.MOD:FUNC --paddle-model PKG.MOD:FUNC" in hint
        assert f"vitconvert convert --table my.toml --src {file}" in hint
        assert f"--dst {target}" in hint
        assert "docs/parity.md" in hint
        assert max(map(len, hint.splitlines())) <= 80

    known = CliRunner().invoke(cli, ["inspect", str(plain("shunted_t"))])
    assert "vitconvert table" not in known.output


def test_a_family_that_does_not_know_a_file_names_the_way_of_ones_own() -> None:
    """Instead of a list of names that say nothing."""
    done = CliRunner().invoke(cli, ["shunted", "--src", "w.safetensors", "--dst", "x.pdparams"])

    assert done.exit_code == 1
    assert "is not a Shunted Transformer checkpoint: shunted.toml knows 2 of its 11" in done.output
    assert "For a model of your own, `vitconvert table` proposes a table" in done.output
