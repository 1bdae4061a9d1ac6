"""A trace holds what the model computes; here for Paddle alone, so that old releases are tested."""

import io
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from conftest import Make, arrays, golden_facts, write_paddle
from golden import rule
from vitconvert import CheckpointError, _table, create_model
from vitconvert.parity import _trace
from vitconvert.parity._compare import Trace

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.paddle
def test_paddle_file_that_is_no_model_is_refused(converted: Make, tmp_path: Path) -> None:
    """create_model holds a file to what parity holds it to: names, shapes, floating types."""
    state = arrays(converted("shunted_t"))
    state["norm1.weight"] = state["norm1.weight"].astype(np.int8)
    del state["norm2.bias"]

    with pytest.raises(CheckpointError) as caught:
        create_model("shunted_t", checkpoint=write_paddle(tmp_path / "x", state))
    assert "norm1.weight: int8; expected one of float64" in str(caught.value)
    assert "norm2.bias: missing; expected [128]" in str(caught.value)


@pytest.mark.paddle
def test_paddle_trace_ends_in_the_official_logits(converted: Make, tmp_path: Path) -> None:
    """Every layer of the table once, in float64 and float32; the logits are the golden ones."""
    import paddle

    np.save(tmp_path / "in.npy", rule.images("shunted_t", (2, 3, 224, 224)))
    job = _trace.Job(
        framework="paddle",
        variant="shunted_t",
        checkpoint=str(converted("shunted_t")),
        weights=None,
        num_classes=1000,
        device="cpu",
        inputs=str(tmp_path / "in.npy"),
        out=str(tmp_path),
    )
    progress = io.StringIO()
    try:
        _trace.trace(job, progress)
    finally:
        paddle.set_default_dtype("float32")

    found, logits = Trace(tmp_path), load_file(GOLDEN / "shunted_t.safetensors")["logits"]
    assert golden_facts("shunted_t")["input"]["shape"] == [2, 3, 224, 224]
    np.testing.assert_allclose(found.array("float64", "logits"), logits, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.array("float32", "logits"), logits, rtol=0, atol=2e-5)
    for dtype in _trace.DTYPES:
        assert found.records[dtype].keys() == {*found.layers, "logits"}
    assert found.environment["paddle"] == paddle.__version__
    count = 2 * (len(found.layers) + 1)
    assert progress.getvalue().splitlines()[-1] == f"[{count}, {count}]"
    assert set(found.layers) <= set(_table.load_table("shunted").layers("paddle", found.layers))
