"""The two files of a family read as one, and both models train."""

import ast
import dataclasses
import math
import re
import tomllib
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import ROOT, Make, paddle_in_float64
from either import array, in_float64, on_each_side, seeded, tensor
from golden import rule
from vitconvert import models
from vitconvert.sides import SIDES, Side
from vitconvert.tables import reading
from vitconvert.tables.variant import Variant

# Of the others the PyTorch models are timm's; test_timm_families has them.
FAMILIES = [family for family in reading.families() if not reading.load_table(family).torch]


def outline(file: Path) -> list[str]:
    """List classes, functions and uses of self of a module, in order."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.append((node.lineno, node.name))
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self":
            found.append((node.lineno, f"self.{node.attr}"))
    return [name for _line, name in sorted(found)]


PAIRS = ["_layers", *FAMILIES]
WORDS = {
    r"nn\.Module\b": "nn.Layer",
    r"\bModuleList\b": "LayerList",
    r"\.permute\(": ".transpose(",
    r"\bConv2d\b": "Conv2D",
    r"\bBatchNorm2d\b": "BatchNorm2D",
    r"\bbias=False": "bias_attr=False",
    r"\btorch\.cat\b": "paddle.concat",
    r"\btorch\.(?=\w)": "paddle.",
}


@pytest.mark.parametrize("pair", PAIRS)
def test_pair_has_the_same_outline(pair: str) -> None:
    """Both files define the same classes, methods and uses of self, in the same order."""
    torch, paddle = (ROOT / f"models_{side}" / f"{pair}.py" for side in ("torch", "paddle"))

    assert outline(torch) == outline(paddle)


@pytest.mark.parametrize("pair", PAIRS)
def test_pair_differs_in_words_only(pair: str) -> None:
    """Line for line the same but for the frameworks' words, imports and lines that say so."""
    torch, paddle = (
        (ROOT / f"models_{side}" / f"{pair}.py").read_text() for side in ("torch", "paddle")
    )
    for word, other in WORDS.items():
        torch = re.sub(word, other, torch)
    both = zip(torch.splitlines(), paddle.splitlines(), strict=True)

    differing = [(ours, theirs) for ours, theirs in both if ours != theirs]
    unmarked = [pair for pair in differing if not all("# differs" in line for line in pair)]
    assert [pair for pair in unmarked if "import" not in pair[0] + pair[1]] == []


def smallest(family: str) -> Variant:
    """Give the smallest classifier of as many stages as any, which are those of the sources."""
    table = reading.load_table(family)
    whole = [v for v in table.variants.values() if v.num_classes]
    return min(whole, key=lambda v: (-len(v.config.get("depths", ())), table.parameters(v)))


def small(framework: Side, family: str, **changes: Any) -> Any:
    """Build the smallest classifier of a family, with changes to it."""
    variant = smallest(family)
    config = {**variant.config, **changes}
    return models.build(
        framework, dataclasses.replace(variant, config=config), config.get("num_classes", 10)
    )


TRAINING = {"num_classes": 7, "drop_path_rate": 0.3, "drop_rate": 0.1}


@on_each_side
@pytest.mark.parametrize("family", FAMILIES)
def test_any_input_size_and_class_count_trains(family: str, framework: Side) -> None:
    """A step in training mode reaches every parameter; input not square, an odd batch."""
    library = seeded(framework)
    model = small(framework, family, **TRAINING)
    model.train()
    logits = model(library.randn([3, 3, 70, 45]))
    logits.square().mean().backward()

    assert list(logits.shape) == [3, 7]
    # Paddle lists the statistics of a norm as parameters that are not trained.
    trained = {n: p for n, p in model.named_parameters() if not getattr(p, "stop_gradient", False)}
    assert [n for n, p in trained.items() if p.grad is None] == []


INITIALISATION = tomllib.loads(Path(__file__).with_name("initialisation.toml").read_text())


def official_std(family: str, layer: str, kind: str) -> float | str | None:
    """Give what the data says of a layer's weight; None for a norm, which has ones."""
    rows = INITIALISATION[family]
    return next((std for of, match, std in rows if of == kind and fnmatch(layer, match)), None)


