"""What [resize] of a table does: which tensors change, into what, and what is refused."""

import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import arrays, write_tensors
from near_timm import distance, noise, stored, timm
from vitconvert.checkpoints import Tensor, floats, held, pdparams
from vitconvert.checkpoints.storage import Checked, Held, Storage
from vitconvert.errors import CheckpointError, ConversionError
from vitconvert.tables.reading import load_table
from vitconvert.tables.resize_parsing import parse_resize
from vitconvert.tables.resizing import Asked, check_resize, plan_resizing, variant_at
from vitconvert.tables.variant import Shape, Variant

RULES: dict[str, tuple[str, ...]] = {
    "pos_embed": ("position_table",),
    "patch_embed.proj.weight": ("patch_kernel", "input_channels"),
    "blocks.{i}.attn.relative_position_bias_table": ("relative_position_table",),
    "layers.{stage}.blocks.{i}.attn.relative_position_bias_table": ("window_position_table",),
    "rope.freqs_cos": ("rotary_table",),
}
VIT: dict[str, Shape] = {
    "cls_token": (1, 1, 8),
    "pos_embed": (1, 17, 8),
    "patch_embed.proj.weight": (8, 3, 16, 16),
}


def variant(shapes: dict[str, Any], size: tuple[int, int] = (64, 64), **config: Any) -> Variant:
    return Variant("tiny", "tiny", shapes, config, size)


def unread(shapes: dict[str, Shape]) -> dict[str, Tensor]:
    """Give tensors that fail when they are read."""
    return {
        k: Tensor(s, "float32", Storage(), 0, (0,) * len(s), "float32") for k, s in shapes.items()
    }


def refused(asked: Asked, shapes: dict[str, Shape] | None = None, **own: Any) -> str:
    """Give the message with which a size is refused."""
    of = variant(VIT, **own)
    with pytest.raises(ConversionError) as caught:
        plan_resizing(RULES, VIT if shapes is None else shapes, of, asked)
    return str(caught.value)


# -- which tensors, and their shapes


@pytest.mark.parametrize("prefix", [0, 1, 2, 5])
@pytest.mark.parametrize("size", [(96, 96), (32, 160), (70, 50)])
def test_the_grid_follows_from_image_and_patch(prefix: int, size: tuple[int, int]) -> None:
    """Tokens beside the grid are what its length has over."""
    shapes = VIT | {"pos_embed": (1, prefix + 16, 8)}
    new = size[0] // 16, size[1] // 16

    step = plan_resizing(RULES, shapes, variant(shapes), Asked(size)).steps["pos_embed"]

    assert step.shape == (1, prefix + new[0] * new[1], 8)
    assert step.changes[0][1].kept == prefix
    assert f"4x4 -> {new[0]}x{new[1]} tokens" in step.what


def test_a_grid_without_a_patch_kernel_follows_from_its_length() -> None:
    """As in a pyramid, where each stage has positions of its own."""
    rules = {"pos_embed{s}": ("position_table",)}
    shapes = {"pos_embed1": (1, 3136, 8), "pos_embed3": (1, 196, 8), "pos_embed4": (1, 50, 8)}
    of = variant(shapes, (224, 224))

    found = plan_resizing(rules, shapes, of, Asked((256, 512))).steps

    assert [step.shape[1] for step in found.values()] == [64 * 128, 16 * 32, 8 * 16 + 1]


def test_a_hybrid_has_a_token_for_several_patches() -> None:
    """Where a convolution halves the map first, its kernel is no whole patch."""
    shapes = VIT | {"patch_embed.proj.weight": (8, 3, 8, 8)}  # 16 pixels for each token

    assert variant_at(variant(shapes), RULES, Asked((96, 64))).shapes["pos_embed"] == (1, 25, 8)


def test_a_file_of_another_size_is_resized_from_its_own_grid() -> None:
    """The variant tells how many tokens are no grid; the rest is a square."""
    file = VIT | {"pos_embed": (1, 37, 8)}

    found = plan_resizing(RULES, file, variant(VIT), Asked((64, 96))).steps["pos_embed"]

    assert "6x6 -> 4x6 tokens" in found.what


def test_the_variants_own_grid_need_not_be_a_square() -> None:
    """Then a table of its length has that grid."""
    shapes = VIT | {"pos_embed": (1, 9, 8)}

    found = plan_resizing(RULES, shapes, variant(shapes, (32, 64)), Asked((64, 64)))

    assert "2x4 -> 4x4 tokens" in found.steps["pos_embed"].what


