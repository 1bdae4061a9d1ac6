"""The family of docs/tables.md, in a folder of its own, is treated as a shipped one."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import save_file

from conftest import ROOT
from vitconvert import TableError, check_parity, convert, create_model, list_models
from vitconvert.cli import cli
from vitconvert.tables import reading

PAGE = (ROOT / "docs" / "tables.md").read_text()
ANOTHER = """
[variants.tiny_s_64]
input_size = [64, 64]
config = { depth = 2 }
"""
# What sed does in step 2.
WORDS = {
    r"nn\.Module\b": "nn.Layer",
    "ModuleList": "LayerList",
    "Conv2d": "Conv2D",
    "BatchNorm2d": "BatchNorm2D",
    r"\btorch\b": "paddle",
    "models_torch": "models_paddle",
}


def shown(name: str) -> str:
    """Give a file as docs/tables.md shows it."""
    (text,) = re.findall(rf"```\w+\n# families/{re.escape(name)}\n(.*?)```", PAGE, re.DOTALL)
    return str(text)


TABLE = shown("tiny.toml") + ANOTHER
MODEL = shown("models_torch/tiny.py")


def in_paddle(text: str) -> str:
    """Change the words of a PyTorch model, as the page does."""
    for word, other in WORDS.items():
        text = re.sub(word, other, text)
    return text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with the family; its shapes are still to be written."""
    folder = tmp_path / "families"
    for name, text in {
        "tiny.toml": TABLE,
        "models_torch/tiny.py": MODEL,
        "models_paddle/tiny.py": in_paddle(MODEL),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def run(*arguments: object, folder: Path | None = None) -> Result:
    """Run the command line, as with VITCONVERT_TABLES=folder."""
    environment = {reading.FOLDERS: str(folder) if folder else ""}
    return CliRunner().invoke(cli, list(map(str, arguments)), env=environment)


@pytest.fixture
def whole(folder: Path) -> Path:
    """Give the folder with its shapes."""
    done = run("shapes", folder / "tiny.toml")
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def weights(whole: Path, tmp_path: Path) -> Path:
    """Make PyTorch weights of tiny_l: noise, and positive variances."""
    rng = np.random.default_rng(0)
    with reading.using(whole):
        variant = reading.find_variant("tiny_l")[1]
    state = {
        key: rng.uniform(0.5, 1, variant.resolve(shape, 1000)).astype("f4")
        for key, shape in variant.shapes.items()
        if "num_batches" not in key
    }
    save_file(state, tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


@pytest.mark.torch
@pytest.mark.paddle
def test_command_line_converts_and_proves_it(weights: Path, whole: Path, tmp_path: Path) -> None:
    """Listed like a shipped family; the processes that prove it find it, too."""
    assert "Convert a Tiny checkpoint" in run("--help", folder=whole).output
    assert "tiny_l" in run("models", folder=whole).output
    assert (
        "looks like: tiny_l (family tiny, 1000 classes"
        in run("inspect", weights, folder=whole).output
    )

    target = tmp_path / "tiny.pdparams"
    done = run("tiny", "--src", weights, "--dst", target, folder=whole)

    assert done.exit_code == 0, done.output
    assert "variant: tiny_l, 1000 classes" in done.output
    assert "PROVED" in done.output
    assert (
        run("parity", "tiny_l", "--torch", weights, "--paddle", target, folder=whole).exit_code == 0
    )


@pytest.mark.torch
@pytest.mark.paddle
def test_python_converts_and_proves_it(weights: Path, whole: Path, tmp_path: Path) -> None:
    """With `tables=`, which leaves nothing behind."""
    target = tmp_path / "tiny.pdparams"
    done = convert(weights, target, "tiny", tables=whole)

    assert done.report is not None
    assert done.report.proved
    assert "tiny_l" in list_models(tables=whole)
    create_model("tiny_l", checkpoint=target, tables=whole)
    report = check_parity(
        "tiny_l", torch_checkpoint=weights, paddle_checkpoint=target, tables=whole
    )
    assert report.proved
    assert "tiny_l" not in list_models()
    assert reading.FOLDERS not in os.environ


@pytest.mark.torch
def test_shapes_are_written_once(whole: Path) -> None:
    """What two variants share is stored with the first."""
    text = (whole / "shapes" / "tiny.toml").read_text()
    with reading.using(whole):
        table = reading.load_table("tiny")

    assert text.count('"head.weight" = ["num_classes", 12]') == 2
    assert '[tiny_s_64]\nsame_as = "tiny_s"\n' in text
    assert table.variants["tiny_s_64"].shapes == table.variants["tiny_s"].shapes != {}


def test_table_without_shapes_says_how_to_make_them(folder: Path) -> None:
    """As the command to type."""
    with pytest.raises(TableError, match=r"no shapes of tiny_s, tiny_l, .*: vitconvert shapes /"):
        list_models(tables=folder)


def test_family_of_two_tables_is_refused(folder: Path) -> None:
    """With both paths; it makes no difference that one is shipped."""
    (folder / "shunted.toml").write_text(TABLE)

    with pytest.raises(TableError) as caught:
        list_models(tables=folder)
    assert f"'shunted' has two tables: {reading.SHIPPED / 'shunted.toml'} and " in str(caught.value)
    assert str(folder / "shunted.toml") in str(caught.value)
    shown = run("--help", folder=folder)
    assert shown.exit_code == 1
    assert shown.output.startswith("Error: the family 'shunted' has two tables")


@pytest.mark.torch
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda f: (f / "models_paddle" / "tiny.py").unlink(), "its Paddle model is missing: exp"),
        (lambda f: f.rename(f.with_name("gone")), "is not a folder; expected one with <family>"),
    ],
)
def test_missing_parts_are_named(
    wrong: Callable[[Path], object], message: str, whole: Path
) -> None:
    """The folder, or a model file."""
    wrong(whole)
    code = (
        "import sys, vitconvert\n"
        "try: vitconvert.create_model('tiny_s', tables=sys.argv[1])\n"
        "except vitconvert.VitconvertError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, whole], capture_output=True, text=True, check=True
    )

    assert message in done.stdout


def test_variant_of_two_families_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name leads to one model; two folders are separated as in PATH."""
    other = folder.with_name("other")
    for place, family in ((folder, "tiny"), (other, "tiny2")):
        (place / "shapes").mkdir(parents=True)
        text = TABLE.replace('"tiny"', f'"{family}"')
        (place / f"{family}.toml").write_text(text)
        shapes = "\n".join(f"[{n}]\nx = [1]" for n in ("tiny_s", "tiny_l", "tiny_s_64"))
        (place / "shapes" / f"{family}.toml").write_text(shapes)
    monkeypatch.setenv(reading.FOLDERS, f"{folder}{os.pathsep}{other}")

    with pytest.raises(TableError, match="families tiny and tiny2 both have a variant 'tiny_s'"):
        list_models()
