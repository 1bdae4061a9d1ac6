"""A trace holds what the model computes; here for Paddle alone, so that old releases are tested."""

from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file

from conftest import GOLDEN, Make, arrays, golden_facts, write_paddle
from golden import rule
from vitconvert import CheckpointError, ParityError, create_model
from vitconvert.parity import _dump
from vitconvert.parity._trace import Trace
from vitconvert.running.setup import Setup, Subject
from vitconvert.tables import reading


@pytest.mark.paddle
def test_paddle_file_that_is_no_model_is_refused(converted: Make, tmp_path: Path) -> None:
    """create_model holds a file to what parity holds it to: names, shapes, floating types."""
    state = arrays(converted("shunted_t"))
    state["norm1.weight"] = state["norm1.weight"].astype(np.int8)
    del state["norm2.bias"]

    with pytest.raises(CheckpointError) as caught:
        create_model("shunted_t", checkpoint=write_paddle(tmp_path / "x", state))
    assert "norm1.weight: int8; expected one of float64" in str(caught.value)
    assert "norm2.bias: missing; shunted_t has it as [128]" in str(caught.value)


@pytest.mark.paddle
def test_paddle_trace_ends_in_the_official_logits(converted: Make, tmp_path: Path) -> None:
    """Every layer of the table once, in float64 and float32; the logits are the golden ones."""
    np.save(tmp_path / "in.npy", rule.images("shunted_t", (2, 3, 224, 224)))
    subject = Subject("shunted_t", 1000, output="logits")
    job = _dump.Job(
        Setup("paddle", subject, str(converted("shunted_t")), device="cpu"),
        str(tmp_path / "in.npy"),
        str(tmp_path),
    )
    told: list[object] = []
    _dump.trace(job, SimpleNamespace(tell=told.append))

    found, expected = Trace(tmp_path), load_file(GOLDEN / "shunted_t.safetensors")["logits"]
    assert golden_facts("shunted_t")["input"]["shape"] == [2, 3, 224, 224]
    traced = {name for name, layer in found.facts.layers.items() if layer.traced} | {"logits"}
    for dtype, atol in (("float64", 1e-10), ("float32", 2e-5)):
        run = found.runs[dtype]
        logits = run.arrays[run.calls["logits"].outputs["array"]]
        np.testing.assert_allclose(logits, expected, rtol=0, atol=atol)
        assert run.calls.keys() == traced
    assert found.facts.environment["paddle"] == version("paddlepaddle")
    assert found.facts.weights.keys() == set(reading.variants()["shunted_t"].shapes) - {
        "patch_embed1.conv.1.num_batches_tracked"
    }
    count = 2 * len(traced)
    assert told[-1] == [count, count]


@pytest.mark.paddle
def test_input_of_a_layer_that_is_the_output_of_another_is_written_once(
    converted: Make, tmp_path: Path
) -> None:
    """The float64 file holds less than twice the outputs, though it holds the inputs, too."""
    np.save(tmp_path / "in.npy", rule.images("shunted_t", (1, 3, 64, 64)))
    subject = Subject("shunted_t", 1000, output="logits")
    setup = Setup("paddle", subject, str(converted("shunted_t")), device="cpu")
    job = _dump.Job(setup, str(tmp_path / "in.npy"), str(tmp_path))
    _dump.trace(job, SimpleNamespace(tell=lambda _what: None))

    calls = Trace(tmp_path).runs["float64"].calls
    given = {key: list(call.inputs["dict"].values()) for key, call in calls.items()}
    assert given["block1.0.norm1"] == [calls["patch_embed1"].outputs[0]]
    assert given["block1.0.attn.q"] == [calls["block1.0.norm1"].outputs]
    assert given["block1.0.attn"][1:] == [16, 16]
    assert calls["block1.0.mlp"].parent == "block1.0"


def test_what_is_no_trace_is_refused(tmp_path: Path) -> None:
    """A folder without trace.json, of another format, or with another content."""
    with pytest.raises(ParityError, match="is not a readable trace"):
        Trace(tmp_path)
    for text, message in (
        ("{}", "is not a readable trace"),
        ("[" * 100_000, "is not a readable trace"),
        ('{"format": 1}', "trace of format 1; this release reads format 3"),
        ('{"format": 99}', "trace of format 99; this release reads format 3"),
        ('{"format": 3, "layers": 7}', "is not a readable trace"),
    ):
        (tmp_path / "trace.json").write_text(text)
        with pytest.raises(ParityError, match=message):
            Trace(tmp_path)
