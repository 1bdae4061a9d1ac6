"""A checkpoint fits a variant whole, or is refused with everything that is wrong."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from conftest import Make, arrays, write_paddle
from vitconvert import (
    Checkpoint,
    CheckpointError,
    ConversionError,
    ModelError,
    Tensor,
    open_checkpoint,
)
from vitconvert.checkpoints.storage import Storage
from vitconvert.planning import plan
from vitconvert.sides import SIDES, Side
from vitconvert.tables import reading
from vitconvert.tables.identify import closest, twins
from vitconvert.tables.plan import check_paddle, make_plan
from vitconvert.tables.table import Table

Refused = Callable[..., str]
SHUNTED = reading.load_table("shunted")


Q = "block1.0.attn.q.weight"


def table_of(variant: str) -> Table:
    return reading.find_variant(variant)[0]


def of_shape(shape: tuple[int, ...], dtype: str = "float32") -> Tensor:
    """Make a tensor that is never read."""
    return Tensor(shape, dtype, Storage(), 0, (), dtype)


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """Give the message with which arrays, or a checkpoint, are refused."""

    def refuse(
        state: dict[str, np.ndarray] | Checkpoint,
        variant: str | None = None,
        table: Table = SHUNTED,
    ) -> str:
        if isinstance(state, dict):
            save_file(state, tmp_path / "x.safetensors")
            state = open_checkpoint(tmp_path / "x.safetensors")
        with pytest.raises(ConversionError) as caught:
            make_plan(state, table, variant)
        return str(caught.value)

    return refuse


def test_all_problems_stand_in_one_error(plain: Make, refused: Refused, tmp_path: Path) -> None:
    """Unclaimed, missing and ill-shaped keys, each with row, shapes and what to do."""
    state = arrays(plain("shunted_t"))
    state["block1.0.gamma"] = np.ones(3, "f4")
    del state["patch_embed1.conv.1.running_mean"]
    state["block2.0.mlp.fc1.weight"] = np.ones((512, 128), "f4")
    state["block3.9.norm1.bias"] = np.ones(256, "f4")

    message = refused(state)

    assert str(tmp_path / "x.safetensors") in message
    assert "does not fit shunted.toml (shunted_t comes closest)." in message
    assert "4 problems" in message
    assert "block1.0.gamma: no row of shunted.toml claims this [3] tensor. Add a row" in message
    assert "patch_embed1.conv.1.running_mean: missing; shunted_t has it as [64] (row 2" in message
    assert (
        "block2.0.mlp.fc1.weight: shape [512, 128], shunted_t has [1024, 128] (in Paddle "
        "[128, 512] and [128, 1024]); row 31 of shunted.toml, kind 'linear'" in message
    )
    assert "block3.9.norm1.bias: shunted_t has no such tensor, though row 14" in message


def test_variant_that_was_asked_for_is_held_to(plain: Make, refused: Refused) -> None:
    """--variant shunted_b on a changed shunted_t lists what shunted_b lacks here."""
    state = arrays(plain("shunted_t"))
    del state["norm4.bias"]

    message = refused(state, "shunted_b")

    assert "shunted_b was asked for" in message
    assert "block{i}.{j}.mlp" not in message  # numbers within words are not folded
    assert "block3.{i}.…: missing (" in message
    assert "shunted_b has it as [64] (row 5 of shunted.toml)" in message
    assert message.count("\n") < 50


def test_wrong_variant_is_told_the_right_one(plain: Make, refused: Refused) -> None:
    """In one line, not as 338 problems."""
    message = refused(arrays(plain("shunted_t")), "shunted_s")

    assert "is a shunted_t, not a shunted_s" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ("shunted_s", "shunted_s: 338 tensors do not fit."),
        ("shiftvit_tiny_light", "Paddle checkpoint of ShiftViT. Convert it with: vitconvert shun"),
    ],
)
def test_converted_weights_of_another_model_are_told_in_one_line(
    wanted: str, named: str, converted: Make
) -> None:
    """To whatever reads them: another variant or another family."""
    checkpoint = open_checkpoint(converted("shunted_t"))
    with pytest.raises(CheckpointError) as caught:
        check_paddle(checkpoint, table_of(wanted), table_of(wanted).variants[wanted])

    assert str(caught.value).startswith(f"{checkpoint.path} is a shunted_t")
    assert f", not a {named}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("variant", ["shunted_t", "shiftvit_cifar", "litv2_cifar"])
def test_model_without_a_head_is_whole(variant: str, plain: Make, tmp_path: Path) -> None:
    """A backbone, under its prefix or not: nothing is missing, no number of classes is invented."""
    state = {k: v for k, v in arrays(plain(variant)).items() if not k.startswith("head.")}
    save_file({f"backbone.{key}": v for key, v in state.items()}, tmp_path / "x.safetensors")

    plan = make_plan(open_checkpoint(tmp_path / "x.safetensors"), table_of(variant))

    assert (plan.variant.name, plan.num_classes) == (variant, 0)
    assert {step.source for step in plan.steps} == set(state)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("head.weight", None, "head.weight: missing; its head has head.bias [1000]"),
        ("head.bias", np.ones(10, "f4"), "head.bias: shape [10], shunted_t has [1000]"),
        (Q, np.ones((64, 64), "i1"), f"{Q}: int8; expected one of float64, float32"),
    ],
    ids=["half a head", "a head that contradicts itself", "a dtype that no model loads"],
)
def test_each_problem_is_named(
    key: str, value: np.ndarray | None, message: str, plain: Make, refused: Refused
) -> None:
    """One tensor is missing, of another shape, or of another type."""
    state = arrays(plain("shunted_t"))
    state.pop(key)

    assert message in refused(state if value is None else state | {key: value})


def test_first_of_two_variants_of_the_same_shapes_is_taken() -> None:
    """And the other when it is asked for."""
    table = table_of("litv2_base")
    tensors = {
        key: of_shape(table.variants["litv2_base_384"].resolve(shape, 1000))
        for key, shape in table.variants["litv2_base_384"].shapes.items()
    }
    checkpoint = Checkpoint(Path("x.pth"), "PyTorch zip", tensors)

    assert make_plan(checkpoint, table).variant.name == "litv2_base"
    assert make_plan(checkpoint, table, "litv2_base_384").variant.name == "litv2_base_384"
    assert twins(table.variants["litv2_base"], table) == ["litv2_base_384"]
    assert twins(table.variants["litv2_small"], table) == []


@pytest.mark.parametrize("variant", ["litv2_base", "litv2_base_384", None])
def test_right_variant_is_never_called_the_wrong_one(variant: str | None, refused: Refused) -> None:
    """The message is about one tensor's type, whatever variant was asked for."""
    table = table_of("litv2_base")
    shapes: Mapping[str, Any] = table.variants["litv2_base"].shapes
    tensors = {k: of_shape(s, "int8" if k == "norm.bias" else "float32") for k, s in shapes.items()}
    tensors |= {"head.weight": of_shape((7, 1024)), "head.bias": of_shape((7,))}
    message = refused(Checkpoint(Path("x.pth"), "PyTorch zip", tensors), variant, table)

    assert "norm.bias: int8; expected one of" in message
    assert ", not a" not in message


