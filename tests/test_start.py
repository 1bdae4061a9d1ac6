"""What ends a process ends it quietly, however early it comes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SLOW = "import time\nprint('importing', flush=True)\ntime.sleep(60)\n"
WAYS = {
    "python -m vitconvert": ["-m", "vitconvert"],
    "the installed script": ["-c", "from vitconvert.__main__ import main; main()"],
}


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("way", WAYS)
def test_a_signal_during_start_up_ends_as_later(
    way: str, ending: signal.Signals, tmp_path: Path
) -> None:
    """With status 130 and one line, in the middle of the first import of another package."""
    (tmp_path / "click.py").write_text(SLOW)
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, *WAYS[way], "models"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"importing\n"
    process.send_signal(ending)
    printed = process.communicate(timeout=20)[1]

    assert (process.returncode, printed) == (130, b"Interrupted.\n")


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    """As of a job in the background of a shell."""
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from vitconvert.start import begin; begin()\n"
        "import click; print('done')"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

    assert printed.stdout == b"done\n", printed.stderr


LATER = """
import os, signal, time, weakref
import click
from vitconvert.cli import Commands
from vitconvert.start import Importing, begin
begin()

class Thing:
    pass

def ignored():
    thing = Thing()
    held = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    del thing

def taken():
    import ctypes
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    with Importing():
        libc.signal(signal.SIGTERM, 0)
        os.kill(os.getpid(), signal.SIGTERM)

def executed():
    exec("os.kill(os.getpid(), signal.SIGINT)")

def another():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    except KeyboardInterrupt:
        raise ImportError("initialization failed")

@click.command()
def work():
    WAY()
    for _ in range(50):
        time.sleep(0.1)

Commands.get_command = lambda *_: work
Commands()(["work"])
"""


@pytest.mark.parametrize("way", ["ignored", "taken", "executed", "another"])
def test_a_signal_is_never_lost(way: str, tmp_path: Path) -> None:
    """Python ignores it as it throws something away; Paddle takes it; an import hides it."""
    (tmp_path / "later.py").write_text(LATER.replace("WAY", way))
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    printed = subprocess.run(
        [sys.executable, "-m", "later"],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )

    assert (printed.returncode, printed.stderr) == (130, b"Interrupted.\n")


def test_a_signal_after_the_work_changes_nothing() -> None:
    """While Python takes itself apart, which frameworks make long."""
    code = (
        "import os, signal\n"
        "class Last:\n"
        "    def __del__(self, kill=os.kill, me=os.getpid(), hup=signal.SIGHUP): kill(me, hup)\n"
        "from vitconvert.start import begin; begin()\n"
        "import sys; sys.last = Last()\n"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

    assert (printed.returncode, printed.stderr) == (0, b"")
