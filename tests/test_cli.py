"""What a person types, and what comes back."""

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len
from safetensors.numpy import save_file

from conftest import ROOT, Make, arrays, write_paddle
from vitconvert.cli import cli
from vitconvert.tables import reading
from vitconvert.terminal import print_table, say, table_lines, wrapped


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(cli, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


README = (ROOT / "README.md").read_text()
MAIN = "from vitconvert.cli import main; main()"
COMMANDS = [
    *reading.families(),
    *("parity", "dump", "compare", "table", "convert", "inspect", "models", "shapes"),
]


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
    result = run("shunted", "--src", __file__, "--dst", tmp_path / "x.pdparams", "--no-parity")

    assert result.exit_code == 1
    assert f"Error: {__file__}: not a checkpoint" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_conversion_says_what_it_found(plain: Make, tmp_path: Path) -> None:
    """The variant, where it was found, what was written, that nothing was proved."""
    result = run(
        "shunted", "--src", plain("shunted_t"), "--dst", tmp_path / "x.pdparams", "--no-parity"
    )

    assert result.exit_code == 0
    assert "variant: shunted_t, 1000 classes (found from names and shapes)" in result.output
    assert "converted 259 tensors, written, read back and equal" in result.output
    assert "parity was not checked" in result.output


def test_dry_run_prints_the_plan_and_writes_nothing(plain: Make, tmp_path: Path) -> None:
    """Every tensor with operation, target and reason."""
    result = run(
        "shunted", "--src", plain("shunted_t"), "--dst", tmp_path / "x.pdparams", "--dry-run"
    )

    assert result.exit_code == 0
    line = next(x for x in result.output.splitlines() if x.startswith("block1.0.attn.q.weight"))
    assert line.split() == [
        "block1.0.attn.q.weight",
        "transpose",
        "block1.0.attn.q.weight",
        *["row", "15,", "kind", "linear:", "out", "in", "->", "in", "out"],
    ]
    assert "training step counter; Paddle has none" in result.output
    for key in arrays(plain("shunted_t")):
        assert key in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [*((command, "--help") for command in COMMANDS), ("models", "shunted"), ("models", "litv2")],
)
def test_screens_fit_eighty_columns(arguments: tuple[str, ...]) -> None:
    """Help with its examples, and lists of models with short names."""
    shown = run(*arguments)

    assert shown.exit_code == 0
    assert [line for line in shown.output.splitlines() if len(line.rstrip()) > 80] == []


def test_a_family_that_is_not_there_is_named_with_the_nearest() -> None:
    """As wrong usage."""
    shown = run("models", "shuntd")

    assert shown.exit_code == 2
    assert "Did you mean 'shunted'?" in shown.output


def test_head_that_is_missing_is_said_and_the_file_tells_the_framework(
    plain: Make, tmp_path: Path
) -> None:
    """ShiftViT without its only linear layer looks alike in both."""
    state = {k: v for k, v in arrays(plain("shiftvit_cifar")).items() if "head" not in k}
    source = tmp_path / "x.safetensors"
    save_file(state, source)
    target = tmp_path / "x.pdparams"
    done = run("shiftvit", "--src", source, "--dst", target, "--no-parity")

    assert "variant: shiftvit_cifar, no head (found from names and shapes)" in done.output
    for file, names in ((source, "PyTorch"), (target, "Paddle")):
        line = run("inspect", file).output.splitlines()[-1]
        assert line == f"looks like: shiftvit_cifar (family shiftvit, no head, {names} names)"


def test_other_variant_of_the_same_shapes_is_named(plain: Make, tmp_path: Path) -> None:
    """The first in the table is taken; --variant takes the other, and then nothing is said."""
    arguments = ("--src", plain("litv2_small_det"), "--dst", tmp_path / "x.pdparams", "--dry-run")
    found = run("litv2", *arguments)
    asked = run("litv2", *arguments, "--variant", "litv2_small_det_ws4")

    assert (
        "variant: litv2_small_det, no head (found from names and shapes, which are also those of "
        "litv2_small_det_ws4; litv2_small_det_ws4 computes another function: --variant decides)"
        in found.output
    )
    assert "variant: litv2_small_det_ws4, no head (as asked)" in asked.output


