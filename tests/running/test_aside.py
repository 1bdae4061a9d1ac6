"""Stdout stays the program's own while a framework is called."""

import os
import sys
import threading

import pytest

from vitconvert.running.aside import stdout_aside


@stdout_aside()
def call_that_fails() -> None:
    os.write(1, b"ReduceMeanCheckIfOneDNNSupport\nsomething\n")
    raise ValueError("as Paddle does")


def test_what_is_printed_in_a_call_is_not_on_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    """By C++, past Python, and though it fails; on stderr is what may concern somebody."""
    os.write(1, b"before\n")
    with pytest.raises(ValueError, match="as Paddle does"):
        call_that_fails()
    os.write(1, b"after\n")

    assert capfd.readouterr() == ("before\nafter\n", "something\n")


def test_threads_get_their_stdout_back(capfd: pytest.CaptureFixture[str]) -> None:
    """Also if several are in such a call."""

    def call() -> None:
        for _ in range(20):
            with stdout_aside():
                os.write(1, b"x")

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(1, b"end")

    assert capfd.readouterr() == ("end", "x" * 80)
    assert sys.stdout.fileno() > 0


def test_a_closed_stdout_stays_closed(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to keep clean, and nothing fails."""

    def closed(_handle: int) -> int:
        raise OSError(9, "Bad file descriptor")

    with monkeypatch.context() as patch:
        patch.setattr(os, "dup", closed)
        with stdout_aside():
            os.write(1, b"x")

    assert capfd.readouterr().out == "x"
