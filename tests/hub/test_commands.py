"""Names of the hub wherever a checkpoint is read: in Python, and on the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conftest import Make
from tools.hub_server import Hub
from vitconvert import CheckpointError, convert, open_checkpoint
from vitconvert.cli import cli
from vitconvert.plain import sha256

VARIANT = "shiftvit_cifar_tiny"
NAME = "hf://org/net"


def run(*words: str | Path) -> Any:
    """Run a command."""
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.fixture
def commit(hub: Hub, plain: Make) -> str:
    """Put weights on the hub."""
    return hub.add("org/net", {"model.safetensors": plain(VARIANT).read_bytes()})


def test_the_header_says_where_the_weights_come_from(
    commit: str, plain: Make, tmp_path: Path
) -> None:
    """Repository, commit, file and hash; what is written is the same for the same commit."""
    made = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]

    convert(NAME, made[0], "shiftvit", parity=False)
    source = open_checkpoint(made[0]).metadata["source"]
    convert(source, made[1], "shiftvit", parity=False)

    assert source == f"{NAME}@{commit}/model.safetensors"
    assert open_checkpoint(made[0]).metadata["source_sha256"] == sha256(plain(VARIANT))
    assert made[0].read_bytes() == made[1].read_bytes()


def test_a_target_that_is_there_is_refused_before_anything_is_fetched(
    hub: Hub, tmp_path: Path
) -> None:
    """A name is fetched when all else is checked."""
    target = tmp_path / "x.pdparams"
    target.write_bytes(b"x")

    with pytest.raises(CheckpointError, match="--force"):
        convert(NAME, target, "shiftvit", parity=False)
    assert hub.asked == []


@pytest.mark.usefixtures("commit")
def test_commands_take_names(tmp_path: Path) -> None:
    """As they take files."""
    target = tmp_path / "x.pdparams"

    shown = run("inspect", NAME)
    done = run("shiftvit", "--src", NAME, "--dst", target, "--no-parity")

    assert f"looks like: {VARIANT}" in shown.output
    assert done.exit_code == 0, done.output
    assert "took model.safetensors of commit" in done.output
    assert target.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("inspect",),
        ("shiftvit", "--dst", "x.pdparams", "--src"),
        ("convert", "--table", __file__, "--dst", "x.pdparams", "--src"),
        ("parity", VARIANT, "--paddle", __file__, "--torch"),
        ("parity", VARIANT, "--torch", __file__, "--paddle"),
        ("dump", VARIANT, "--framework", "torch", "--out", "t", "--checkpoint"),
        ("eval", VARIANT, "--data", __file__, "--weights"),
        ("eval", VARIANT, "--data", __file__, "--weights", __file__, "--torch-weights"),
        ("export", VARIANT, "--out", "x", "--weights"),
        ("explain", VARIANT, "--image", __file__, "--out", "x.png", "--weights"),
        ("train", VARIANT, "--data", __file__, "--out", "x", "--weights"),
    ],
)
def test_every_command_that_reads_weights_takes_names(hub: Hub, words: tuple[str, ...]) -> None:
    """One that is malformed is wrong usage; one that is not there is an error, after a question."""
    wrong, missing = run(*words, "hf:/org/net"), run(*words, "hf://org/absent")

    assert wrong.exit_code == 2
    assert "two slashes" in " ".join(wrong.output.split())
    assert missing.exit_code == 1, missing.output
    assert "/org/absent" in missing.output
    assert "GET /api/models/org/absent" in hub.asked


@pytest.mark.torch
@pytest.mark.paddle
def test_what_is_fetched_is_proved(commit: str, tmp_path: Path) -> None:
    """Both sides of the report are of files, one of them of the hub."""
    target, report = tmp_path / "x.pdparams", tmp_path / "report.json"

    done = run("shiftvit", "--src", NAME, "--dst", target, "--report", report)

    assert done.exit_code == 0, done.output
    found = json.loads(report.read_text())
    assert found["proved"]
    assert found["reference"]["from"] == f"{NAME}@{commit}/model.safetensors"
    assert "from" not in found["candidate"]