@pytest.mark.parametrize("asked", [Asked(), Asked((64, 64)), Asked(None, 3), Asked((64, 64), 3)])
def test_what_is_as_it_was_stays_the_same_tensor(asked: Asked) -> None:
    """Nothing is computed where nothing changes."""
    tensors = unread(VIT)

    done = plan_resizing(RULES, VIT, variant(VIT), asked)

    assert done.facts() == []
    assert all(done.apply(tensors)[key] is tensor for key, tensor in tensors.items())


def test_windows_stay_until_a_map_is_smaller() -> None:
    """Swin's window is the whole map where that is smaller; maps are halved, rounded up."""
    key = "layers.{}.blocks.0.attn.relative_position_bias_table"
    shapes: dict[str, Shape] = {key.format(s): (169, 2 << s) for s in range(4)}
    shapes["patch_embed.proj.weight"] = (8, 3, 4, 4)
    of = variant(shapes, (224, 224))

    larger = plan_resizing(RULES, shapes, of, Asked((384, 448)))
    smaller = plan_resizing(RULES, shapes, of, Asked((100, 224))).steps
    windows = plan_resizing(RULES, shapes, of, Asked((384, 384), window=(12, 12))).steps

    assert larger.steps == {}
    assert {key: step.changes[0][1].new for key, step in smaller.items()} == {key.format(3): (4, 7)}
    assert [step.shape[0] for step in windows.values()] == [529] * 4


def test_one_window_for_the_whole_grid_grows_with_it() -> None:
    """As in BEiT, with three rows for the class token."""
    key = "blocks.0.attn.relative_position_bias_table"
    shapes = VIT | {key: (52, 4)}

    step = plan_resizing(RULES, shapes, variant(shapes), Asked((96, 80))).steps[key]

    assert step.shape == (11 * 9 + 3, 4)
    assert "window of 4x4 -> 6x5 tokens" in step.what


def test_a_kernel_can_get_other_patches_and_channels_at_once() -> None:
    """Functions of one entry run one after the other."""
    asked = Asked((64, 64), 1, patch_size=(8, 8))

    done = plan_resizing(RULES, VIT, variant(VIT), asked)

    assert done.steps["patch_embed.proj.weight"].shape == (8, 1, 8, 8)
    assert done.steps["pos_embed"].shape == (1, 65, 8)
    assert done.facts() == [
        "pos_embed: 4x4 -> 8x8 tokens, bicubic with antialias, the first 1 as they were",
        "patch_embed.proj.weight: 16x16 -> 8x8 pixels, pseudo-inverse of bicubic with antialias; "
        "3 -> 1 channels, summed",
    ]


def test_alike_tensors_share_a_line() -> None:
    """A report does not list a table for each block."""
    shapes = VIT | {f"blocks.{i}.attn.relative_position_bias_table": (49, 4) for i in range(9)}

    facts = plan_resizing(RULES, shapes, variant(shapes), Asked((96, 96))).facts()

    assert facts[-1].startswith("blocks.{i}.attn.relative_position_bias_table (9 tensors): window")


def test_the_variant_at_another_size_has_its_shapes() -> None:
    """So the other framework's model, and what is checked, are for that size."""
    at = variant_at(variant(VIT, depth=2), RULES, Asked((96, 64), 4))

    assert at.shapes == VIT | {"pos_embed": (1, 25, 8), "patch_embed.proj.weight": (8, 4, 16, 16)}
    assert at.config == {"depth": 2, "img_size": [96, 64], "in_chans": 4}
    assert at.torch_config == {"img_size": [96, 64], "in_chans": 4}
    assert at.input_size == (96, 64)


# -- what is refused


@pytest.mark.parametrize("size", [(0, 64), (64, -1)])
def test_a_size_of_nothing_is_refused(size: tuple[int, int]) -> None:
    """Before anything is computed."""
    assert "cannot be a size, expected 1x1 or more" in refused(Asked(size))


@pytest.mark.parametrize("asked", [Asked((99_999, 99_999)), Asked(None, 10**9), Asked((64, 10**9))])
def test_an_absurd_size_is_refused_before_memory_is_used(asked: Asked) -> None:
    """By its shape alone."""
    assert "more than 134217728 numbers. Ask for a smaller size" in refused(asked)


def test_an_image_smaller_than_a_patch_is_refused() -> None:
    """It would leave no token."""
    message = refused(Asked((15, 64)))

    assert "pos_embed [1, 17, 8]: an image of 15x64 pixels holds no token of 16x16." in message


def test_a_file_whose_positions_are_no_square_is_refused() -> None:
    """Its grid would be a guess."""
    assert "its 19 entries are not a square grid" in refused(
        Asked((96, 96)), VIT | {"pos_embed": (1, 19, 8)}
    )


