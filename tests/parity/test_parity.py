"""The checker proves what is right and catches, by name, what is wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from conftest import Make, arrays, every_variant, known, proof, write_paddle
from tracing import parity
from vitconvert import CheckpointError, ParityError, Report, check_parity, convert, create_model
from vitconvert.parity import _compare, _trace, compare_traces
from vitconvert.tables import reading
from vitconvert.tables.variant import Variant

pytestmark = [pytest.mark.torch, pytest.mark.paddle]

TINY = "shunted_cifar_tiny"


@pytest.mark.parametrize("name", every_variant())
def test_official_checkpoint_converts_and_is_proved(
    name: str, official: Make, tmp_path: Path
) -> None:
    """Every variant, from the wrapped training checkpoint, read by torch itself."""
    family = reading.variants()[name].family
    done = convert(official(name), tmp_path / "x.pdparams", family, variant=name, parity=False)

    report = parity(name, official(name), done.path)

    assert report.proved
    assert report.reference["read_by"] == "torch"
    # Well below the limit, since both sides have the epsilons that Paddle keeps as float32.
    assert max(known(row.float64) for row in report.layers) < 1e-12
    assert max(known(row.alone) for row in report.layers) < 1e-12
    layers = {row.layer.partition("#")[0] for row in report.layers}
    modules = {own: type(m).__name__ for own, m in create_model(name, "torch").named_modules()}
    table, variant = reading.find_variant(name)
    output = "logits" if variant.num_classes else "features"
    paired = table.layers("torch", modules).items()
    none = {own for own, (*_, kind) in paired if kind.torch and modules[own] == "Identity"}
    assert layers == {own for own, (*_, kind) in paired if kind.traced} - none | {output}


def test_convert_proves_before_the_file_gets_its_name(official: Make, tmp_path: Path) -> None:
    """Proved: the target is there, nothing else."""
    done = convert(official(TINY), tmp_path / "x.pdparams", "shunted", device="cpu")

    assert done.report is not None
    assert done.report.proved
    assert done.path == tmp_path / "x.pdparams"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.pdparams"]


def test_unproved_conversion_stays_unverified(
    official: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong table: the file stays beside the target, which is not made, the old one whole."""
    import dataclasses

    from vitconvert import planning

    table = reading.load_table("shunted")
    conv = table.rows[0].kind
    rows = [
        dataclasses.replace(row, kind=conv) if row.torch.endswith("attn.proj") else row
        for row in table.rows
    ]
    wrong = dataclasses.replace(table, rows=tuple(rows))
    monkeypatch.setattr(planning, "load_table", lambda _family: wrong)
    (tmp_path / "x.pdparams").write_text("precious")

    done = convert(official(TINY), tmp_path / "x.pdparams", "shunted", force=True)

    assert not proof(done).proved
    assert known(proof(done).culprit).layer == "block1.0.attn.proj"
    assert done.path == tmp_path / "x.pdparams.unverified"
    assert done.path.exists()
    assert (tmp_path / "x.pdparams").read_text() == "precious"


# -- the judge


def judged(folder: Path, torch: np.ndarray, paddle: np.ndarray, **float32: np.ndarray) -> Report:
    """Judge traces of a model of one layer, whose outputs are given."""
    runs = {"torch": (torch, float32.get("torch32", torch)), "paddle": (paddle,)}
    runs["paddle"] = (paddle, float32.get("paddle32", paddle))
    for side, pair in runs.items():
        (folder / side).mkdir(exist_ok=True)
        layers = {"fc": _trace.Layer("fc", "linear", {"bias": True})}
        facts = _trace.Facts(side, "one", "fc", {side: "0", "device": "cpu"}, {}, {}, layers)
        facts.input = {"sha256": "", "shape": [1]}
        for dtype, values in zip(_trace.DTYPES, pair, strict=True):
            with _trace.Writer(folder / side / f"{dtype}.bin") as writer:
                call = _trace.Call("fc", 1, None, None, {"array": writer.add(values.astype(dtype))})
            facts.runs[dtype], facts.places[dtype] = [call], writer.arrays.places
        facts.places["weights"] = []
        _trace.write_facts(folder / side, facts)
    return compare_traces(folder / "torch", folder / "paddle")


VALUES = np.linspace(-3, 3, 1000).reshape(10, 100)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [(0.0, "same"), (1e-12, "same"), (1e-9, "differs"), (1.0, "differs")],
)
def test_one_element_decides(change: float, verdict: str, tmp_path: Path) -> None:
    """The largest difference counts, never a mean; its place and both values are told."""
    other = VALUES.copy()
    other[4, 56] += change

    result = judged(tmp_path, VALUES, other, paddle32=VALUES).layers[0]

    assert result.verdict == verdict
    if verdict == "differs":
        assert result.worst == _compare.Worst((4, 56), VALUES[4, 56], other[4, 56])
        assert "[4, 56]" in result.note


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("run", ["torch", "paddle", "both", "paddle32"])
def test_what_is_not_finite_never_passes(bad: float, run: str, tmp_path: Path) -> None:
    """Not even where both sides agree on it."""
    broken = VALUES.copy()
    broken[0, 0] = bad
    torch = broken if run in ("torch", "both") else VALUES
    paddle = broken if run in ("paddle", "both") else VALUES

    report = judged(tmp_path, torch, paddle, paddle32=broken if run == "paddle32" else paddle)

    assert report.layers[0].verdict == "not finite"
    assert report.verdict == "NOT PROVED"