def test_head_for_no_classes_is_refused(plain: Make, tmp_path: Path) -> None:
    """Of shape [0, 768]: neither a head nor none."""
    state = arrays(plain("shiftvit_cifar"))
    state["head.weight"], state["head.bias"] = state["head.weight"][:0], state["head.bias"][:0]
    source = tmp_path / "x.safetensors"
    save_file(state, source)
    result = run("shiftvit", "--src", source, "--dst", tmp_path / "y.pdparams", "--no-parity")

    assert result.exit_code == 1
    assert "head.weight" in result.stderr


@pytest.mark.torch
@pytest.mark.paddle
def test_parity_says_which_weights_it_took(official: Make, tmp_path: Path) -> None:
    """Averaged weights against plain ones fail for a reason that stands on the screen."""
    source, target = official("shiftvit_cifar_tiny"), tmp_path / "x.pdparams"
    arguments = ("--src", source, "--dst", target, "--no-parity", "--weights", "model_ema")
    run("shiftvit", *arguments)
    pair = ("shiftvit_cifar_tiny", "--torch", source, "--paddle", target)
    wrong, right = run("parity", *pair), run("parity", *pair, "--weights", "model_ema")

    assert (wrong.exit_code, right.exit_code) == (1, 0)
    assert "choose them with --weights model_ema" in wrong.output
    assert "weights found under 'model_ema'" in right.output


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
    """With size, published figure, and how images were brought to that size."""
    shown = run("models")

    assert all(name in shown.output for name in reading.variants())
    rows = [re.split("  +", line.strip()) for line in shown.output.splitlines()]
    assert ["litv2_base_384", "384x384", "86.5 M", "84.7", "bicubic, squash 1.0"] in rows
    assert ["shiftvit_base_r2", "224x224", "89.0 M", "-", "-"] in rows


@pytest.mark.torch
@pytest.mark.paddle
def test_one_line_converts_and_proves(official: Make, tmp_path: Path) -> None:
    """Exit status 0, the file, the table, the verdict, the report."""
    target, report = tmp_path / "x.pdparams", tmp_path / "x.json"

    files = ("--src", official("shunted_t"), "--dst", target)
    done = run("shunted", *files, "--report", report, "--all")

    assert done.exit_code == 0
    assert "PROVED: both checkpoints compute the same function." in done.output
    assert re.search(r"^block1\.0\.attn\.q +linear( +\S+){4} +same", done.output, re.MULTILINE)
    assert target.exists()
    facts = json.loads(report.read_text())
    assert facts["proved"] is True
    assert facts["first_diverging"] is None
    assert facts["reference"]["device"] == facts["candidate"]["device"] == "cpu"
    assert len(facts["layers"]) == 167


@pytest.mark.torch
@pytest.mark.paddle
def test_the_demonstration_is_as_the_readme_shows_it(tmp_path: Path) -> None:
    """A trained model is converted and proved, and both sides tell all ten images."""
    demo, target = ROOT / "docs" / "demo", tmp_path / "shiftvit.pdparams"
    source = demo / "shiftvit_cifar_tiny.pth"
    shown = [line.split() for line in README.splitlines()]

    done = run("shiftvit", "--src", source, "--dst", target)
    options = ("--weights", target, "--torch-weights", source, "--data", demo / "images")
    evaluated = run("eval", "shiftvit_cifar_tiny", *options)

    assert done.exit_code == evaluated.exit_code == 0
    # Figures and times differ from machine to machine.
    for line in [*done.output.splitlines()[:3], *evaluated.output.splitlines()[2:5]]:
        assert line.split() in shown
    assert "both classify all 10 images the same." in evaluated.output
    assert re.search(r"right +10 of 10 +10 of 10$", evaluated.output, re.MULTILINE)


@pytest.mark.torch
@pytest.mark.paddle
def test_parity_of_a_wrong_file_is_status_1(
    official: Make, converted: Make, tmp_path: Path
) -> None:
    """The first diverging layer is named; further ones as well, for there may be no report."""
    state = arrays(converted("shunted_cifar_tiny"))
    state["block2.0.attn.proj.weight"] = state["block2.0.attn.proj.weight"].T
    for further in ("block2.0.mlp.fc2", "block3.0.attn.q", "norm3", "head"):
        state[f"{further}.bias"] = state[f"{further}.bias"] + 1
    wrong = write_paddle(tmp_path / "x.pdparams", state)

    done = run(
        "parity", "shunted_cifar_tiny", "--torch", official("shunted_cifar_tiny"), "--paddle", wrong
    )

    assert done.exit_code == 1
    assert "NOT PROVED: first wrong layer: block2.0.attn.proj (linear): differs" in done.output
    assert "`block2.0.attn.proj` differs by itself (alone" in done.output
    assert "its weight equals the source's untransposed." in done.output
    assert re.search(r"2 more layers are wrong by themselves: `\S+`, `\S+`\.", done.output)


