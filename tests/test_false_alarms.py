"""What is right is proved: every variant, with one and two threads, on five inputs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import TOOLS, Make, every_variant

pytestmark = [pytest.mark.torch, pytest.mark.paddle]


def cases() -> list:
    """Give variants and numbers of threads; large variants with one thread are in test_parity."""
    return [
        pytest.param(*param.values, threads, marks=param.marks)
        for param in every_variant()
        for threads in (1, 2)
        if threads == 2 or not param.marks
    ]


@pytest.mark.parametrize(("variant", "threads"), cases())
def test_correct_checkpoint_is_always_proved(
    variant: str, threads: int, official: Make, converted: Make, tmp_path: Path
) -> None:
    """No false alarm, and every figure far from its limit."""
    script, files = TOOLS / "compare_often.py", (official(variant), converted(variant))
    done = subprocess.run(
        [sys.executable, script, variant, *files, tmp_path],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"},
    )

    found = json.loads(done.stdout.splitlines()[-1])
    assert {name: one["first"] for name, one in found.items()} == dict.fromkeys(found, "")
    assert {one["verdict"] for one in found.values()} == {"PROVED"}
    assert len(found) == 5
    assert {one["threads"] for one in found.values()} == {threads}
    assert max(one["float64"] for one in found.values()) < 1e-11
    assert max(one["single"] for one in found.values()) < 1e-11
