"""The checker proves what is right and catches, by name, what is wrong."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from conftest import Make, arrays, every_variant, write_paddle
from vitconvert import (
    CheckpointError,
    ParityError,
    Report,
    _models,
    _table,
    check_parity,
    convert,
    create_model,
)
from vitconvert.parity import _compare, _trace

pytestmark = [pytest.mark.torch, pytest.mark.paddle]

SMALL = (64, 64)  # pixels; every layer runs, in a twelfth of the time
State = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def torch_trace(official: Make, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the trace of Shunted-T in PyTorch, run once; models are built once, too."""
    with traced_once("shunted_t", official, tmp_path_factory.mktemp("trace")) as folder:
        yield folder


@contextmanager
def traced_once(variant: str, official: Make, folder: Path) -> Iterator[Path]:
    """Trace PyTorch once, and let Paddle models be built once for all that follow."""
    images = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype("f4")
    np.save(folder / "in.npy", images)
    built: dict[str, object] = {}

    def build_once(side: _table.Side, found: _table.Variant, num_classes: int) -> object:
        import paddle

        key = f"{side} {paddle.get_default_dtype()}"
        if side == "torch" or key not in built:
            built[key] = _models.build(side, found, num_classes)
        return built[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_trace, "build", build_once)
        trace(folder, "torch", official(variant), variant)
        yield folder


def trace(folder: Path, side: _table.Side, checkpoint: Path, variant: str = "shunted_t") -> None:
    """Run one side in this process, as a worker would in its own."""
    import paddle
    import torch

    (folder / side).mkdir(exist_ok=True)
    job = _trace.Job(
        framework=side,
        variant=variant,
        checkpoint=str(checkpoint),
        weights=None,
        num_classes=1000,
        device="cpu",
        inputs=str(folder / "in.npy"),
        out=str(folder / side),
    )
    try:
        _trace.trace(job, io.StringIO())
    finally:
        torch.set_default_dtype(torch.float32)
        paddle.set_default_dtype("float32")


def first_diverging(folder: Path, paddle: Path, variant: str = "shunted_t") -> str | None:
    """Run Paddle on a checkpoint and name the first layer that is not the same."""
    trace(folder, "paddle", paddle, variant)
    sides = (_compare.Trace(folder / side) for side in ("torch", "paddle"))
    results = _compare.compare(*sides, {}, lambda *_: None)
    return next((result.layer for result in results if result.verdict != "same"), None)


def parity(variant: str, torch: Path, paddle: Path) -> Report:
    return check_parity(
        variant, torch_checkpoint=torch, paddle_checkpoint=paddle, input_size=SMALL, device="cpu"
    )


@pytest.mark.parametrize("name", every_variant())
def test_official_checkpoint_converts_and_is_proved(
    name: str, official: Make, tmp_path: Path
) -> None:
    """Every variant, from the wrapped training checkpoint, read by torch itself."""
    family = _table.variants()[name].family
    done = convert(official(name), tmp_path / "x.pdparams", family, variant=name, parity=False)

    report = parity(name, official(name), done.path)

    assert report.proved
    assert report.torch["read_by"] == "torch"
    layers = {row.layer.partition("#")[0] for row in report.layers}
    expected = {name for name, layer in create_model(name, "torch").named_modules()}
    table, variant = _table.find_variant(name)
    output = "logits" if variant.num_classes else "features"
    assert layers == set(table.layers("torch", expected)) | {output}