@pytest.mark.torch
@pytest.mark.paddle
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_leaves_no_half_file_and_no_process(
    sign: signal.Signals, official: Make, tmp_path: Path
) -> None:
    """While parity runs: status 130, the complete file stays unverified, no traceback."""
    arguments = ["shunted", "--src", official("shunted_t"), "--dst", tmp_path / "x.pdparams"]
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", MAIN, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell may have started the tests in the background, where some signals are ignored.
        preexec_fn=lambda: signal.signal(sign, signal.SIG_DFL),
    )
    assert process.stdout is not None
    while "read back and equal" not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(0.7)
    process.send_signal(sign)
    output, errors = process.communicate(timeout=30)

    assert process.returncode == 130
    assert errors.strip() == "Interrupted."
    assert f"the converted weights stay in {tmp_path}/x.pdparams.unverified" in output
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.pdparams.unverified"]
    assert members_of_session(process.pid) == []


@pytest.mark.torch
@pytest.mark.paddle
def test_workers_end_when_their_parent_is_killed(official: Make, tmp_path: Path) -> None:
    """Even by kill -9, which nothing can handle."""
    arguments = ["shunted", "--src", official("shunted_t"), "--dst", tmp_path / "x.pdparams"]
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", MAIN, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert process.stdout is not None
    while "read back and equal" not in process.stdout.readline():
        assert process.poll() is None
    while len(members_of_session(process.pid)) < 3:
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=30)

    for _ in range(500):
        if not members_of_session(process.pid):
            return
        time.sleep(0.02)
    pytest.fail("a worker outlived its parent")


@pytest.mark.torch
@pytest.mark.paddle
def test_nohup_keeps_a_run_alive(official: Make, tmp_path: Path) -> None:
    """A hangup that was to be ignored when we started is ignored."""
    arguments = [
        "shunted",
        "--src",
        official("shunted_cifar_tiny"),
        "--dst",
        tmp_path / "x.pdparams",
    ]
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", MAIN, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert process.stdout is not None
    while "read back and equal" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGHUP)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "PROVED" in output


def members_of_session(session: int) -> list[int]:
    """List the processes of a session, from /proc: slim systems have no ps."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # After the command's name in parentheses: state, parent, group, session.
            state, _parent, _group, own = stat.read_text().rpartition(")")[2].split()[:4]
            if int(own) == session and state != "Z":
                found.append(int(stat.parent.name))
    return found


@pytest.mark.torch
@pytest.mark.paddle
def test_full_temporary_folder_is_an_error_of_ours(official: Make, tmp_path: Path) -> None:
    """The traces find no room: the folder is named, nothing is proved, the weights are kept."""
    arguments = ["shunted", "--src", official("shunted_t"), "--dst", tmp_path / "x.pdparams"]
    limit = 60_000_000  # bytes; enough for the checkpoint, too little for a trace

    done = subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, arguments)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )

    assert done.returncode == 1
    assert "process cannot continue" in done.stderr
    assert "TMPDIR names another folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.pdparams.unverified"]


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.paddle
def test_python_files_of_the_users_folder_are_not_run(
    official: Make, converted: Make, tmp_path: Path
) -> None:
    """A numpy.py beside the checkpoint is not NumPy, and torch.py is not PyTorch."""
    for name in ("numpy", "torch", "random"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')")
    files = ("--torch", official("shunted_t"), "--paddle", converted("shunted_t"))
    command = Path(sys.executable).with_name("vitconvert")

    done = subprocess.run(
        [command, "parity", "shunted_t", *files], cwd=tmp_path, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "executed").exists()


def test_no_file_plays_two_parts(plain: Make, tmp_path: Path) -> None:
    """A report over the source, a source that is the .unverified: refused, nothing lost."""
    source = tmp_path / "a.pdparams.unverified"
    source.write_bytes(plain("shunted_t").read_bytes())
    target, other = tmp_path / "a.pdparams", tmp_path / "b.pdparams"
    (tmp_path / "notes.json").write_text('{"mine": 1}')
    for arguments, message in [
        (("--dst", target), "are the same file"),
        (("--dst", other, "--report", source), "are the same file"),
        (("--dst", other, "--report", other), "are the same file"),
        (("--dst", other, "--report", f"{other}.unverified"), "are the same file"),
        (("--dst", other, "--report", tmp_path / "notes.json"), "is not a parity report"),
        (("--dst", "/dev/null", "--force"), "is a device or a pipe"),
        (("--dst", other, "--report", "/dev/stdout"), "/dev/stdout"),
    ]:
        result = run("shunted", "--src", source, *arguments)
        assert result.exit_code == 1
        assert message in result.stderr, arguments
    assert source.read_bytes() == plain("shunted_t").read_bytes()
    assert Path("/dev/null").is_char_device()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [source.name, "notes.json"]


@pytest.mark.parametrize("name", ["a[/b]", "x\x1b]0;title\x07", "[bold]w", "tab\tname"])
def test_odd_names_do_not_reach_the_terminal(name: str, tmp_path: Path) -> None:
    """Neither as markup nor as control characters."""
    path = write_paddle(tmp_path / "x.pdparams", {name: np.ones(2, "f4")})

    shown = run("inspect", path)
    refused = run("shunted", "--src", path, "--dst", tmp_path / "y.pdparams", "--no-parity")

    assert shown.exit_code == 0
    assert refused.exit_code == 1
    spelled = name.replace("\x1b", "\\x1b").replace("\x07", "\\x07").replace("\t", "\\t")
    assert spelled in shown.output
    assert "\x1b" not in shown.output + refused.output


def test_names_stay_as_they_are_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """`net:a:`, a model of the user's own, is no emoji, and brackets are no markup."""
    say("net:a: 2 layers [bold]")

    assert capsys.readouterr().out == "net:a: 2 layers [bold]\n"


