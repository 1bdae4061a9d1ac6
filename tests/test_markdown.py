"""Tables and commands as Markdown."""

import shlex
import subprocess

import pytest

from vitconvert.markdown import code, code_block, command_line, table


def test_a_cell_stays_in_its_row() -> None:
    """A bar is escaped, once, and an end of line is spelled out."""
    lines = table(("name", "max \\|Δ\\|"), [("a|b\nc", "1")])

    assert lines == ["| name | max \\|Δ\\| |", "| --- | ---: |", "| a\\|b\\nc | 1 |"]


def test_code_holds_backticks() -> None:
    """The fence is longer than any in it."""
    assert code("a") == "`a`"
    assert code("a`b") == "`` a`b ``"
    assert code_block("a ```` b") == ["`````bash", "a ```` b", "`````"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["parity", "shunted_s", "--torch", "my file's.pth", "--tf32", "--paddle", "$HOME/\\x.pd"],
        ["parity", "--input", "a\nb\t'c\\", "-h", "--batch", "1,8", "--x=", ""],
        ["eval", "x" * 60, "--data", "y" * 60, "z" * 90, "--report", "\udce9 ü"],
    ],
)
def test_a_command_can_be_pasted(arguments: list[str]) -> None:
    """A shell gives the very same arguments; no value is parted from its option."""
    command = command_line(arguments)

    printed = subprocess.run(
        ["bash", "-c", command.replace("vitconvert", r"printf '%s\0'", 1)],
        capture_output=True,
        check=True,
    ).stdout
    assert printed.split(b"\0")[:-1] == [a.encode("utf-8", "surrogateescape") for a in arguments]
    assert all(len(line) <= 90 or "zzz" in line for line in command.splitlines())


def test_a_long_command_is_wrapped_before_an_option() -> None:
    """As one would write it by hand."""
    made = command_line(["parity", "shunted_s", "--torch", "a" * 40, "--paddle", "b" * 40])

    assert made == (f"vitconvert parity shunted_s --torch {'a' * 40} \\\n    --paddle {'b' * 40}")
    assert shlex.split(made)[-1] == "b" * 40