def test_shapes_are_never_broadcast(tmp_path: Path) -> None:
    """A column beside a square, one value beside many: that is not the same number of values."""
    report = judged(tmp_path, np.ones((4, 1)), np.ones((4, 4)))

    assert report.layers[0].verdict == "shape"
    assert "torch float64 gives [4, 1] and Paddle float64 gives [4, 4]" in report.layers[0].note


def test_float32_is_measured_against_the_other_sides_own_error(tmp_path: Path) -> None:
    """One side may err as the other does, not ten times as much; nothing depends on the scale."""
    error = np.where(np.arange(1000).reshape(10, 100) == 77, 2e-6, 0)
    for scale in (1e-6, 1, 1e6):
        values, off = VALUES * scale, error * scale
        for one, other in (("torch32", "paddle32"), ("paddle32", "torch32")):
            runs = {one: values + off, other: values + 2 * off}
            assert judged(tmp_path, values, values, **runs).layers[0].verdict == "same"
            runs[other] = values + 20 * off
            result = judged(tmp_path, values, values, **runs).layers[0]
            assert result.verdict == "imprecise"
            assert result.off == {"torch32": "reference", "paddle32": "candidate"}[other]


def test_a_report_without_layers_proves_nothing() -> None:
    """An empty comparison is not a proof."""
    assert not Report("x", {}, {}, {}, (), 0.0).proved


def test_weight_that_does_not_matter_for_the_images_is_caught(
    official: Make, tmp_path: Path
) -> None:
    """No run can show it, the comparison of the files does: the table says `weights`."""
    torch_state = arrays(official(TINY))
    torch_state["norm3.bias"][0] = 0
    torch_state["norm3.weight"][0] = 0  # so that column 0 of the head is multiplied with zero
    save_file(torch_state, tmp_path / "x.safetensors")
    done = convert(tmp_path / "x.safetensors", tmp_path / "x.pdparams", "shunted", parity=False)
    state = arrays(done.path)
    state["head.weight"][0] += 1

    report = parity(TINY, tmp_path / "x.safetensors", write_paddle(tmp_path / "y", state))

    assert not report.proved
    culprit = known(report.culprit)
    assert (culprit.layer, culprit.verdict) == ("head", "weights")
    assert "weight by up to 1.0e+00 in 10 of 1600" in known(report.first_diverging).note


@pytest.mark.parametrize("config", [{}, {"MODEL": {"DEPTHS": [2, 2, 6, 2]}}])
def test_classes_in_the_checkpoint_do_not_stop_torch_from_reading(
    config: dict[str, Any], official: Make, converted: Make, tmp_path: Path
) -> None:
    """NumPy scalars, paths, dates, yacs: torch reads the file all the same, running none of it."""
    import datetime

    import torch

    from tools.make_checkpoint import cfg_node

    saved = torch.load(official(TINY), weights_only=False)
    saved |= {
        "best": np.float64(3),
        "when": datetime.datetime(2026, 1, 1),
        "where": Path("x"),
        "curve": np.ones(3),
    }
    if config:
        saved["config"] = cfg_node(config)
    torch.save(saved, tmp_path / "x.pth")

    report = parity(TINY, tmp_path / "x.pth", converted(TINY))

    assert report.proved
    assert report.reference["read_by"] == "torch"


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
    arguments: dict[str, Any], message: str, official: Make, converted: Make
) -> None:
    """Before anything runs."""
    with pytest.raises(ParityError, match=message):
        check_parity(
            TINY,
            torch_checkpoint=official(TINY),
            paddle_checkpoint=converted(TINY),
            **arguments,
        )


def test_images_that_are_too_small_are_refused_before_anything_runs(
    official: Make, converted: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And if a model says so, that is one line, not a traceback of a process."""

    def check() -> None:
        check_parity(
            "shiftvit_cifar",
            torch_checkpoint=official("shiftvit_cifar"),
            paddle_checkpoint=converted("shiftvit_cifar"),
            input_size=(20, 40),
        )

    with pytest.raises(ParityError, match="does not take images of 20x40 pixels, expected at"):
        check()
    monkeypatch.setattr(Variant, "check_size", lambda *_: None)
    with pytest.raises(ParityError, match="does not take these images: images of 20x40") as caught:
        check()
    assert "\n" not in str(caught.value)


def test_paddle_file_of_another_variant_is_told(official: Make, converted: Make) -> None:
    """In one line, not as every tensor that does not fit."""
    with pytest.raises(CheckpointError, match=r"is a litv2_cifar, not a litv2_cifar_tiny: "):
        parity("litv2_cifar_tiny", official("litv2_cifar_tiny"), converted("litv2_cifar"))


def test_file_of_the_wrong_framework_is_refused(official: Make, converted: Make) -> None:
    """Exchanged files are told apart before anything runs."""
    with pytest.raises(CheckpointError, match="PyTorch weights, which a Paddle model cannot load"):
        parity(TINY, official(TINY), official(TINY))
    with pytest.raises(CheckpointError, match="Paddle weights, which a PyTorch model cannot load"):
        parity(TINY, converted(TINY), converted(TINY))
