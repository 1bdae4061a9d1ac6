"""A checkpoint fits a variant whole, or is refused with everything that is wrong."""

from pathlib import Path

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
from vitconvert.conversion import plan
from vitconvert.tables import reading
from vitconvert.tables.identify import closest, twins
from vitconvert.tables.plan import check_paddle, make_plan
from vitconvert.tables.table import Table

SHUNTED = reading.load_table("shunted")


def table_of(variant: str) -> Table:
    return reading.find_variant(variant)[0]


def of_shape(shape: tuple[int, ...], dtype: str = "float32") -> Tensor:
    """Make a tensor that is never read."""
    return Tensor(shape, dtype, Storage(), 0, (), dtype)


def refused(state: dict[str, np.ndarray], tmp_path: Path, variant: str | None = None) -> str:
    """Give the message with which a state is refused."""
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(ConversionError) as caught:
        make_plan(open_checkpoint(tmp_path / "x.safetensors"), SHUNTED, variant)
    return str(caught.value)


def test_all_problems_stand_in_one_error(plain: Make, tmp_path: Path) -> None:
    """Unclaimed, missing and ill-shaped keys, each with row, shapes and what to do."""
    state = arrays(plain("shunted_t"))
    state["block1.0.gamma"] = np.ones(3, "f4")
    del state["patch_embed1.conv.1.running_mean"]
    state["block2.0.mlp.fc1.weight"] = np.ones((512, 128), "f4")
    state["block3.9.norm1.bias"] = np.ones(256, "f4")

    message = refused(state, tmp_path)

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


def test_variant_that_was_asked_for_is_held_to(plain: Make, tmp_path: Path) -> None:
    """--variant shunted_b on a changed shunted_t lists what shunted_b lacks here."""
    state = arrays(plain("shunted_t"))
    del state["norm4.bias"]

    message = refused(state, tmp_path, "shunted_b")

    assert "shunted_b was asked for" in message
    assert "block3.23.mlp.fc2.weight: missing; shunted_b has it as [256, 1024]" in message


def test_wrong_variant_is_told_the_right_one(plain: Make, tmp_path: Path) -> None:
    """In one line, not as 338 problems."""
    message = refused(arrays(plain("shunted_t")), tmp_path, "shunted_s")

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


def test_paddle_weights_of_an_unknown_model_are_not_listed(tmp_path: Path) -> None:
    """Two hundred names that are missing say no more than that it is another model."""
    state = {f"blocks.{number}.weight": np.zeros(3, "f4") for number in range(200)}
    checkpoint = open_checkpoint(write_paddle(tmp_path / "x.pdparams", state))
    table = table_of("shunted_t")
    with pytest.raises(CheckpointError) as caught:
        check_paddle(checkpoint, table, table.variants["shunted_t"])

    assert "is not a Shunted Transformer checkpoint" in str(caught.value)
    assert "knows 0 of its 200 tensors, which begin with blocks.0.weight, " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("variant", ["shunted_t", "shiftvit_cifar", "litv2_cifar"])
def test_model_without_a_head_is_whole(variant: str, plain: Make, tmp_path: Path) -> None:
    """A backbone, under its prefix or not: nothing is missing, no number of classes is invented."""
    state = {k: v for k, v in arrays(plain(variant)).items() if not k.startswith("head.")}
    save_file({f"backbone.{key}": v for key, v in state.items()}, tmp_path / "x.safetensors")

    plan = make_plan(open_checkpoint(tmp_path / "x.safetensors"), table_of(variant))

    assert (plan.variant.name, plan.num_classes) == (variant, 0)
    assert {step.source for step in plan.steps} == set(state)


def test_half_a_head_is_refused(plain: Make, tmp_path: Path) -> None:
    """A bias without its weight: the other half is missing, of the size that the bias tells."""
    state = arrays(plain("shunted_t"))
    del state["head.weight"]

    assert "head.weight: missing; shunted_t has it as [1000, 512]" in refused(state, tmp_path)


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
def test_right_variant_is_never_called_the_wrong_one(variant: str | None) -> None:
    """One tensor of a type that cannot be: that is what is said, whatever variant was asked for."""
    table = table_of("litv2_base")
    shapes = table.variants["litv2_base"].shapes
    tensors = {k: of_shape(s, "int8" if k == "norm.bias" else "float32") for k, s in shapes.items()}
    tensors["head.weight"] = of_shape((7, 1024))
    tensors["head.bias"] = of_shape((7,))
    with pytest.raises(ConversionError) as caught:
        make_plan(Checkpoint(Path("x.pth"), "PyTorch zip", tensors), table, variant)

    assert "norm.bias: int8; expected one of" in str(caught.value)
    assert ", not a" not in str(caught.value)


def test_damaged_file_of_another_family_is_known(plain: Make, tmp_path: Path) -> None:
    """LITv2 has a row for every name of ShiftViT; what is nearly one is not a broken other."""
    state = arrays(plain("shiftvit_cifar"))
    del state["norm.bias"]
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(ConversionError) as caught:
        make_plan(open_checkpoint(tmp_path / "x.safetensors"), table_of("litv2_cifar"))

    assert "comes closest to a shiftvit_cifar as PyTorch has it" in str(caught.value)


