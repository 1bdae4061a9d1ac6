"""Workers: what they hear and report, how they end, and which are used again. No framework."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vitconvert.errors import RunError
from vitconvert.running.process import Task, keep_workers, run
from vitconvert.sides import SIDES

PROGRAM = """
import os, sys, time
from vitconvert.errors import ModelError

def carry_out(job, parent):
    print("a framework prints what it likes")
    parent.tell([1, 2])
    what = job.get("what")
    if what == "fail":
        raise ModelError("as foreseen")
    if what == "crash":
        1 / 0
    if what == "exit":
        sys.exit(7)
    if what == "die":
        os._exit(9)
    if what == "killed":
        os.kill(os.getpid(), 9)
    if what == "wait":
        time.sleep(600)
    if what == "where":
        return {"cwd": os.getcwd()}
    return {"pid": os.getpid(), **{name: os.environ.get(name) for name in job.get("names", ())}}
"""


pytestmark = pytest.mark.own_process


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that workers find."""
    (tmp_path / "told_to.py").write_text(PROGRAM)
    found = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(found))
    for name in ("OMP_NUM_THREADS", "NVIDIA_TF32_OVERRIDE"):
        monkeypatch.delenv(name, raising=False)


def do(*jobs: dict[str, Any], **task: Any) -> list[Any]:
    """Carry out a job for each side."""
    pairs = zip(SIDES, jobs, strict=False)
    return run([Task(side, "told_to", job, **task) for side, job in pairs], lambda *_: None)


def pid(**task: Any) -> int:
    """Name the process that does a job."""
    return int(do({}, **task)[0]["pid"])


def gone(process: int) -> bool:
    """Tell whether a process has ended, even if nobody has asked for its status yet."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def test_jobs_run_side_by_side_and_tell_how_far_they_are() -> None:
    """Each in a process of its own, which ends with the job; what they print is not heard."""
    heard, tasks = [], [Task(side, "told_to", {}) for side in SIDES]

    answers = run(tasks, lambda side, what: heard.append((side, what)))

    assert sorted(heard) == [("paddle", [1, 2]), ("torch", [1, 2])]
    pids = {answer["pid"] for answer in answers}
    assert len(pids) == 2
    assert all(map(gone, pids))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("fail", "^as foreseen$"),
        ("crash", r"(?s)^the PyTorch process ended with status 1\. .*ZeroDivisionError"),
        ("exit", r"^the PyTorch model ends the process: sys\.exit\(7\)\.$"),
        ("die", r"^the PyTorch process ended with status 9\. It printed:"),
        ("killed", r"^the PyTorch process was killed by SIGKILL, .* memory runs out\. It printed:"),
    ],
)
def test_what_fails_is_told_and_ends_the_others(what: str, message: str) -> None:
    """At once, though the other one would take ten minutes."""
    with pytest.raises(RunError, match=message):
        do({"what": what}, {"what": "wait"})


def test_a_worker_leaves_a_folder_that_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch's compiler asks where it is when it is imported, as timm does."""
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    with keep_workers():
        assert do({"what": "where"})[0]["cwd"] == str(tmp_path / "there")
        (tmp_path / "there").rmdir()
        monkeypatch.chdir(tmp_path)
        assert Path(do({"what": "where"})[0]["cwd"]).is_dir()


def test_kept_workers_serve_one_job_after_another() -> None:
    """And end with the context; a context within has workers of its own."""
    with keep_workers():
        first = pid()
        assert pid() == first
        with keep_workers():
            inner = pid()
            assert inner != first
        assert gone(inner)
        assert pid() == first
    assert gone(first)


def test_a_failure_does_not_end_a_kept_worker_but_what_was_busy_ends() -> None:
    """The model of the other side was in the middle of something."""
    with keep_workers():
        before = [answer["pid"] for answer in do({}, {})]
        with pytest.raises(RunError, match="as foreseen"):
            do({"what": "fail"}, {"what": "wait"})
        after = [answer["pid"] for answer in do({}, {})]

        assert after[0] == before[0]
        assert after[1] != before[1]
        assert gone(before[1])
        for what in ("crash", "die"):
            with pytest.raises(RunError, match="ended with status"):
                do({"what": what}, {})
            assert do({}, {})[0]["pid"] != after[0]


def test_a_kept_worker_suits_the_task() -> None:
    """Its interpreter, threads and TF32 are those that are asked for; own models have their own."""
    names = ["OMP_NUM_THREADS", "NVIDIA_TF32_OVERRIDE"]
    with keep_workers():
        plain = pid()
        assert do({"names": names}, tf32=True)[0]["NVIDIA_TF32_OVERRIDE"] is None
        assert do({"names": names})[0] == {"pid": plain} | dict(
            zip(names, [str(os.cpu_count()), "0"], strict=True)
        )
        own = pid(own="net:a")
        assert own != plain
        assert gone(own)
        assert pid(own="net:a") != own
    with keep_workers(own_models=True):
        own = pid(own="net:a")
        assert pid(own="net:a") == own
        assert pid(own="net:b") != own


def test_workers_end_when_the_one_that_started_them_is_killed() -> None:
    """Idle ones, too."""
    code = (
        "import time\n"
        "from vitconvert.running.process import Task, keep_workers, run\n"
        "with keep_workers():\n"
        "    task = Task('torch', 'told_to', {})\n"
        "    print(run([task], lambda *_: None)[0]['pid'], flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()

    deadline = time.monotonic() + 20
    while not gone(worker):
        assert time.monotonic() < deadline, "the worker outlived its parent"
        time.sleep(0.05)
