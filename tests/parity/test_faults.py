"""Every planted fault is caught by parity, and the layer with the fault is named."""

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import MODEL_FAULTS, WEIGHT_FAULTS, turn

from conftest import Make, arrays, known, write_paddle
from tracing import built_once, compared, culprit, parity, trace, traced_once
from vitconvert import CheckpointError, ParityError, models
from vitconvert.parity import compare_traces
from vitconvert.running import setup
from vitconvert.tables import reading

pytestmark = [pytest.mark.torch, pytest.mark.paddle]


@pytest.fixture(scope="module")
def torch_trace(official: Make, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the trace of Shunted-T in PyTorch, run once; models are built once, too."""
    with traced_once("shunted_t", official, tmp_path_factory.mktemp("trace")) as folder:
        yield folder


@pytest.mark.parametrize("fault", WEIGHT_FAULTS)
def test_planted_fault_is_caught_and_named(
    fault: str, torch_trace: Path, converted: Make, tmp_path: Path
) -> None:
    """Not proved; the layer with the fault is named, and in words what is wrong with it."""
    plant, layer, words, _builds = WEIGHT_FAULTS[fault]
    state = arrays(converted("shunted_t"))
    plant(state)

    report = compared(torch_trace, write_paddle(tmp_path / "x", state))

    assert report.verdict == "NOT PROVED"
    assert known(report.culprit).layer == layer
    assert known(report.first_diverging).layer == layer
    assert report.diagnosis[0].startswith(f"`{layer}` ")
    assert words in report.diagnosis[0]


def test_weights_of_another_checkpoint_are_named_as_such(
    torch_trace: Path, converted: Make, tmp_path: Path
) -> None:
    """Not one by one: no mistake in a conversion changes nearly all of them."""
    rng = np.random.default_rng(0)
    state = {
        key: (1 + rng.uniform(size=array.shape)).astype(array.dtype)
        for key, array in arrays(converted("shunted_t")).items()
    }

    report = compared(torch_trace, write_paddle(tmp_path / "x", state))

    assert report.verdict == "NOT PROVED"
    assert report.diagnosis[-1] == (
        f"{report.weights} of {report.weights} weight tensors hold other values: neither "
        f"checkpoint was converted from the other."
    )


@pytest.mark.parametrize("variant", MODEL_FAULTS)
def test_every_fault_planted_in_the_model_is_caught_and_named(
    variant: str, official: Make, converted: Make, tmp_path: Path
) -> None:
    """The weights are right, the Paddle model does something else; without it, nothing is found."""
    wrong = []
    with traced_once(variant, official, tmp_path, size=64) as folder:
        for fault, (plant, layer, words, builds) in MODEL_FAULTS[variant].items():
            with pytest.MonkeyPatch.context() as patch, built_once() if builds else nullcontext():
                plant(patch)
                report = compared(folder, converted(variant), variant)
            named = report.culprit and report.culprit.layer
            told = report.diagnosis[0] if report.diagnosis else ""
            if report.proved or named != layer or words not in told or f"`{layer}`" not in told:
                wrong.append((fault, named, told))
        clean = compared(folder, converted(variant), variant)

    assert wrong == []
    assert clean.proved


@pytest.mark.parametrize(
    "key", ["patch_embed1.conv.1._mean", "patch_embed1.conv.1._variance", "block1.0.attn.q.bias"]
)
def test_missing_tensor_is_refused_by_name(
    key: str, official: Make, converted: Make, tmp_path: Path
) -> None:
    """BatchNorm statistics or a bias that is not in the file at all."""
    state = arrays(converted("shunted_t"))
    shape = list(state.pop(key).shape)

    with pytest.raises(CheckpointError) as caught:
        parity("shunted_t", official("shunted_t"), write_paddle(tmp_path / "x", state))
    assert f"{key}: missing; shunted_t has it as {shape}" in str(caught.value)


def square_linear_layers(variant: str) -> list[str]:
    """Name the square linear weights: a wrong transpose of these passes every shape check."""
    table, found = reading.find_variant(variant)
    return [
        claim.paddle
        for key, shape in found.shapes.items()
        for claim in table.claims(key)
        if claim.rule.axes and claim.paddle and shape[0] == shape[1]
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "count", "at_once"), [("shunted_t", 30, 3), ("shunted_b", 128, 8)]
)
def test_every_square_linear_left_untransposed_is_named(
    variant: str, count: int, at_once: int, official: Make, converted: Make, tmp_path: Path
) -> None:
    """Each square layer in turn, or several far apart, by their outputs alone."""
    keys = square_linear_layers(variant)
    clean = arrays(converted(variant))
    assert len(keys) == count

    with traced_once(variant, official, tmp_path) as folder:
        for first in range(count // at_once):
            state, wrong = dict(clean), keys[first :: count // at_once]
            for key in wrong:
                turn(key)(state)
            paddle = write_paddle(tmp_path / "x.pdparams", state)
            layers = compared(folder, paddle, variant).layers
            named = [f"{layer.layer}.weight" for layer in layers if layer.is_fault]
            assert sorted(named) == sorted(wrong)


def test_nothing_is_found_where_nothing_is_wrong(torch_trace: Path, converted: Make) -> None:
    """The way the planted faults are tested raises no false alarm."""
    assert culprit(torch_trace, converted("shunted_t")) is None


def test_layer_of_another_class_is_refused(
    torch_trace: Path, converted: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subclass of paddle.nn.Linear that computes something else is not what the kind says."""
    import paddle

    class Lookalike(paddle.nn.Linear):
        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            return 2 * super().forward(x)

    linear = paddle.nn.Linear
    paddle.set_default_dtype("float64")
    try:
        model = models.build("paddle", reading.variants()["shunted_t"], 1000)
    finally:
        paddle.set_default_dtype("float32")
    model.block1[0].attn.q.__class__ = Lookalike
    monkeypatch.setattr(setup, "build", lambda *_: model)

    with pytest.raises(ParityError, match=r"block1\.0\.attn\.q: is a .*Lookalike, kind 'linear'"):
        trace(torch_trace, "paddle", converted("shunted_t"))
    assert paddle.nn.Linear is linear


def test_compat_linear_is_refused(
    torch_trace: Path, converted: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paddle's own look-alike of torch.nn.Linear, whose weight is [out, in]: square, it fits."""
    import paddle

    model = models.build("paddle", reading.variants()["shunted_t"], 1000)
    model.block1[0].attn.q = paddle.compat.nn.Linear(64, 64)
    monkeypatch.setattr(setup, "build", lambda *_: model)

    with pytest.raises(ParityError, match=r"block1\.0\.attn\.q: is a paddle\.compat\.nn"):
        trace(torch_trace, "paddle", converted("shunted_t"))


def test_layers_that_did_not_run_on_both_sides_fail(torch_trace: Path, converted: Make) -> None:
    """A layer never called, called once too often, or of another shape."""
    trace(torch_trace, "paddle", converted("shunted_t"))
    file = torch_trace / "paddle" / "trace.json"
    facts = json.loads(file.read_text())

    def verdicts(
        change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], **layers: dict[str, Any]
    ) -> dict[str, str]:
        runs = {dtype: change(calls) for dtype, calls in facts["runs"].items()}
        changed = {"runs": runs, "layers": facts["layers"] | layers, "alone": None}
        file.write_text(json.dumps(facts | changed))
        report = compare_traces(torch_trace / "torch", torch_trace / "paddle")
        return {r.layer: r.verdict for r in report.layers}

    first = facts["runs"]["float64"][0]["layer"]
    layer = facts["layers"][first]
    assert verdicts(lambda calls: calls[1:])[first] == "missing"
    again = verdicts(lambda calls: [*calls, {**calls[0], "number": 2}])
    assert again[f"{first}#2"] == "missing"
    without = verdicts(lambda calls: [{**calls[0], "outputs": [1, 2]}, *calls[1:]])
    assert without[first] == "shape"
    assert verdicts(lambda calls: calls, block9=layer)["block9"] == "missing"
    assert set(verdicts(lambda calls: calls).values()) == {"same"}