@pytest.fixture
def small_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `convert` check parity on small images."""
    from vitconvert import _convert

    monkeypatch.setattr(_convert, "check_parity", partial(check_parity, input_size=SMALL))


@pytest.mark.usefixtures("small_input")
def test_convert_proves_before_the_file_gets_its_name(official: Make, tmp_path: Path) -> None:
    """Proved: the target is there, nothing else."""
    done = convert(official("shunted_t"), tmp_path / "x.pdparams", "shunted", device="cpu")

    assert done.report is not None
    assert done.report.proved
    assert done.path == tmp_path / "x.pdparams"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.pdparams"]


@pytest.mark.usefixtures("small_input")
def test_unproved_conversion_stays_unverified(
    official: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong table: the file stays beside the target, which is not made, the old one whole."""
    import dataclasses

    from vitconvert import _convert

    table = _table.load_table("shunted")
    conv = table.rows[0].kind
    rows = [dataclasses.replace(r, kind=conv) if r.number == 22 else r for r in table.rows]
    wrong = dataclasses.replace(table, rows=tuple(rows))
    monkeypatch.setattr(_convert, "load_table", lambda _family: wrong)
    (tmp_path / "x.pdparams").write_text("precious")

    done = convert(official("shunted_t"), tmp_path / "x.pdparams", "shunted", force=True)

    assert done.report is not None
    assert not done.report.proved
    assert done.report.first_diverging.layer == "block1.0.attn.proj"
    assert done.path == tmp_path / "x.pdparams.unverified"
    assert done.path.exists()
    assert (tmp_path / "x.pdparams").read_text() == "precious"


# -- planted faults: what was changed in the Paddle file, and the layer that must be named


def turn(key: str) -> Callable[[State], None]:
    def plant(state: State) -> None:
        state[key] = np.ascontiguousarray(state[key].T)

    return plant


def exchange(one: str, other: str) -> Callable[[State], None]:
    def plant(state: State) -> None:
        state[one], state[other] = state[other], state[one]

    return plant


def exchange_q_and_k(state: State) -> None:
    q, kv = state["block4.0.attn.q.weight"], state["block4.0.attn.kv.weight"]  # [in, out]
    state["block4.0.attn.q.weight"] = kv[:, :512].copy()
    state["block4.0.attn.kv.weight"] = np.concatenate([q, kv[:, 512:]], 1)


def exchange_k_and_v(state: State) -> None:
    kv = state["block2.0.attn.kv1.weight"]
    state["block2.0.attn.kv1.weight"] = np.roll(kv, 64, 1)


def no_bias(key: str) -> Callable[[State], None]:
    def plant(state: State) -> None:
        state[key] = np.zeros_like(state[key])

    return plant


def fresh_statistics(state: State) -> None:
    state["patch_embed1.conv.1._mean"] = np.zeros(64, "f4")
    state["patch_embed1.conv.1._variance"] = np.ones(64, "f4")


def one_nan(state: State) -> None:
    state["block3.1.mlp.fc2.bias"][7] = np.nan


def one_element(state: State) -> None:
    state["head.weight"][3, 5] += 1e-3


