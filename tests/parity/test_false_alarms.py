"""What is right is proved, with one thread and with two, on five inputs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Make, is_large
from tracing import noise
from vitconvert import check_parity
from vitconvert.running.process import keep_workers
from vitconvert.tables import reading

pytestmark = [pytest.mark.torch, pytest.mark.paddle]


@pytest.fixture(scope="module", autouse=True)
def workers() -> Iterator[None]:
    """End those of two threads with this module."""
    with keep_workers():
        yield


def cases() -> list[Any]:
    """Give the smallest variant of each set of rows, with one thread and with two.

    The others are the same layers in other numbers and sizes; test_parity proves them all, and the
    large ones of these with one thread.
    """
    params, seen = list[Any](), set[frozenset[str]]()
    found = [(reading.load_table(v.family), v) for v in reading.variants().values()]
    for table, variant in sorted(found, key=lambda pair: pair[0].parameters(pair[1])):
        rows = frozenset(claim.row.torch for key in variant.shapes for claim in table.claims(key))
        if rows not in seen and not table.fixed_size:  # the photos have sizes of their own
            params.append(pytest.param(variant.name, 2, marks=pytest.mark.slow))
            if not is_large(variant.name, 10e6):
                params.append((variant.name, 1))
        seen.add(rows)
    return params


def photos() -> dict[str, np.ndarray]:
    """Give five inputs, float32 [B, 3, H, W]."""
    rows, columns = np.mgrid[0:64, 0:96] / 48 - 1
    smooth = np.stack([np.sin(3 * rows + columns), columns, rows * columns])[None]
    return {
        "noise": noise((2, 3, 64, 64)),
        "wide": noise((1, 3, 64, 96), 1),
        "faint": noise((1, 3, 64, 64), 2) * np.float32(1e-3),
        "loud": noise((1, 3, 64, 64), 3) * np.float32(30),
        "smooth": smooth.astype("f4"),
    }


@pytest.mark.parametrize(("variant", "threads"), cases())
def test_correct_checkpoint_is_always_proved(
    variant: str,
    threads: int,
    official: Make,
    converted: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No false alarm, and every figure far from its limit."""
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    for name, images in photos().items():
        np.save(tmp_path / "in.npy", images)

        report = check_parity(
            variant,
            torch_checkpoint=official(variant),
            paddle_checkpoint=converted(variant),
            input=str(tmp_path / "in.npy"),
            device="cpu",
        )

        assert report.first_diverging is None, name
        assert report.proved, name
        assert report.reference["threads"] == report.candidate["threads"] == threads
        figures = [figure for layer in report.layers for figure in (layer.float64, layer.alone)]
        assert max(figure for figure in figures if figure is not None) < 1e-11, name
        assert None not in figures