def in_numbers(std: float | str, shape: tuple[int, ...]) -> float:
    """Give the std of a weight of that shape."""
    if std == "torch":
        return 1 / math.sqrt(3 * math.prod(shape[1:]))
    # A depthwise weight is [out, 1, k, k]; every other convolution here has one group.
    groups = shape[0] if shape[1] == 1 else 1
    he = math.sqrt(2 / (math.prod(shape[2:]) * shape[0] // groups))
    return he if std == "he" else float(std)


@on_each_side
@pytest.mark.parametrize("family", FAMILIES)
def test_initialisation_is_that_of_the_source(family: str, framework: Side) -> None:
    """Weights have the std of the official initialisation, biases are zero, norms one."""
    seeded(framework)
    state = {k: array(v) for k, v in small(framework, family).state_dict().items()}
    if framework == "torch":
        state = {k: v.astype("f8") for k, v in state.items()}
    layers = reading.load_table(family).layers(framework, {k.rpartition(".")[0] for k in state})
    seen = 0
    for key, value in state.items():
        layer, _, leaf = key.rpartition(".")
        official = official_std(family, layer, layers[layer][2].name)
        is_uniform = official == "torch"
        if leaf == "bias" and not is_uniform:
            assert not value.any(), key
        elif leaf in ("weight", "bias") and official is not None:
            std = in_numbers(official, state.get(f"{layer}.weight", value).shape)
            # The sample std of n draws is within 5 / sqrt(2n) of the true one.
            assert value.std() == pytest.approx(std, rel=5 / math.sqrt(2 * value.size)), key
            assert not is_uniform or abs(value).max() <= std * math.sqrt(3), key
            seen += 1
        elif leaf == "weight":
            assert (value == 1).all(), key
    assert seen > 35


@pytest.mark.torch
@pytest.mark.paddle
@pytest.mark.parametrize("act_layer", ["GELU", "RELU"])
@pytest.mark.parametrize("norm_layer", ["GN1", "BN"])
def test_shiftvit_has_the_norms_and_activations_of_the_source(
    norm_layer: str, act_layer: str
) -> None:
    """BatchNorm with its statistics, and ReLU: no released file has them, the class does."""
    import paddle
    import torch

    config = {"norm_layer": norm_layer, "act_layer": act_layer}
    names = {"running_mean": "_mean", "running_var": "_variance"}
    images = rule.noise("x", (3, 3, 45, 70))
    ours = small("torch", "shiftvit", **config).double()
    with paddle_in_float64():
        theirs = small("paddle", "shiftvit", **config)
    for key, value in ours.state_dict().items():
        noise = rule.weight(key, value.shape, str(value.dtype)[6:])
        value.copy_(torch.from_numpy(noise))
        layer, _, leaf = key.rpartition(".")
        if leaf != "num_batches_tracked":
            array = (noise.T if key == "head.weight" else noise).astype("f8")
            theirs.state_dict()[f"{layer}.{names.get(leaf, leaf)}"].set_value(array)
    ours.eval()
    theirs.eval()
    logits = ours(torch.from_numpy(images)).detach().numpy()

    np.testing.assert_allclose(theirs(paddle.to_tensor(images)).numpy(), logits, 0, 1e-10)
    assert type(ours.norm).__name__ == {"GN1": "GroupNorm", "BN": "BatchNorm2d"}[norm_layer]
    assert np.abs(logits).max() > 0.1


@on_each_side
def test_settings_that_make_no_sense_are_refused(framework: Side) -> None:
    """As an error that says what there is."""
    with pytest.raises(ValueError, match="norm_layer is 'LN', expected 'GN1' or 'BN'"):
        small(framework, "shiftvit", norm_layer="LN")
    with pytest.raises(ValueError, match="has no head"):
        small(framework, "litv2", out_norms=(1, 2))


@pytest.mark.torch
@pytest.mark.paddle
@pytest.mark.parametrize("size", [(32, 32), (70, 45), (100, 131)])
@pytest.mark.parametrize(
    "variant", [*(smallest(family).name for family in FAMILIES), "litv2_small_det_ws4"]
)
def test_both_frameworks_agree_at_any_size(
    variant: str, size: tuple[int, int], plain: Make, converted: Make
) -> None:
    """Where patches, merges and windows do not divide the image, in float64."""
    images, files = rule.noise("x", (1, 3, *size)), {"torch": plain, "paddle": converted}
    models = [in_float64(side, variant, files[side](variant)) for side in SIDES]
    found = [model(tensor(side, images)) for side, model in zip(SIDES, models, strict=True)]
    if variant != "litv2_small_det_ws4":
        found = [[logits] for logits in found]

    for mine, yours in zip(*found, strict=True):
        np.testing.assert_allclose(array(yours), array(mine), 0, 1e-10)


LEAST = "images of 40x31 pixels, expected at least 32x32"


@on_each_side
@pytest.mark.parametrize("family", FAMILIES)
def test_images_that_are_too_small_are_refused(family: str, framework: Side) -> None:
    """Where a convolution inside would fail, or compute from a map smaller than its kernel."""
    with pytest.raises(ValueError, match=LEAST):
        small(framework, family)(tensor(framework, np.zeros((1, 3, 40, 31), "f4")))


@pytest.mark.torch
def test_litv2_fills_up_as_the_detectors_do() -> None:
    """Zeros behind the norm, taken into the means, attended to, and cut off again."""
    import torch

    hilo = small("torch", "litv2").layers[2].blocks[0].attn.double()
    x = torch.from_numpy(rule.noise("x", (2, 5, 7, 256)))
    filled = torch.zeros(2, 6, 8, 256, dtype=torch.float64)
    filled[:, :5, :7] = x

    expected = hilo(filled.reshape(2, 48, 256), 6, 8).reshape(2, 6, 8, 256)[:, :5, :7]
    torch.testing.assert_close(hilo(x.reshape(2, 35, 256), 5, 7), expected.reshape(2, 35, 256))


def shifted(x: np.ndarray, n_div: int) -> np.ndarray:
    """Shift as the formula says: group 0 reads its right neighbour, and so on round."""
    g, out = x.shape[1] // n_div, np.zeros_like(x)
    out[:, :g, :, :-1] = x[:, :g, :, 1:]
    out[:, g : 2 * g, :, 1:] = x[:, g : 2 * g, :, :-1]
    out[:, 2 * g : 3 * g, :-1] = x[:, 2 * g : 3 * g, 1:]
    out[:, 3 * g : 4 * g, 1:] = x[:, 3 * g : 4 * g, :-1]
    out[:, 4 * g :] = x[:, 4 * g :]
    return out


SHAPES = [(2, 24, 5, 7), (1, 26, 1, 1), (3, 24, 1, 4), (2, 30, 6, 1)]


@on_each_side
@pytest.mark.parametrize("shape", SHAPES)
def test_shift_is_exact_forth_and_back(shape: tuple[int, ...], framework: Side) -> None:
    """Not one bit changes; the gradient moves the other way; images of one row or column, too."""
    shift = import_module(f"vitconvert.models_{framework}.shiftvit").Shift(12)
    x, gradient = (rule.noise(name, shape) for name in ("x", "gradient"))
    values = tensor(framework, x, trained=True)
    out = shift(values)
    (out * tensor(framework, gradient)).sum().backward()

    np.testing.assert_array_equal(array(out), shifted(x, 12))
    assert (array(values.grad) * x).sum() == pytest.approx((gradient * shifted(x, 12)).sum())


@on_each_side
def test_drop_path_keeps_the_mean_and_drops_whole_samples(framework: Side) -> None:
    """In training a sample is dropped or scaled by 1/keep; in evaluation nothing happens."""
    layer = import_module(f"vitconvert.models_{framework}._layers").DropPath(0.25)
    x = seeded(framework).ones([4000, 3, 2])
    layer.train()
    out = array(layer(x))
    layer.eval()

    assert sorted(set(out.reshape(-1).tolist())) == pytest.approx([0, 1 / 0.75])
    assert (out == out[:, :1, :1]).all()
    assert out.mean() == pytest.approx(1, abs=0.05)
    assert (array(layer(x)) == array(x)).all()