@pytest.mark.parametrize("wrong", ["shunted_t", "litv2_cifar"])
def test_file_of_another_family_with_like_names_is_known(wrong: str, plain: Make) -> None:
    """ShiftViT and LITv2 share most of their names; the shapes tell which it is."""
    with pytest.raises(ConversionError) as caught:
        make_plan(open_checkpoint(plain("shiftvit_cifar")), table_of(wrong))

    assert "is a shiftvit_cifar as PyTorch has it (family shiftvit), not" in str(caught.value)
    assert "Convert it with: vitconvert shiftvit" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_that_are_no_floating_numbers_are_refused(plain: Make, tmp_path: Path) -> None:
    """int8 would be converted into something that no model loads."""
    state = arrays(plain("shunted_t"))
    state["block1.0.attn.q.weight"] = state["block1.0.attn.q.weight"].astype(np.int8)

    message = refused(state, tmp_path)
    assert "block1.0.attn.q.weight: int8; expected one of float64, float32" in message


def test_other_family_is_named_as_such(tmp_path: Path) -> None:
    """Nobody wants a list of 200 unclaimed keys when the file is simply another model's."""
    state = {f"blocks.{i}.attn.qkv.weight": np.ones((6, 2), "f4") for i in range(12)}

    message = refused(state, tmp_path)

    assert "is not a Shunted Transformer checkpoint: shunted.toml knows 0 of its 12" in message
    assert "blocks.0.attn.qkv.weight" in message
    assert "\n" not in message


def test_unknown_variant_is_refused(plain: Make, tmp_path: Path) -> None:
    """The error lists the variants and names the nearest."""
    message = refused(arrays(plain("shunted_t")), tmp_path, "shunted_cifar")

    assert "no variant 'shunted_cifar'; it has shunted_t, shunted_s, shunted_b" in message
    assert message.endswith("Did you mean 'shunted_cifar_tiny'?")


def test_unknown_names_get_the_nearest_in_python() -> None:
    """Of variants and of families."""
    with pytest.raises(ModelError, match=r"'shunted_tt'\. Did you mean 'shunted_t'"):
        reading.find_variant("shunted_tt")
    with pytest.raises(ConversionError, match=r"'shunt'\. Did you mean 'shunted'"):
        plan("x.pth", "shunt")


def test_nearest_row_of_an_unclaimed_key_is_named(plain: Make, tmp_path: Path) -> None:
    """As its pattern for the whole key; a key that is like none has none."""
    state = arrays(plain("shunted_t"))
    state["block1.0.mlp.fc_1.weight"] = np.ones(3, "f4")
    state["something.else"] = np.ones(3, "f4")

    unclaimed = [line for line in refused(state, tmp_path).splitlines() if "no row" in line]

    assert unclaimed[0].endswith("Did you mean 'block{s}.{i}.mlp.fc1.weight' (row 31)?")
    assert unclaimed[1].endswith("or remove it from the checkpoint.")


@pytest.mark.parametrize(
    ("name", "num_classes"),
    [
        (variant.name, num_classes)
        for variant in reading.variants().values()
        for num_classes in ([1000, 10, 1, 0] if variant.num_classes else [0])
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


def test_head_that_contradicts_itself_is_refused(plain: Make, tmp_path: Path) -> None:
    """Weight for 1000 classes, bias for 10."""
    state = arrays(plain("shunted_t")) | {"head.bias": np.ones(10, "f4")}

    assert "head.bias: shape [10], shunted_t has [1000]" in refused(state, tmp_path)


def test_two_rows_that_claim_one_key_are_an_error(plain: Make) -> None:
    """The rows are named."""
    import dataclasses

    twin = dataclasses.replace(SHUNTED.rows[-1], number=99)
    table = dataclasses.replace(SHUNTED, rows=(*SHUNTED.rows, twin))

    with pytest.raises(ConversionError, match=r"head\.weight: claimed by row 40 and row 99"):
        make_plan(open_checkpoint(plain("shunted_t")), table)


def test_two_keys_that_fill_one_tensor_are_an_error(plain: Make) -> None:
    """Two rows with one Paddle name."""
    import dataclasses

    rows = [
        dataclasses.replace(row, paddle="block{s}.{i}.norm1") if "i}.norm2" in row.torch else row
        for row in SHUNTED.rows
    ]
    table = dataclasses.replace(SHUNTED, rows=tuple(rows))

    with pytest.raises(ConversionError, match=r"block1\.0\.norm1\.weight: 2 tensors would become"):
        make_plan(open_checkpoint(plain("shunted_t")), table)


def test_plan_keeps_the_order_of_the_source_and_says_why(plain: Make) -> None:
    """One step per tensor, each with its reason."""
    checkpoint = open_checkpoint(plain("shunted_t"))
    plan = make_plan(checkpoint, SHUNTED)
    steps = {step.source: step for step in plan.steps}

    assert [step.source for step in plan.steps] == list(checkpoint.tensors)
    assert all(step.reason for step in plan.steps)
    q = steps["block1.0.attn.q.weight"]
    assert (q.operation, q.reason) == ("transpose", "row 15, kind linear: [out, in] -> [in, out]")
    counter = steps["patch_embed1.conv.1.num_batches_tracked"]
    assert counter.target is None
    assert "step counter" in counter.reason
