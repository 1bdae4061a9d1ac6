"""What a refusal says of a file that does not fit: short, folded, with the next step."""

from pathlib import Path

import numpy as np
import pytest

from conftest import write_paddle
from vitconvert import ConversionError, open_checkpoint
from vitconvert.folding import fold, folded
from vitconvert.sides import SIDES, Side
from vitconvert.tables.identify import identify
from vitconvert.tables.marks import marked
from vitconvert.tables.plan import make_plan
from vitconvert.tables.reading import load_table, read_table

TABLE = load_table("shiftvit")
VARIANT = "shiftvit_cifar_tiny"
SHAPES = TABLE.variants[VARIANT].shapes


def state(side: Side = "torch") -> dict[str, np.ndarray]:
    """Give weights that fit, as either side has them."""
    made = {}
    for key, shape in SHAPES.items():
        claim = TABLE.claims(key)[0]
        sizes = [10 if n == "num_classes" else int(n) for n in shape]
        turned = sizes[::-1] if side == "paddle" and claim.rule.axes else sizes
        made[(claim.paddle if side == "paddle" else key) or key] = np.zeros(turned, "f4")
    return made


def refusal(found: dict[str, np.ndarray], folder: Path) -> str:
    """Give the message for these weights as PyTorch's."""
    checkpoint = open_checkpoint(write_paddle(folder / "x", found))
    with pytest.raises(ConversionError) as caught:
        make_plan(checkpoint, TABLE, None, "torch")
    return str(caught.value)


def test_names_fold_by_their_numbers() -> None:
    """Then by their ends, until there are few enough patterns."""
    names = [f"layers.{i}.blocks.{j}.{end}" for i in range(3) for j in range(4) for end in "abc"]

    assert fold([*names, "head.w"], 8) == [
        *((f"layers.{{i}}.blocks.{{j}}.{end}", names[n::3]) for n, end in enumerate("abc")),
        ("head.w", ["head.w"]),
    ]
    assert folded(names, 2) == ["layers.{i}.blocks.{j}.… (36 tensors)"]
    assert folded([f"x{n}" for n in range(5)], 3) == ["x0", "x1", "x2", "and 2 more"]
    assert fold([], 3) == []


def test_a_hundred_thousand_names_fold_in_few_lines(tmp_path: Path) -> None:
    """Whatever they are: no pattern in them, and none that is known."""
    found = {f"n{number}.weight": np.zeros(1, "f4") for number in range(3000)}

    message = refusal(found, tmp_path)

    assert "knows 0 of its 3000 tensors" in message
    assert len(message.splitlines()) <= 10
    assert "and 2992 more" in message


def test_unknown_names_are_shown_with_the_nearest_known(tmp_path: Path) -> None:
    """Not the first names of the file, of which the table knows some."""
    found = {k: v for k, v in state().items() if k.startswith("patch_embed")}
    for i in range(3):
        for j in range(4):
            found[f"layers.{i}.blocks.{j}.mlp.fc3.weight"] = np.zeros((2, 2), "f4")

    message = refusal(found, tmp_path)

    assert "layers.{i}.blocks.{j}.mlp.fc3.weight (12 tensors)" in message
    assert "Did you mean 'layers.{s}.blocks.{i}.mlp.fc" in message
    assert "patch_embed" not in message


def test_many_missing_tensors_are_folded(tmp_path: Path) -> None:
    """With how many there are, and one of them in full."""
    found = {k: v for k, v in state().items() if ".mlp." not in k}

    message = refusal(found, tmp_path)

    assert "mlp.fc1.weight: missing (8 tensors)" in message
    assert "such as layers.0.blocks.0.mlp.fc1.weight: missing; shiftvit_cifar_tiny has" in message
    assert len(message.splitlines()) <= 12


def test_empty_shards_of_zero_are_named(tmp_path: Path) -> None:
    """All weights are there by name, and none has a value."""
    found = {key: np.zeros(0, "f4") for key in SHAPES}

    message = refusal(found, tmp_path)

    assert "62 of its 62 tensors are empty" in message
    assert "python zero_to_fp32.py . pytorch_model.bin" in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["fc.weight_orig", "fc.weight_mask"], "prune.remove"),
        (["fc.weight_g", "fc.weight_v"], "remove_weight_norm"),
        (["fc.parametrizations.weight.original0"], "remove_parametrizations"),
        (["fc.weight_orig", "fc.weight_u", "fc.weight_v"], "."),
        (["a.lora_A.weight", "a.lora_B.weight"], "merge_and_unload"),
        (["_flat_param"], "FULL_STATE_DICT"),
        (["fc.absmax", "fc.quant_state.bitsandbytes__nf4"], "dequantize"),
        (["fc.qweight", "fc.qzeros"], "floating model"),
        (["linear_0.w_0_moment1_0", "linear_0.w_0_beta1_pow_acc_0"], ".pdparams beside it"),
        (["incr_ratio", "scale"], ".pdparams beside it"),
    ],
)
def test_names_of_other_forms_of_weights_are_known(names: list[str], told: str) -> None:
    """Each with what to type."""
    assert told in marked(names)
    assert marked(["fc.weight", "head.bias"]) == ""


def test_pruned_weights_are_refused_with_the_way_out(tmp_path: Path) -> None:
    """The message ends with it."""
    found = state()
    found["head.weight_orig"] = found["head.weight_mask"] = found.pop("head.weight")

    assert "prune.remove(module, 'weight')" in refusal(found, tmp_path).splitlines()[-1]


# -- counters


@pytest.mark.parametrize("side", SIDES)
def test_counters_are_ignored_on_both_sides(side: Side, tmp_path: Path) -> None:
    """An operation counter leaves two in every module; a model may lack a norm that had one."""
    found = state(side)
    for layer in ("", "head.", "patch_embed.proj.", "layers.0."):
        found[f"{layer}total_ops"] = found[f"{layer}total_params"] = np.ones(1, "f8")
    found["layers.0.norm9.num_batches_tracked"] = np.array(3)
    checkpoint = open_checkpoint(write_paddle(tmp_path / "x", found))

    made = make_plan(checkpoint, TABLE, None, side)

    told = list(made.notes())
    assert [line.partition(",")[0] for line in told] == [
        "ignored: 4 tensors 'total_ops'",
        "ignored: 4 tensors 'total_params'",
        "ignored: 1 tensor 'num_batches_tracked'",
    ]
    assert len(list(made.kept())) == len(SHAPES)
    assert any(one.variant.name == VARIANT for one, of in identify(checkpoint.shapes) if of == side)


def test_a_row_that_claims_a_counter_wins(tmp_path: Path) -> None:
    """A table of a model that computes with a tensor of this name."""
    (tmp_path / "own.toml").write_text('rows = [["total_ops", "total_ops", "param"]]')
    table = read_table(tmp_path / "own.toml")

    assert table.ignored("total_ops") is None
    assert table.ignored("total_ops", "paddle") is None
    assert [claim.paddle for claim in table.claims("total_ops")] == ["total_ops"]
    assert table.ignored("head.total_params") is not None