@pytest.mark.parametrize("reader", ["true", "head -1"])
def test_a_reader_that_leaves_changes_no_exit_status(reader: str, tmp_path: Path) -> None:
    """What is said to nobody is dropped: more than a pipe holds, after the reader has gone."""
    path = write_paddle(tmp_path / "x.pdparams", {f"a{i}.w": np.ones(1, "f4") for i in range(3000)})
    command = [sys.executable, "-c", MAIN, "inspect", str(path)]

    with subprocess.Popen(reader, shell=True, stdin=subprocess.PIPE, stdout=-3) as other:
        done = subprocess.run(command, stdout=other.stdin, stderr=subprocess.PIPE, text=True)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("columns", [80, 60, 30])
def test_text_is_folded_between_words(columns: int) -> None:
    """A word stays whole, Chinese characters take two columns, and nothing ends in blanks."""
    line = "  the first of 画像画像 wrong layers: blocks.0.attn.qkv.weight  in it, 1.0e-10 off"

    lines = wrapped(line, columns)

    assert " ".join(" ".join(lines).split()) == " ".join(line.split())
    assert all(cell_len(one) <= columns for one in lines)
    assert all(one == one.rstrip() and one.startswith("  ") for one in lines)


@pytest.mark.parametrize("columns", [None, 70, 40])
def test_a_table_is_folded_to_the_terminal(columns: int | None) -> None:
    """Names fold after a dot, figures stay whole and right, and nothing ends in blanks."""
    headings = ("layer", "alone\nfloat64", "verdict")
    rows = [("layers.0.blocks.1.mlp.activation", "1.0e-15", "same"), ("画像.weight", "2", "")]

    lines = [click.unstyle(one) for one in table_lines(rows, headings, headings[1:2], columns)]

    assert all(one == one.rstrip() and cell_len(one) <= (columns or 100) for one in lines)
    assert "".join(one.split(" ")[0] for one in lines[2:-1]) == rows[0][0]
    assert lines[-1].split() == ["画像.weight", "2"]
    assert lines[-1].endswith(" 2")
    assert cell_len(lines[-1]) == cell_len(lines[2].rpartition("  ")[0])