def test_channels_from_several_places_can_be_summed_only() -> None:
    """Behind a rearrangement of space to depth."""
    shapes = {"patch_embed.proj.weight": (8, 48, 1, 1)}
    of = variant(shapes)

    one = plan_resizing(RULES, shapes, of, Asked(None, 1)).steps["patch_embed.proj.weight"]

    assert one.shape == (8, 16, 1, 1)
    with pytest.raises(ConversionError, match="48 inputs are 3 channels from 16 places each"):
        plan_resizing(RULES, shapes, of, Asked(None, 5))


def test_a_table_that_does_not_say_how_is_refused() -> None:
    """Nothing may stay as it is in silence."""
    with pytest.raises(ConversionError, match=r"has no \[resize\].*Leave --image-size"):
        plan_resizing({}, VIT, variant(VIT), Asked((96, 96)))
    with pytest.raises(ConversionError, match="needs: input_channels"):
        plan_resizing({"pos_embed": ("position_table",)}, VIT, variant(VIT), Asked(None, 1))


def test_integers_are_not_resized() -> None:
    """They are indices, not values between which others lie."""
    done = plan_resizing(RULES, VIT, variant(VIT), Asked((96, 96)))

    with pytest.raises(ConversionError, match="pos_embed: int64 cannot be resized"):
        done.apply({"pos_embed": held(np.zeros(VIT["pos_embed"], np.int64))})


def test_values_that_are_not_finite_are_refused_when_read() -> None:
    """They would spread."""
    table = noise(1, 17, 8)
    table[0, 3, 3] = np.nan

    done = plan_resizing(RULES, VIT, variant(VIT), Asked((96, 96))).apply(
        {"pos_embed": held(table)}
    )

    with pytest.raises(CheckpointError, match="holds values that are not finite"):
        done["pos_embed"].read()


# -- values


def test_nothing_is_read_before_it_is_needed() -> None:
    """A plan, and the tensors it gives, cost nothing."""
    done = plan_resizing(RULES, VIT, variant(VIT), Asked((96, 96))).apply(unread(VIT))

    assert done["pos_embed"].shape == (1, 37, 8)
    with pytest.raises(NotImplementedError):
        done["pos_embed"].read()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_resized_tensor_keeps_its_dtype(dtype: str) -> None:
    """Half precision is resized in float64 and rounded once, and can be cast and cut as any."""
    table = stored(noise(1, 17, 8), dtype)
    exact = floats(table, "float64")

    done = plan_resizing(RULES, VIT, variant(VIT), Asked((96, 48))).apply({"pos_embed": table})
    made = done["pos_embed"]
    wide = made.cast("float64").read()

    near = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 2**-24, "float64": 0}[dtype]
    assert made.dtype == dtype
    assert np.abs(floats(made, "float64") - wide).max() <= near * np.abs(wide).max()
    assert np.array_equal(wide[:, :1], exact[:, :1])
    assert np.array_equal(made.region((0, 2, 1), (1, 3, 4)).read(), made.read()[:, 2:5, 1:5])
    assert np.array_equal(made.transposed().read(), made.read().T)


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_damaged_source_is_found(is_whole: bool, tmp_path: Path) -> None:
    """The checksum that a file has of what was resized is compared when it is written."""
    values = noise(1, 17, 8)
    data = values.tobytes()
    part = Checked(Held(data), 0, len(data), zlib.crc32(data) + (not is_whole), "data/0")
    table = replace(held(values), storage=part)
    done = plan_resizing(RULES, VIT, variant(VIT), Asked((96, 96))).apply({"pos_embed": table})

    if not is_whole:
        with pytest.raises(CheckpointError, match="damaged"):
            write_tensors(tmp_path / "x.pdparams", pdparams.layout(done))
        return
    path = write_tensors(tmp_path / "x.pdparams", pdparams.layout(done))

    assert np.array_equal(arrays(path)["pos_embed"], done["pos_embed"].read())


