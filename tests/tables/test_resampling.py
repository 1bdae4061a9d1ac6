"""Resized tensors have the numbers that timm gives, whatever the sizes and the dtype."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from near_timm import distance, noise, timm
from vitconvert.errors import ConversionError
from vitconvert.tables import _resampling as resampling
from vitconvert.tables._rotary import rotary_table

NEAR = 1e-6  # of the largest
SIDE = st.integers(1, 20)
GRID = st.tuples(SIDE, SIDE)
RELAXED = settings(max_examples=60, deadline=None)


@pytest.mark.torch
@RELAXED
@given(GRID, GRID, st.sampled_from([0, 1, 2, 5]))
def test_positions_are_those_of_timm(
    old: tuple[int, int], new: tuple[int, int], prefix: int
) -> None:
    """Larger, smaller, of another form; the first tokens stay bit for bit."""
    torch = pytest.importorskip("torch")
    table = noise(1, prefix + old[0] * old[1], 6)

    ours = resampling.position_table(table, old, new, prefix)
    theirs = timm().layers.resample_abs_pos_embed(torch.tensor(table), list(new), list(old), prefix)

    assert distance(ours, theirs) < NEAR
    assert np.array_equal(ours[:, :prefix], table[:, :prefix])


@pytest.mark.torch
@pytest.mark.parametrize("old", [14, 16, 24, 27, 37])
def test_weights_of_an_axis_are_those_of_pytorch(old: int) -> None:
    """To 1e-6, for every usual length, however they are rounded in float32."""
    torch = pytest.importorskip("torch")
    basis = torch.eye(old)[None, :, :, None].expand(1, old, old, 3)  # each place by itself

    for new in [*range(1, 65), 128, 256]:
        theirs = torch.nn.functional.interpolate(
            basis, size=(new, 3), mode="bicubic", antialias=True
        )[0, :, :, 0].T
        assert distance(resampling.bicubic(old, new, np.float32), theirs) < NEAR


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@RELAXED
@given(GRID, GRID, st.sampled_from([0, 3]))
def test_relative_positions_are_those_of_timm(
    old: tuple[int, int], new: tuple[int, int], extra: int
) -> None:
    """Of Swin and of BEiT, whose last rows stay bit for bit."""
    torch = pytest.importorskip("torch")
    length = (2 * old[0] - 1) * (2 * old[1] - 1)
    table = noise(length + extra, 3)
    shape = (2 * new[0] - 1) * (2 * new[1] - 1) + extra, 3

    ours = resampling.relative_position_table(table, old, new, extra)
    theirs = timm().layers.resize_rel_pos_bias_table(torch.tensor(table), new, shape, old)

    assert distance(ours, theirs) < NEAR
    assert np.array_equal(ours[len(ours) - extra :], table[length:])


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("new", [(3, 8), (12, 7), (5, 6)])
def test_relative_positions_may_be_a_map_for_each_head(new: tuple[int, int]) -> None:
    """[heads, 2h-1, 2w-1], as MaxViT has them."""
    torch = pytest.importorskip("torch")
    table = noise(4, 9, 11)
    shape = 4, 2 * new[0] - 1, 2 * new[1] - 1

    ours = resampling.relative_position_table(table, (5, 6), new, 0)
    theirs = timm().layers.resize_rel_pos_bias_table(torch.tensor(table), new, shape)

    assert distance(ours, theirs) < NEAR


@pytest.mark.torch
@pytest.mark.parametrize(
    ("old", "new"),
    [(16, 14), (16, 8), (16, 32), (14, 16), (4, 7), (32, 3), (16, 15), (16, 17), (1, 4), (4, 1)],
)
def test_patch_kernels_are_those_of_timm(old: int, new: int) -> None:
    """To 1e-12 of its algorithm in float64; in float32 it is itself up to 3e-6 away from that."""
    torch = pytest.importorskip("torch")
    kernel = noise(8, 3, old, old + 1)
    size = new, new + 2

    ours = resampling.patch_kernel(kernel, size)
    module = timm().layers.patch_embed
    resize = module._compute_resize_matrix(
        (old, old + 1), size, "bicubic", True, torch.device("cpu"), torch.float64
    )
    exact = torch.tensor(kernel).double().reshape(8, 3, -1) @ torch.linalg.pinv(resize)
    theirs = timm().layers.resample_patch_embed(torch.tensor(kernel), list(size))

    assert distance(ours, exact.reshape(8, 3, *size)) < 1e-12
    assert distance(ours, theirs) < 4e-6


@pytest.mark.torch
@pytest.mark.parametrize(
    ("inputs", "base", "channels"),
    [(3, 3, 1), (3, 3, 2), (3, 3, 4), (3, 3, 7), (12, 3, 1), (48, 3, 1), (4, 4, 3), (1, 1, 3)],
)
def test_input_channels_are_those_of_timm(inputs: int, base: int, channels: int) -> None:
    """Summed for one channel, repeated and scaled for more; by place behind space to depth."""
    torch = pytest.importorskip("torch")
    kernel = noise(8, inputs, 5, 4)

    ours = resampling.input_channels(kernel.astype(np.float64), base, channels)
    adapt = timm().models._manipulate.adapt_input_conv

    assert distance(ours, adapt(channels, torch.tensor(kernel), base)) < NEAR


@pytest.mark.torch
@pytest.mark.parametrize("rotate_half", [False, True])
@pytest.mark.parametrize(
    ("old", "new"), [((16, 16), (32, 32)), ((14, 14), (9, 20)), ((8, 6), (5, 5))]
)
@pytest.mark.parametrize("waves", ["sin", "cos", "sin cos"])
def test_rotary_tables_are_those_of_timm(
    rotate_half: bool, old: tuple[int, int], new: tuple[int, int], waves: str
) -> None:
    """The pretraining grid is found from the stored values; both layouts of the angles."""

    def build(grid: tuple[int, int]) -> np.ndarray:
        both = timm().layers.pos_embed_sincos.build_rotary_pos_embed(
            list(grid), dim=64, in_pixels=False, ref_feat_shape=[14, 16], rotate_half=rotate_half
        )
        tables = dict(zip(("sin", "cos"), both, strict=True))
        return np.concatenate([tables[wave] for wave in waves.split()], 1)

    assert distance(rotary_table(build(old), old, new, "float32"), build(new)) < 5e-6
    half = build(old).astype(np.float16)
    assert distance(rotary_table(half, old, new, "float16"), build(new)) < 5e-6


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_rotary_table_of_another_rule_is_refused(dtype: str) -> None:
    """It is computed anew only where the rule gives what is stored."""
    with pytest.raises(ConversionError, match="4x4 places that no known rule gives"):
        rotary_table(noise(16, 8), (4, 4), (6, 6), dtype)


@RELAXED
@given(GRID, GRID, st.floats(-9, 9))
def test_a_constant_table_stays_constant(
    old: tuple[int, int], new: tuple[int, int], value: float
) -> None:
    """The weights of each new place add up to one."""
    flat = resampling.position_table(np.full((1, old[0] * old[1], 2), value), old, new, 0)
    length = (2 * old[0] - 1) * (2 * old[1] - 1)
    relative = resampling.relative_position_table(np.full((length, 2), value), old, new, 0)

    for table in (flat, relative):
        assert np.abs(table - value).max() <= 1e-14 * abs(value)


@RELAXED
@given(GRID)
def test_the_same_size_changes_nothing(grid: tuple[int, int]) -> None:
    """Bit for bit, along one axis or both."""
    table = noise(1, grid[0] * grid[1], 3)
    relative = noise((2 * grid[0] - 1) * (2 * grid[1] - 1), 2)

    assert np.array_equal(resampling.position_table(table, grid, grid, 0), table)
    assert np.array_equal(resampling.relative_position_table(relative, grid, grid, 0), relative)


def test_a_resized_patch_gives_what_the_patch_gave() -> None:
    """A kernel fitted to larger patches undoes their enlargement."""
    patch, kernel = noise(8, 8).astype(np.float64), noise(1, 1, 8, 8)
    larger = resampling.bicubic(8, 12) @ patch @ resampling.bicubic(8, 12).T

    moved = (resampling.patch_kernel(kernel, (12, 12))[0, 0] * larger).sum()

    assert moved == pytest.approx((kernel[0, 0] * patch).sum(), rel=1e-12)


def test_equal_channels_give_what_they_gave() -> None:
    """Whatever their number."""
    kernel = noise(2, 3, 4, 4).astype(np.float64)

    for channels in (1, 3, 6, 9):  # each of the old stands as often
        moved = resampling.input_channels(kernel, 3, channels)
        assert moved.sum(1) == pytest.approx(kernel.sum(1))