def test_full_output_device_is_no_traceback(plain: Make) -> None:
    """`> /dev/full`: one error, exit status 1."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, "inspect", plain("shunted_t")],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )

    assert done.returncode != 0
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


# -- what is written


def test_dry_run_of_the_way_back(converted: Make, tmp_path: Path) -> None:
    """It names what is restored, and what would be cast."""
    target = tmp_path / "x.pth"
    options = ("--src", converted("shunted_t"), "--dst", target, "--dtype", "float16")

    result = run("shunted", *options, "--dry-run")

    assert result.exit_code == 0
    assert "260 tensors: 48 to transpose, 211 to copy, 1 to restore. " in result.output
    assert (
        "Floating tensors would be cast to float16, but 2 statistics stay in float32."
        in result.output
    )
    assert list(tmp_path.iterdir()) == []


def test_way_back_says_that_counters_start_anew(converted: Make, tmp_path: Path) -> None:
    """Paddle has none."""
    result = run(
        "shunted", "--src", converted("shunted_t"), "--dst", tmp_path / "x.pth", "--no-parity"
    )

    assert result.exit_code == 0
    assert "1 step counter, which Paddle does not have, starts at 0" in result.output


def test_source_of_a_converted_file_is_shown(plain: Make, tmp_path: Path) -> None:
    """It stands in the header of a .safetensors."""
    target = tmp_path / "x.safetensors"
    run("shunted", "--src", plain("shunted_t"), "--dst", target, "--no-parity")

    result = run("inspect", target)

    assert "  source: shunted_t.safetensors\n" in result.output
    assert "looks like: shunted_t (family shunted, 1000 classes, Paddle names)" in result.output


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--dst", "x.pth"], 1, "is already a PyTorch checkpoint"),
        (["--dst", "x.pth", "--dry-run"], 1, "is already a PyTorch checkpoint"),
        (["--dst", "x"], 1, "cannot tell the format"),
        (["--dst", ""], 1, "is a folder"),
        (["--dst", "/"], 1, "is a folder"),
        (["--dst", "missing/"], 1, "cannot tell the format"),
        (["--dst", "x.pdparams", "--dtype", "int8"], 2, "'int8' is not one of 'float32'"),
        (["--dst", "x.safetensors", "--max-shard-size", "1GB"], 2, "x.safetensors.index.json"),
        (["--dst", "x.safetensors.index.json", "--max-shard-size", "big"], 2, "one such as 2GB"),
    ],
)
def test_wrong_targets_are_told(
    options: list[str], status: int, message: str, plain: Make, tmp_path: Path
) -> None:
    """With what was expected; nothing is written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        result = run("shunted", "--src", plain("shunted_t"), "--no-parity", *options)

    assert result.exit_code == status
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["shuntd"], "No such command 'shuntd'. Did you mean 'shunted'?"),
        (["parit"], "Did you mean 'parity'?"),
        (["shunted", "--src", "model.pt", "--dst", "x.pth"], "Did you mean 'model.pth'?"),
        (["inspect", "mod.pth"], "Did you mean 'model.pth'?"),
        (["inspect", "circle.pth"], "'circle.pth' is a link that leads nowhere."),
        (["eval", "shunted_s", "--data", "imags"], "Did you mean 'images'?"),
        (["compare", "imags", "images"], "Did you mean 'images'?"),
        (["inspect", "model.pth", "--weigths", "x"], "Did you mean '--weights'?"),
        (["shunted", "--src", "model.pth", "--variant", "shunted_bb"], "Did you mean 'shunted_b'?"),
        (["parity", "shunted_ss", "--torch", "model.pth", "--paddle", "model.pth"], "'shunted_s'?"),
    ],
)
def test_nearest_name_is_suggested(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of commands and families, variants, options, files and folders."""
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    Path("model.pth").touch()
    Path("unlike.txt").touch()
    Path("circle.pth").symlink_to("circle.pth")

    result = run(*arguments)

    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())


def test_name_like_no_other_gets_no_suggestion() -> None:
    """A wild guess would mislead."""
    assert "Did you mean" not in run("xyzzy").stderr


def test_wrong_usage_is_folded_with_all_that_click_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own words, before and after the message, count as well."""
    monkeypatch.setattr("vitconvert.terminal._columns", lambda _: 60)

    for options in (["--torch-weights", "x"], ["--paddle", f"{'no/' * 9}x", "--torch", "y"]):
        lines = CliRunner().invoke(cli, ["parity", "shunted_s", *options]).output.splitlines()
        assert lines[-2].startswith("Error: ")
        assert max(map(len, lines)) <= 60


@pytest.mark.parametrize(("variable", "value"), [("TERM", "dumb"), ("NO_COLOR", "1")])
def test_terminals_without_colours_get_none(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would show the escapes."""
    stream = StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr("vitconvert.terminal._columns", lambda _: 80)
    monkeypatch.setenv(variable, value)

    print_table([["a", "b"]], "left", "right")

    assert stream.getvalue() == "left  right\na     b\n"
