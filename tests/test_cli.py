"""What a person types, and what comes back."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from conftest import Make, arrays, write_paddle
from vitconvert import _table
from vitconvert.cli import cli


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(cli, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


COMMANDS = [*_table.families(), "parity", "inspect", "models"]


def test_help_lists_every_command() -> None:
    """And states the exit statuses."""
    shown = run("--help")

    assert shown.exit_code == 0
    assert all(command in shown.output for command in COMMANDS)
    assert "Exit status" in shown.output


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_an_example(command: str) -> None:
    """One that starts as the person would type it."""
    shown = run(command, "--help")

    assert shown.exit_code == 0
    assert re.search(rf"^ +vitconvert {command}", shown.output, re.MULTILINE)


@pytest.mark.parametrize("arguments", [["--help"], ["shunted", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    """Neither a framework nor NumPy nor rich, so that help is instant."""
    code = f"""
import sys
sys.argv = ["vitconvert", *{arguments}]
from vitconvert.cli import main
try:
    main()
except SystemExit:
    heavy = [m for m in ("torch", "paddle", "numpy", "rich") if m in sys.modules]
    print(heavy, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["shunted"],
        ["shunted", "--src", "x.pth"],
        ["nonsense"],
        ["shunted", "--src", "/not/there.pth", "--dst", "x"],
        ["shunted", "--src", __file__, "--dst", "x", "--variant", "shunted_x"],
        ["shunted", "--src", __file__, "--dst", "x", "--device", "tpu"],
        ["shunted", "--src", __file__, "--dst", "x", "--no-parity", "--report", "r.json"],
        ["parity", "shunted_s"],
        ["parity", "nonsense", "--torch", __file__, "--paddle", __file__],
        ["inspect"],
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    """With a message, without a traceback."""
    result = run(*arguments)

    assert result.exit_code == 2
    assert "Error" in result.stderr


def test_not_a_checkpoint_is_status_1(tmp_path: Path) -> None:
    """One error on stderr; nothing is written."""
    result = run("shunted", "--src", __file__, "--dst", tmp_path / "x", "--no-parity")

    assert result.exit_code == 1
    assert f"Error: {__file__}: not a checkpoint" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_conversion_says_what_it_found(plain: Make, tmp_path: Path) -> None:
    """The variant, where it was found, what was written, that nothing was proved."""
    result = run("shunted", "--src", plain("shunted_t"), "--dst", tmp_path / "x", "--no-parity")

    assert result.exit_code == 0
    assert "variant: shunted_t, 1000 classes (found from names and shapes)" in result.output
    assert "259 tensors, read back and equal" in result.output
    assert "parity was not checked" in result.output


def test_dry_run_prints_the_plan_and_writes_nothing(plain: Make, tmp_path: Path) -> None:
    """Every tensor with operation, target and reason."""
    result = run("shunted", "--src", plain("shunted_t"), "--dst", tmp_path / "x", "--dry-run")

    assert result.exit_code == 0
    line = next(x for x in result.output.splitlines() if x.startswith("block1.0.attn.q.weight"))
    assert line.split() == [
        "block1.0.attn.q.weight",
        "transpose",
        "block1.0.attn.q.weight",
        *["row", "11,", "kind", "linear:", "[out,", "in]", "->", "[in,", "out]"],
    ]
    assert "training step counter; Paddle has none" in result.output
    for key in arrays(plain("shunted_t")):
        assert key in result.output
    assert list(tmp_path.iterdir()) == []


def test_inspect_tells_both_sides_apart(plain: Make, converted: Make) -> None:
    """Tensors with shapes and dtypes, and the variant it looks like."""
    torch, paddle = run("inspect", plain("shunted_s")), run("inspect", converted("shunted_s"))

    assert "safetensors" in torch.output
    assert "looks like: shunted_s (family shunted, 1000 classes, PyTorch names)" in torch.output
    assert re.search(r"head\.weight +\[1000, 512\] +float32", torch.output)
    assert "looks like: shunted_s (family shunted, 1000 classes, Paddle names)" in paddle.output
    assert re.search(r"head\.weight +\[512, 1000\] +float32", paddle.output)


@pytest.mark.torch
def test_inspect_shows_the_wrapper(official: Make) -> None:
    """The keys of a training checkpoint, the Namespace by name."""
    shown = run("inspect", official("shunted_t"))

    assert shown.exit_code == 0
    assert "weights found under 'model'" in shown.output
    assert "args: argparse.Namespace" in shown.output


def test_models_lists_every_variant() -> None:
    """With the published figure."""
    shown = run("models")

    assert all(name in shown.output for name in _table.variants())
    assert "82.9 %" in shown.output


@pytest.mark.torch
@pytest.mark.paddle
def test_one_line_converts_and_proves(official: Make, tmp_path: Path) -> None:
    """Exit status 0, the file, the table, the verdict, the report."""
    target, report = tmp_path / "x.pdparams", tmp_path / "x.json"

    done = run("shunted", "--src", official("shunted_t"), "--dst", target, "--report", report)

    assert done.exit_code == 0
    assert "PROVED: both checkpoints compute the same function." in done.output
    assert re.search(r"^block1\.0\.attn\.q +linear +\S+ +\S+ +\S+ +same", done.output, re.MULTILINE)
    assert target.exists()
    facts = json.loads(report.read_text())
    assert facts["proved"] is True
    assert facts["first_diverging"] is None
    assert facts["torch"]["device"] == facts["paddle"]["device"] == "cpu"
    assert len(facts["layers"]) == 154


@pytest.mark.torch
@pytest.mark.paddle
def test_parity_of_a_wrong_file_is_status_1(
    official: Make, converted: Make, tmp_path: Path
) -> None:
    """And the first diverging layer is named."""
    state = arrays(converted("shunted_t"))
    state["block2.0.attn.proj.weight"] = state["block2.0.attn.proj.weight"].T
    wrong = write_paddle(tmp_path / "x.pdparams", state)

    done = run("parity", "shunted_t", "--torch", official("shunted_t"), "--paddle", wrong)

    assert done.exit_code == 1
    assert "NOT PROVED: first diverging layer: block2.0.attn.proj (linear): differs" in done.output


@pytest.mark.torch
@pytest.mark.paddle
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_no_half_file_and_no_process(
    sign: signal.Signals, official: Make, tmp_path: Path
) -> None:
    """While parity runs: status 130, the complete file stays unverified, no traceback."""
    arguments = ["shunted", "--src", official("shunted_t"), "--dst", tmp_path / "x.pdparams"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from vitconvert.cli import main; main()", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    unverified = tmp_path / "x.pdparams.unverified"
    while not unverified.exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(sign)
    _output, errors = process.communicate(timeout=30)

    assert process.returncode == 130
    assert errors.strip() == "Interrupted."
    assert [entry.name for entry in tmp_path.iterdir()] == [unverified.name]
    workers = subprocess.run(["ps", "-s", str(process.pid), "-o", "pid="], capture_output=True)
    assert not workers.stdout.strip()