def test_a_rotary_table_of_another_rule_is_no_weight_to_resize() -> None:
    """The error says whose values they are."""
    shapes = VIT | {"rope.freqs_cos": (16, 8)}
    done = plan_resizing(RULES, shapes, variant(shapes), Asked((96, 96)))

    made = done.apply({"rope.freqs_cos": held(noise(16, 8))})["rope.freqs_cos"]

    with pytest.raises(CheckpointError, match="is a rotary table of 4x4 places that no known"):
        made.read()


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_half_precision_is_rounded_as_by_timm(dtype: str) -> None:
    """To the last place, or its neighbour where float32 lies between two."""
    torch = pytest.importorskip("torch")
    values = noise(1, 17, 8)
    theirs = timm().layers.resample_abs_pos_embed(
        torch.tensor(values).to(getattr(torch, dtype)), [6, 9], [4, 4], 1
    )
    done = plan_resizing(RULES, VIT, variant(VIT), Asked((96, 144)))

    ours = floats(done.apply({"pos_embed": stored(values, dtype)})["pos_embed"], "float64")

    last = {"float16": 2**-10, "bfloat16": 2**-7, "float32": 1e-6, "float64": 1e-6}[dtype]
    assert distance(ours, theirs.double()) <= last


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [(96, 96), (160, 224), (352, 288)])
@pytest.mark.parametrize("family", ["vit", "vit_registers", "beit", "swin"])
def test_a_model_is_resized_as_by_timm(family: str, size: tuple[int, int]) -> None:
    """Every tensor of a checkpoint, against timm's own filter of checkpoints."""
    torch = pytest.importorskip("torch")
    timm()
    from timm.models import beit, swin_transformer, vision_transformer

    small: dict[str, Any] = {"embed_dim": 24, "num_heads": 2, "depth": 2, "num_classes": 5}
    windows = small | {"depths": (1, 1, 2, 1), "num_heads": (1, 2, 3, 4)}
    del windows["depth"]
    module, build, config = {
        "vit": (vision_transformer, vision_transformer.VisionTransformer, small),
        "vit_registers": (
            vision_transformer,
            vision_transformer.VisionTransformer,
            small | {"reg_tokens": 4, "patch_size": 14},
        ),
        "beit": (
            beit,
            beit.Beit,
            small | {"use_rel_pos_bias": True, "use_abs_pos_emb": True},
        ),
        "swin": (swin_transformer, swin_transformer.SwinTransformer, windows),
    }[family]
    torch.manual_seed(0)
    own, other = build(img_size=224, **config), build(img_size=size, **config)
    state = {key: torch.randn(t.shape) for key, t in own.state_dict().items()}
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    of = variant(shapes, (224, 224))

    done = plan_resizing(RULES, shapes, of, Asked(size))
    ours = done.apply({key: held(tensor.numpy()) for key, tensor in state.items()})
    theirs = module.checkpoint_filter_fn(dict(state), other)

    assert {key: tensor.shape for key, tensor in ours.items()} == {
        key: tuple(tensor.shape) for key, tensor in other.state_dict().items()
    }
    assert variant_at(of, RULES, Asked(size)).shapes == {k: t.shape for k, t in ours.items()}
    worst = {key: distance(ours[key].read(), theirs[key]) for key in ours}
    assert max(worst.values()) < 1e-6, worst


# -- [resize] itself


def parsed(section: Any) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Read a section: what it says, and what is wrong with it."""
    problems = list[str]()
    return parse_resize({"resize": section}, problems), problems


def test_a_section_names_functions_by_pattern() -> None:
    """One, or several that run one after the other."""
    section = {"pos_embed": "position_table", "stem.weight": ["patch_kernel", "input_channels"]}

    assert parsed(section) == (
        {"pos_embed": ("position_table",), "stem.weight": ("patch_kernel", "input_channels")},
        [],
    )
    assert parse_resize({}, []) == {}


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("position_table", "resize is 'position_table', expected key patterns with functions."),
        ({"a": "positon_table"}, "resize: a: function 'positon_table' is unknown. Did you mean"),
        ({"a": "lanczos3"}, "function 'lanczos3' is unknown. There are: position_table, "),
        ({"a": 3}, "resize: a: function 3 is unknown."),
        ({"a": []}, "resize: a: expected a function, found an empty list."),
        ({"a": ["patch_kernel", "patch_kernel"]}, "'patch_kernel' stands there twice"),
        ({"a.{0}": "patch_kernel"}, "a placeholder is a name in braces"),
        (
            {"a.{i}": "window_position_table"},
            "needs the number of the stage: a placeholder {stage}",
        ),
    ],
)
def test_a_wrong_section_is_refused(section: Any, told: str) -> None:
    """With the function that was probably meant."""
    problems = parsed(section)[1]

    assert told in problems[0]


def test_every_shipped_vision_transformer_can_be_resized() -> None:
    """Each function finds its grid in every variant, whatever its patches and tokens."""
    rules = {key: RULES[key] for key in ("pos_embed", "patch_embed.proj.weight")}

    assert list(check_resize(rules, load_table("vit").variants)) == []


def test_a_section_is_checked_against_every_variant() -> None:
    """Each entry names a tensor, and each function finds its grid."""
    fits = {key: RULES[key] for key in ("pos_embed", "patch_embed.proj.weight")}
    odd = variant(VIT | {"pos_embed": (1, 40, 8)})
    headed = replace(variant(VIT | {"head.weight": ("num_classes", 8)}), name="headed")

    assert list(check_resize(fits, {"tiny": variant(VIT), "headed": headed})) == []
    assert next(check_resize(RULES, {"tiny": variant(VIT)})).endswith("of any variant.")
    assert "its 40 entries are not a grid of images of 64x" in next(check_resize(fits, {"o": odd}))