def test_damaged_file_of_another_family_is_known(plain: Make, refused: Refused) -> None:
    """LITv2 has a row for every name of ShiftViT; what is nearly one is not a broken other."""
    state = arrays(plain("shiftvit_cifar"))
    del state["norm.bias"]

    message = refused(state, table=table_of("litv2_cifar"))
    assert "comes closest to a shiftvit_cifar as PyTorch has it" in message


@pytest.mark.parametrize("wrong", ["shunted_t", "litv2_cifar"])
def test_file_of_another_family_with_like_names_is_known(
    wrong: str, plain: Make, refused: Refused
) -> None:
    """ShiftViT and LITv2 share most of their names; the shapes tell which it is."""
    message = refused(open_checkpoint(plain("shiftvit_cifar")), table=table_of(wrong))

    assert "is a shiftvit_cifar as PyTorch has it (family shiftvit), not" in message
    assert "Convert it with: vitconvert shiftvit" in message
    assert "\n" not in message


@pytest.mark.parametrize("side", SIDES)
def test_weights_of_an_unknown_model_are_not_listed(side: Side, tmp_path: Path) -> None:
    """Two hundred names that no row claims are one line, with the nearest that is known."""
    state = {f"blocks.{number}.weight": np.zeros(3, "f4") for number in range(200)}
    checkpoint = open_checkpoint(write_paddle(tmp_path / "x.pdparams", state))
    with pytest.raises((CheckpointError, ConversionError)) as caught:
        make_plan(checkpoint, SHUNTED, "shunted_t", side)

    assert isinstance(caught.value, {"torch": ConversionError, "paddle": CheckpointError}[side])
    assert "is not a Shunted Transformer checkpoint: shunted.toml knows" in str(caught.value)
    assert "knows 0 of its 200 tensors" in str(caught.value)
    assert str(caught.value).splitlines()[1:] == [
        "  blocks.{i}.weight (200 tensors) Did you mean 'block{s}.{i}.norm2.weight' (row 30)?"
    ]