FAULTS = {
    "q exchanged with k": (exchange_q_and_k, "block4.0.attn.q"),
    "k exchanged with v": (exchange_k_and_v, "block2.0.attn.kv1"),
    "q exchanged with proj": (
        exchange("block3.0.attn.q.weight", "block3.0.attn.proj.weight"),
        "block3.0.attn.q",
    ),
    "two norms exchanged": (
        exchange("block2.1.norm1.weight", "block2.1.norm2.weight"),
        "block2.1.norm1",
    ),
    "bias of a linear layer zero": (no_bias("block1.0.mlp.fc1.bias"), "block1.0.mlp.fc1"),
    "bias of a norm zero": (no_bias("norm3.bias"), "norm3"),
    "bias of a convolution zero": (no_bias("patch_embed3.proj.bias"), "patch_embed3.proj"),
    "statistics as before training": (fresh_statistics, "patch_embed1.conv.1"),
    "one NaN": (one_nan, "block3.1.mlp.fc2"),
    "one element off by 1e-3": (one_element, "head"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_caught_and_named(
    fault: str, torch_trace: Path, converted: Make, tmp_path: Path
) -> None:
    """Not the same, and the first diverging layer is the one with the fault."""
    plant, layer = FAULTS[fault]
    state = arrays(converted("shunted_t"))
    plant(state)

    assert first_diverging(torch_trace, write_paddle(tmp_path / "x", state)) == layer


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
    assert f"{key}: missing; expected {shape}" in str(caught.value)


def square_linear_layers(variant: str) -> list[str]:
    """Name the square linear weights: a wrong transpose of these passes every shape check."""
    table, found = _table.find_variant(variant)
    return [
        claim.target
        for key, shape in found.shapes.items()
        for claim in table.claims(key)
        if claim.rule.transpose and claim.target and shape[0] == shape[1]
    ]


@pytest.mark.parametrize(
    ("variant", "count"),
    [("shunted_t", 30), pytest.param("shunted_b", 128, marks=pytest.mark.slow)],
)
def test_every_square_linear_left_untransposed_is_named(
    variant: str, count: int, official: Make, converted: Make, tmp_path: Path
) -> None:
    """Each square layer in turn, by its outputs alone."""
    keys = square_linear_layers(variant)
    clean = arrays(converted(variant))
    assert len(keys) == count

    with traced_once(variant, official, tmp_path) as folder:
        for key in keys:
            state = dict(clean)
            turn(key)(state)
            paddle = write_paddle(tmp_path / "x.pdparams", state)
            assert first_diverging(folder, paddle, variant) == key.removesuffix(".weight")


def test_nothing_is_found_where_nothing_is_wrong(torch_trace: Path, converted: Make) -> None:
    """The way the planted faults are tested raises no false alarm."""
    assert first_diverging(torch_trace, converted("shunted_t")) is None


def test_layer_of_another_class_is_refused(
    torch_trace: Path, converted: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look-alike of paddle.nn.Linear is not what the kind says."""
    import paddle

    class Lookalike(paddle.nn.Linear):
        pass

    linear = paddle.nn.Linear
    model = _models.build("paddle", _table.variants()["shunted_t"], 1000)
    model.block1[0].attn.q.__class__ = Lookalike
    monkeypatch.setattr(_trace, "build", lambda *_: model)

    with pytest.raises(ParityError, match=r"block1\.0\.attn\.q: is a .*Lookalike, kind 'linear'"):
        trace(torch_trace, "paddle", converted("shunted_t"))
    assert paddle.nn.Linear is linear


# -- the judge


def judged(torch: np.ndarray, paddle: np.ndarray, **float32: np.ndarray) -> _compare.LayerResult:
    record = _trace.Record("fc", "fc", "linear", torch.shape, 0)
    runs = {"torch32": torch, "paddle32": paddle} | float32
    return _compare._judge_values(
        record, record, torch, paddle, *(runs[n].astype("f4") for n in ("torch32", "paddle32"))
    )


VALUES = np.linspace(-3, 3, 1000).reshape(10, 100)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [(0.0, "same"), (1e-12, "same"), (1e-9, "differs"), (1.0, "differs")],
)
def test_one_element_decides(change: float, verdict: str) -> None:
    """The largest difference counts, never a mean; its place and both values are told."""
    other = VALUES.copy()
    other[4, 56] += change

    result = judged(VALUES, other, paddle32=VALUES)

    assert result.verdict == verdict
    if verdict == "differs":
        assert result.worst == _compare.Worst((4, 56), VALUES[4, 56], other[4, 56])
        assert "[4, 56]" in result.note


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("run", ["torch", "paddle", "both", "paddle32"])
def test_what_is_not_finite_never_passes(bad: float, run: str) -> None:
    """Not even where both sides agree on it."""
    broken = VALUES.copy()
    broken[0, 0] = bad
    torch = broken if run in ("torch", "both") else VALUES
    paddle = broken if run in ("paddle", "both") else VALUES

    result = judged(torch, paddle, paddle32=broken if run == "paddle32" else paddle)

    assert result.verdict == "not finite"


def test_float32_is_measured_against_torchs_own_error() -> None:
    """Paddle may err as torch does, not ten times as much; nothing depends on the scale."""
    error = np.where(np.arange(1000).reshape(10, 100) == 77, 2e-6, 0)
    for scale in (1e-6, 1, 1e6):
        values, off = VALUES * scale, error * scale
        torch32 = values + off
        assert judged(values, values, torch32=torch32, paddle32=values + 2 * off).verdict == "same"
        assert (
            judged(values, values, torch32=torch32, paddle32=values + 20 * off).verdict
            == "imprecise"
        )


def test_layers_that_did_not_run_on_both_sides_fail(torch_trace: Path, converted: Make) -> None:
    """A layer never called, called once too often, or of another shape."""
    trace(torch_trace, "paddle", converted("shunted_t"))
    file = torch_trace / "paddle" / "trace.json"
    facts = json.loads(file.read_text())

    def verdicts(change: Callable[[list[dict]], list[dict]], **layers: str) -> dict[str, str]:
        changed = {dtype: change(facts[dtype]) for dtype in _trace.DTYPES}
        file.write_text(json.dumps(facts | changed | {"layers": facts["layers"] | layers}))
        sides = (_compare.Trace(torch_trace / side) for side in ("torch", "paddle"))
        return {r.layer: r.verdict for r in _compare.compare(*sides, {}, lambda *_: None)}

    first = facts["float64"][0]["layer"]
    assert verdicts(lambda records: records[1:])[first] == "missing"
    assert verdicts(lambda r: [*r, {**r[0], "layer": "again#2"}])["again#2"] == "missing"
    reshaped = verdicts(lambda r: [{**r[0], "shape": [*r[0]["shape"], 1]}, *r[1:]])
    assert reshaped[first] == "shape"
    assert verdicts(lambda records: records, block9="block9")["block9"] == "missing"
    assert set(verdicts(lambda records: records).values()) == {"same"}


def test_a_report_without_layers_proves_nothing() -> None:
    """An empty comparison is not a proof."""
    assert not Report("x", (), {}, {}, {}, 0.0).proved


def test_weight_that_does_not_matter_for_the_images_is_caught(
    official: Make, tmp_path: Path
) -> None:
    """No run can show it, the comparison of the files does: the table says `weights`."""
    torch_state = arrays(official("shunted_t"))
    torch_state["norm4.bias"][0] = 0
    torch_state["norm4.weight"][0] = 0  # so that column 0 of the head is multiplied with zero
    save_file(torch_state, tmp_path / "x.safetensors")
    done = convert(tmp_path / "x.safetensors", tmp_path / "x", "shunted", parity=False)
    state = arrays(done.path)
    state["head.weight"][0] += 1

    report = parity("shunted_t", tmp_path / "x.safetensors", write_paddle(tmp_path / "y", state))

    assert not report.proved
    assert (report.first_diverging.layer, report.first_diverging.verdict) == ("head", "weights")
    assert "weight by up to 1.0e+00" in report.first_diverging.note


def test_classes_in_the_checkpoint_do_not_stop_torch_from_reading(
    official: Make, converted: Make, tmp_path: Path
) -> None:
    """NumPy scalars, paths, dates: torch reads the file all the same, running none of them."""
    import datetime

    import torch

    saved = torch.load(official("shunted_t"), weights_only=False)
    saved |= {
        "best": np.float64(3),
        "when": datetime.datetime(2026, 1, 1),
        "where": Path("x"),
        "curve": np.ones(3),
    }
    torch.save(saved, tmp_path / "x.pth")

    report = parity("shunted_t", tmp_path / "x.pth", converted("shunted_t"))

    assert report.proved
    assert report.torch["read_by"] == "torch"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "expected positive numbers"),
        ({"input_size": (64, -1)}, "expected positive numbers"),
        ({"input_size": 224}, r"expected \(height, width\)"),
        ({"device": "cuda"}, "expected one of auto, cpu, gpu"),
    ],
)
def test_senseless_arguments_are_refused(
    arguments: dict, message: str, official: Make, converted: Make
) -> None:
    """Before anything runs."""
    with pytest.raises(ParityError, match=message):
        check_parity(
            "shunted_t",
            torch_checkpoint=official("shunted_t"),
            paddle_checkpoint=converted("shunted_t"),
            **arguments,
        )


def test_file_of_the_wrong_framework_is_refused(official: Make, converted: Make) -> None:
    """Exchanged files are told apart before anything runs."""
    with pytest.raises(CheckpointError, match=r"needs a \.pdparams"):
        parity("shunted_t", official("shunted_t"), official("shunted_t"))
    with pytest.raises(CheckpointError, match="is a Paddle checkpoint"):
        parity("shunted_t", converted("shunted_t"), converted("shunted_t"))
