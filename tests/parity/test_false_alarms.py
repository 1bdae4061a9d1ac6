"""What is right is proved, with one thread and with two, on five inputs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import TOOLS, Make, is_large
from vitconvert.tables import reading

pytestmark = [pytest.mark.torch, pytest.mark.paddle]


def cases() -> list:
    """Give the smallest variant of each set of rows, with one thread and with two.

    The others are the same layers in other numbers and sizes; test_parity proves them all.
    """
    params, seen = [], set()
    found = [(reading.load_table(v.family), v) for v in reading.variants().values()]
    for table, variant in sorted(found, key=lambda pair: pair[0].parameters(pair[1])):
        rows = frozenset(claim.row.torch for key in variant.shapes for claim in table.claims(key))
        if rows not in seen:
            marks = [pytest.mark.slow] * is_large(variant.name, 25e6)
            params += [pytest.param(variant.name, threads, marks=marks) for threads in (1, 2)]
        seen.add(rows)
    return params


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
    assert max(one["alone"] for one in found.values()) < 1e-11