def test_unknown_variant_is_refused(plain: Make, refused: Refused) -> None:
    """The error lists the variants and names the nearest."""
    message = refused(arrays(plain("shunted_t")), "shunted_cifar")

    assert "no variant 'shunted_cifar'; it has shunted_t, shunted_s, shunted_b" in message
    assert message.endswith("Did you mean 'shunted_cifar_tiny'?")


def test_unknown_names_get_the_nearest_in_python() -> None:
    """Of variants and of families."""
    with pytest.raises(ModelError, match=r"'shunted_tt'\. Did you mean 'shunted_t'"):
        reading.find_variant("shunted_tt")
    with pytest.raises(ConversionError, match=r"'shunt'\. Did you mean 'shunted'"):
        plan("x.pth", "shunt")


def test_nearest_row_of_an_unclaimed_key_is_named(plain: Make, refused: Refused) -> None:
    """As its pattern for the whole key; a key that is like none has none."""
    state = arrays(plain("shunted_t"))
    state["block1.0.mlp.fc_1.weight"] = np.ones(3, "f4")
    state["something.else"] = np.ones(3, "f4")

    unclaimed = [line for line in refused(state).splitlines() if "no row" in line]

    assert unclaimed[0].endswith("Did you mean 'block{s}.{i}.mlp.fc1.weight' (row 31)?")
    assert unclaimed[1].endswith("or remove it from the checkpoint.")


@pytest.mark.parametrize(
    ("name", "num_classes"),
    [
        (variant.name, num_classes)
        for variant in reading.variants().values()
        for num_classes in ([1000, 10, 1, 0] if variant.has_head else [0])
        if num_classes in (10, 0) or not reading.load_table(variant.family).torch
    ],
)
def test_variant_and_classes_are_found_from_shapes(name: str, num_classes: int) -> None:
    """With any head or none, and without the step counters that old files lack."""
    table, variant = reading.find_variant(name)
    shapes = {
        key: variant.resolve(shape, num_classes)
        for key, shape in variant.shapes.items()
        if not key.endswith("num_batches_tracked") and (num_classes or "num_classes" not in shape)
    }

    found = closest(shapes, table)

    first = next(v for v in table.variants if v in [name, *twins(variant, table)])
    assert (found.variant.name, found.num_classes, found.distance) == (first, num_classes, 0)


def test_rows_that_contradict_each_other_are_an_error(plain: Make, refused: Refused) -> None:
    """Two claim one key, or fill one tensor; both are named."""
    twin = dataclasses.replace(SHUNTED.rows[-1], number=99)
    same = [
        dataclasses.replace(row, paddle="block{s}.{i}.norm1") if "i}.norm2" in row.torch else row
        for row in SHUNTED.rows
    ]
    for rows, message in [
        ((*SHUNTED.rows, twin), "head.weight: claimed by row 40 and row 99"),
        (tuple(same), "block1.0.norm1.weight: 2 tensors would become"),
    ]:
        table = dataclasses.replace(SHUNTED, rows=rows)
        assert message in refused(open_checkpoint(plain("shunted_t")), table=table)


def test_plan_keeps_the_order_of_the_source_and_says_why(plain: Make) -> None:
    """One step per tensor, each with its reason."""
    checkpoint = open_checkpoint(plain("shunted_t"))
    plan = make_plan(checkpoint, SHUNTED)
    steps = {step.source: step for step in plan.steps}

    assert [step.source for step in plan.steps] == list(checkpoint.tensors)
    assert all(step.reason for step in plan.steps)
    q = steps["block1.0.attn.q.weight"]
    assert (q.operation, q.reason) == ("transpose", "row 15, kind linear: out in -> in out")
    counter = steps["patch_embed1.conv.1.num_batches_tracked"]
    assert counter.target is None
    assert "step counter" in counter.reason
